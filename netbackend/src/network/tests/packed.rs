//! Packed rings: carried between both kinds, stopped and resumed, recovered after a crash, and hostile.
use super::{
    BROADCAST, Net, frame,
    guest::{
        ALL, Connected, EVENT_IDX, GUEST_BASE, Guest, GuestSpec, IN_ORDER, INDIRECT_DESC,
        MRG_RXBUF, PLAIN, RING_PACKED, connect, wait_for,
    },
    introduce, mac,
};
use control::PortState;
use vhost::{VhostBackend, vhost_user::VhostUserFrontend};

/// All features there are, or few of them.
const KINDS: [u64; 4] = [
    ALL | RING_PACKED,
    (ALL & !(EVENT_IDX | IN_ORDER)) | RING_PACKED,
    (ALL & !(MRG_RXBUF | INDIRECT_DESC)) | RING_PACKED,
    PLAIN | RING_PACKED,
];

fn packed(features: u64) -> GuestSpec {
    GuestSpec {
        features,
        queue_size: 64,
        ..GuestSpec::default()
    }
}

/// Frames of many lengths from one to the other, in order, several times around the ring.
#[track_caller]
fn exchange(from: &mut Guest, to: &mut Guest, (there, here): (u8, u8), longest: usize) {
    for round in 0..40u8 {
        let frames: Vec<_> = (0..8)
            .map(|n| {
                let len = 60 + (usize::from(round) * 331 + n * 97) % (longest - 60);
                frame(mac(there), mac(here), len, round)
            })
            .collect();
        for sent in &frames {
            from.send(sent);
        }
        for sent in &frames {
            assert!(to.receive().frame == *sent, "round {round}");
        }
    }
}

#[test]
fn frames_cross_between_both_kinds_of_rings() {
    for features in KINDS {
        let net = Net::new();
        let mut a = net.guest("a", packed(features));
        let mut b = net.guest("b", GuestSpec::default());
        introduce(&mut [&mut a.guest, &mut b.guest]);
        // With mergeable buffers some take several of 2 KiB.
        let longest = if features & MRG_RXBUF == 0 {
            1500
        } else {
            9000
        };
        exchange(&mut b.guest, &mut a.guest, (0, 1), longest);
        exchange(&mut a.guest, &mut b.guest, (1, 0), 9000);
        let counters = net.status("a").counters;
        assert_eq!(
            (counters.rx_dropped, counters.faults),
            (0, 0),
            "{features:#x}"
        );
    }
}

/// 100 entries: only split rings need a power of two.
#[test]
fn any_size_will_do() {
    let net = Net::new();
    let spec = GuestSpec {
        queue_size: 100,
        ..packed(KINDS[0])
    };
    let mut a = net.guest("a", spec);
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    exchange(&mut a.guest, &mut b.guest, (1, 0), 9000);
}

#[test]
fn get_vring_base_has_the_wrap_counters_and_the_ring_goes_on_there() {
    let net = Net::new();
    let mut a = net.guest("a", packed(KINDS[0]));
    let mut b = net.guest("b", packed(KINDS[0]));
    introduce(&mut [&mut a.guest, &mut b.guest]);
    // One is there already. The lap turns at 64.
    let mut received = 1;
    for _ in 0..20 {
        for seed in 0..7 {
            let sent = frame(mac(1), mac(0), 64, seed);
            a.guest.send(&sent);
            assert!(b.guest.receive().frame == sent);
            received += 1;
        }
        let base = b.frontend.get_vring_base(0).unwrap();
        let lap = u32::from(received / 64 % 2 == 0) << 15;
        let half = (received % 64) | lap;
        assert_eq!(base, half | half << 16, "after {received}");
        let low = u16::try_from(base & 0xffff).unwrap();
        b.guest.start_ring(&mut b.frontend, 0, low);
    }
}

/// The back-end dies without a word, and the front-end knows only where the ring was when it was started: QEMU's way.
#[test]
fn a_ring_goes_on_after_a_crash_where_its_memory_says() {
    for features in KINDS {
        let mut guest = Guest::new(packed(features));
        for round in 0..4u8 {
            let net = Net::new();
            let path = net.port("a", 1);
            let mut b = net.guest("b", GuestSpec::default());
            let mut a = guest.attach(connect(&path, 2));
            // What was sent while there was no back-end: discarded while the ring is still disabled, or carried.
            wait_for("what was left", || {
                a.guest.reap();
                a.guest.rings[1].queue.free() == 64
            });
            introduce(&mut [&mut a.guest, &mut b.guest]);
            exchange(&mut b.guest, &mut a.guest, (0, 1), 1500);
            for seed in 0..37 + round {
                let sent = frame(mac(1), mac(0), 64, seed);
                a.guest.send(&sent);
                assert!(b.guest.receive().frame == sent);
            }
            wait_for("the transmit ring", || {
                a.guest.reap();
                a.guest.rings[1].queue.free() == 64
            });
            guest = a.guest;
            drop(a.frontend);
            net.wait_for_status("a", "gone", |a| a.state == PortState::Listening);
            guest.send(&frame(BROADCAST, mac(0), 99, round));
        }
    }
}

/// Address, length and flags.
type Descriptor = (u64, u32, u16);

/// Puts them at the start of the transmit ring and kicks.
fn put(port: &mut Connected, descriptors: &[Descriptor]) {
    let ring = &port.guest.rings[1];
    // From the last to the first: that one makes the chain available.
    for (index, (addr, len, flags)) in descriptors.iter().enumerate().rev() {
        let mut bytes = addr.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend((flags | 1 << 7).to_le_bytes());
        assert!(
            port.guest
                .memory
                .map
                .write(ring.config.desc + 16 * index as u64, &bytes)
        );
    }
    ring.kick.write(1).unwrap();
}

#[test]
fn a_hostile_ring_is_latched_and_nobody_else_notices() {
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;
    let endless = vec![(GUEST_BASE, 1, NEXT); 64];
    let evil: [(&str, &[Descriptor]); 5] = [
        ("loops", &endless),
        ("not mapped", &[(u64::MAX - 10, 100, 0)]),
        (
            "after a writable",
            &[(GUEST_BASE, 1, NEXT | WRITE), (GUEST_BASE, 1, 0)],
        ),
        ("indirect table of 17", &[(GUEST_BASE, 17, INDIRECT)]),
        (
            "successor",
            &[(GUEST_BASE, 16, INDIRECT | NEXT), (GUEST_BASE, 1, 0)],
        ),
    ];
    let net = Net::new();
    let path = net.port("evil", 1);
    let mut a = net.guest("a", packed(KINDS[0]));
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for (what, descriptors) in evil {
        let mut port = Guest::new(packed(KINDS[0])).connect(&path);
        let before = net.status("evil").counters.faults;
        put(&mut port, descriptors);
        net.wait_for_status("evil", what, |evil| evil.counters.faults == before + 1);
        let fault = net.status("evil").fault.unwrap_or_default();
        assert!(fault.contains(what), "{what}: {fault}");
        exchange(&mut a.guest, &mut b.guest, (1, 0), 1500);
        drop(port);
        net.wait_for_status("evil", "gone", |evil| evil.state == PortState::Listening);
    }
}

#[test]
fn a_base_beyond_the_ring_is_refused() {
    let net = Net::new();
    let path = net.port("a", 1);
    let guest = Guest::new(packed(KINDS[0]));
    let mut frontend = connect(&path, 2);
    frontend.set_owner().unwrap();
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
    frontend.set_features(guest.spec.features).unwrap();
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
    let ring = &guest.rings[1];
    frontend.set_vring_num(1, ring.config.size).unwrap();
    frontend.set_vring_base(1, 1 << 15 | 64).unwrap();
    frontend.set_vring_addr(1, &ring.vring()).unwrap();
    frontend.set_vring_kick(1, &ring.kick).unwrap_err();
    let fault = net.status("a").fault.unwrap();
    assert!(fault.contains("0x8040"), "{fault}");
}

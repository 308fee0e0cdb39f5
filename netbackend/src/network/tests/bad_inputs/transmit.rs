//! Chains on the transmit ring that no sane driver makes.
use super::{
    super::guest::{Connected, EVENT_IDX, GUEST_BASE, GuestSpec, INDIRECT_DESC, MEMORY},
    SCRATCH, Stage, expect_drops, expect_latched, frame, goes_on, mac, readable, transmit,
    writable,
};
use control::PortState;
use virtqueue::{DriverBuffer, NetHeader};

const MALFORMED: &str = "malformed";
/// The largest frame that is carried: see `datapath::frame::MAX_FRAME`.
const MAX_FRAME: usize = 65_535 + 40 + 8 + 14;

fn stage() -> (Stage, Connected, Connected) {
    Stage::new(GuestSpec::default(), GuestSpec::default())
}

/// Puts a plain header and a frame at `SCRATCH`.
fn place(a: &Connected, frame: &[u8]) {
    let header = NetHeader::default().encode();
    assert!(a.guest.memory.map.write(SCRATCH, &header));
    assert!(a.guest.memory.map.write(SCRATCH + 12, frame));
}

#[test]
fn chain_not_longer_than_the_header() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        place(&a, &frame(mac(1), mac(0), 60, 1));
        let chains: Vec<[DriverBuffer; 1]> = (0..=12).map(|len| [readable(SCRATCH, len)]).collect();
        let chains: Vec<&[DriverBuffer]> = chains.iter().map(AsRef::as_ref).collect();
        transmit(&mut a.guest, &chains);
        expect_drops(net, "a", 1, MALFORMED, 13);
        assert_eq!(b.guest.poll(0), None);
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn header_split_over_one_byte_descriptors() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        let sent = frame(mac(1), mac(0), 300, 9);
        place(&a, &sent);
        // In single bytes up to the middle of the Ethernet header; then in pieces that end inside of the header.
        for cuts in [
            &[1; 20][..],
            &[3, 3, 3, 2, 2],
            &[11, 2],
            &[1, 11],
            &[12, 13],
        ] {
            let mut chain = Vec::new();
            let mut at = 0;
            for len in cuts {
                chain.push(readable(SCRATCH + u64::from(at), *len));
                at += len;
            }
            chain.push(readable(SCRATCH + u64::from(at), 312 - at));
            transmit(&mut a.guest, &[&chain]);
            assert_eq!(b.guest.receive().frame, sent, "{cuts:?}");
        }
        assert_eq!(net.status("a").counters.tx_dropped, 0);
    });
}

#[test]
fn writable_descriptors() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        let sent = frame(mac(1), mac(0), 60, 1);
        place(&a, &sent);
        let room = SCRATCH + 8192;
        assert!(a.guest.memory.map.write(room, &[0xa5; 4096]));
        // Behind a frame: the device has nothing to write there.
        transmit(
            &mut a.guest,
            &[&[readable(SCRATCH, 72), writable(room, 4096)]],
        );
        assert_eq!(b.guest.receive().frame, sent);
        // Nothing but room: no header, no frame.
        transmit(&mut a.guest, &[&[writable(room, 4096)]]);
        expect_drops(net, "a", 1, MALFORMED, 1);
        let mut now = [0; 4096];
        assert!(a.guest.memory.map.read(room, &mut now));
        assert_eq!(now, [0xa5; 4096], "the device wrote into a transmit chain");
        goes_on(&mut a, &mut b, 1);
        // Before a frame: against virtio 1.2, 2.7.4.2, the ring cannot be trusted any more.
        let chain = [writable(room, 16), readable(SCRATCH, 72)];
        assert!(a.guest.rings[1].queue.add(&chain, 0));
        a.guest.rings[1].publish_and_kick();
        expect_latched(net, "a");
        // The other ring of the same port is as good as before.
        let back = frame(mac(0), mac(1), 60, 2);
        b.guest.send(&back);
        assert_eq!(a.guest.receive().frame, back);
    });
}

#[test]
fn zero_length_descriptors() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        let sent = frame(mac(1), mac(0), 60, 1);
        place(&a, &sent);
        // Nothing forbids them; wherever they point, they are never looked at.
        let nowhere = readable(GUEST_BASE + MEMORY, 0);
        transmit(
            &mut a.guest,
            &[&[
                nowhere,
                readable(SCRATCH, 12),
                nowhere,
                readable(SCRATCH + 12, 60),
                nowhere,
            ]],
        );
        assert_eq!(b.guest.receive().frame, sent);
        transmit(&mut a.guest, &[&[nowhere], &[nowhere; 100]]);
        expect_drops(net, "a", 1, MALFORMED, 2);
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn total_lengths() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, watch| {
        let mut malformed = 0;
        let good = [
            14, 59, 60, 1514, 1515, 1518, 1522, 9014, 65_535, 65_550, MAX_FRAME,
        ];
        let bad = [0, 1, 13, MAX_FRAME + 1, 70_000, 1 << 20];
        for len in good.into_iter().chain(bad) {
            let sent = frame(mac(1), mac(0), len.max(14), 3);
            place(&a, &sent[..len]);
            let total = u32::try_from(len + 12).unwrap();
            transmit(&mut a.guest, &[&[readable(SCRATCH, total)]]);
            if good.contains(&len) {
                assert!(b.guest.receive().frame == sent, "{len} bytes");
            } else {
                malformed += 1;
                expect_drops(net, "a", 1, MALFORMED, malformed);
            }
            watch.breathe();
        }
        goes_on(&mut a, &mut b, 1);
    });
}

#[test]
fn lengths_that_add_up_to_4_gib() {
    let (mut stage, mut a, mut b) = stage();
    stage.during(|net, _| {
        // 256 descriptors of 16 MiB each: 2^32, which is 0 to who adds in 32 bits.
        let chain = [readable(GUEST_BASE, 16 << 20); 256];
        assert!(a.guest.rings[1].queue.add(&chain, 0));
        a.guest.rings[1].publish_and_kick();
        let status = expect_latched(net, "a");
        assert!(status.fault.unwrap().contains("4 GiB"));
        assert_eq!(b.guest.poll(0), None);
    });
}

/// Something done to a guest's transmit ring, and a word of the fault that it must cause.
type Breakage = (&'static str, fn(&Connected));

/// `(addr, len, flags, next)` into the descriptor table.
fn descriptor(a: &Connected, index: u64, (addr, len, flags, next): (u64, u32, u16, u16)) {
    let mut bytes = addr.to_le_bytes().to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(next.to_le_bytes());
    let table = a.guest.rings[1].config.desc;
    assert!(a.guest.memory.map.write(table + 16 * index, &bytes));
}

/// Makes descriptor `head` available as the next chain, and `ahead` entries altogether.
fn available(a: &Connected, head: u16, ahead: u16) {
    let ring = &a.guest.rings[1];
    let mut index = [0; 2];
    assert!(a.guest.memory.map.read(ring.config.avail + 2, &mut index));
    let index = u16::from_le_bytes(index);
    let slot = u64::from(index % ring.config.size);
    let map = &a.guest.memory.map;
    assert!(map.write(ring.config.avail + 4 + 2 * slot, &head.to_le_bytes()));
    let next = index.wrapping_add(ahead).to_le_bytes();
    assert!(map.write(ring.config.avail + 2, &next));
}

#[test]
fn broken_rings() {
    const NEXT: u16 = 1;
    const INDIRECT: u16 = 4;
    let breakages: [Breakage; 10] = [
        ("loop", |a| {
            descriptor(a, 0, (SCRATCH, 1, NEXT, 1));
            descriptor(a, 1, (SCRATCH, 1, NEXT, 0));
            available(a, 0, 1);
        }),
        ("head", |a| available(a, 256, 1)),
        ("next", |a| {
            descriptor(a, 0, (SCRATCH, 1, NEXT, 256));
            available(a, 0, 1);
        }),
        ("not mapped", |a| {
            descriptor(a, 0, (u64::MAX - 3, 100, 0, 0));
            available(a, 0, 1);
        }),
        ("indirect", |a| {
            descriptor(a, 0, (SCRATCH, 16, INDIRECT | NEXT, 1));
            available(a, 0, 1);
        }),
        ("indirect", |a| {
            descriptor(a, 0, (SCRATCH, 17, INDIRECT, 0));
            available(a, 0, 1);
        }),
        ("indirect", |a| {
            descriptor(a, 0, (SCRATCH, 16 * 4096, INDIRECT, 0));
            available(a, 0, 1);
        }),
        ("not mapped", |a| {
            descriptor(a, 0, (GUEST_BASE + MEMORY - 8, 32, INDIRECT, 0));
            available(a, 0, 1);
        }),
        ("avail index", |a| available(a, 0, 257)),
        // Backwards.
        ("avail index", |a| available(a, 0, u16::MAX)),
    ];
    for (word, breakage) in breakages {
        let (mut stage, mut a, mut b) = stage();
        assert_ne!(a.guest.spec.features & INDIRECT_DESC & !EVENT_IDX, 0);
        stage.during(|net, _| {
            breakage(&a);
            a.guest.rings[1].kick.write(1).unwrap();
            let fault = expect_latched(net, "a").fault.unwrap();
            assert!(fault.contains(word), "{fault}: no word of {word}");
            let back = frame(mac(0), mac(1), 60, 2);
            b.guest.send(&back);
            assert_eq!(a.guest.receive().frame, back);
        });
    }
}

/// Found by fuzzing: a fault that came between the end of a connection and that of its rings stayed with the port.
#[test]
fn fault_while_hanging_up_is_not_left_behind() {
    let net = super::Net::new();
    let path = net.port("a", 1);
    for _ in 0..300 {
        let a = super::Guest::new(GuestSpec::default()).connect(&path);
        available(&a, 256, 1);
        a.guest.rings[1].kick.write(1).unwrap();
        drop(a);
        net.wait_for_status("a", "listening again", |a| a.state == PortState::Listening);
    }
}

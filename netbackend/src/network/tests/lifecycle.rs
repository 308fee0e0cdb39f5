//! Connections and memory that come and go.
use super::{
    BROADCAST, Net, frame,
    guest::{
        GUEST_BASE, GUEST_CSUM, Guest, GuestSpec, MEMORY, Memory, USER_BASE, connect,
        connect_stream, wait_for,
    },
    introduce, mac, port_spec,
};
use crate::network::PortTransport;
use control::PortState;
use std::{os::fd::AsRawFd, os::unix::net::UnixListener};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo,
    vhost_user::{Frontend, VhostUserFrontend},
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// One message of a handshake.
type Step<'a> = Box<dyn FnMut(&mut Frontend) + 'a>;

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn get_vring_base_answers_the_position_and_ends_all_writes() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let sent = frame(mac(1), mac(0), 1000, 1);
    for round in 0..20u16 {
        // Frames are on their way while the ring is stopped.
        for _ in 0..8 {
            a.guest.send(&sent);
        }
        let base = b.frontend.get_vring_base(0).unwrap();
        let mut taken = 0;
        while b.guest.poll(0).is_some() {
            taken += 1;
        }
        assert!(taken <= 8, "round {round}");
        // All of guest b's receive buffers are poisoned, then more is sent.
        let poison = vec![0xa5; usize::try_from(MEMORY).unwrap() - (16 << 20)];
        assert!(b.guest.memory.map.write(GUEST_BASE + (16 << 20), &poison));
        let dropped = net.status("b").counters.rx_dropped;
        for _ in 0..8 {
            a.guest.send(&sent);
        }
        net.wait_for_status("b", "drops", |b| b.counters.rx_dropped >= dropped + 8);
        assert_eq!(b.guest.poll(0), None);
        let mut now = vec![0; poison.len()];
        assert!(b.guest.memory.map.read(GUEST_BASE + (16 << 20), &mut now));
        assert!(now == poison, "round {round}: written after GET_VRING_BASE");
        b.guest
            .start_ring(&mut b.frontend, 0, u16::try_from(base).unwrap());
        a.guest.send(&sent);
        assert!(b.guest.receive().frame == sent, "round {round}");
    }
}

#[test]
fn reconnecting_again_and_again_works_and_leaks_nothing() {
    let net = Net::new();
    let path = net.port("a", 1);
    let mut other = net.guest("b", GuestSpec::default());
    let mut fds = 0;
    for round in 0..60u8 {
        let mut a = Guest::new(GuestSpec {
            // A smaller device, another one, other features.
            queue_size: [256, 64][usize::from(round % 2)],
            ..GuestSpec::default()
        })
        .connect(&path);
        let hello = frame(BROADCAST, mac(0), 100, round);
        a.guest.send(&hello);
        assert_eq!(other.guest.receive().frame, hello);
        other.guest.send(&frame(mac(0), mac(1), 100, round));
        a.guest.receive();
        drop(a);
        if round == 9 {
            net.wait_for_status("a", "listening", |a| a.state == PortState::Listening);
            fds = open_fds();
        }
    }
    net.wait_for_status("a", "listening", |a| a.state == PortState::Listening);
    // Other tests of this process open fds too.
    assert!(open_fds() < fds + 300, "{fds} fds became {}", open_fds());
}

#[test]
fn disconnecting_at_every_stage_of_the_handshake() {
    let net = Net::new();
    let path = net.port("a", 1);
    for stage in 0..12 {
        let guest = Guest::new(GuestSpec::default());
        let mut frontend = connect(&path, 2);
        let ring = &guest.rings[1];
        let region = guest.memory.region();
        let mut steps: Vec<Step<'_>> = vec![
            Box::new(|f| f.set_owner().unwrap()),
            Box::new(|f| assert_ne!(f.get_features().unwrap(), 0)),
            Box::new(|f| {
                let protocol = f.get_protocol_features().unwrap();
                f.set_protocol_features(protocol).unwrap();
            }),
            Box::new(|f| f.set_features(GuestSpec::default().features).unwrap()),
            Box::new(|f| drop(f.set_mem_table(&[region]).unwrap())),
            Box::new(|f| f.set_vring_num(1, ring.config.size).unwrap()),
            Box::new(|f| f.set_vring_base(1, 0).unwrap()),
            Box::new(|f| f.set_vring_addr(1, &ring.vring()).unwrap()),
            Box::new(|f| f.set_vring_kick(1, &ring.kick).unwrap()),
            Box::new(|f| f.set_vring_call(1, &ring.call).unwrap()),
            Box::new(|f| f.set_vring_enable(1, true).unwrap()),
        ];
        for step in steps.iter_mut().take(stage) {
            step(&mut frontend);
        }
    }
    let mut a = Guest::new(GuestSpec::default()).connect(&path);
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
}

#[test]
fn memory_regions_added_and_removed_while_running() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let more = Memory::new();
    let region = |slot: u64| VhostUserMemoryRegionInfo {
        guest_phys_addr: GUEST_BASE + (slot + 1) * 2 * MEMORY,
        memory_size: MEMORY,
        userspace_addr: USER_BASE + (slot + 1) * 2 * MEMORY,
        mmap_offset: 0,
        mmap_handle: more.file.as_raw_fd(),
    };
    for seed in 0..20 {
        let slot = u64::from(seed % 4);
        b.frontend.add_mem_region(&region(slot)).unwrap();
        let sent = frame(mac(1), mac(0), 400, seed);
        a.guest.send(&sent);
        assert_eq!(b.guest.receive().frame, sent);
        b.frontend.remove_mem_region(&region(slot)).unwrap();
        let sent = frame(mac(0), mac(1), 400, seed);
        b.guest.send(&sent);
        assert_eq!(a.guest.receive().frame, sent);
    }
    // The whole table again, rings running.
    b.frontend
        .set_mem_table(&[b.guest.memory.region()])
        .unwrap();
    let sent = frame(mac(1), mac(0), 400, 99);
    a.guest.send(&sent);
    assert_eq!(b.guest.receive().frame, sent);
}

#[test]
fn rings_stop_when_their_memory_is_removed() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let more = Memory::new();
    let other = VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: MEMORY,
        userspace_addr: 0x1000_0000,
        mmap_offset: 0,
        mmap_handle: more.file.as_raw_fd(),
    };
    b.frontend.add_mem_region(&other).unwrap();
    b.frontend
        .remove_mem_region(&b.guest.memory.region())
        .unwrap();
    assert_eq!(net.status("b").state, PortState::Connected);
    let dropped = net.status("b").counters.rx_dropped;
    a.guest.send(&frame(mac(1), mac(0), 400, 1));
    net.wait_for_status("b", "the drop", |b| b.counters.rx_dropped > dropped);
}

#[test]
fn ports_are_named_once_and_removed_once() {
    let net = Net::new();
    let path = net.port("a", 1);
    let again = UnixListener::bind(net.socket("again")).unwrap();
    let error = net
        .network
        .add_port(port_spec("a", 1), PortTransport::VhostUser(again))
        .unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    for pairs in [0, 129] {
        let socket = UnixListener::bind(net.socket(&format!("p{pairs}"))).unwrap();
        net.network
            .add_port(port_spec("p", pairs), PortTransport::VhostUser(socket))
            .unwrap_err();
    }
    let connected = Guest::new(GuestSpec::default()).connect(&path);
    assert!(net.network.remove_port("a").unwrap());
    assert!(!net.network.remove_port("a").unwrap());
    connected.frontend.get_features().unwrap_err();
    assert_eq!(net.network.report(), []);
    // The id is free again.
    for round in 0..50 {
        let name = format!("r{round}");
        net.port(&name, 1);
        assert!(net.network.remove_port(&name).unwrap());
    }
}

#[test]
fn stop_ends_connected_and_waiting_ports() {
    let net = Net::new();
    let a = net.guest("a", GuestSpec::default());
    let path = net.port("b", 1);
    let silent = connect_stream(&path);
    net.wait_for_status("b", "connected", |b| b.state == PortState::Connected);
    net.port("c", 1);
    net.network.stop();
    a.frontend.get_features().unwrap_err();
    drop(silent);
}

#[test]
fn base_other_than_zero_is_honoured() {
    // A guest whose rings have been in use for a while and whose back-end is new.
    let first = Net::new();
    let mut a = first.guest("a", GuestSpec::default());
    let mut b = first.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for seed in 0..100 {
        a.guest.send(&frame(mac(1), mac(0), 64, seed));
        b.guest.receive();
    }
    wait_for("all sent", || {
        a.guest.reap();
        a.guest.rings[1].queue.free() == 256
    });
    let bases: Vec<_> = (0..2)
        .map(|index| a.frontend.get_vring_base(index).unwrap())
        .collect();
    assert_eq!(bases[1], 101);
    let (guest, old) = (a.guest, a.frontend);
    drop(old);
    let second = Net::new();
    let path = second.port("a", 1);
    let mut frontend = connect(&path, 2);
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    frontend.set_features(guest.spec.features).unwrap();
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
    for (index, base) in bases.iter().enumerate() {
        guest.start_ring(&mut frontend, index, u16::try_from(*base).unwrap());
    }
    // Its reply says that the messages before it are done.
    frontend.get_features().unwrap();
    let mut a = super::guest::Connected { guest, frontend };
    let mut c = second.guest("c", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut c.guest]);
}

#[test]
fn features_may_change_while_rings_run() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let all = b.guest.spec.features;
    for seed in 0..40 {
        let features = if seed % 2 == 0 {
            all & !GUEST_CSUM
        } else {
            all
        };
        b.frontend.set_features(features).unwrap();
        let sent = frame(mac(1), mac(0), 700, seed);
        a.guest.send(&sent);
        assert_eq!(b.guest.receive().frame, sent);
        let back = frame(mac(0), mac(1), 700, seed);
        b.guest.send(&back);
        assert_eq!(a.guest.receive().frame, back);
    }
}

#[test]
fn control_messages_by_the_thousand_leak_nothing_and_lose_nothing() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let before = open_fds();
    for round in 0..1000u32 {
        b.frontend.set_vring_enable(0, round % 2 == 1).unwrap();
        b.frontend
            .set_vring_call(1, &b.guest.rings[1].call)
            .unwrap();
        b.frontend.set_vring_err(0, &b.guest.rings[0].call).unwrap();
        if round % 10 == 0 {
            let region = b.guest.memory.region();
            b.frontend.set_mem_table(&[region]).unwrap();
        }
        if round % 2 == 1 {
            let sent = frame(mac(1), mac(0), 100, 1);
            a.guest.send(&sent);
            assert_eq!(b.guest.receive().frame, sent);
        }
    }
    // Other tests of this process open fds too.
    assert!(open_fds() < before + 300);
}

#[test]
fn replaced_kick_fd_is_the_one_that_counts() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for seed in 0..20 {
        let ring = &mut a.guest.rings[1];
        ring.kick = EventFd::new(EFD_NONBLOCK).unwrap();
        a.frontend.set_vring_kick(1, &ring.kick).unwrap();
        let sent = frame(mac(1), mac(0), 100, seed);
        a.guest.send(&sent);
        assert_eq!(b.guest.receive().frame, sent);
    }
}

#[test]
fn memory_truncated_while_in_use_costs_its_own_port_only() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    let mut c = net.guest("c", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest, &mut c.guest]);
    // What is left holds the rings and no buffers.
    b.guest.memory.file.set_len(1 << 20).unwrap();
    let lost = frame(mac(1), mac(0), 1000, 1);
    a.guest.send(&lost);
    net.wait_for_status("b", "the fault", |b| b.state == PortState::Faulty);
    assert_eq!(
        net.status("b").fault.as_deref(),
        Some("its guest memory was truncated")
    );
    for round in 0..50 {
        let sent = frame(mac(2), mac(0), 1000, round);
        a.guest.send(&sent);
        assert!(c.guest.receive().frame == sent, "round {round}");
    }
    // Its front-end may come again, with all of its memory.
    drop(b);
    let path = net.socket("b");
    let mut b = Guest::new(GuestSpec::default()).connect(&path);
    let sent = frame(mac(1), mac(0), 1000, 2);
    a.guest.send(&sent);
    assert!(b.guest.receive().frame == sent);
}

/// VIRTIO_F_RING_RESET as front-ends carry it out: GET_VRING_BASE stops one ring, which starts again empty (virtio 1.2, 2.6.1).
#[test]
fn a_ring_is_reset_while_the_others_carry_frames() {
    const RING_RESET: u64 = 1 << 40;
    let net = Net::new();
    let spec = GuestSpec {
        features: GuestSpec::default().features | RING_RESET,
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    for seed in 0..20 {
        let back = frame(mac(0), mac(1), 200, seed);
        b.frontend.get_vring_base(0).unwrap();
        b.guest.send(&back);
        assert_eq!(a.guest.receive().frame, back);
        b.guest.reset_receive_ring();
        b.guest.start_ring(&mut b.frontend, 0, 0);
        let there = frame(mac(1), mac(0), 200, seed);
        a.guest.send(&there);
        assert_eq!(b.guest.receive().frame, there);
    }
    assert_eq!(net.status("b").counters.faults, 0);
}

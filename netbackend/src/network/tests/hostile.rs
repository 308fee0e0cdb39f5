//! What a hostile guest or front-end does costs its own queue or port only.
use super::{
    Net, frame,
    guest::{ALL, EVENT_IDX, GUEST_BASE, Guest, GuestSpec, IN_ORDER, connect, wait_for},
    introduce, mac,
};
use control::PortState;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::eventfd::{self, EfdFlags},
};
use std::{
    os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
    time::{Duration, Instant},
};
use vhost::{VhostBackend, vhost_user::VhostUserFrontend};
use virtqueue::{DriverBuffer, NetHeader};
use vmm_sys_util::eventfd::EventFd;

/// Any fd in the clothes of an eventfd, as the stock front-end wants one.
#[expect(
    unsafe_code,
    reason = "crate vmm-sys-util offers no safe way to make one of a given fd"
)]
fn disguised(fd: OwnedFd) -> EventFd {
    // SAFETY: the fd is owned and its ownership passes on.
    unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) }
}

/// Frames of `a` reach `b`.
#[track_caller]
fn exchange(a: &mut Guest, b: &mut Guest) {
    for seed in 0..50 {
        let sent = frame(mac(1), mac(0), 100, seed);
        a.send(&sent);
        assert_eq!(b.receive().frame, sent);
    }
}

/// Two other guests can still talk.
#[track_caller]
fn others_go_on(net: &Net) {
    let mut c = net.guest("c", GuestSpec::default());
    let mut d = net.guest("d", GuestSpec::default());
    c.guest.send(&frame(mac(11), mac(10), 60, 0));
    d.guest.receive();
    d.guest.send(&frame(mac(10), mac(11), 60, 0));
    wait_for("the answer", || {
        c.guest
            .poll(0)
            .is_some_and(|got| got.frame == frame(mac(10), mac(11), 60, 0))
    });
}

#[test]
fn ring_fault_latches_one_queue_and_all_else_goes_on() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let err = EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).unwrap();
    a.frontend.set_vring_err(1, &err).unwrap();
    // The avail index jumps further than the ring is long.
    let avail = a.guest.rings[1].config.avail;
    assert!(
        a.guest
            .memory
            .map
            .write(avail + 2, &30_000u16.to_le_bytes())
    );
    a.guest.rings[1].kick.write(1).unwrap();
    net.wait_for_status("a", "the fault", |a| a.state == PortState::Faulty);
    wait_for("the error fd", || err.read().is_ok());
    let status = net.status("a");
    assert_eq!(status.counters.faults, 1);
    assert!(status.fault.is_some());
    // More kicks change nothing; the receive ring of the same port still works.
    for _ in 0..100 {
        a.guest.rings[1].kick.write(1).unwrap();
    }
    let sent = frame(mac(0), mac(1), 200, 1);
    b.guest.send(&sent);
    assert_eq!(a.guest.receive().frame, sent);
    assert_eq!(net.status("a").counters.faults, 1);
    others_go_on(&net);
    // Set up anew, the port works again.
    drop(a);
    let mut a = Guest::new(GuestSpec::default()).connect(&net.socket("a"));
    introduce(&mut [&mut a.guest, &mut b.guest]);
    assert_eq!(net.status("a").state, PortState::Running);
}

#[test]
fn receive_buffer_outside_of_memory_latches_the_receive_ring() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    // Every descriptor of b's receive ring points beyond its memory.
    let desc = b.guest.rings[0].config.desc;
    for index in 0..256 {
        let nowhere = (GUEST_BASE - 4096u64).to_le_bytes();
        assert!(b.guest.memory.map.write(desc + index * 16, &nowhere));
    }
    for seed in 0..4 {
        a.guest.send(&frame(mac(1), mac(0), 100, seed));
    }
    net.wait_for_status("b", "the fault", |b| b.state == PortState::Faulty);
    net.wait_for_status("b", "drops", |b| b.counters.rx_dropped == 4);
    others_go_on(&net);
}

#[test]
fn malformed_frames_are_counted_and_completed() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    a.guest.reap();
    let at = GUEST_BASE + (3 << 20);
    let mut unknown_gso = NetHeader::default().encode();
    unknown_gso[1] = 0x77;
    assert!(a.guest.memory.map.write(at + 8192, &unknown_gso));
    let readable = |addr, len| DriverBuffer {
        addr,
        len,
        writable: false,
    };
    // No header, a part of one, only one, a runt, beyond 64 KiB, a header of unknown kind.
    let chains = [
        readable(at, 1),
        readable(at, 11),
        readable(at, 12),
        readable(at, 12 + 13),
        readable(at, 12 + 65_558),
        readable(at + 8192, 100),
    ];
    for (token, chain) in (0..).zip(chains) {
        assert!(a.guest.rings[1].queue.add(&[chain], token));
    }
    a.guest.rings[1].publish_and_kick();
    let mut completed = 0;
    wait_for("all chains", || {
        completed += a.guest.reap().len();
        completed == chains.len()
    });
    assert_eq!(net.status("a").counters.tx_dropped, 6);
    assert_eq!(net.status("a").counters.faults, 0);
    let good = frame(mac(1), mac(0), 14, 1);
    a.guest.send(&good);
    assert_eq!(b.guest.receive().frame, good);
}

#[test]
fn unusable_kick_fds() {
    let net = Net::new();
    let path = net.port("a", 1);
    let start = |kick: &EventFd| {
        let guest = Guest::new(GuestSpec::default());
        let mut frontend = connect(&path, 2);
        frontend.get_features().unwrap();
        let protocol = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(protocol).unwrap();
        frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_features(guest.spec.features).unwrap();
        frontend.set_mem_table(&[guest.memory.region()]).unwrap();
        let ring = &guest.rings[1];
        frontend.set_vring_num(1, ring.config.size).unwrap();
        frontend.set_vring_base(1, 0).unwrap();
        frontend.set_vring_addr(1, &ring.vring()).unwrap();
        let set = frontend.set_vring_kick(1, kick);
        (guest, frontend, set)
    };
    // A regular file is refused.
    let file = tempfile::tempfile().unwrap();
    let (_, _, set) = start(&disguised(file.into()));
    set.unwrap_err();
    assert_eq!(net.status("a").counters.faults, 1);
    net.wait_for_status("a", "gone", |a| a.state == PortState::Listening);
    // A pipe whose other end is closed is found out.
    let (read, write) = nix::unistd::pipe().unwrap();
    drop(write);
    let (_guest, frontend, set) = start(&disguised(read));
    set.unwrap();
    net.wait_for_status("a", "the fault", |a| a.state == PortState::Faulty);
    assert_eq!(net.status("a").counters.faults, 2);
    drop(frontend);
    others_go_on(&net);
}

#[test]
fn call_fd_that_is_full_or_closed_does_not_block() {
    let net = Net::new();
    let spec = GuestSpec {
        features: ALL & !(EVENT_IDX | IN_ORDER),
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", spec);
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    // Blocking and full to the brim.
    let full = EventFd::new(0).unwrap();
    full.write(u64::MAX - 1).unwrap();
    b.frontend.set_vring_call(0, &full).unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    drop(read);
    assert!(write.as_raw_fd() >= 0);
    a.frontend.set_vring_call(1, &disguised(write)).unwrap();
    exchange(&mut a.guest, &mut b.guest);
}

#[test]
fn call_fd_that_is_made_to_block_later_holds_nobody_up() {
    let net = Net::new();
    let spec = GuestSpec {
        features: ALL & !(EVENT_IDX | IN_ORDER),
        ..GuestSpec::default()
    };
    let mut a = net.guest("a", spec);
    let mut b = net.guest("b", spec);
    introduce(&mut [&mut a.guest, &mut b.guest]);
    let full = eventfd::EventFd::from_flags(EfdFlags::empty()).unwrap();
    let call = disguised(full.as_fd().try_clone_to_owned().unwrap());
    b.frontend.set_vring_call(0, &call).unwrap();
    b.frontend.get_features().unwrap();
    // The flag is that of the open file, which both ends have.
    let flags = OFlag::from_bits_retain(fcntl(&full, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
    // It has been called once already.
    full.read().unwrap();
    full.write(u64::MAX - 1).unwrap();
    fcntl(&full, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK)).unwrap();
    exchange(&mut a.guest, &mut b.guest);
    // A ring that starts calls, by the fd that it was given.
    let begun = Instant::now();
    for _ in 0..10 {
        b.frontend
            .set_vring_kick(0, &b.guest.rings[0].kick)
            .unwrap();
        b.frontend.get_features().unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "once was enough");
    others_go_on(&net);
}

/// A guest on port `a` whose VMM gives no kick fd.
fn without_kick_fd(net: &Net) -> super::guest::Connected {
    let path = net.port("a", 1);
    let guest = Guest::new(GuestSpec::default());
    let stream = super::guest::connect_stream(&path);
    let mut frontend = vhost::vhost_user::Frontend::from_stream(stream.try_clone().unwrap(), 2);
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    frontend.set_features(guest.spec.features).unwrap();
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
    for index in 0..2usize {
        let ring = &guest.rings[index];
        frontend.set_vring_num(index, ring.config.size).unwrap();
        frontend.set_vring_addr(index, &ring.vring()).unwrap();
        // SET_VRING_KICK (12) with VHOST_USER_VRING_NOFD_MASK.
        let mut message = Vec::new();
        for word in [12u32, 1, 8, 0x100 | u32::try_from(index).unwrap(), 0] {
            message.extend(word.to_ne_bytes());
        }
        std::io::Write::write_all(&mut &stream, &message).unwrap();
        frontend.set_vring_enable(index, true).unwrap();
    }
    frontend.get_features().unwrap();
    super::guest::Connected { guest, frontend }
}

#[test]
fn ring_without_kick_fd_is_polled() {
    let net = Net::new();
    let mut a = without_kick_fd(&net);
    let mut b = net.guest("b", GuestSpec::default());
    introduce(&mut [&mut a.guest, &mut b.guest]);
    exchange(&mut a.guest, &mut b.guest);
}

#[test]
fn ring_without_kick_fd_is_polled_while_others_are_busy() {
    // So long that two who talk keep the worker awake, and one who is silent meanwhile is no longer looked at.
    let poll_idle = Duration::from_millis(100);
    let net = Net::with_workers("test", poll_idle, 1);
    let mut a = without_kick_fd(&net);
    let mut b = net.guest("b", GuestSpec::default());
    let mut c = net.guest("c", GuestSpec::default());
    let mut d = net.guest("d", GuestSpec::default());
    let guests = [&mut a, &mut b, &mut c, &mut d].map(|connected| &mut connected.guest);
    let [a, b, c, d] = guests;
    introduce(&mut [a, b, c, d]);
    let mut talk = || {
        let sent = frame(mac(3), mac(2), 100, 0);
        c.send(&sent);
        assert_eq!(d.receive().frame, sent);
    };
    for seed in 0..3 {
        let silent = Instant::now();
        while silent.elapsed() < 3 * poll_idle {
            talk();
        }
        let sent = frame(mac(1), mac(0), 100, seed);
        a.send(&sent);
        wait_for("a frame that nobody tells of", || {
            talk();
            b.poll(0).is_some_and(|got| got.frame == sent)
        });
    }
}

#[test]
fn memory_shorter_than_announced_is_refused() {
    let net = Net::new();
    let path = net.port("a", 1);
    let guest = Guest::new(GuestSpec::default());
    let frontend = connect(&path, 2);
    frontend.get_features().unwrap();
    frontend.set_features(guest.spec.features).unwrap();
    let mut region = guest.memory.region();
    region.memory_size += 4096;
    // Without REPLY_ACK the next reply shows it.
    frontend.set_mem_table(&[region]).unwrap();
    frontend.get_features().unwrap_err();
    others_go_on(&net);
}

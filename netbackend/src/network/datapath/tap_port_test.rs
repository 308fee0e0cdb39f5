use super::*;
use crate::network::counters::Carrier;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{pipe2, write},
};
use std::os::fd::OwnedFd;
use switch::Role;

/// A file that gives a packet with each read, as a tap does, and where they come from.
fn packets() -> (TapQueue, OwnedFd) {
    let (from, to) = pipe2(OFlag::O_DIRECT | OFlag::O_NONBLOCK).unwrap();
    fcntl(&to, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    (TapQueue::new(Arc::new(File::from(from)), true), to)
}

fn send(to: &OwnedFd, count: usize) {
    for _ in 0..count {
        write(to, &[0; NET_HEADER_LEN + 60]).unwrap();
    }
}

fn shared() -> Arc<PortShared> {
    let name = "tap".to_owned();
    Arc::new(PortShared::new(name, Carrier::Tap, Role::Guest, None, 1))
}

#[test]
fn it_is_read_only_when_epoll_tells_and_more_at_once_while_there_is_more() {
    let (mut queue, to) = packets();
    let (mut frames, shared) = (Frames::new(), shared());
    let mut read = |queue: &mut TapQueue| {
        frames.clear();
        let count = queue.read_burst(BURST, &mut frames, &shared);
        assert_eq!(frames.list.len(), count);
        count
    };
    // Nobody has told of what is there at first, but nobody has looked either.
    send(&to, 2);
    assert_eq!(read(&mut queue), 1);
    assert_eq!(read(&mut queue), 0);
    queue.announce();
    assert_eq!(read(&mut queue), 1);
    // Twice as many each time that epoll tells of more right away.
    send(&to, 2 * BURST);
    let mut expected = 1;
    while expected < BURST {
        assert!(queue.is_waiting());
        expected *= 2;
        queue.announce();
        assert_eq!(read(&mut queue), expected);
    }
    // Behind a whole burst it is read without being told.
    assert!(!queue.is_waiting());
    assert_eq!(read(&mut queue), 2);
    assert!(queue.is_waiting());
}

#[test]
fn it_gives_nothing_once_its_device_is_gone() {
    let (mut queue, to) = packets();
    let (mut frames, shared) = (Frames::new(), shared());
    send(&to, 1);
    queue.latch(&"gone", &shared);
    queue.announce();
    assert_eq!(queue.read_burst(BURST, &mut frames, &shared), 0);
    assert!(queue.is_latched() && queue.is_waiting());
}

use super::*;
use std::os::unix::net::UnixDatagram;

const INDEX: u32 = 7;

fn sight(mtu: u32) -> Sight {
    Sight::Present {
        index: INDEX,
        is_up: true,
        carries: true,
        mac: None,
        mtu,
    }
}

/// One that has seen MTU 1500 last, and what tells it of others.
fn monitor() -> (Monitor, UnixDatagram) {
    let (kernel, socket) = UnixDatagram::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut monitor = Monitor::new(Nic {
        name: "e".into(),
        netns: None,
    });
    monitor.events = Some(sys::watch(socket.into()).unwrap());
    monitor.last = Some(sight(1500));
    (monitor, kernel)
}

fn tell(kernel: &UnixDatagram, mtu: u32) {
    // struct nlmsghdr and ifinfomsg: RTM_NEWLINK of the interface; then attribute IFLA_MTU.
    let mut message = [0; 40];
    message[4..6].copy_from_slice(&16u16.to_ne_bytes());
    message[20..24].copy_from_slice(&INDEX.to_ne_bytes());
    message[32..34].copy_from_slice(&8u16.to_ne_bytes());
    message[34..36].copy_from_slice(&4u16.to_ne_bytes());
    message[36..].copy_from_slice(&mtu.to_ne_bytes());
    kernel.send(&message).unwrap();
}

#[tokio::test]
async fn a_dip_that_a_look_has_told_is_not_told_again() {
    let (mut monitor, kernel) = monitor();
    tell(&kernel, 1400);
    monitor.read_events();
    assert_eq!(monitor.dip(sight(1400)), None);
    monitor.last = Some(sight(1400));
    tell(&kernel, 1500);
    monitor.read_events();
    assert_eq!(monitor.dip(sight(1500)), None);
    monitor.last = Some(sight(1500));
    // Nothing of it is left.
    monitor.read_events();
    assert_eq!(monitor.dip(sight(1500)), None);
}

#[tokio::test]
async fn a_dip_is_told_though_more_was_told_after_it() {
    let (mut monitor, kernel) = monitor();
    tell(&kernel, 1400);
    monitor.read_events();
    tell(&kernel, 1500);
    monitor.read_events();
    assert_eq!(monitor.dip(sight(1500)), Some(sight(1400)));
}

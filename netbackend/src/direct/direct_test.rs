//! With NICs of the kernel that go and return, in a namespace of the test's own; for root only.
use super::*;
use crate::uplink::testing::{ip, plug, plugged_nic};
use std::{
    collections::BTreeSet,
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

const OTHER: [u8; 6] = [0x52, 0x54, 0, 1, 3, 9];
const GROUP: [u8; 6] = [1, 0, 0x5e, 9, 9, 1];

/// `last` is of its address, of which the name of its device node is made, and /dev is one for all tests.
fn spec(last: u8) -> DirectSpec {
    DirectSpec {
        nic: "near".into(),
        mode: Mode::Bridge,
        mac: [0x52, 0x54, 0, 1, 3, last],
        queue_pairs: 1,
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}\n{}", ip("-d link"));
        thread::yield_now();
    }
}

fn macvtaps() -> String {
    ip("-o link show type macvtap")
}

#[test]
fn a_nic_that_returns_has_its_macvtap_with_the_guests_filter() {
    if !plugged_nic() {
        return;
    }
    let bare = Bare::open(&spec(0x21)).unwrap();
    let mut filter = bare.filter();
    filter.set_groups(Some(&BTreeSet::from([GROUP]))).unwrap();
    filter.set_address(OTHER).unwrap();
    eventually("it carries", || bare.carries());
    let queues = bare.queues();

    ip("link del near");
    eventually("no carrier", || !bare.carries());
    assert_eq!(macvtaps(), "");
    // What changes meanwhile holds, too.
    filter.set_promiscuous(true).unwrap();

    drop(bare.changed().read());
    plug("near");
    eventually("it carries again", || bare.carries());
    assert!(bare.changed().read().is_ok(), "who serves it is told");
    assert!(!Arc::ptr_eq(&queues, &bare.queues()));
    let again = macvtaps();
    assert!(again.contains("52:54:00:01:03:09"), "{again}");
    assert!(
        again.contains("PROMISC") && !again.contains("ALLMULTI"),
        "{again}"
    );
    assert!(ip("maddress").contains("01:00:5e:09:09:01"));
    receives_by(&bare);

    filter.restore();
    let afresh = macvtaps();
    assert!(
        afresh.contains("52:54:00:01:03:21") && afresh.contains("ALLMULTI"),
        "{afresh}"
    );
    drop(bare);
    assert_eq!(macvtaps(), "");
    // Of a macvtap that is gone for good nothing more is to be had.
    filter.set_address(OTHER).unwrap();
}

#[test]
fn an_address_that_is_lost_is_not_in_the_way_of_other_wishes() {
    if !plugged_nic() {
        return;
    }
    let bare = Bare::open(&spec(0x24)).unwrap();
    let mut filter = bare.filter();
    filter.set_address(OTHER).unwrap();
    ip("link add link near address 52:54:00:01:03:24 name taker type macvtap mode bridge");
    ip("link set taker up");
    filter.restore();
    filter.set_groups(Some(&BTreeSet::from([GROUP]))).unwrap();
    filter.set_promiscuous(true).unwrap();
    assert!(ip("maddress").contains("01:00:5e:09:09:01"));
    let refused = filter.set_address([0x52, 0x54, 0, 1, 3, 0x24]).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EADDRINUSE));
    ip("link del taker");
    filter.set_groups(None).unwrap();
    assert!(
        macvtaps().contains("52:54:00:01:03:24"),
        "it is had with the next wish"
    );
}

/// A frame for the guest comes by its first queue.
fn receives_by(bare: &Bare) {
    let queue = &bare.queues()[0];
    queue.set_attached(true).unwrap();
    ip("address add 10.9.0.1/24 dev far");
    ip("neigh add 10.9.0.2 lladdr 52:54:00:01:03:09 dev far");
    let socket = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
    let mut frame = [0; 2048];
    eventually("a frame comes", || {
        socket.send_to(b"hello", "10.9.0.2:9").unwrap();
        match queue.file().read(&mut frame) {
            Ok(len) => len > 18 && frame[12..18] == OTHER,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                false
            }
        }
    });
    queue.set_attached(false).unwrap();
}

#[test]
fn the_socket_serves_the_macvtap_of_a_nic_that_returned() {
    if !plugged_nic() {
        return;
    }
    let direct = Direct::start(&spec(0x22)).unwrap();
    let mut front_end = UnixStream::connect(direct.socket()).unwrap();
    front_end
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    ip("link del near");
    plug("near");
    // The front-end is to connect anew.
    assert_eq!(front_end.read(&mut [0]).unwrap(), 0);
    eventually("somebody listens", || {
        UnixStream::connect(direct.socket()).is_ok()
    });
    eventually("its macvtap is back", || !macvtaps().is_empty());
    let directory = direct.socket().parent().unwrap().to_owned();
    drop(direct);
    assert_eq!(macvtaps(), "");
    assert!(!directory.exists());
}

#[test]
fn a_nic_that_does_not_fit_is_tried_until_it_does() {
    if !plugged_nic() {
        return;
    }
    let bare = Bare::open(&spec(0x23)).unwrap();
    // Another one takes the name, and is too small for what the guest has been told.
    ip("link set near down");
    ip("link set near name former");
    ip("link add near mtu 1400 type veth peer name further");
    ip("link set further up");
    ip("link set near up");
    eventually("that of the former NIC is removed", || {
        macvtaps().is_empty()
    });
    assert!(!bare.carries());
    ip("link set near mtu 1500");
    eventually("it fits", || macvtaps().contains("@near") && bare.carries());
    // What is made smaller with its NIC grows with it again.
    let has_mtu = |mtu: u32| macvtaps().contains(&format!("mtu {mtu}"));
    ip("link set near mtu 1400");
    eventually("smaller", || has_mtu(1400));
    ip("link set near mtu 1500");
    eventually("as large as before", || has_mtu(1500));
}

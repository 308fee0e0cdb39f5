//! With macvtaps of the kernel, in a namespace of the test's own; for root only.
use super::*;
use crate::uplink::{
    Identity, MacvtapMode, MacvtapSpec, Nic,
    testing::{ip, plugged_nic},
};
use std::{
    fs::File,
    io::Read,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

const OTHER: [u8; 6] = [0x52, 0x54, 0, 1, 2, 4];

/// A macvtap on a NIC in a namespace of this thread's own; `last` is of its address, of which the name of its device node is made, and
/// /dev is one for all tests.
fn macvtap(mode: MacvtapMode, last: u8) -> Option<(Uplink, Filter)> {
    if !plugged_nic() {
        return None;
    }
    let mac = MacAddr([0x52, 0x54, 0, 1, 2, last]);
    let own = (mode != MacvtapMode::Passthru).then_some(mac);
    let open = Uplink::macvtap(&MacvtapSpec {
        nic: Nic {
            name: "near".into(),
            netns: None,
        },
        vlan: None,
        mode,
        identity: Identity::new(Path::new("filter-test"), "near", &mac.to_string()),
        mac: own,
        mtu: 1500,
        queues: 1,
    });
    let open = open.unwrap();
    let filter = Filter::new(&open, own).unwrap();
    Some((open, filter))
}

fn link(filter: &Filter) -> String {
    ip(&format!("link show dev {}", filter.interface))
}

fn has_joined(filter: &Filter, group: &str) -> bool {
    ip(&format!("maddress show dev {}", filter.interface)).contains(group)
}

fn groups(last: impl IntoIterator<Item = u8>) -> BTreeSet<[u8; 6]> {
    last.into_iter()
        .map(|last| [1, 0, 0x5e, 9, 9, last])
        .collect()
}

#[test]
fn the_macvtap_follows_and_is_as_before_in_the_end() {
    let Some((_open, mut filter)) = macvtap(MacvtapMode::Bridge, 0x11) else {
        return;
    };
    let afresh = link(&filter);
    assert!(afresh.contains("ALLMULTI") && afresh.contains("52:54:00:01:02:11"));
    assert!(!filter.takes_all_addresses());

    filter.set_groups(Some(&groups([1, 2]))).unwrap();
    assert!(!link(&filter).contains("ALLMULTI"));
    assert!(has_joined(&filter, "01:00:5e:09:09:01") && has_joined(&filter, "01:00:5e:09:09:02"));
    filter.set_groups(Some(&groups([2, 3]))).unwrap();
    assert!(!has_joined(&filter, "01:00:5e:09:09:01") && has_joined(&filter, "01:00:5e:09:09:03"));
    filter.set_groups(None).unwrap();
    assert!(link(&filter).contains("ALLMULTI") && !has_joined(&filter, "01:00:5e:09:09:03"));

    filter.set_groups(Some(&groups(0..64))).unwrap();
    filter.set_promiscuous(true).unwrap();
    filter.set_address(OTHER).unwrap();
    let changed = link(&filter);
    assert!(changed.contains("PROMISC") && changed.contains("52:54:00:01:02:04"));
    assert!(ip("link show dev near").contains("near"));
    filter.restore();
    assert_eq!(link(&filter), afresh);
    assert!(!has_joined(&filter, "01:00:5e:09:09"));
}

#[test]
fn an_address_of_another_macvtap_is_refused() {
    let Some((_open, mut filter)) = macvtap(MacvtapMode::Bridge, 0x12) else {
        return;
    };
    ip("link add link near address 52:54:00:01:02:04 name taken type macvtap mode bridge");
    ip("link set taken up");
    let error = filter.set_address(OTHER).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    assert!(link(&filter).contains("52:54:00:01:02:12"));
}

#[test]
fn in_mode_passthru_the_nic_keeps_its_address() {
    let Some((_open, mut filter)) = macvtap(MacvtapMode::Passthru, 0x13) else {
        return;
    };
    let (nic, afresh) = (ip("link show dev near"), link(&filter));
    assert!(filter.takes_all_addresses());
    filter.set_address(OTHER).unwrap();
    assert_eq!((ip("link show dev near"), link(&filter)), (nic, afresh));
}

#[test]
fn frames_of_other_groups_do_not_come() {
    let Some((open, mut filter)) = macvtap(MacvtapMode::Bridge, 0x14) else {
        return;
    };
    let mut queue = File::from(open.queues()[0].try_clone().unwrap());
    filter.set_groups(Some(&groups([1]))).unwrap();
    ip("address add 10.9.0.1/24 dev far");
    // The kernel's filter has 256 places, and some of the others may share the one's.
    for group in 2..=16 {
        send(group);
    }
    // Nothing overtakes: when this one is there, so are all that will ever come.
    send(1);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut came = BTreeSet::new();
    let mut packet = [0; 2048];
    while !came.contains(&1) && Instant::now() < deadline {
        let Ok(len) = queue.read(&mut packet) else {
            std::thread::yield_now();
            continue;
        };
        let destination: [u8; 6] = packet[12..18].try_into().unwrap();
        if len > 18 && destination[..5] == [1, 0, 0x5e, 9, 9] {
            came.insert(destination[5]);
        }
    }
    assert!(came.contains(&1), "{came:?}");
    assert!(came.len() < 8, "{came:?}");
}

/// A datagram to a group, from beyond the NIC; its last byte is that of the group's Ethernet address (RFC 1112, 6.4).
fn send(group: u8) {
    let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&socket);
    socket
        .set_multicast_if_v4(&Ipv4Addr::new(10, 9, 0, 1))
        .unwrap();
    let to = SocketAddr::from(([239, 9, 9, group], 9));
    socket.send_to(b"hello", &to.into()).unwrap();
}

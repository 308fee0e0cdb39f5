//! Packet sockets on a NIC that the host goes on using.
use super::{Guest, NIC, OUTSIDE, PATIENCE, Wire, text};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tests::{Daemon, PacketSocket, Process, heavy, needs_root, wait_until};

/// Address of the host by its NIC.
const HOST: &str = "10.7.0.9";
/// Of [`Guest`] 2, and of the other end of the wire.
const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0, 7, 0, 2];
const OUTSIDE_MAC: [u8; 6] = [0x52, 0x54, 0, 7, 0, 1];

fn section(wire: &Wire, more: &str) -> String {
    wire.section("n", more).replace("nic = ", "packet = ")
}

/// Whether a program of the namespace `from` gets an echo.
fn echoes(from: &tests::Namespace, address: &str) -> bool {
    let mut ping = from.command("ping");
    let ping = ping.args(["-c", "1", "-W", "1", address]);
    ping.output().unwrap().status.success()
}

#[test]
fn guests_and_host_share_a_nic_and_keep_their_frames_apart() {
    if !needs_root("guests_and_host_share_a_nic_and_keep_their_frames_apart") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    wire.host.configure(NIC, &format!("{HOST}/24"));
    let guests = [Guest::new(2), Guest::new(3)];
    let mut config = section(&wire, "queue_pairs = 2");
    for guest in &guests {
        config += &guest.section("n");
    }
    let daemon = Daemon::start(&config);
    assert_eq!(wire.more_links(), Vec::<String>::new());
    for guest in &guests {
        guest.configure();
        guest.wait_reaches(OUTSIDE);
    }
    guests[0].wait_reaches("10.7.0.3");
    let host = text(&wire.host.run(&format!("cat /sys/class/net/{NIC}/address")));
    let host: Vec<u8> = host
        .trim()
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).unwrap())
        .collect();
    let spy = PacketSocket::open(&guests[1].namespace, "eth0");
    wait_until("the host by its NIC", PATIENCE, || {
        echoes(&wire.outside, HOST).then_some(())
    });
    // A frame for the guest, behind all that were for the host.
    assert!(echoes(&wire.outside, "10.7.0.3"));
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = 0;
    while let Some(frame) = spy.receive(deadline.min(Instant::now() + Duration::from_millis(200))) {
        assert_ne!(frame[..6], host[..], "the guest sees a frame for the host");
        seen += 1;
    }
    assert!(seen > 0);
    // Large frames without finished checksums, both ways.
    let mut server = wire.outside.command("iperf3");
    let mut server = Process::start(
        "iperf3",
        daemon.directory(),
        server.args(["-s", "--forceflush"]),
    );
    server.wait_for("Server listening", PATIENCE);
    for more in [&["-n", "64M"][..], &["-n", "64M", "-R"]] {
        let mut client = guests[0].namespace.command("iperf3");
        client.args(["-c", OUTSIDE]).args(more);
        let output = client.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
    assert!(daemon.stop().success());
    assert!(wire.links().contains("promiscuity 0"), "{}", wire.links());
}

#[test]
fn the_address_of_the_host_is_followed() {
    const NEW: &str = "52:54:00:07:00:99";
    if !needs_root("the_address_of_the_host_is_followed") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    wire.host.configure(NIC, &format!("{HOST}/24"));
    let guest = Guest::new(2);
    // Without an address of its own it hears what is for nobody known.
    let mac = format!("mac = \"{}\"\n", guest.mac());
    let config = section(&wire, "") + &guest.section("n").replace(&mac, "");
    let daemon = Daemon::start(&config);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    wire.host.run(&format!("ip link set {NIC} address {NEW}"));
    wait_until("the new address", PATIENCE, || {
        let ports = daemon.network("n").ports;
        let uplink = ports.into_iter().find(|port| port.uplink)?;
        (uplink.mac.as_deref() == Some(NEW)).then_some(())
    });
    let spy = PacketSocket::open(&guest.namespace, "eth0");
    wait_until("the host by its NIC", PATIENCE, || {
        echoes(&wire.outside, HOST).then_some(())
    });
    let own = wire.outside.run("ip neigh show");
    assert!(text(&own).contains(NEW), "{}", text(&own));
    // A frame for the guest, behind all that were for the host.
    guest.wait_reaches(OUTSIDE);
    let mut seen = 0;
    let quiet = Duration::from_millis(200);
    while let Some(frame) = spy.receive(Instant::now() + quiet) {
        let host = [0x52, 0x54, 0, 7, 0, 0x99];
        assert_ne!(frame[..6], host, "the guest sees a frame for the host");
        seen += 1;
    }
    assert!(seen > 0);
    assert_eq!(daemon.network("n").restarts, 0);
}

#[test]
fn tags_beside_a_frame_are_put_back() {
    if !needs_root("tags_beside_a_frame_are_put_back") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    // The uplink's own VLAN, which guests do not see; then tags that a guest sees as they are.
    for (vlan, of_uplink, of_guest) in [(7, "vlan = 7", ""), (5, "", "trunk = [5]\n")] {
        let guest = Guest::new(2);
        let config = section(&wire, of_uplink) + &guest.section("n") + of_guest;
        let _daemon = Daemon::start(&config);
        let outside = PacketSocket::open(&wire.outside, "eth0");
        guest.namespace.run("ip link set eth0 up");
        let inside = PacketSocket::open(&guest.namespace, "eth0");
        let find = |socket: &PacketSocket, frame: &[u8]| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while let Some(seen) = socket.receive(deadline) {
                if seen == frame {
                    return;
                }
            }
            panic!("VLAN {vlan}: {frame:x?} did not arrive");
        };
        // From the guest first: the address is learned in its VLAN.
        let tag = Some(vlan).filter(|_| !of_guest.is_empty());
        inside.send(&frame(OUTSIDE_MAC, GUEST_MAC, tag));
        find(&outside, &frame(OUTSIDE_MAC, GUEST_MAC, Some(vlan)));
        outside.send(&frame(GUEST_MAC, OUTSIDE_MAC, Some(vlan)));
        find(&inside, &frame(GUEST_MAC, OUTSIDE_MAC, tag));
    }
}

fn frame(to: [u8; 6], from: [u8; 6], vlan: Option<u8>) -> Vec<u8> {
    let tag = vlan.map(|vlan| [0x81, 0, 0, vlan]);
    let tag: &[u8] = tag.as_ref().map_or(&[], |tag| tag);
    [&to[..], &from, tag, &[0x88, 0xb5], &[0x5a; 60]].concat()
}

#[test]
fn a_nic_that_goes_down_and_away_works_again_when_it_is_back() {
    if !needs_root("a_nic_that_goes_down_and_away_works_again_when_it_is_back") {
        return;
    }
    let _turn = heavy();
    let wire = Wire::new();
    let guest = Guest::new(2);
    let mut config = section(&wire, "");
    write!(config, "{}", guest.section("n")).unwrap();
    let daemon = Daemon::start(&config);
    guest.configure();
    guest.wait_reaches(OUTSIDE);
    for _ in 0..3 {
        wire.host.run(&format!("ip link set {NIC} down"));
        assert!(!guest.reaches(OUTSIDE));
        wire.host.run(&format!("ip link set {NIC} up"));
        guest.wait_reaches(OUTSIDE);
    }
    wire.pull_out();
    wait_until("the port to say so", PATIENCE, || {
        let network = daemon.network("n");
        let uplink = network.ports.iter().find(|port| port.uplink)?;
        uplink.fault.as_ref()?.contains("is gone").then_some(())
    });
    wire.plug_in();
    guest.wait_reaches(OUTSIDE);
}

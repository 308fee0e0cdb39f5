//! Guests as the wire sees them: stations of their own.
use super::{Guest, PATIENCE, Wire, text};
use std::fs;
use std::time::Duration;
use tests::{Daemon, Process, heavy, needs_root, wait_until};

/// A script of udhcpc that takes the lease.
const TAKE_LEASE: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip addr add \"$ip/$mask\" dev \"$interface\"
";

#[test]
fn guests_get_leases_from_the_wire_as_stations_of_their_own() {
    if !needs_root("guests_get_leases_from_the_wire_as_stations_of_their_own") {
        return;
    }
    let _turn = heavy();
    for attach in ["switch", "macvtap"] {
        let wire = Wire::new();
        let guests = [Guest::new(2), Guest::new(3)];
        let mut config = wire.section("n", &format!("attach = \"{attach}\""));
        for guest in &guests {
            config += &guest.section("n");
        }
        let daemon = Daemon::start(&config);
        let (capture, _server) = serve(&wire, &daemon);
        for guest in &guests {
            guest.namespace.run("ip link set eth0 up");
            take_lease(guest, &daemon);
            let address = text(&guest.namespace.run("ip -4 -o addr show eth0"));
            assert!(
                address.contains("10.7.0.1") || address.contains("10.7.0.2"),
                "{address}"
            );
            guest.wait_reaches(super::OUTSIDE);
        }
        let seen = wait_until("both stations in the capture", PATIENCE, || {
            let seen = capture.log();
            let both = guests
                .iter()
                .all(|guest| seen.contains(&format!("{} > ff:ff", guest.mac())));
            both.then_some(seen)
        });
        let nic = text(&wire.host.run("cat /sys/class/net/nic0/address"));
        let dhcp = |line: &&str| line.contains("BOOTP/DHCP, Request");
        for line in seen.lines().filter(dhcp) {
            assert!(!line.contains(nic.trim()), "by the NIC's address: {line}");
            assert!(
                guests.iter().any(|guest| line.contains(&guest.mac())),
                "{line}"
            );
        }
        let leases = fs::read_to_string(daemon.directory().join("leases")).unwrap();
        for guest in &guests {
            assert!(leases.contains(&guest.mac()), "{leases}");
        }
    }
}

/// A capture and a DHCP server at the other end of the wire.
fn serve(wire: &Wire, daemon: &Daemon) -> (Process, Process) {
    let directory = daemon.directory();
    let mut tcpdump = wire.outside.command("tcpdump");
    tcpdump.args(["-i", "eth0", "-e", "-n", "-l"]);
    let mut capture = Process::start("capture", directory, &mut tcpdump);
    capture.wait_for("listening on eth0", PATIENCE);
    let mut dnsmasq = wire.outside.command("dnsmasq");
    let leases = directory.join("leases");
    dnsmasq.args([
        "--no-daemon",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
    ]);
    dnsmasq.args(["--conf-file=/dev/null", "--user=root", "--log-dhcp"]);
    dnsmasq.arg("--dhcp-range=10.7.0.100,10.7.0.250,1h");
    dnsmasq.arg(format!("--dhcp-leasefile={}", leases.display()));
    let mut server = Process::start("dnsmasq", directory, &mut dnsmasq);
    server.wait_for("DHCP, sockets bound", PATIENCE);
    (capture, server)
}

fn take_lease(guest: &Guest, daemon: &Daemon) {
    use std::os::unix::fs::PermissionsExt;
    let script = daemon.directory().join("take-lease");
    fs::write(&script, TAKE_LEASE).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut client = guest.namespace.command("busybox");
    client.args([
        "udhcpc", "-i", "eth0", "-q", "-n", "-t", "30", "-T", "1", "-s",
    ]);
    let name = format!("udhcpc-{}", guest.last);
    let mut client = Process::start(&name, daemon.directory(), client.arg(script));
    let status = client.wait(Duration::from_mins(1));
    assert!(status.success(), "{}", client.log());
}

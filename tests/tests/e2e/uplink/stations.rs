//! Guests as the wire sees them: stations of their own.
use super::{Guest, OUTSIDE, PATIENCE, Wire, text};
use std::fs;
use std::time::Duration;
use tests::{Daemon, Process, Tshark, heavy, needs_root, wait_until};

/// A script of udhcpc that takes the lease.
const TAKE_LEASE: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip addr add \"$ip/$mask\" dev \"$interface\"
";
/// What is asked of each frame.
const FIELDS: [&str; 6] = [
    "eth.src",
    "dhcp.option.dhcp",
    "dhcp.hw.mac_addr",
    "dhcp.ip.your",
    "arp.src.hw_mac",
    "icmp.type",
];
/// Messages of DHCP, as RFC 2132 numbers them.
const DISCOVER: &str = "1";
const REQUEST: &str = "3";
const ACK: &str = "5";
/// Of ICMP.
const ECHO_REQUEST: &str = "8";
/// The DHCP server's.
const OUTSIDE_MAC: &str = "52:54:00:07:00:01";

/// A frame in [`FIELDS`].
#[derive(Debug, Clone)]
struct Seen {
    source: String,
    dhcp: String,
    /// Whom a message of DHCP is of or for.
    client: String,
    leased: String,
    arp_sender: String,
    icmp: String,
}

impl Seen {
    fn new(fields: [String; 6]) -> Self {
        let [source, dhcp, client, leased, arp_sender, icmp] = fields;
        Self {
            source,
            dhcp,
            client,
            leased,
            arp_sender,
            icmp,
        }
    }

    /// Whether the station with this address sent it and names itself in it.
    fn is_of(&self, mac: &str) -> bool {
        let names_itself =
            |named: &String| named.is_empty() || named == mac || self.source == OUTSIDE_MAC;
        self.source == mac && names_itself(&self.client) && names_itself(&self.arp_sender)
    }
}

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
        let directory = daemon.directory();
        let mut capture = Tshark::start(&wire.outside, "eth0", directory, FIELDS);
        let _server = serve(&wire, &daemon);
        let leased = guests.each_ref().map(|guest| {
            guest.namespace.run("ip link set eth0 up");
            take_lease(guest, &daemon);
            guest.wait_reaches(OUTSIDE);
            address_of(guest)
        });
        let seen = wait_until("both stations in the capture", PATIENCE, || {
            capture.must_run();
            let seen: Vec<Seen> = capture.frames().into_iter().map(Seen::new).collect();
            let pings = |guest: &Guest| {
                let of_guest = seen.iter().filter(|seen| seen.is_of(&guest.mac()));
                of_guest.clone().any(|seen| seen.icmp == ECHO_REQUEST)
            };
            guests.iter().all(pings).then_some(seen)
        });
        for (guest, leased) in guests.iter().zip(&leased) {
            expect_station(&seen, &guest.mac(), leased);
        }
        expect_no_others(&seen, &guests, &wire);
        let leases = fs::read_to_string(directory.join("leases")).unwrap();
        for (guest, leased) in guests.iter().zip(&leased) {
            let lease = format!("{} {leased} ", guest.mac());
            assert!(leases.contains(&lease), "{leases}");
        }
        capture.stop();
    }
}

/// All that makes a station, from the guest's own address.
#[track_caller]
fn expect_station(seen: &[Seen], mac: &str, leased: &str) {
    let sent = |what: &str, is_it: &dyn Fn(&Seen) -> bool| {
        let found = seen.iter().any(|seen| seen.is_of(mac) && is_it(seen));
        assert!(found, "{mac} sent no {what}: {seen:#?}");
    };
    sent("DISCOVER", &|seen| seen.dhcp == DISCOVER);
    sent("REQUEST", &|seen| seen.dhcp == REQUEST);
    sent("ARP", &|seen| seen.arp_sender == mac);
    sent("echo request", &|seen| seen.icmp == ECHO_REQUEST);
    let acknowledged = seen.iter().any(|seen| {
        seen.dhcp == ACK
            && seen.source == OUTSIDE_MAC
            && seen.client == mac
            && seen.leased == leased
    });
    assert!(acknowledged, "{leased} is not {mac}'s: {seen:#?}");
}

/// The host has sent nothing, neither for the guests nor for itself, nor has anybody else.
#[track_caller]
fn expect_no_others(seen: &[Seen], guests: &[Guest], wire: &Wire) {
    let host = text(
        &wire
            .host
            .run(&format!("cat /sys/class/net/{}/address", super::NIC)),
    );
    for frame in seen {
        assert_ne!(frame.source, host.trim(), "the host's: {frame:?}");
        let is_guests = guests.iter().any(|guest| frame.is_of(&guest.mac()));
        assert!(is_guests || frame.source == OUTSIDE_MAC, "{frame:?}");
    }
}

/// The address that a guest has taken.
#[track_caller]
fn address_of(guest: &Guest) -> String {
    let shown = text(&guest.namespace.run("ip -4 -o addr show eth0"));
    let mut words = shown.split([' ', '/']).skip_while(|word| *word != "inet");
    let address = words.nth(1).unwrap_or_default();
    assert!(address.starts_with("10.7.0."), "{shown}");
    address.to_owned()
}

/// A DHCP server at the other end of the wire.
fn serve(wire: &Wire, daemon: &Daemon) -> Process {
    let directory = daemon.directory();
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
    server
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

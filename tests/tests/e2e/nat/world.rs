//! A guest, a host and a server:
//!
//! ```text
//!   guest ns          host ns                          server ns
//!   eth0 (tap) ── netbackend ── out 192.0.2.1 ─ veth ─ in 192.0.2.2
//!                                   fd99::1               fd99::2
//! ```
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tests::{Daemon, Impairment, LossyWire, Namespace, PacketSocket, wait_until};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
pub(crate) const SERVER4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub(crate) const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2));
pub(crate) const HOST4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Does what the DHCP client says, and writes down what it was told.
const DHCP_SCRIPT: &str = r#"#!/bin/sh
case "$1" in
bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    ip route replace default via "$router" dev "$interface"
    { echo "ip=$ip"; echo "router=$router"; echo "dns=$dns"; echo "mtu=$mtu"; echo "search=$search"; } > "$DHCP_TOLD"
    ;;
esac
"#;

/// Dropped in this order: the daemon before its namespaces.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) guest: Namespace,
    /// Where the port is, if not with the guest.
    wire: Option<Namespace>,
    pub(crate) host: Namespace,
    pub(crate) server: Namespace,
}

impl World {
    /// A network `n` with these keys more, and the guest on its port `g`.
    #[track_caller]
    pub(crate) fn new(keys: &str) -> Self {
        let guest = Namespace::new("guest");
        let world = Self::with_port(keys, guest, "eth0", None);
        world.guest.run("ip link set eth0 up");
        world
    }

    /// The same with a bad wire between guest and port, and a guest that has its lease:
    ///
    /// ```text
    ///   guest ns   wire ns
    ///   eth0 ────── far ─ (the wire) ─ near ── inner ─ br0 ─ tap0 ── netbackend
    /// ```
    #[track_caller]
    pub(crate) fn behind_a_bad_wire(impairment: Impairment) -> (Self, LossyWire) {
        let (guest, wire) = (Namespace::new("guest"), Namespace::quiet("wire"));
        guest.run(&format!(
            "ip link add eth0 type veth peer name far netns {}",
            wire.name()
        ));
        wire.run("ip link add near type veth peer name inner");
        wire.run("ip link add br0 type bridge");
        wire.run("ip link set inner master br0");
        // What travels fits a wire, and carries its checksums.
        for (namespace, end) in [(&guest, "eth0"), (&wire, "inner")] {
            namespace.run(&format!("ethtool -K {end} tx off tso off gso off gro off"));
        }
        for end in ["far", "near", "inner", "br0"] {
            wire.run(&format!("ip link set {end} up"));
        }
        let ends = ["far", "near"].map(|end| PacketSocket::open(&wire, end));
        let world = Self::with_port("", guest, "tap0", Some(wire));
        if let Some(wire) = &world.wire {
            wire.run("ip link set tap0 master br0 up");
        }
        let carrying = LossyWire::between(ends, impairment);
        world.guest.run("ip link set eth0 up");
        world.lease();
        (world, carrying)
    }

    /// A network with a port, in the guest's namespace or another.
    #[track_caller]
    fn with_port(keys: &str, guest: Namespace, interface: &str, wire: Option<Namespace>) -> Self {
        let (host, server) = (Namespace::new("host"), Namespace::new("server"));
        host.run(&format!(
            "ip link add out type veth peer name in netns {}",
            server.name()
        ));
        for (namespace, interface, last) in [(&host, "out", 1), (&server, "in", 2)] {
            // Usable at once.
            namespace.script(&format!(
                "echo 0 > /proc/sys/net/ipv6/conf/{interface}/accept_dad"
            ));
            namespace.run(&format!(
                "ip addr add fd99::{last}/64 dev {interface} nodad"
            ));
            namespace.configure(interface, &format!("192.0.2.{last}/24"));
        }
        // Behind a bridge there is any station's address.
        let mac = match wire {
            None => "mac = \"52:54:00:00:00:01\"\n",
            Some(_) => "",
        };
        let config = format!(
            "[networks.n]\nmode = \"nat\"\ndns = [\"192.0.2.2\"]\n{keys}\n\
             [networks.n.ports.g]\nkind = \"tap\"\ninterface = \"{interface}\"\nnetns = \"{}\"\n{mac}",
            wire.as_ref().unwrap_or(&guest).name()
        );
        Self {
            daemon: Daemon::start_in(&host, &config),
            guest,
            wire,
            host,
            server,
        }
    }

    /// The same with a guest that has its lease.
    #[track_caller]
    pub(crate) fn leased(keys: &str) -> Self {
        let world = Self::new(keys);
        world.lease();
        world
    }

    /// Has the guest ask for a lease as stock clients do; what it was told.
    #[track_caller]
    pub(crate) fn lease(&self) -> String {
        let directory = self.daemon.directory();
        let script = directory.join("dhcp.sh");
        let told = directory.join("dhcp.told");
        fs::write(&script, DHCP_SCRIPT).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = self.guest.command("busybox");
        command
            .args([
                "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1",
            ])
            .args(["-x", "hostname:web", "-O", "mtu", "-O", "search", "-s"])
            .arg(&script)
            .env("DHCP_TOLD", &told);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "udhcpc: {errors}");
        fs::read_to_string(told).unwrap()
    }

    /// Waits for an IPv6 address that the guest made itself after a router advertisement, and for
    /// its link-local one: an advertisement that nobody asked for may come before that is its own
    /// (RFC 4862, 5.4), and DHCPv6 goes from there.
    #[track_caller]
    pub(crate) fn wait_ipv6(&self) {
        wait_until("IPv6 addresses and a route", PATIENCE, || {
            let addresses = self.guest.run("ip -6 addr show dev eth0 -tentative");
            let routes = self.guest.run("ip -6 route show default");
            let has = |output: &std::process::Output, text: &str| {
                String::from_utf8_lossy(&output.stdout).contains(text)
            };
            let addressed = has(&addresses, "inet6 fd00::") && has(&addresses, "inet6 fe80::");
            (addressed && has(&routes, "via fe80:")).then_some(())
        });
    }

    /// Connects from the guest.
    pub(crate) fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = self
            .guest
            .enter(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Listens at an address of the server, on a port that is free.
    #[track_caller]
    pub(crate) fn listen(&self, address: IpAddr) -> (TcpListener, SocketAddr) {
        listen(&self.server, SocketAddr::new(address, 0))
    }

    /// A file for the daemon's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.daemon.directory().join(name)
    }
}

#[track_caller]
pub(crate) fn listen(namespace: &Namespace, at: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = namespace.enter(|| TcpListener::bind(at)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Takes a connection, which must come.
#[track_caller]
pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    let (stream, peer) = wait_until("a connection", PATIENCE, || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    (stream, peer)
}

/// All that the peer sends until it ends.
#[track_caller]
pub(crate) fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Runs a command, which must succeed; what it printed.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

//! Guests, the host, and a server beyond it:
//!
//! ```text
//!   guest ── tap ── netbackend or slirp4netns ┐
//!   vu-gen ─ vhost-user ─ netbackend          ┤
//!                                   host ─ out ── veth ── in ─ server
//!                       the host's own programs ┘
//! ```
use super::super::{
    Programs, machine_report as report, namespace::Namespace, neighbours::Neighbours,
    process::Process,
};
use crate::exec;
use anyhow::{Context, Result};
use std::fmt;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const SERVER: &str = "192.0.2.2";
/// Where `sock-load` throws away what comes.
const SINK: u16 = 7102;
/// The network of the guest that is no namespace, and its port.
const STREAM: &str = "stream";
/// Where the host passes on what comes.
const RELAY: &str = "198.51.100.1";
/// Where iperf3 listens.
const IPERF: u16 = 5201;
/// Where guests of both gateways are by default.
const GATEWAY: &str = "10.0.2.2";

/// What is between a program and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// A tap of this MTU, and our gateway.
    Nat(u32),
    /// A tap of this MTU, and slirp4netns.
    Slirp(u32),
    /// The kernel alone: the program is on the host.
    Veth,
    /// A veth pair to the host, and a program there that passes on what connections bring: as many copies and sockets as a
    /// gateway in user space needs, and neither a tap nor a TCP of its own.
    Relay,
}

impl Way {
    const GUESTS: [Self; 4] = [
        Self::Nat(1500),
        Self::Nat(65520),
        Self::Slirp(1500),
        Self::Slirp(65520),
    ];
}

impl Way {
    /// Where the server seems to be.
    pub(super) fn server(self) -> &'static str {
        match self {
            Self::Relay => RELAY,
            _ => SERVER,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nat(mtu) => write!(f, "nat-{mtu}"),
            Self::Slirp(mtu) => write!(f, "slirp-{mtu}"),
            Self::Veth => f.write_str("veth"),
            Self::Relay => f.write_str("relay"),
        }
    }
}

/// Everything that measurements need, running. Dropped in this order: programs before what they are in.
#[derive(Debug)]
pub(super) struct World {
    _servers: [Process; 2],
    _slirps: Vec<Process>,
    pub(super) daemon: Process,
    _relay: Process,
    guests: Vec<(Way, Namespace)>,
    pub(super) host: Namespace,
    _server: Namespace,
    pub(super) directory: PathBuf,
    pub(super) sockets: PathBuf,
    /// A guest that is no namespace: `vu-gen`.
    pub(super) generator: PathBuf,
    pub(super) neighbours: Neighbours,
}

impl World {
    pub(super) fn new(programs: &Programs, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let (host, server) = (Namespace::new("host")?, Namespace::new("server")?);
        let name = server.name();
        host.run(&format!(
            "ip link add out type veth peer name in netns {name}"
        ))?;
        for (namespace, interface, last) in [(&host, "out", 1), (&server, "in", 2)] {
            namespace.run(&format!("ip addr add 192.0.2.{last}/24 dev {interface}"))?;
            namespace.run(&format!("ip link set {interface} up"))?;
        }
        let guests = Way::GUESTS
            .into_iter()
            .map(|way| Ok((way, Namespace::new(&way.to_string())?)))
            .collect::<Result<Vec<_>>>()?;
        for namespace in guests.iter().map(|(_, guest)| guest).chain([&host]) {
            namespace.widen_ports()?;
        }
        let daemon = start_daemon(programs, directory, &host, &guests)?;
        let slirps = guests.iter().filter_map(|(way, guest)| match way {
            Way::Slirp(mtu) => Some(start_slirp(directory, &host, guest, *mtu)),
            _ => None,
        });
        let slirps = slirps.collect::<Result<Vec<_>>>()?;
        let sockets = programs.sockets.clone();
        let (behind_relay, relay) = start_relay(&sockets, directory, &host)?;
        let mut serve = server.command(&format!("{} serve {SERVER}", sockets.display()));
        let mut iperf = server.command("iperf3 -s");
        let servers = [
            Process::start("sock-load", directory, &mut serve)?,
            Process::start("iperf3", directory, &mut iperf)?,
        ];
        let mut world = Self {
            _servers: servers,
            _slirps: slirps,
            daemon,
            _relay: relay,
            guests,
            host,
            _server: server,
            directory: directory.to_owned(),
            sockets,
            generator: programs.generator.clone(),
            neighbours: Neighbours::new(programs.generator.clone(), report::two_cpus()?.into()),
        };
        world.join_guests()?;
        world.guests.push((Way::Relay, behind_relay));
        Ok(world)
    }

    fn join_guests(&mut self) -> Result<()> {
        for (way, guest) in &self.guests {
            if let Way::Nat(mtu) = way {
                guest.run(&format!("ip link set eth0 mtu {mtu}"))?;
                join(guest, 15)?;
            }
            let line = format!("{} connect {SERVER} --seconds 0.01", self.sockets.display());
            // slirp4netns has its tap configured some time after its start.
            let answer = || guest.run(&line).is_ok();
            self.daemon.wait_until(&format!("way by {way}"), answer)?;
        }
        Ok(())
    }

    /// Where a stream is thrown away that the server reads.
    pub(super) fn sink() -> String {
        format!("{SERVER}:{SINK}")
    }

    /// Socket of the port for a vhost-user guest, in a network of its own.
    pub(super) fn socket(&self) -> PathBuf {
        let run = self.directory.join("run");
        run.join(STREAM).join(format!("{STREAM}.sock"))
    }

    /// Where the program is that talks to the server by this way.
    pub(super) fn near(&self, way: Way) -> Result<&Namespace> {
        if way == Way::Veth {
            return Ok(&self.host);
        }
        let found = self.guests.iter().find(|(other, _)| *other == way);
        found
            .map(|(_, guest)| guest)
            .with_context(|| format!("no guest has {way}"))
    }
}

/// Gives a guest an address and the gateway as its router.
pub(super) fn join(guest: &Namespace, last: u32) -> Result<()> {
    guest.run("ip link set eth0 up")?;
    guest.run(&format!("ip addr add 10.0.2.{last}/24 dev eth0"))?;
    guest.run(&format!("ip route add default via {GATEWAY}"))
}

/// Limits that are no part of what is measured.
pub(super) const OPEN: &str = "flows_per_guest = 50000\nnew_flows_per_second = 1000000";

fn start_daemon(
    programs: &Programs,
    directory: &Path,
    host: &Namespace,
    guests: &[(Way, Namespace)],
) -> Result<Process> {
    let mut config = String::new();
    for (way, guest) in guests {
        if let Way::Nat(mtu) = way {
            write!(
                config,
                "[networks.n{mtu}]\nmode = \"nat\"\nmtu = {mtu}\n{OPEN}\n{}",
                port(&format!("n{mtu}"), 0, guest)
            )?;
        }
    }
    write!(
        config,
        "[networks.{STREAM}]\nmode = \"nat\"\nmtu = 1500\n{OPEN}\n[networks.{STREAM}.ports.{STREAM}]\n"
    )?;
    daemon(&programs.netbackend, directory, host, &config)
}

/// Lines of a guest's port.
pub(super) fn port(network: &str, number: usize, guest: &Namespace) -> String {
    format!(
        "[networks.{network}.ports.g{number}]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"\n\
         mac = \"52:54:00:00:00:{number:02x}\"\n",
        guest.name()
    )
}

/// Starts the daemon on a host.
pub(super) fn daemon(
    program: &Path,
    directory: &Path,
    host: &Namespace,
    text: &str,
) -> Result<Process> {
    fs::create_dir_all(directory)?;
    let config = directory.join("netbackend.toml");
    fs::write(&config, text)?;
    let (program, run) = (program.display(), directory.join("run"));
    let line = format!(
        "{program} --config {} --runtime-dir {}",
        config.display(),
        run.display()
    );
    let mut daemon = Process::start("netbackend", directory, &mut host.command(&line))?;
    let status = format!(
        "{program} status --control-socket {}",
        run.join("control.sock").display()
    );
    daemon.wait_until("answer", || exec::run(&mut host.command(&status)).is_ok())?;
    Ok(daemon)
}

/// A guest on a veth pair, and the program at its other end.
fn start_relay(program: &Path, directory: &Path, host: &Namespace) -> Result<(Namespace, Process)> {
    let guest = Namespace::new("relay")?;
    let name = guest.name();
    host.run(&format!(
        "ip link add behind type veth peer name eth0 netns {name}"
    ))?;
    host.run(&format!("ip addr add {RELAY}/24 dev behind"))?;
    host.run("ip link set behind up")?;
    guest.run("ip addr add 198.51.100.2/24 dev eth0")?;
    guest.run("ip link set eth0 up")?;
    let directory = directory.join("relay");
    fs::create_dir_all(&directory)?;
    let program = program.display();
    let line = format!("{program} relay {RELAY}:{IPERF} {SERVER}:{IPERF}");
    let relay = Process::start("sock-load", &directory, &mut host.command(&line))?;
    Ok((guest, relay))
}

fn start_slirp(directory: &Path, host: &Namespace, guest: &Namespace, mtu: u32) -> Result<Process> {
    let directory = directory.join(format!("slirp-{mtu}"));
    fs::create_dir_all(&directory)?;
    let line = format!(
        "slirp4netns --netns-type=path --mtu={mtu} --configure /run/netns/{} eth0",
        guest.name()
    );
    Process::start("slirp4netns", &directory, &mut host.command(&line))
}

//! The guest in either system, and what it moves.
use super::super::{
    namespace::Namespace,
    netbackend::{Daemon, Setup},
    process::Process,
};
use super::exits;
use super::workload::Sent;
use crate::exec;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The peer's interface.
const TAP: &str = "tap0";
/// MiB of the guest.
const MEMORY: u32 = 64;
/// What the guest says on its console (`benches/bare/src/main.rs`).
const READY: u8 = b'r';
const DOT: u8 = b'.';
const LOST: u8 = b'!';
const FRAMES_PER_DOT: u64 = 64;
/// Who sends frames to the guest, and to whom: its NIC takes all. Nobody answers.
const PEER: &str = "10.9.0.1";
const ADDRESS: &str = "10.9.0.2";
const MAC: &str = "02:00:00:00:00:02";
/// The port of RFC 863.
const DISCARD: u16 = 9;
/// How many come in a second until the guest has taken some.
const FIRST_RATE: &str = "1000";
/// Bytes of such a frame, and of the headers in it: Ethernet, IPv4, UDP.
pub(super) const FULL: u64 = 1514;
const HEADERS: u64 = 42;

#[derive(Debug)]
pub(super) struct Programs {
    pub(super) netbackend: PathBuf,
    pub(super) vmm: PathBuf,
    pub(super) guest: PathBuf,
    /// `sock-load`
    pub(super) sockets: PathBuf,
}

/// Whose NIC it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    Ours,
    /// Ours, whose threads sleep as soon as there is no work.
    Sleeping,
    Qemu,
}

impl System {
    pub(super) const ALL: [Self; 3] = [Self::Ours, Self::Sleeping, Self::Qemu];
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "vmm",
            Self::Sleeping => "vmm without polling",
            Self::Qemu => "QEMU",
        })
    }
}

/// What went by in a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) time: Duration,
    /// That came out at the peer.
    pub(super) bytes: u64,
    pub(super) frames: u64,
    /// That the guest took.
    pub(super) taken: u64,
    /// How often the guest left KVM for its program, per second.
    pub(super) exits: Option<f64>,
}

/// A guest at work. Dropped in this order: programs before what they are in.
#[derive(Debug)]
pub(super) struct Guest {
    monitor: Process,
    _daemon: Option<Daemon>,
    console: PathBuf,
    namespace: Namespace,
}

impl Guest {
    /// Starts it, and waits until frames move.
    pub(super) fn start(
        system: System,
        model: &str,
        command: &str,
        programs: &Programs,
        directory: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let namespace = Namespace::new("bare")?;
        let console = directory.join("console");
        // Of the guest before.
        fs::write(&console, "")?;
        let (daemon, mut monitor) = if system == System::Qemu {
            namespace.run(&format!("ip tuntap add dev {TAP} mode tap vnet_hdr"))?;
            let monitor = qemu(&namespace, model, command, &programs.guest, &console);
            (None, monitor)
        } else {
            let daemon = daemon(system, &programs.netbackend, &namespace, directory)?;
            let poll = if system == System::Sleeping {
                ",poll_idle_us=0"
            } else {
                ""
            };
            let net = format!(
                "model={model},socket={}{poll}",
                daemon.socket("guest").display()
            );
            let mut monitor = Command::new(&programs.vmm);
            monitor.args([
                "run",
                "--no-rng",
                "--memory",
                &format!("{MEMORY}M"),
                "--net",
                &net,
            ]);
            monitor
                .arg("--serial")
                .arg(format!("file={}", console.display()));
            monitor
                .arg("--kernel")
                .arg(&programs.guest)
                .args(["--cmdline", command]);
            (Some(daemon), monitor)
        };
        namespace.run(&format!("ip link set {TAP} up"))?;
        let mut guest = Self {
            monitor: Process::start("guest", directory, &mut monitor)?,
            _daemon: daemon,
            console,
            namespace,
        };
        let console = guest.console.clone();
        let said = |letter| fs::read(&console).is_ok_and(|text| text.contains(&letter));
        guest
            .monitor
            .wait_until("frames", || said(READY) || said(LOST))?;
        if said(LOST) {
            bail!("the guest cannot do that");
        }
        Ok(guest)
    }

    /// Lets a peer send; returns who does, once the first have arrived.
    pub(super) fn sender(
        &mut self,
        program: &Path,
        what: Sent,
        directory: &Path,
    ) -> Result<Process> {
        fs::create_dir_all(directory)?;
        for line in [
            format!("ip addr add {PEER}/24 dev {TAP}"),
            format!("ip neigh add {ADDRESS} lladdr {MAC} dev {TAP} nud permanent"),
        ] {
            self.namespace.run(&line)?;
        }
        let mut command = self.namespace.command("");
        command.arg(program);
        match what {
            Sent::Datagrams => {
                command.arg("paced-datagrams");
                command.arg(format!("{ADDRESS}:{DISCARD}"));
                command.arg((FULL - HEADERS).to_string());
            }
            Sent::Segments => {
                command.args(["paced-segments", TAP]);
            }
        }
        let mut sender = Process::start("sock-load", directory, &mut command)?;
        sender.tell(FIRST_RATE)?;
        // QEMU's e1000 takes nothing for a second after it is switched on.
        let console = self.console.clone();
        let arrived = || fs::read(&console).is_ok_and(|text| text.contains(&DOT));
        self.monitor.wait_until("frames to the guest", arrived)?;
        Ok(sender)
    }

    /// What its program said.
    pub(super) fn log(&self) -> String {
        self.monitor.log()
    }

    /// What moves within `time`.
    pub(super) fn count_for(&mut self, time: Duration) -> Result<Moved> {
        let (begun, before) = (Instant::now(), self.counters()?);
        let end = begun + time;
        let exits = exits::count(self.monitor.id(), time);
        // Where nobody counts.
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let (time, after) = (begun.elapsed(), self.counters()?);
        let [bytes, frames, taken] = [0, 1, 2].map(|index| after[index] - before[index]);
        Ok(Moved {
            time,
            bytes,
            frames,
            taken,
            exits,
        })
    }

    /// Bytes and frames that came out at the peer so far, and frames that the guest took.
    fn counters(&self) -> Result<[u64; 3]> {
        let statistics = format!("/sys/class/net/{TAP}/statistics");
        let line = format!("cat {statistics}/rx_bytes {statistics}/rx_packets");
        let text = exec::stdout(&mut self.namespace.command(&line))?;
        let mut words = text.split_whitespace().map(str::parse);
        let mut next = || words.next().context("a counter")?.context("a counter");
        let (bytes, frames) = (next()?, next()?);
        let console = fs::read(&self.console)?;
        let dots = console.split(|letter| *letter == DOT).count() - 1;
        Ok([bytes, frames, u64::try_from(dots)? * FRAMES_PER_DOT])
    }
}

/// The kernel behind Debian's QEMU has not all that the machine's CPU says it has: a plain model it is.
fn qemu(
    namespace: &Namespace,
    model: &str,
    command: &str,
    guest: &Path,
    console: &Path,
) -> Command {
    let mut qemu = namespace.command("qemu-system-x86_64 -accel kvm -cpu qemu64 -machine pc");
    qemu.args(["-nodefaults", "-display", "none", "-m", &MEMORY.to_string()]);
    qemu.arg("-kernel").arg(guest).args(["-append", command]);
    qemu.arg("-serial")
        .arg(format!("file:{}", console.display()));
    qemu.arg("-netdev");
    qemu.arg(format!("tap,id=n,ifname={TAP},script=no,downscript=no"));
    qemu.arg("-device").arg(format!("{model},netdev=n"));
    qemu
}

fn daemon(
    system: System,
    program: &Path,
    namespace: &Namespace,
    directory: &Path,
) -> Result<Daemon> {
    let poll = if system == System::Sleeping {
        "poll_idle_us = 0\n"
    } else {
        ""
    };
    let setup = Setup {
        settings: format!(
            "{poll}[networks.bench.ports.out]\nkind = \"tap\"\ninterface = \"{TAP}\"\nnetns = \"{}\"\n",
            namespace.name()
        ),
        ports: vec!["guest".to_owned()],
        addresses: Vec::new(),
    };
    Daemon::start(program, directory, &setup, None)
}

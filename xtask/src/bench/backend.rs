//! What is measured: our daemon and its peers, each started alike.
use super::hugepages::Hugepages;
use super::machine_report as report;
use super::neighbours::Neighbours;
use super::netbackend::{Daemon, Setup};
use super::openvswitch::{self as switch, Forwarding, Switch};
use super::process::Process;
use super::{PORTS, Programs, build, testpmd};
use crate::setup::openvswitch::{OpenVSwitch, open_vswitch};
use crate::ui::Ui;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::PathBuf;

/// Huge pages of 2 MiB: 512 MiB for the peer's buffers, a front-end's memory twice with GSO frames, and some to spare.
const HUGEPAGES: u64 = 448;

/// A back-end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(super) enum Peer {
    /// Our daemon, bridge mode
    Netbackend,
    /// DPDK's testpmd, io forwarding between two vhost ports
    Testpmd,
    /// DPDK's testpmd, macswap: it looks at each frame
    Macswap,
    /// Open vSwitch with DPDK, action NORMAL
    Ovs,
    /// Open vSwitch with DPDK, one flow in each direction: in_port to output
    OvsFlows,
    /// No back-end: only the bytes are copied
    Memcpy,
}

impl Peer {
    /// All that forward frames.
    pub(super) const FORWARDERS: [Self; 5] = [
        Self::Netbackend,
        Self::Testpmd,
        Self::Macswap,
        Self::Ovs,
        Self::OvsFlows,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Netbackend => "netbackend",
            Self::Testpmd => "testpmd io",
            Self::Macswap => "testpmd macswap",
            Self::Ovs => "OVS NORMAL",
            Self::OvsFlows => "OVS in→out",
            Self::Memcpy => "memcpy",
        }
    }

    pub(super) fn is_ovs(self) -> bool {
        matches!(self, Self::Ovs | Self::OvsFlows)
    }
}

/// Whoever comes first finds another machine than whoever comes last.
pub(super) fn rotated<T: Copy>(list: &[T], by: u32) -> Vec<T> {
    let mut list = list.to_vec();
    let by = usize::try_from(by).unwrap_or(0) % list.len().max(1);
    list.rotate_left(by);
    list
}

/// Programs and places of a whole measurement.
pub(super) struct Bench {
    pub(super) programs: Programs,
    open_vswitch: Option<OpenVSwitch>,
    pub(super) directory: PathBuf,
    /// The CPU of the generator.
    pub(super) generator_cpu: usize,
    /// The CPU of what is measured.
    pub(super) cpu: usize,
    /// The two.
    pub(super) neighbours: Neighbours,
    _hugepages: Hugepages,
}

/// A back-end that runs, until it is dropped.
pub(super) struct Running {
    pub(super) sockets: [PathBuf; 2],
    /// Whether the generator listens.
    pub(super) listen: bool,
    /// Never read: dropping it is what it is for.
    _backend: Backend,
}

#[expect(dead_code, reason = "held until the back-end is to end")]
enum Backend {
    Daemon(Daemon),
    Testpmd(Process),
    Switch(Switch),
}

impl Bench {
    /// Builds our programs and fetches those of `peers`.
    pub(super) fn new(ui: Ui, peers: &[Peer]) -> Result<Self> {
        let (generator_cpu, cpu) = report::two_cpus()?;
        let programs = build(ui)?;
        let needs_ovs = peers.iter().any(|peer| peer.is_ovs());
        Ok(Self {
            neighbours: Neighbours::new(programs.generator.clone(), [generator_cpu, cpu]),
            programs,
            open_vswitch: needs_ovs.then(|| open_vswitch(ui)).transpose()?,
            directory: private_directory()?,
            generator_cpu,
            cpu,
            _hugepages: Hugepages::reserve(HUGEPAGES)?,
        })
    }

    /// Starts `peer` with two ports on the CPU of back-ends. `gso`: frames of 64 KiB are to go through.
    pub(super) fn start(&self, peer: Peer, gso: bool) -> Result<Running> {
        match peer {
            Peer::Netbackend => {
                let daemon = self.daemon(&Setup::default())?;
                Ok(Running {
                    sockets: PORTS.map(|port| daemon.socket(port)),
                    listen: false,
                    _backend: Backend::Daemon(daemon),
                })
            }
            Peer::Testpmd => self.start_testpmd("io"),
            Peer::Macswap => self.start_testpmd("macswap"),
            Peer::Ovs => self.start_switch(Forwarding::Normal, gso),
            Peer::OvsFlows => self.start_switch(Forwarding::PortToPort, gso),
            Peer::Memcpy => bail!("a memcpy is nothing that runs"),
        }
    }

    /// Starts our daemon on the CPU of back-ends.
    pub(super) fn daemon(&self, setup: &Setup) -> Result<Daemon> {
        let directory = self.directory.join("netbackend");
        Daemon::start(&self.programs.netbackend, &directory, setup, Some(self.cpu))
    }

    fn start_testpmd(&self, mode: &str) -> Result<Running> {
        let directory = self.directory.join("testpmd");
        let sockets = PORTS.map(|port| directory.join(format!("{port}.sock")));
        let process = testpmd::start(&directory, &sockets, self.cpu, mode)?;
        Ok(Running {
            sockets,
            listen: false,
            _backend: Backend::Testpmd(process),
        })
    }

    fn start_switch(&self, forwarding: Forwarding, gso: bool) -> Result<Running> {
        let Some(programs) = &self.open_vswitch else {
            bail!("Open vSwitch was not fetched");
        };
        let directory = self.directory.join("ovs");
        // It clears its directory; the sockets are the generator's.
        let sockets = PORTS.map(|port| self.directory.join(format!("ovs-{port}.sock")));
        let setup = switch::Setup {
            ports: switch::Ports::Sockets(&sockets),
            cpu: self.cpu,
            forwarding,
            gso,
            namespace: None,
        };
        let switch = Switch::start(programs, &directory, setup)?;
        Ok(Running {
            sockets,
            listen: true,
            _backend: Backend::Switch(switch),
        })
    }

    /// Versions of all that is measured.
    pub(super) fn versions(&self, peers: &[Peer]) -> String {
        let mut versions = vec![format!(
            "netbackend {} (bridge, learning)",
            env!("CARGO_PKG_VERSION")
        )];
        if peers.contains(&Peer::Testpmd)
            && let Some(version) = report::package_version("dpdk-dev")
        {
            versions.push(format!("dpdk-testpmd {version}"));
        }
        let open_vswitch = self.open_vswitch.as_ref();
        versions.extend(open_vswitch.and_then(|programs| programs.version().ok()));
        versions.join("; ")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Kept if somebody is in it; then it is only in the way.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Short enough for the sockets in it (108 bytes, unix(7)).
fn private_directory() -> Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
    fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory)
}

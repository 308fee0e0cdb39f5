//! Ways from a guest to the wire, each in namespaces of its own.
use super::super::{namespace::Namespace, process::Process};
use super::{flood::flood, forwarder::Forwarder};
use crate::exec;
use crate::setup::openvswitch::OpenVSwitch;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUEST: &str = "10.7.0.2";
const OUTSIDE: &str = "10.7.0.1";
pub(super) const GUEST_MAC: &str = "52:54:00:07:00:02";
/// The NIC's, and so that of all networks.
const LARGEST_MTU: u32 = 9000;
/// Of frames in buffers of DPDK's usual size.
const USUAL_MTU: u32 = 1500;
/// UDP payload of a frame that has 64 bytes on the wire, its check sequence included.
const SMALL: &str = "18";

/// What is measured.
#[derive(Debug)]
pub(in crate::bench) struct Programs {
    pub(in crate::bench) netbackend: PathBuf,
    pub(in crate::bench) generator: PathBuf,
    /// For `Kind::Ovs` and `Kind::OvsJumbo` only.
    pub(in crate::bench) open_vswitch: Option<OpenVSwitch>,
}

/// What is between guest and wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) enum Kind {
    /// Tap, our switch, macvtap in passthru mode.
    Nic,
    /// Tap, our switch, packet socket.
    Packet,
    /// Tap, our relay, macvtap in bridge mode.
    Attach,
    /// The guest's interface is a macvlan device on the NIC.
    Macvlan,
    /// The guest's interface is the NIC.
    Veth,
    /// Veth, Open vSwitch with DPDK's packet sockets, NIC.
    Ovs,
    /// Veth, Open vSwitch with its own packet sockets, NIC.
    OvsJumbo,
    /// Veth, DPDK's forwarder with its packet sockets, NIC.
    DpdkPacket,
    /// Veth, DPDK's forwarder with `AF_XDP` sockets, NIC.
    Xdp,
}

impl Kind {
    /// Those that a guest may want.
    pub(super) const ALL: [Self; 7] = [
        Self::Nic,
        Self::Packet,
        Self::Attach,
        Self::Macvlan,
        Self::Veth,
        Self::Ovs,
        Self::OvsJumbo,
    ];

    pub(in crate::bench) fn word(self) -> &'static str {
        match self {
            Self::Nic => "nic",
            Self::Packet => "packet",
            Self::Attach => "attach",
            Self::Macvlan => "macvlan",
            Self::Veth => "veth",
            Self::Ovs => "ovs",
            Self::OvsJumbo => "ovs-jumbo",
            Self::DpdkPacket => "dpdk-packet",
            Self::Xdp => "dpdk-xdp",
        }
    }

    /// DPDK's packet sockets take frames of 1518 bytes; those of Open vSwitch itself take larger ones.
    pub(super) fn takes(self, mtu: u32) -> bool {
        match self {
            Self::Ovs => mtu <= USUAL_MTU,
            Self::OvsJumbo => mtu > USUAL_MTU,
            _ => true,
        }
    }

    /// That under which its figures are shown: of Open vSwitch each workload knows one.
    pub(super) fn column(self) -> Self {
        match self {
            Self::OvsJumbo => Self::Ovs,
            other => other,
        }
    }

    pub(super) fn is_of_others(self) -> bool {
        matches!(self, Self::Ovs | Self::OvsJumbo)
    }

    /// A driver takes an XDP program only if the frames of its NIC fit in one page.
    pub(super) fn nic_mtu(self) -> u32 {
        match self {
            Self::Xdp => USUAL_MTU,
            _ => LARGEST_MTU,
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Nic | Self::Packet | Self::Attach)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who sends what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Flow {
    TcpOut,
    TcpIn,
    UdpOut,
    UdpIn,
    /// Small frames from the wire, more than any way carries.
    FloodIn,
}

/// A way that is ready. Dropped in this order: programs before what they are in.
#[derive(Debug)]
pub(in crate::bench) struct Way {
    kind: Kind,
    _server: Process,
    daemon: Option<Process>,
    forwarder: Option<Forwarder>,
    directory: PathBuf,
    guest: Namespace,
    outside: Namespace,
    _host: Namespace,
}

impl Way {
    pub(in crate::bench) fn open(
        kind: Kind,
        programs: &Programs,
        directory: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let [guest, host, outside] =
            ["guest", "host", "outside"].map(|part| Namespace::new(&format!("{kind}-{part}")));
        let (guest, host, outside) = (guest?, host?, outside?);
        let near = if kind == Kind::Veth {
            (&guest, "eth0")
        } else {
            (&host, "nic0")
        };
        let (at, name) = near;
        let far = outside.name();
        let mtu = kind.nic_mtu();
        at.run(&format!(
            "ip link add {name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {far}"
        ))?;
        at.run(&format!("ip link set {name} up"))?;
        if kind == Kind::Macvlan {
            let netns = guest.name();
            host.run(&format!(
                "ip link add link nic0 name eth0 netns {netns} type macvlan mode bridge"
            ))?;
        }
        let start = || start(kind, &programs.netbackend, directory, (&guest, &host));
        let daemon = kind.is_ours().then(start).transpose()?;
        let forwarder = Forwarder::start(kind, programs, directory, (&guest, &host, &outside))?;
        for (namespace, address) in [(&guest, GUEST), (&outside, OUTSIDE)] {
            namespace.run(&format!("ip addr add {address}/24 dev eth0"))?;
            namespace.run("ip link set eth0 up")?;
        }
        let mut server = outside.command("iperf3 -s");
        let mut server = Process::start("iperf3", directory, &mut server)?;
        server.wait_until("echo", || {
            guest.run(&format!("ping -c 1 -W 1 {OUTSIDE}")).is_ok()
        })?;
        if let Some(forwarder) = &forwarder {
            forwarder.pause(true)?;
        }
        Ok(Self {
            kind,
            _server: server,
            daemon,
            forwarder,
            directory: directory.to_owned(),
            guest,
            outside,
            _host: host,
        })
    }

    pub(in crate::bench) fn kind(&self) -> Kind {
        self.kind
    }

    /// Of both ends; the NIC's stays.
    pub(in crate::bench) fn set_mtu(&self, mtu: u32) -> Result<()> {
        for namespace in [&self.guest, &self.outside] {
            // The far end is the NIC itself: its frames may not be larger than its MTU, so the route says it.
            let route = format!("ip route replace 10.7.0.0/24 dev eth0 mtu lock {mtu}");
            namespace.run(&route)?;
        }
        Ok(())
    }

    /// Gb/s that arrived; of small frames, Mpps.
    pub(in crate::bench) fn run(&self, flow: Flow, seconds: u32) -> Result<f64> {
        let Some(forwarder) = &self.forwarder else {
            return self.measure(flow, seconds);
        };
        forwarder.pause(false)?;
        let figure = self.measure(flow, seconds);
        forwarder.pause(true)?;
        figure
    }

    fn measure(&self, flow: Flow, seconds: u32) -> Result<f64> {
        let options = match flow {
            Flow::TcpOut => String::new(),
            Flow::TcpIn => "-R".to_owned(),
            Flow::UdpOut => format!("-u -b 0 -l {SMALL}"),
            Flow::UdpIn => format!("-u -b 0 -l {SMALL} -R"),
            Flow::FloodIn => {
                let directory = self.directory.join("flood");
                let arrived = || self.counter("rx_packets");
                return flood(&self.outside, &directory, GUEST_MAC, arrived, seconds);
            }
        };
        let line = format!("iperf3 -J -c {OUTSIDE} -t {seconds} {options}");
        let text = exec::stdout(&mut self.guest.command(&line))
            .with_context(|| format!("iperf3 over {}", self.kind))?;
        let report: Value = serde_json::from_str(&text).context("iperf3's report")?;
        let end = report.get("end").context("iperf3's report has no end")?;
        let figure = |section: &str, key: &str| {
            let value = end.get(section).and_then(|section| section.get(key));
            let value = value.and_then(Value::as_f64);
            value.with_context(|| format!("iperf3's report has no end.{section}.{key}"))
        };
        match flow {
            Flow::TcpOut | Flow::TcpIn => Ok(figure("sum_received", "bits_per_second")? / 1e9),
            Flow::UdpOut | Flow::UdpIn | Flow::FloodIn => {
                let (sent, lost) = (figure("sum", "packets")?, figure("sum", "lost_packets")?);
                Ok((sent - lost) / figure("sum", "seconds")? / 1e6)
            }
        }
    }

    /// System calls of our worker per 1000 small frames to the wire; `None`: no program of ours is on this way.
    pub(super) fn system_calls(&self, seconds: u32) -> Option<Result<f64>> {
        let daemon = self.daemon.as_ref()?;
        Some(self.trace(daemon, seconds))
    }

    fn trace(&self, daemon: &Process, seconds: u32) -> Result<f64> {
        let children = format!("/proc/{0}/task/{0}/children", daemon.id());
        let worker = fs::read_to_string(children)?;
        let log = self.directory.join("strace");
        let mut strace = Command::new("strace");
        strace
            .args(["-c", "-f", "-p", worker.trim(), "-o"])
            .arg(&log);
        let before = self.frames()?;
        let mut strace = Process::start("strace", &self.directory, &mut strace)?;
        let attached = self.directory.join("strace.log");
        strace.wait_until("attached thread", || {
            fs::read_to_string(&attached).is_ok_and(|text| text.contains("attached"))
        })?;
        self.run(Flow::UdpOut, seconds)?;
        drop(strace);
        let frames = self.frames()? - before;
        if frames == 0 {
            bail!("no frame went by {}", self.kind);
        }
        let text = fs::read_to_string(&log)?;
        let total = text.lines().find(|line| line.ends_with("total"));
        let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
        let calls = calls.with_context(|| format!("strace counted nothing: {text}"))?;
        #[expect(clippy::cast_precision_loss, reason = "frames of seconds fit")]
        Ok(calls * 1000.0 / frames as f64)
    }

    /// Frames that the guest's interface has sent and received.
    fn frames(&self) -> Result<u64> {
        Ok(self.counter("tx_packets")? + self.counter("rx_packets")?)
    }

    fn counter(&self, name: &str) -> Result<u64> {
        let line = format!("cat /sys/class/net/eth0/statistics/{name}");
        let text = exec::stdout(&mut self.guest.command(&line))?;
        text.trim().parse().context("a counter")
    }
}

fn start(
    kind: Kind,
    netbackend: &Path,
    directory: &Path,
    (guest, host): (&Namespace, &Namespace),
) -> Result<Process> {
    let key = if kind == Kind::Packet {
        "packet"
    } else {
        "nic"
    };
    let attach = if kind == Kind::Attach {
        "macvtap"
    } else {
        "switch"
    };
    let config = directory.join("netbackend.toml");
    fs::write(
        &config,
        format!(
            "[networks.n.uplink]\n{key} = \"nic0\"\nnetns = \"{}\"\nattach = \"{attach}\"\n\
             [networks.n.ports.g]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"\n\
             mac = \"{GUEST_MAC}\"\n",
            host.name(),
            guest.name()
        ),
    )?;
    let mut command = Command::new(netbackend);
    command.arg("--config").arg(&config);
    command.arg("--runtime-dir").arg(directory.join("run"));
    let mut daemon = Process::start("netbackend", directory, &mut command)?;
    let log = directory.join("netbackend.log");
    daemon.wait_until("ready daemon", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("is ready"))
    })?;
    Ok(daemon)
}

//! Types of the control API.
use crate::{NatStatus, PortFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

/// The whole daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Process id of the supervisor.
    pub pid: u32,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// Networks, by name.
    pub networks: Vec<NetworkStatus>,
}

/// Forwarding mode of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Learning bridge.
    Bridge,
    /// Guests reach only the uplink, never each other.
    Private,
    /// Everything leaves by the uplink; the next bridge's hairpin brings it back.
    Vepa,
    /// One guest owns the uplink.
    Passthrough,
    /// User-mode gateway.
    Nat,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Passthrough => "passthrough",
            Self::Nat => "nat",
        })
    }
}

/// Life of a network's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkState {
    /// The worker is being started (again).
    Starting,
    /// Frames flow.
    Running,
    /// The worker died too often; the daemon waits before the next try.
    Failed,
}

impl fmt::Display for NetworkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
        })
    }
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// Name.
    pub name: String,
    /// Mode.
    pub mode: Mode,
    /// MTU offered to guests.
    pub mtu: u16,
    /// That of the network's NIC, while it is smaller: larger frames are lost there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nic_mtu: Option<u32>,
    /// Life of the worker.
    pub state: NetworkState,
    /// Process id of the worker, while there is one.
    pub worker_pid: Option<u32>,
    /// How often the worker was restarted.
    pub restarts: u64,
    /// Why the worker died last.
    #[serde(default)]
    pub last_fault: Option<Fault>,
    /// The worker answered; otherwise states and counters of the ports are not known.
    #[serde(default = "yes")]
    pub responsive: bool,
    /// Datapath threads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerStatus>,
    /// Ports, by name.
    pub ports: Vec<PortStatus>,
    /// The gateway, of a network in mode `nat` whose worker has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat: Option<NatStatus>,
}

/// A datapath thread of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Number, from 0.
    pub worker: u16,
    /// The CPU that it is pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// Thousandths of its time in which it carried frames, over the last 200 ms; 0 while it sleeps.
    pub busy_permille: u16,
}

fn yes() -> bool {
    true
}

/// What a port is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum PortKind {
    /// A vhost-user socket.
    VhostUser {
        /// The socket.
        socket: PathBuf,
        /// The front-end listens on it and the daemon connects; otherwise the daemon listens.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        client: bool,
    },
    /// A tap device.
    Tap {
        /// Interface name.
        interface: String,
        /// Network namespace it lives in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        netns: Option<String>,
    },
    /// A NIC of the host.
    Nic {
        /// Its name.
        nic: String,
        /// Network namespace it lives in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        netns: Option<String>,
        /// Outside, frames have the tag of this VLAN.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A NIC of the host by packet sockets.
    Packet {
        /// Its name.
        nic: String,
        /// Network namespace it lives in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        netns: Option<String>,
    },
}

/// What a port may do; by default everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortPolicy {
    /// Frames that lie about their sender (source address, ARP, IPv6 neighbour discovery) are dropped.
    pub anti_spoofing: bool,
    /// With anti-spoofing: IP addresses that it may use; none: any.
    pub addresses: Vec<IpAddr>,
    /// Exchanges no frames with other isolated ports.
    pub isolated: bool,
    /// Broadcast, multicast and unknown unicast frames per second that it may send.
    pub storm_limit: Option<u32>,
    /// VLAN of frames without tag; with `trunk`: the native one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// VLANs of tagged frames, as ranges: first and last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trunk: Vec<[u16; 2]>,
    /// Bits per second from the guest.
    pub limit_from_guest: Option<u64>,
    /// Bits per second to the guest.
    pub limit_to_guest: Option<u64>,
}

impl PortPolicy {
    /// Whether it forbids nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a port carries frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// No front-end is connected.
    Listening,
    /// The front-end does not listen yet, or not any more.
    Connecting,
    /// A front-end is connected, its driver is not running.
    Connected,
    /// Frames flow.
    Running,
    /// A queue is latched as faulty.
    Faulty,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "listening",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Running => "running",
            Self::Faulty => "faulty",
        })
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Name, unique in its network.
    pub name: String,
    /// What it is made of.
    #[serde(flatten)]
    pub kind: PortKind,
    /// The way out of the network.
    #[serde(default)]
    pub uplink: bool,
    /// Fixed or first learned address.
    #[serde(default)]
    pub mac: Option<String>,
    /// What it may do, if that is not everything.
    #[serde(default, skip_serializing_if = "PortPolicy::is_default")]
    pub policy: PortPolicy,
    /// What comes by its macvtap, if its guest may choose that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<PortFilter>,
    /// Whether it carries frames.
    pub state: PortState,
    /// Negotiated virtio features, by name.
    #[serde(default)]
    pub features: Vec<String>,
    /// Queue pairs in use.
    #[serde(default)]
    pub queue_pairs: u16,
    /// The latched fault of a faulty port.
    #[serde(default)]
    pub fault: Option<String>,
    /// The newest fault, even if it is over.
    #[serde(default)]
    pub last_fault: Option<Fault>,
    /// Queues that are latched as faulty.
    #[serde(default)]
    pub faulty_queues: u16,
    /// Counters since the worker started.
    #[serde(default)]
    pub counters: PortCounters,
}

/// Counters of a port, seen from the guest: `tx` is what the guest sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortCounters {
    /// Frames from the guest.
    pub tx_frames: u64,
    /// Bytes from the guest.
    pub tx_bytes: u64,
    /// Frames from the guest that went nowhere (policy, malformed).
    pub tx_dropped: u64,
    /// Frames to the guest.
    pub rx_frames: u64,
    /// Bytes to the guest.
    pub rx_bytes: u64,
    /// Frames to the guest that found no room.
    pub rx_dropped: u64,
    /// Frames segmented or checksummed in software for the guest.
    pub software_offloads: u64,
    /// Latched ring faults.
    pub faults: u64,
    /// Wake-ups by the guest (or by a tap that had frames).
    pub kicks: u64,
    /// Interrupts sent to the guest.
    pub calls: u64,
    /// Completions that the guest wanted no interrupt for.
    pub calls_suppressed: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Sentence for people.
    pub message: String,
    /// How long ago it was.
    pub seconds_ago: u64,
}

/// Direction of a queue, seen from the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The guest receives.
    Rx,
    /// The guest transmits.
    Tx,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        })
    }
}

/// A port with its queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDetail {
    /// The port, its counters being the sums of its queues.
    #[serde(flatten)]
    pub port: PortStatus,
    /// The first pair of queues and all that were used since the worker started.
    pub queues: Vec<QueueStatus>,
}

/// One queue: a ring of a vhost-user port, or one direction of a tap queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Number of the queue pair.
    pub queue_pair: u16,
    /// Direction.
    pub direction: Direction,
    /// Latched as faulty.
    #[serde(default)]
    pub faulty: bool,
    /// The datapath thread that serves it, if it is a queue that the guest transmits by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// Counters since the worker started.
    #[serde(flatten)]
    pub counters: QueueCounters,
}

/// Counters of a queue, as in DPDK's vhost library.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueCounters {
    /// Good frames.
    pub frames: u64,
    /// Their bytes, without FCS.
    pub bytes: u64,
    /// Good frames by size.
    pub sizes: SizeBins,
    /// Good frames to a group other than broadcast.
    pub multicast: u64,
    /// Good frames to everybody.
    pub broadcast: u64,
    /// Frames that were dropped.
    pub dropped: u64,
    /// The same by reason; reasons that never occurred are left out.
    pub drops: BTreeMap<String, u64>,
    /// Frames segmented or checksummed in software.
    pub software_offloads: u64,
    /// Wake-ups by the guest (or by a tap that had frames).
    pub kicks: u64,
    /// Interrupts sent to the guest.
    pub calls: u64,
    /// Completions that the guest wanted no interrupt for.
    pub calls_suppressed: u64,
    /// Times that the queue was latched as faulty.
    pub faults: u64,
}

/// Frames by size in bytes, without FCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SizeBins {
    /// Less than 64.
    pub undersize: u64,
    /// 64.
    pub size_64: u64,
    /// 65 to 127.
    pub size_65_127: u64,
    /// 128 to 255.
    pub size_128_255: u64,
    /// 256 to 511.
    pub size_256_511: u64,
    /// 512 to 1023.
    pub size_512_1023: u64,
    /// 1024 to 1518.
    pub size_1024_1518: u64,
    /// 1519 and more.
    pub size_1519_and_more: u64,
}

/// What a new network should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// Name.
    pub name: String,
    /// The keys of a section `[networks.NAME]` of the configuration file, ports included.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// What a new port should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortRequest {
    /// Name; the daemon picks one when it is missing.
    pub name: Option<String>,
    /// Fixed MAC address.
    pub mac: Option<String>,
    /// Queue pairs at most (default 8; 1 for a tap).
    pub queue_pairs: Option<u16>,
    /// Remove the port when the process that asked for it is gone.
    pub lease: bool,
    /// Other keys of a section `[networks.NETWORK.ports.NAME]` of the configuration file.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// What a reload of the configuration has done. Ports are written `NETWORK/PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadReport {
    /// Networks and ports that are new.
    pub added: Vec<String>,
    /// Networks and ports that are gone.
    pub removed: Vec<String>,
    /// Networks and ports with other settings; their guests reconnect.
    pub changed: Vec<String>,
    /// Networks that went on as if nothing had happened.
    pub untouched: Vec<String>,
    /// What the configuration asks for and could not be had.
    pub failed: Vec<String>,
    /// What looks like a mistake, and changes at run time that the file overrides.
    pub warnings: Vec<String>,
}

/// Whether everything works.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// There are no problems.
    pub healthy: bool,
    /// What does not work now.
    pub problems: Vec<String>,
    /// What went wrong before and is over.
    pub notes: Vec<String>,
    /// Networks.
    pub networks: u64,
    /// Networks whose worker runs and answers.
    pub networks_running: u64,
    /// Ports.
    pub ports: u64,
    /// Ports that carry frames.
    pub ports_running: u64,
    /// Restarts of workers, all networks together.
    pub worker_restarts: u64,
    /// Queues that are latched as faulty.
    pub faulty_queues: u64,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", remedy.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
pub struct ApiError {
    /// Stable word for programs: `no-such-network`, `no-such-port`, `not-found` (no such path),
    /// `network-exists`, `port-exists`, `conflict`, `forbidden`, `bad-request`, `bad-config`, `unavailable`, `internal`.
    pub code: String,
    /// Sentence for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

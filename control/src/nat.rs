//! Types of the control API about gateways.
use crate::PortCounters;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr};

/// The gateway of a network in mode `nat`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NatStatus {
    /// Flows and mappings.
    pub flows: u64,
    /// Sockets of the host that it has open.
    pub sockets: u64,
    /// Counters since the worker started.
    pub counters: NatCounters,
    /// Counters of its DNS server since the worker started.
    pub dns: DnsCounters,
    /// Counters of its port in the network: `tx` is what the gateway sent.
    pub port: PortCounters,
}

/// Counters of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NatCounters {
    /// Frames from guests.
    pub frames_in: u64,
    /// Frames to guests.
    pub frames_out: u64,
    /// Bytes from guests.
    pub bytes_in: u64,
    /// Bytes to guests.
    pub bytes_out: u64,
    /// TCP flows that were made.
    pub tcp_opened: u64,
    /// TCP connections that the world refused or did not answer.
    pub tcp_refused: u64,
    /// TCP flows that ended by a reset or a timeout.
    pub tcp_aborted: u64,
    /// TCP segments sent again.
    pub tcp_retransmits: u64,
    /// UDP mappings that were made.
    pub udp_opened: u64,
    /// ICMP echo mappings that were made.
    pub echo_opened: u64,
    /// Connections and datagrams that came by a forward.
    pub forwarded: u64,
    /// ICMP errors sent to guests.
    pub icmp_errors: u64,
    /// What went no further, by reason; reasons that never occurred are left out.
    pub drops: BTreeMap<String, u64>,
}

/// Counters of a gateway's DNS server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsCounters {
    /// Questions of guests.
    pub queries: u64,
    /// Answered from what is known of the network itself.
    pub local: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// Asked of servers of the world, each attempt counted.
    pub forwarded: u64,
    /// Asked of servers of the world, none of which was of help.
    pub failed: u64,
    /// Refused, as the guest or all together had too many under way.
    pub over_quota: u64,
}

/// A flow through a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// tcp, udp or icmp.
    pub protocol: String,
    /// The world began it, by a forward.
    pub inbound: bool,
    /// MAC address of the guest.
    pub mac: String,
    /// The guest's end.
    pub guest: SocketAddr,
    /// The other end, as the guest sees it.
    pub remote: SocketAddr,
    /// State, like established.
    pub state: String,
    /// Bytes of payload from the guest.
    pub sent: u64,
    /// Bytes of payload to the guest.
    pub received: u64,
    /// Bytes that lie in buffers.
    pub buffered: u64,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
}

/// An address that DHCP gave away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The address.
    pub address: std::net::IpAddr,
    /// MAC address of the guest, as far as it is known.
    #[serde(default)]
    pub mac: Option<String>,
    /// What the guest calls itself.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Seconds until it ends.
    pub expires_in_seconds: u64,
    /// It is reserved for this guest.
    #[serde(default)]
    pub reserved: bool,
}

/// A port of the host that leads to a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardStatus {
    /// As it is written.
    pub forward: String,
    /// Why it does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What a new forward should be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForwardRequest {
    /// As it is written in the configuration file.
    pub forward: String,
}

//! The section `[networks.NAME.uplink]`: the network's way out by an interface of the host.
use super::{
    NetworkConfig, PortConfig, SocketAccess, TransportConfig,
    port::{Claims, claim},
    section::Section,
    value::{self, LAST_VLAN, Wrong},
};
use crate::network::MAX_QUEUE_PAIRS;
use control::{Mode, PortPolicy};
use std::fmt;
use switch::Role;

/// Name of the port that the section makes.
pub(crate) const PORT: &str = "uplink";

const KEYS: &[&str] = &[
    "nic",
    "tap",
    "packet",
    "bridge",
    "attach",
    "vlan",
    "netns",
    "queue_pairs",
];

/// A way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkConfig {
    /// What frames leave by.
    pub device: UplinkDevice,
    /// Named network namespace that the interface is in; the daemon's own without.
    pub netns: Option<String>,
    /// Outside, frames have the tag of this VLAN.
    pub vlan: Option<u16>,
}

/// What frames leave by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UplinkDevice {
    /// A NIC that the network has to itself: a macvtap in passthru mode, made by the daemon.
    Nic(String),
    /// A NIC that its host goes on using: packet sockets.
    Packet(String),
    /// A tap, made by the daemon, and the bridge that it becomes a port of.
    Tap {
        /// Name of the tap.
        interface: String,
        /// Name of the bridge.
        bridge: Option<String>,
    },
}

/// Each guest has a macvtap of its own on this NIC, in the network's mode; the kernel switches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachConfig {
    /// The NIC.
    pub nic: String,
    /// Named network namespace that it is in; the daemon's own without.
    pub netns: Option<String>,
    /// Outside, frames have the tag of this VLAN.
    pub vlan: Option<u16>,
}

impl UplinkConfig {
    /// The interface that must be there, and what it is for; a tap is made.
    pub(crate) fn nic(&self) -> Option<&str> {
        match &self.device {
            UplinkDevice::Nic(nic) | UplinkDevice::Packet(nic) => Some(nic),
            UplinkDevice::Tap { bridge, .. } => bridge.as_deref(),
        }
    }
}

impl fmt::Display for UplinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            UplinkDevice::Nic(nic) => write!(f, "nic {nic}")?,
            UplinkDevice::Packet(nic) => write!(f, "packet sockets on {nic}")?,
            UplinkDevice::Tap { interface, bridge } => {
                write!(f, "tap {interface}")?;
                if let Some(bridge) = bridge {
                    write!(f, " in bridge {bridge}")?;
                }
            }
        }
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        if let Some(netns) = &self.netns {
            write!(f, " in netns {netns}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attach {
    Switch,
    Macvtap,
}

const ATTACH: &[(&str, Attach)] = &[("switch", Attach::Switch), ("macvtap", Attach::Macvtap)];

/// Reads the section, if there is one, into its network.
pub(super) fn read(
    network: &mut Section<'_, '_, '_>,
    config: &mut NetworkConfig,
    claims: &mut Claims,
) {
    let Some(table) = network.table("uplink") else {
        return;
    };
    let is_taken = network.tables("ports").iter().any(|port| port.name == PORT);
    if is_taken {
        let wrong = Wrong::new(
            "the section [uplink] makes a port of this name",
            "rename that port, or remove the section",
        );
        network.problem("ports", wrong);
    }
    let offset = table.span.start;
    let mut section = Section::new(&table.path, offset, table.table, KEYS, network.diagnostics);
    let netns = section.get("netns", value::netns);
    let vlan = section.get("vlan", value::integer(1, LAST_VLAN));
    let attach = section.get("attach", value::word(ATTACH));
    let queue_pairs = section.get("queue_pairs", value::integer(1, MAX_QUEUE_PAIRS));
    let Some(device) = device(&mut section) else {
        return;
    };
    // Guests share a NIC, and so may networks if each has a VLAN of its own there.
    if attach != Some(Attach::Macvtap) {
        let (key, interface) = claimed(&device);
        let name = match vlan {
            Some(vlan) if key == "nic" => format!("{interface} vlan {vlan}"),
            _ => interface.to_owned(),
        };
        let what = (netns.clone(), name.clone());
        claim(&mut claims.interfaces, what, &mut section, key, || name);
    }
    if attach == Some(Attach::Macvtap) {
        let UplinkDevice::Nic(nic) = device else {
            let wrong = Wrong::new(
                "only a NIC carries macvtaps",
                "write nic = \"NIC\", or remove attach",
            );
            return section.problem("attach", wrong);
        };
        config.attach = Some(AttachConfig { nic, netns, vlan });
        return;
    }
    if matches!(device, UplinkDevice::Packet(_)) && config.mode == Mode::Passthrough {
        let wrong = Wrong::new(
            "a guest in mode passthrough has its NIC alone, and packet sockets share it with the host",
            "write nic = \"NIC\", or another mode",
        );
        section.problem("packet", wrong);
    }
    config.ports.push(PortConfig {
        name: PORT.into(),
        role: Role::Uplink,
        mac: None,
        policy: policy(&device, vlan),
        queue_pairs: queue_pairs.unwrap_or(1),
        socket_access: SocketAccess::DEFAULT,
        trust_filters: None,
        transport: TransportConfig::Uplink(UplinkConfig {
            device,
            netns,
            vlan,
        }),
    });
}

/// Exactly one of them.
fn device(section: &mut Section<'_, '_, '_>) -> Option<UplinkDevice> {
    let kinds = ["nic", "tap", "packet"];
    let given: Vec<_> = kinds.into_iter().filter(|key| section.has(key)).collect();
    let [kind] = given[..] else {
        let message = match given[..] {
            [] => "an uplink needs an interface of the host".to_owned(),
            _ => format!("an uplink is one of {}", given.join(" and ")),
        };
        let remedy = "write nic = \"NIC\", packet = \"NIC\" or tap = \"NAME\"";
        let key = given.last().copied().unwrap_or("nic");
        section.problem(key, Wrong::new(message, remedy));
        return None;
    };
    let bridge = section.get("bridge", value::interface);
    if bridge.is_some() && kind != "tap" {
        let wrong = Wrong::new(
            "only a tap becomes a port of a bridge",
            "write tap = \"NAME\", or remove bridge",
        );
        section.problem("bridge", wrong);
    }
    let interface = section.get(kind, value::interface)?;
    Some(match kind {
        "nic" => UplinkDevice::Nic(interface),
        "packet" => UplinkDevice::Packet(interface),
        _ => UplinkDevice::Tap { interface, bridge },
    })
}

/// What nobody else may have.
fn claimed(device: &UplinkDevice) -> (&'static str, &str) {
    match device {
        UplinkDevice::Nic(nic) => ("nic", nic),
        UplinkDevice::Packet(nic) => ("packet", nic),
        UplinkDevice::Tap { interface, .. } => ("tap", interface),
    }
}

/// Without a kernel's VLAN interface below it, the switch puts tags on.
fn policy(device: &UplinkDevice, vlan: Option<u16>) -> PortPolicy {
    let tag = vlan.filter(|_| !matches!(device, UplinkDevice::Nic(_)));
    PortPolicy {
        trunk: tag.map(|vlan| [vlan, vlan]).into_iter().collect(),
        ..PortPolicy::default()
    }
}

/// Guests of a network whose uplink tags are in its VLAN, unless they are told another.
pub(super) fn tag_guests(config: &mut NetworkConfig) {
    let Some(vlan) = config.guest_vlan() else {
        return;
    };
    for port in &mut config.ports {
        let policy = &mut port.policy;
        if port.role == Role::Guest && policy.vlan.is_none() && policy.trunk.is_empty() {
            policy.vlan = Some(vlan);
        }
    }
}

impl NetworkConfig {
    /// VLAN of guests that are told none.
    pub(super) fn guest_vlan(&self) -> Option<u16> {
        let uplink = self.ports.iter().find_map(|port| match &port.transport {
            TransportConfig::Uplink(uplink) => Some(uplink),
            _ => None,
        })?;
        match uplink.device {
            UplinkDevice::Nic(_) => None,
            UplinkDevice::Tap { .. } | UplinkDevice::Packet(_) => uplink.vlan,
        }
    }

    /// The key of the section that names that NIC.
    pub(crate) fn nic_key(&self) -> &'static str {
        let device = self.ports.iter().find_map(|port| match &port.transport {
            TransportConfig::Uplink(uplink) => Some(&uplink.device),
            _ => None,
        });
        match device {
            Some(UplinkDevice::Packet(_)) => "packet",
            Some(UplinkDevice::Tap { .. }) => "bridge",
            Some(UplinkDevice::Nic(_)) | None => "nic",
        }
    }

    /// The NIC that decides the MTU: name, namespace.
    pub(crate) fn nic(&self) -> Option<(&str, Option<&str>)> {
        if let Some(attach) = &self.attach {
            return Some((&attach.nic, attach.netns.as_deref()));
        }
        self.ports.iter().find_map(|port| match &port.transport {
            TransportConfig::Uplink(uplink) => Some((uplink.nic()?, uplink.netns.as_deref())),
            _ => None,
        })
    }
}

//! Why there is no way out.
use crate::{
    netns::NetnsError,
    privilege::{Device, Privileges},
};
use std::{io, path::PathBuf};
use switch::MacAddr;

/// Each with its remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UplinkError {
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error("there is no interface {nic}{place} (`ip link` shows what there is)")]
    Missing { nic: String, place: String },
    #[error("interface {nic} is no Ethernet NIC (choose one that `ip link` shows as link/ether)")]
    NotEthernet { nic: String },
    #[error("interface {nic} is down (take it up with `ip link set {nic} up`)")]
    Down { nic: String },
    #[error(
        "interface {nic} is a port of {controller} already (release it with `ip link set {nic} nomaster`, or use tap = \"…\" with bridge = \"{controller}\")"
    )]
    Enslaved { nic: String, controller: String },
    #[error(
        "interface {nic} is in use: {user} is on top of it (remove that one, or choose another NIC; networks with attach = \"macvtap\" can share one)"
    )]
    Busy { nic: String, user: String },
    #[error(
        "mtu {mtu} is larger than that of interface {nic}, {largest} (lower mtu, or raise the other with `ip link set {nic} mtu {mtu}`)"
    )]
    Mtu { nic: String, mtu: u16, largest: u32 },
    #[error(
        "address {mac} is in use on interface {nic} (give the port another mac, or remove what has it)"
    )]
    AddressInUse { nic: String, mac: MacAddr },
    #[error(
        "another netbackend makes interfaces here whose runtime directory is {} as well, in another container (choose another directory with --runtime-dir)",
        .0.display()
    )]
    Claimed(PathBuf),
    #[error(
        "interface {0} exists already: made by another netbackend whose runtime directory has the same path, or left behind in a container that is gone (choose another --runtime-dir, or remove it with `ip link del {0}`)"
    )]
    NameTaken(String),
    #[error("interface {0} is no bridge (make one with `ip link add {0} type bridge`)")]
    NotABridge(String),
    #[error("the kernel has no {0} devices (load the module with `modprobe {0}`)")]
    NoModule(&'static str),
    #[error("to {operation} is not permitted (netbackend needs {capability}: {privileges})")]
    NotPermitted {
        operation: &'static str,
        capability: &'static str,
        /// All that its uplink takes.
        privileges: Privileges,
    },
    #[error(
        "to {operation} is forbidden, though netbackend has {capability}: its container or unit does not let it use devices (allow `--device-cgroup-rule 'c {major}:* rwm'`, or DeviceAllow=char-macvtap rwm; a user namespace, or a /dev mounted with nodev, never will)"
    )]
    DeviceForbidden {
        operation: &'static str,
        capability: &'static str,
        major: u64,
    },
    #[error("{operation} of {interface}: {source}")]
    Io {
        operation: &'static str,
        interface: String,
        source: io::Error,
    },
}

impl UplinkError {
    /// Whether all that is wrong is that the interface is not there yet, or not up.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Down { .. })
    }

    /// An error of a request to the kernel about `interface`.
    pub(super) fn io(operation: &'static str, interface: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted {
                operation,
                capability: "CAP_NET_ADMIN",
                privileges: Privileges::default(),
            },
            _ => Self::Io {
                operation,
                interface: interface.to_owned(),
                source,
            },
        }
    }

    /// The same for what takes CAP_NET_RAW.
    pub(super) fn for_want_of_raw(mut self) -> Self {
        if let Self::NotPermitted { capability, .. } = &mut self {
            *capability = "CAP_NET_RAW and CAP_NET_ADMIN";
        }
        self
    }

    /// The same, with all that such a device takes as the remedy.
    pub(super) fn making(mut self, device: Device, netns: Option<&str>) -> Self {
        if let Self::NotPermitted { privileges, .. } = &mut self {
            *privileges = Privileges::new(device, netns);
        }
        self
    }
}

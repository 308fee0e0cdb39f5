//! NICs that are not there yet, or not up: a network runs without its own, and takes it when it comes.
use super::port::Port;
use crate::{
    config::NetworkConfig,
    uplink::{Nic, UplinkError},
};
use std::path::Path;
use tracing::warn;

/// What it means for a port that its NIC is not there yet, or not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It cannot be opened: who asks for it now is told.
    Refused,
    /// It waits: nobody is there to try again when the host starts, and other networks have their NICs.
    Awaited,
}

/// Whether all that is wrong is that an interface is not there yet, or not up.
pub(super) fn is_absence(wrong: &anyhow::Error) -> bool {
    let wrong = wrong.downcast_ref::<UplinkError>();
    wrong.is_some_and(UplinkError::is_absence)
}

/// What a port says whose interface has not been there yet.
pub(super) fn awaited(wrong: &anyhow::Error) -> String {
    format!("{wrong:#}; the port works as soon as it is there and up")
}

/// Says what a network goes without, where that is asked for, and what to do.
pub(super) fn tell(network: &NetworkConfig, file: &Path, wrong: &anyhow::Error) {
    let (name, file) = (&network.name, file.display());
    let key = network.nic_key();
    let cause = wrong.root_cause();
    warn!(
        "{file}: networks.{name}.uplink.{key}: {cause}; network {name} runs without it, and takes it as soon as it is there and up"
    );
}

/// The interface that decides the network's MTU.
pub(super) fn nic_of(network: &NetworkConfig) -> Option<Nic> {
    let (nic, netns) = network.nic()?;
    Some(Nic {
        name: nic.to_owned(),
        netns: netns.map(str::to_owned),
    })
}

/// Why the first port that waits for its interface does so.
pub(super) fn of_ports(ports: &[Port]) -> Option<&anyhow::Error> {
    let wires = ports.iter().filter_map(|port| port.wire.as_ref());
    wires.into_iter().find_map(|wire| wire.absence())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn only_what_may_come_by_itself_is_waited_for() {
        let nic = || "eth9".to_owned();
        let is_waited_for = |wrong: UplinkError| {
            let wrong = Err::<(), _>(wrong).context("open port n/uplink");
            is_absence(&wrong.unwrap_err())
        };
        let place = String::new();
        assert!(is_waited_for(UplinkError::Missing { nic: nic(), place }));
        assert!(is_waited_for(UplinkError::Down { nic: nic() }));
        assert!(!is_waited_for(UplinkError::NotEthernet { nic: nic() }));
        let (mtu, largest) = (1500, 1400);
        assert!(!is_waited_for(UplinkError::Mtu {
            nic: nic(),
            mtu,
            largest
        }));
        let controller = "br0".to_owned();
        assert!(!is_waited_for(UplinkError::Enslaved {
            nic: nic(),
            controller
        }));
        assert!(!is_absence(&anyhow::anyhow!("no such socket")));
    }
}

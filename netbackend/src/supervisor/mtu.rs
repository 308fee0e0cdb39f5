//! The MTU of a network, and that of its NIC.
use super::{absence::nic_of, network::NetworkTask, wire::take_mtu_of_nic};
use crate::{
    config::NetworkConfig,
    uplink::{self, Nic, Sight},
};
use tracing::{info, warn};

/// Whether the network's MTU is that of a NIC that is not there, or not up: it may be given another before it is.
pub(super) fn awaits_mtu(network: &NetworkConfig) -> bool {
    network.mtu_of_nic && nic_of(network).is_some_and(|nic| !uplink::is_up(&nic))
}

impl NetworkTask {
    /// Follows the MTU of a NIC that ports are on, and tells what that means. The network's own stays: its guests have been told.
    pub(super) fn follow_mtu(&mut self, nic: &Nic, sight: Sight) {
        let now = match sight {
            Sight::Present { mtu, .. } => Some(mtu),
            Sight::Gone => None,
        };
        let before = std::mem::replace(&mut self.nics.mtu, now);
        let (Some(before), Some(now)) = (before, now) else {
            return;
        };
        if now > before {
            self.raise_mtu(nic, sight);
        }
        if now == before {
            return;
        }
        let (network, nic, mtu) = (&self.config.name, &nic.name, self.config.mtu);
        if now < mtu.into() {
            warn!(
                network,
                "the MTU of interface {nic} is {now} now: frames that are larger are lost there, and the network has mtu {mtu} (raise the other with `ip link set {nic} mtu {mtu}`, or set mtu = {now} and reload)"
            );
        } else {
            info!(
                network,
                mtu, "the MTU of interface {nic} is {now} now: the network's fits"
            );
        }
    }

    fn raise_mtu(&self, nic: &Nic, sight: Sight) {
        let Sight::Present { index, mtu, .. } = sight else {
            return;
        };
        let wires = self.ports.iter().filter_map(|(port, entry)| {
            let wire = entry.port.wire.as_ref()?;
            wire.is_on(nic, index).then_some((port, wire))
        });
        for (port, wire) in wires {
            if let Err(error) = wire.raise_mtu(mtu) {
                warn!(
                    network = self.config.name,
                    port, "follow the MTU of interface {}: {error:#}", nic.name
                );
            }
        }
    }

    /// That of the NIC that ports are on, if it is too small for the network's.
    pub(super) fn smaller_mtu_of_nic(&self) -> Option<u32> {
        let mut wires = self.ports.values().filter_map(|e| e.port.wire.as_ref());
        let has_nic = wires.any(|wire| wire.is_open() && wire.nic().is_some());
        self.nics
            .mtu
            .filter(|mtu| has_nic && *mtu < self.config.mtu.into())
    }

    /// The settings with the MTU of their NIC as it is now: it may have come since they were read.
    pub(super) fn with_mtu_of_now(&self, mut network: NetworkConfig) -> NetworkConfig {
        let same_nic = network.mtu_of_nic && nic_of(&network) == nic_of(&self.config);
        if take_mtu_of_nic(&mut network).is_err() && same_nic {
            // It has gone again; its guests have been told.
            network.mtu = self.config.mtu;
        }
        network
    }

    /// Whether the network awaits the MTU of its NIC with these settings. To be asked before the NIC's is read: it may come up in between.
    pub(super) fn awaits_mtu_with(&self, network: &NetworkConfig) -> bool {
        let of_same = |config: &NetworkConfig| (config.mtu_of_nic, nic_of(config));
        // The guests on a NIC that has been up have been told.
        let is_open = self.awaits_mtu || of_same(network) != of_same(&self.config);
        is_open && awaits_mtu(network)
    }

    /// Takes over the MTU of a NIC that was not there, or not up, when the network was put on it. Whoever sets a NIC up does so before it is up.
    pub(super) async fn settle_mtu(&mut self, nic: &Nic, sight: Sight) {
        let Sight::Present {
            mtu, is_up: true, ..
        } = sight
        else {
            return;
        };
        // The settings that come take it over, or it is told again (`take_wires_back`).
        if self.hands_over || !self.awaits_mtu || nic_of(&self.config).as_ref() != Some(nic) {
            return;
        }
        self.awaits_mtu = false;
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        if !self.config.mtu_of_nic || mtu == self.config.mtu {
            return;
        }
        info!(
            network = self.config.name,
            nic = nic.name,
            mtu,
            "the network takes over the MTU of its NIC"
        );
        let network = NetworkConfig {
            mtu,
            ..self.config.clone()
        };
        for wrong in self.reconfigure(network).await {
            warn!("{wrong}");
        }
    }
}

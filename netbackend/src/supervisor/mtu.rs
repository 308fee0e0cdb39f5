//! The MTU of a network, and that of its NIC.
use super::{absence::nic_of, network::NetworkTask};
use crate::{
    config::NetworkConfig,
    uplink::{Nic, Sight},
};
use tracing::{info, warn};

impl NetworkTask {
    /// Takes over the MTU of a NIC that was not there when the network started.
    pub(super) async fn settle_mtu(&mut self, nic: &Nic, sight: Sight) {
        let Sight::Present { mtu, .. } = sight else {
            return;
        };
        if !self.awaits_mtu || nic_of(&self.config).as_ref() != Some(nic) {
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

//! Opening all that a network needs, at the start of the daemon.
use super::{
    absence::{self, Absent},
    forward::OpenForward,
    mtu::awaits_mtu,
    port::Port,
    registry::{OpenNetwork, Registry},
    wire::take_mtu_of_nic,
};
use crate::{
    config::{NetworkConfig, PortConfig},
    uplink::Wanted,
};
use anyhow::Context;
use std::path::PathBuf;
use tracing::error;

impl Registry {
    /// Opens a network. What was added at run time and cannot be had is left out; what is on a NIC that is not there waits for it.
    pub(super) fn open_network(&self, mut network: NetworkConfig) -> anyhow::Result<OpenNetwork> {
        let is_down = awaits_mtu(&network);
        let absence = match take_mtu_of_nic(&mut network) {
            Err(wrong) if absence::is_absence(&wrong) => Some(wrong),
            done => {
                done?;
                None
            }
        };
        self.runtime_dir.make_network_dir(&network.name)?;
        let mut ports = Vec::new();
        let mut left_out = Vec::new();
        for config in &network.ports {
            match self.open_port(&network, config, Absent::Awaited) {
                Ok(port) => ports.push(port),
                Err(wrong) if self.lock().state.has_added(&network.name, &config.name) => {
                    error!("{wrong:#}; left out (`netbackend reload` tries again)");
                    left_out.push(config.name.clone());
                }
                Err(wrong) => return Err(wrong),
            }
        }
        network.ports.retain(|port| !left_out.contains(&port.name));
        let forwards = self.open_forwards(&mut network)?;
        if let Some(wrong) = absence.as_ref().or(absence::of_ports(&ports)) {
            absence::tell(&network, &self.place_of(&network.name), wrong);
        }
        Ok(OpenNetwork {
            // One that is down may be given another before it comes up.
            awaits_mtu: is_down || absence::of_ports(&ports).is_some(),
            config: network,
            ports,
            forwards,
        })
    }

    /// The file that asks for a network.
    fn place_of(&self, network: &str) -> PathBuf {
        let definitions = self.lock();
        let file = self.options.file.as_ref();
        match file.filter(|_| !definitions.state.has_network(network)) {
            Some(file) => file.clone(),
            None => definitions.base.config.state_file.clone(),
        }
    }

    /// Opens forwards. Those that were added at run time and cannot be had are left out.
    fn open_forwards(&self, network: &mut NetworkConfig) -> anyhow::Result<Vec<OpenForward>> {
        let mut open = Vec::new();
        let wanted = network.nat.iter().flat_map(|nat| &nat.forwards);
        for forward in wanted {
            match OpenForward::open(&network.name, forward) {
                Ok(forward) => open.push(forward),
                Err(wrong) if self.lock().state.has_added_forward(&network.name, forward) => {
                    error!("{wrong:#}; left out (`netbackend reload` tries again)");
                }
                Err(wrong) => return Err(wrong),
            }
        }
        if let Some(nat) = &mut network.nat {
            nat.forwards = open.iter().map(|open| open.forward.clone()).collect();
        }
        Ok(open)
    }

    pub(super) fn open_port(
        &self,
        network: &NetworkConfig,
        config: &PortConfig,
        absent: Absent,
    ) -> anyhow::Result<Port> {
        let runtime_dir = self.runtime_path();
        let (inherited, wanted) = (&self.inherited, Wanted::default());
        Port::open(network, config, inherited, &runtime_dir, absent, wanted)
            .with_context(|| format!("open port {} of network {}", config.name, network.name))
    }
}

//! Removals for good: what a network can do without, and a state in which what was removed does not come
//! back with the next start.
use super::{
    registry::{Definitions, Registry},
    request::{invalid, refusal},
    state::{self, State},
};
use crate::config::{Overrides, TransportConfig};
use control::ApiError;
use nat::forward::Forward;
use std::{fs, io::ErrorKind, sync::Arc};
use tracing::{info, warn};

impl Registry {
    /// Removes a network for good. Must not be cancelled: spawn it.
    pub(crate) async fn remove_network(self: Arc<Self>, name: String) -> Result<(), ApiError> {
        let _turn = self.turn.lock().await;
        // One that could not be had at the start does not run, and is kept for the next.
        if !self.lock().state.has_network(&name) {
            self.network(&name)?;
        }
        self.keep(|definitions| {
            let is_in_file = definitions.is_in_file(&name);
            definitions.state.remove_network(&name, is_in_file);
        });
        self.end(&name).await;
        self.forget_leases(&name);
        info!(network = name, "network removed");
        Ok(())
    }

    /// Another network of that name has other guests.
    fn forget_leases(&self, network: &str) {
        let path = self.lease_path(network);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                warn!(network, %error, "remove {}", path.display());
            }
            _ => {}
        }
    }

    /// Removes a port for good; it is closed when this returns. Must not be cancelled: spawn it.
    pub(crate) async fn remove_port(
        self: Arc<Self>,
        network: String,
        port: String,
    ) -> Result<(), ApiError> {
        let handle = self.network(&network)?;
        let overrides = &self.options.overrides;
        self.lock().check_removal(overrides, &network, &port)?;
        let removed = handle.remove_port(port.clone()).await;
        // It is gone from here even if its worker does not answer in time.
        if !handle.has_port(&port) {
            self.keep(|definitions| definitions.forget_port(&network, &port));
        }
        removed
    }

    /// Ends a forward, for good. Must not be cancelled: spawn it.
    pub(crate) async fn remove_forward(
        self: Arc<Self>,
        network: String,
        forward: Forward,
    ) -> Result<(), ApiError> {
        let handle = self.network(&network)?;
        handle.remove_forward(forward.clone()).await?;
        self.keep(|definitions| {
            let is_configured = definitions.has_configured_forward(&network, &forward);
            let state = &mut definitions.state;
            state.remove_forward(&network, &forward, is_configured);
            definitions.change_forwards(&network, |forwards| {
                forwards.retain(|found| *found != forward);
            });
        });
        Ok(())
    }
}

impl Definitions {
    fn is_in_file(&self, network: &str) -> bool {
        let mut networks = self.base.config.networks.iter();
        networks.any(|found| found.name == network)
    }

    /// Whether the forward is the file's, or came with its network.
    fn has_configured_forward(&self, network: &str, forward: &Forward) -> bool {
        let mut without = self.state.clone();
        without.remove_forward(network, forward, false);
        let sections = self.base.sections_with(|networks| without.apply(networks));
        let section = sections.get(network).and_then(|section| section.as_table());
        section.is_some_and(|section| state::has_forward(section, forward))
    }

    /// Whether a network can do without a port: at the next start, too.
    fn check_removal(
        &self,
        overrides: &Overrides,
        network: &str,
        port: &str,
    ) -> Result<(), ApiError> {
        let defined = self.defined.get(network);
        let found = defined.and_then(|network| network.ports.iter().find(|p| p.name == port));
        let Some(found) = found else {
            // It is on lease, or not there.
            return Ok(());
        };
        if matches!(found.transport, TransportConfig::Uplink(_)) {
            return Err(refusal(
                "conflict",
                format!("port {network}/{port} is made by the section [networks.{network}.uplink]"),
                "remove that section and run `netbackend reload`, or remove the network",
            ));
        }
        let without = self.without_port(network, port);
        let fits = |state: &State| self.base.with(overrides, |networks| state.apply(networks));
        match fits(&without) {
            // What does not fit for other reasons is none of this port's business.
            Err(wrong) if fits(&self.state).is_ok() => Err(refusal(
                "conflict",
                format!(
                    "network {network} cannot do without port {port}: {}",
                    invalid(&wrong).message
                ),
                "change the configuration file and run `netbackend reload`, or remove the network",
            )),
            _ => Ok(()),
        }
    }

    /// The state after the removal of a port.
    fn without_port(&self, network: &str, port: &str) -> State {
        let mut without = self.state.clone();
        without.remove_port(network, port, false);
        // Still there without its addition: then it is the file's, or came with its network.
        let is_configured = self
            .base
            .sections_with(|networks| without.apply(networks))
            .get(network)
            .and_then(|section| section.get("ports"))
            .is_some_and(|ports| ports.get(port).is_some());
        without.remove_port(network, port, is_configured);
        without
    }

    /// A port was removed: it must not come back with the next start.
    fn forget_port(&mut self, network: &str, port: &str) {
        let Some(defined) = self.defined.get_mut(network) else {
            return;
        };
        let before = defined.ports.len();
        defined.ports.retain(|found| found.name != port);
        if defined.ports.len() == before {
            return self.state.end_lease(network, port);
        }
        self.state = self.without_port(network, port);
    }
}

#[cfg(test)]
#[path = "removal_test.rs"]
mod tests;

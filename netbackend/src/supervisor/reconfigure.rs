//! Other settings for a network that runs.
use super::{
    network::NetworkTask,
    wire::{RELEASED, Wire},
};
use crate::config::NetworkConfig;
use control::NetworkState;
use tracing::info;

impl NetworkTask {
    /// Closes the interfaces that are others with these settings, until [`Self::reconfigure`] makes them.
    pub(super) fn release_wires(&mut self, network: &NetworkConfig) {
        self.hands_over = true;
        let mut released = Vec::new();
        for (name, entry) in &mut self.ports {
            if entry.port.release_wire(network, &self.runtime_dir) {
                entry.port.fault = Some(RELEASED.into());
                released.push(name.clone());
            }
        }
        for port in released {
            self.take_wire(&port);
        }
        self.publish_ports();
    }

    /// Opens again what [`Self::release_wires`] closed: no other settings have come.
    pub(super) fn take_wires_back(&mut self) {
        if !std::mem::take(&mut self.hands_over) {
            return;
        }
        let wires = self.ports.values_mut().filter_map(|e| e.port.wire.as_mut());
        wires.for_each(Wire::take_back);
        self.rewire();
        // What has come of NICs meanwhile was not taken over: all are looked at anew.
        self.nics.follow(Vec::new());
        self.unpark();
    }

    /// Goes on with what a reload asks for. What could not be had is told.
    pub(super) async fn take_over(&mut self, network: NetworkConfig) -> Vec<String> {
        self.awaits_mtu = self.awaits_mtu_with(&network);
        let network = self.with_mtu_of_now(network);
        self.reconfigure(network).await
    }

    /// Replaces the worker by one with other settings; its front-ends reconnect. What could not be had is told.
    pub(super) async fn reconfigure(&mut self, network: NetworkConfig) -> Vec<String> {
        self.hands_over = false;
        info!(
            network = network.name,
            "settings changed, starting the worker again"
        );
        // Its taps and listening sockets must be free before the next one has them.
        self.stop_worker().await;
        let mut wrong = self.adapt_wires(&network);
        if network.mtu != self.config.mtu {
            wrong.extend(self.reopen_taps(network.mtu));
        }
        let forwards = network.nat.as_ref().map(|nat| nat.forwards.clone());
        self.config = network;
        wrong.extend(self.set_forwards(&forwards.unwrap_or_default()));
        let outcomes = self.requests.worker_gone();
        self.removing.clear();
        for outcome in outcomes {
            self.settle(outcome);
        }
        self.publish(NetworkState::Starting);
        self.unpark();
        wrong
    }

    /// Makes the interfaces of ports anew that are others now. A port whose interface cannot be had stays, and waits for it: guests
    /// on lease come back to it.
    fn adapt_wires(&mut self, network: &NetworkConfig) -> Vec<String> {
        // All that goes before all that comes: ports share a NIC.
        let ports = self.ports.iter_mut();
        let due = ports.filter_map(|(name, entry)| {
            let port = &mut entry.port;
            port.adapt_wire(network, &self.runtime_dir)
                .then_some((name, port))
        });
        let due: Vec<_> = due.collect();
        let wrong = due.into_iter().filter_map(|(name, port)| {
            let why = port.rewire().err()?;
            Some(format!("open port {}/{name} again: {why}", network.name))
        });
        wrong.collect()
    }

    /// Makes the taps of guests anew; one that cannot be had is gone.
    fn reopen_taps(&mut self, mtu: u16) -> Vec<String> {
        let mut wrong = Vec::new();
        self.ports.retain(|port, entry| {
            let reopened = entry.port.reopen_tap(mtu);
            if let Err(error) = &reopened {
                let network = &self.config.name;
                wrong.push(format!("open port {network}/{port} again: {error:#}"));
            }
            reopened.is_ok()
        });
        wrong
    }
}

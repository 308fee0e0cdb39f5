//! Ports whose interfaces go and come back: closed when they go, opened again when they are back.
use super::{
    absence::nic_of,
    network::{NetworkTask, borrowed},
    nic_watch::NicWatch,
    port::Port,
    requests::Waiting,
    wire::{Wire, gone},
};
use crate::{
    protocol::ToWorker,
    uplink::{Nic, Sight},
};
use control::Mode;
use switch::MacAddr;
use tracing::{info, warn};

impl Port {
    /// Whether it waits for an interface.
    pub(super) fn is_unwired(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| !wire.is_open())
    }

    /// Whether it can have its interface back.
    pub(super) fn is_due(&self, nics: &NicWatch) -> bool {
        let is_released = self.wire.as_ref().is_some_and(Wire::is_released);
        self.is_unwired() && !is_released && nics.has_that_of(self)
    }

    /// Closes its interface: it waits for it from now on.
    pub(super) fn close_wire(&mut self) {
        self.wire.iter_mut().for_each(Wire::close);
    }

    /// Opens its interface again, or what is there by its name now.
    pub(super) fn rewire(&mut self) -> Result<(), String> {
        let wanted = self.filter.clone().unwrap_or_default();
        let wire = self.wire.as_mut();
        let reopened = wire.map_or(Ok(()), |wire| wire.reopen(&wanted));
        reopened.map_err(|error| format!("{error:#}"))?;
        // A NIC that is back may be another of the same name.
        let host = self.wire.as_ref().and_then(Wire::host);
        self.config.mac = host.or(self.config.mac);
        Ok(())
    }
}

impl NetworkTask {
    /// Follows the NICs of the ports that there are.
    pub(super) fn watch_nics(&mut self) {
        let wires = self
            .ports
            .values()
            .filter_map(|entry| entry.port.wire.as_ref());
        let of_network = nic_of(&self.config).filter(|_| self.awaits_mtu);
        let mut nics: Vec<Nic> = wires.filter_map(Wire::nic).chain(of_network).collect();
        nics.sort();
        nics.dedup();
        self.nics.follow(nics);
    }

    pub(super) fn nic_changed(&mut self, nic: &Nic, sight: Sight) {
        let index = match sight {
            Sight::Present { index, .. } => Some(index),
            Sight::Gone => None,
        };
        match index {
            Some(_) => self.nics.present.insert(nic.clone()),
            None => self.nics.present.remove(nic),
        };
        let is_lost = |wire: &Wire| {
            wire.is_open()
                && wire.nic().as_ref() == Some(nic)
                && !index.is_some_and(|index| wire.is_on(nic, index))
        };
        let lost = self.ports.iter().filter(|(_, entry)| {
            let wire = entry.port.wire.as_ref();
            wire.is_some_and(is_lost)
        });
        let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
        for port in lost {
            self.unwire(&port, gone(&nic.name));
        }
        if let Sight::Present {
            index,
            mac: Some(mac),
            ..
        } = sight
        {
            self.follow_host(nic, index, mac);
        }
        self.follow_mtu(nic, sight);
        self.rewire();
        let carries = matches!(sight, Sight::Present { carries: true, .. });
        self.nics.carries = carries;
        let network = &self.config.name;
        info!(
            network,
            nic = nic.name,
            carries,
            "interface of the host changed"
        );
        if self.link().is_some() {
            for entry in self.ports.values() {
                entry.port.set_carrier(carries);
            }
            // One that is not told now starts anew, and is told then. The answer is of no interest.
            self.post(ToWorker::SetLink(carries), &[]);
        }
        self.publish_ports();
    }

    /// The host has another address at a NIC: guests must neither get frames for it nor pretend to have it.
    fn follow_host(&mut self, nic: &Nic, index: u32, mac: MacAddr) {
        let mut told = Vec::new();
        for (name, entry) in &mut self.ports {
            let wire = entry.port.wire.as_mut();
            if wire.is_some_and(|wire| wire.follow_host(nic, index, mac)) {
                entry.port.config.mac = Some(mac);
                told.extend(entry.is_given.then(|| name.clone()));
            }
        }
        for port in told {
            let set = ToWorker::SetUplinkAddress {
                port: port.clone(),
                mac: mac.0,
            };
            // One that is not told now starts anew, and is told then.
            if let Some(id) = self.post(set, &[]) {
                let waiting = Waiting::SetUplinkAddress { port };
                self.requests.insert(id, waiting);
            }
        }
    }

    /// What the links of guests follow; `None`: nothing. The guests of a bridge reach each other without a NIC, unless the kernel
    /// is that bridge: macvtaps have their NIC's carrier.
    pub(super) fn link(&self) -> Option<bool> {
        let has_nic = self.config.nic().is_some();
        let is_bridge = self.config.mode == Mode::Bridge && self.config.attach.is_none();
        (has_nic && !is_bridge).then_some(self.nics.carries)
    }

    /// Takes a port from the worker: what it is on is gone.
    pub(super) fn unwire(&mut self, name: &str, why: String) {
        let Some(entry) = self.ports.get_mut(name) else {
            return;
        };
        warn!(network = self.config.name, port = name, "{why}");
        entry.port.fault = Some(why);
        self.take_wire(name);
    }

    /// Takes a port from the worker, and closes its interface.
    pub(super) fn take_wire(&mut self, name: &str) {
        let Some(entry) = self.ports.get_mut(name) else {
            return;
        };
        entry.port.close_wire();
        if !std::mem::take(&mut entry.is_given) {
            return;
        }
        if let Some(id) = self.post(ToWorker::RemovePort(name.to_owned()), &[]) {
            self.removing.insert(name.to_owned());
            let port = name.to_owned();
            let waiting = Waiting::RemovePort { port, reply: None };
            self.requests.insert(id, waiting);
        }
    }

    /// Gives the worker the ports whose interfaces are back. One that starts gets them with all others.
    pub(super) fn rewire(&mut self) {
        if !self.has_worker() {
            return;
        }
        let waiting = self.ports.iter().filter(|(name, entry)| {
            entry.port.is_due(&self.nics) && !self.removing.contains(*name)
        });
        let waiting: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
        for name in waiting {
            if let Err(why) = self.rewire_port(&name)
                && let Some(entry) = self.ports.get_mut(&name)
            {
                entry.port.fault = Some(why);
                self.nics.retry.try_again();
            }
        }
        // One that the worker has not answered for may still be refused.
        if !self.requests.is_rewiring() && !self.ports.values().any(|e| e.port.is_unwired()) {
            self.nics.retry.reset_pause();
        }
        self.publish_ports();
    }

    fn rewire_port(&mut self, name: &str) -> Result<(), String> {
        let link = self.link();
        let Some(entry) = self.ports.get_mut(name) else {
            return Ok(());
        };
        let port = &mut entry.port;
        port.rewire()?;
        let message = ToWorker::AddPort(port.settings(link));
        let fds = port.hand_over().map_err(|error| {
            // The next look tries again.
            port.close_wire();
            error.to_string()
        })?;
        let posted = self.post(message, &borrowed(&fds));
        let Some(entry) = self.ports.get_mut(name) else {
            return Ok(());
        };
        let Some(id) = posted else {
            // Nobody has it.
            entry.port.close_wire();
            return Err("its worker takes no request".into());
        };
        entry.port.fault = None;
        entry.is_given = true;
        let port = name.to_owned();
        self.requests.insert(id, Waiting::Rewire { port });
        Ok(())
    }

    /// The worker has taken it back.
    pub(super) fn fits(&mut self, port: &str) {
        info!(network = self.config.name, port, "its interface is back");
        self.nics.retry.reset_pause();
    }

    /// The worker has not taken it back.
    pub(super) fn unfit(&mut self, name: &str, why: String) {
        warn!(
            network = self.config.name,
            port = name,
            why,
            "port does not work"
        );
        if let Some(entry) = self.ports.get_mut(name) {
            entry.is_given = false;
            entry.port.fault = Some(why);
            entry.port.close_wire();
            self.nics.retry.try_again();
        }
        self.publish_ports();
    }
}

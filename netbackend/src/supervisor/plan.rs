//! Checking a request for a port against the network as it is.
use super::{network::NetworkTask, request::port_of_request};
use crate::config::{self, PortConfig, TransportConfig};
use control::{ApiError, Mode};
use switch::Role;
use toml::Table;

impl NetworkTask {
    /// What the requested port will be, if the network can have it.
    pub(super) fn plan_port(
        &self,
        name: Option<&str>,
        settings: &Table,
    ) -> Result<PortConfig, ApiError> {
        let name = match name {
            Some(name) => self.check_name(name)?,
            None => self.free_name(),
        };
        let config = port_of_request(&self.config, &name, settings, &self.runtime_dir)?;
        match config.role {
            Role::Guest => self.check_room_for_guest()?,
            Role::Uplink => self.check_uplink()?,
        }
        self.check_addresses(&config)?;
        Ok(config)
    }

    fn check_uplink(&self) -> Result<(), ApiError> {
        match self.configs().find(|port| port.role == Role::Uplink) {
            None => Ok(()),
            Some(uplink) => Err(conflict(
                format!(
                    "network {} has its uplink: port {}",
                    self.config.name, uplink.name
                ),
                "remove that port first, or leave out uplink",
            )),
        }
    }

    fn check_room_for_guest(&self) -> Result<(), ApiError> {
        let mut guests = self.configs().filter(|port| port.role == Role::Guest);
        match guests.next() {
            Some(guest) if self.config.mode == Mode::Passthrough => Err(conflict(
                format!(
                    "network {} is in passthrough mode and has its one guest: port {}",
                    self.config.name, guest.name
                ),
                "use another network, or remove that port",
            )),
            _ => Ok(()),
        }
    }

    fn check_name(&self, name: &str) -> Result<String, ApiError> {
        config::check_name(name).map_err(|wrong| bad_request(wrong.message, wrong.remedy))?;
        if self.is_taken(name) {
            return Err(ApiError {
                code: "port-exists".into(),
                message: format!("network {} has a port {name} already", self.config.name),
                remedy: Some("choose another name, or none: then the daemon picks one".into()),
            });
        }
        Ok(name.to_owned())
    }

    /// The first of p0, p1, … that is free.
    fn free_name(&self) -> String {
        // A network has fewer ports than there are numbers.
        let names = (0u64..).map(|number| format!("p{number}"));
        let mut free = names.filter(|name| !self.is_taken(name));
        free.next().unwrap_or_default()
    }

    fn is_taken(&self, name: &str) -> bool {
        self.ports.contains_key(name) || self.removing.contains(name)
    }

    /// Nothing that is to be unique may be taken.
    fn check_addresses(&self, new: &PortConfig) -> Result<(), ApiError> {
        for port in self.configs() {
            let owner = &port.name;
            if let Some(mac) = new.mac.filter(|_| port.mac == new.mac) {
                return Err(conflict(
                    format!("address {mac} belongs to port {owner} of this network"),
                    "choose another address",
                ));
            }
            if let TransportConfig::Tap { interface, .. } = &new.transport
                && port.transport == new.transport
            {
                return Err(conflict(
                    format!("interface {interface} belongs to port {owner} of this network"),
                    "choose another interface",
                ));
            }
        }
        Ok(())
    }

    fn configs(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.values().map(|entry| &entry.port.config)
    }
}

fn bad_request(message: impl Into<String>, remedy: impl Into<String>) -> ApiError {
    error("bad-request", message, remedy)
}

fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> ApiError {
    error("conflict", message, remedy)
}

fn error(code: &str, message: impl Into<String>, remedy: impl Into<String>) -> ApiError {
    ApiError {
        code: code.into(),
        message: message.into(),
        remedy: Some(remedy.into()),
    }
}

//! Checking a request for a port against the network as it is.
use super::network::NetworkTask;
use crate::{
    config::{
        self, DEFAULT_QUEUE_PAIRS, PortConfig, TransportConfig, default_port_socket,
        parse_station_mac,
    },
    network::MAX_QUEUE_PAIRS,
};
use control::{ApiError, Mode, PortRequest};
use switch::{MacAddr, Role};

impl NetworkTask {
    /// What the requested port will be, if the network can have it.
    pub(super) fn plan_port(&self, request: &PortRequest) -> Result<PortConfig, ApiError> {
        self.check_room_for_guest()?;
        let name = match &request.name {
            Some(name) => self.check_name(name)?,
            None => self.free_name(),
        };
        let mac = request.mac.as_deref().map(|mac| self.check_mac(mac));
        let queue_pairs = request.queue_pairs.unwrap_or(DEFAULT_QUEUE_PAIRS);
        if !(1..=MAX_QUEUE_PAIRS).contains(&queue_pairs) {
            return Err(bad_request(
                format!("queue_pairs is {queue_pairs}"),
                format!("choose 1 to {MAX_QUEUE_PAIRS}"),
            ));
        }
        let socket = default_port_socket(&self.runtime_dir, &self.config.name, &name);
        config::check_socket_length(&socket)
            .map_err(|wrong| bad_request(wrong.message, wrong.remedy))?;
        Ok(PortConfig {
            name,
            role: Role::Guest,
            mac: mac.transpose()?,
            queue_pairs,
            transport: TransportConfig::VhostUser { socket },
        })
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

    fn check_mac(&self, mac: &str) -> Result<MacAddr, ApiError> {
        let mac =
            parse_station_mac(mac).map_err(|wrong| bad_request(wrong.message, wrong.remedy))?;
        match self.configs().find(|port| port.mac == Some(mac)) {
            None => Ok(mac),
            Some(owner) => Err(conflict(
                format!(
                    "address {mac} belongs to port {} of this network",
                    owner.name
                ),
                "choose another address",
            )),
        }
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

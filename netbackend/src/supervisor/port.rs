//! What the supervisor keeps of a port: enough to give it to a new worker.
use super::wire::{self, Wire};
use super::{
    absence::{Absent, awaited},
    activation::Inherited,
    connector::Connector,
    lease::Lease,
    listen::BoundSocket,
};
use crate::{
    config::{NetworkConfig, PortConfig, TransportConfig},
    protocol::PortSettings,
    sys,
    tap::{self, TapSpec},
    uplink::Wanted,
};
use control::{PortCounters, PortKind, PortState, PortStatus};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};
use switch::{MacAddr, Role};
use tracing::warn;

/// An open port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) config: PortConfig,
    /// The address that it was asked for with; it may have been given another one.
    asked_mac: Option<MacAddr>,
    transport: Transport,
    /// The host's interface that it is on: the network's uplink, or the guest's own macvtap.
    pub(super) wire: Option<Wire>,
    /// What its guest wants of its macvtap; none: it has no say.
    pub(super) filter: Option<Wanted>,
    /// Why the present worker did not take it.
    pub(super) fault: Option<String>,
    /// Ends the port with a process.
    pub(super) lease: Option<Lease>,
}

#[derive(Debug)]
enum Transport {
    VhostUser(BoundSocket),
    /// While a worker has the port.
    VhostUserClient(Option<Connector>),
    Tap(Tap),
    /// All of it is [`Port::wire`].
    Uplink,
}

/// The interface of a guest by tap.
#[derive(Debug)]
struct Tap {
    queues: Vec<OwnedFd>,
    /// What it was made for.
    mtu: u16,
}

impl Port {
    /// Opens what the port is made of. `wanted`: by a guest, if it is trusted.
    pub(super) fn open(
        network: &NetworkConfig,
        config: &PortConfig,
        inherited: &Inherited,
        runtime_dir: &Path,
        absent: Absent,
        wanted: Wanted,
    ) -> anyhow::Result<Self> {
        let mut config = config.clone();
        let asked_mac = config.mac;
        let filter = network.trusts(&config).then_some(wanted);
        let wanted = filter.clone().unwrap_or_default();
        let wire = Wire::open(network, &mut config, runtime_dir, absent, &wanted)?;
        let transport = match &mut config.transport {
            TransportConfig::VhostUser { socket } => {
                let name = format!("{}/{}", network.name, config.name);
                let bound = match inherited.get(&name, socket)? {
                    Some(inherited) => inherited,
                    None => BoundSocket::bind(socket, config.socket_access)?,
                };
                // A service manager may have put it elsewhere.
                bound.path().clone_into(socket);
                Transport::VhostUser(bound)
            }
            TransportConfig::VhostUserClient { .. } => Transport::VhostUserClient(None),
            TransportConfig::Tap { .. } => Transport::Tap(Tap {
                queues: open_tap(&config, network.mtu)?,
                mtu: network.mtu,
            }),
            TransportConfig::Uplink(_) => Transport::Uplink,
        };
        let absence = wire.as_ref().and_then(Wire::absence);
        Ok(Self {
            config,
            asked_mac,
            transport,
            fault: absence.map(awaited),
            wire,
            filter,
            lease: None,
        })
    }

    /// Makes a tap anew if it was made for another MTU; no worker may have it.
    pub(super) fn reopen_tap(&mut self, mtu: u16) -> anyhow::Result<()> {
        if let Transport::Tap(tap) = &mut self.transport
            && tap.mtu != mtu
        {
            // The interface goes with them.
            tap.queues.clear();
            tap.queues = open_tap(&self.config, mtu)?;
            tap.mtu = mtu;
        }
        Ok(())
    }

    /// Makes anew what was made for another MTU than its network has by now; no worker may have it.
    pub(super) fn follow_mtu(
        &mut self,
        network: &NetworkConfig,
        runtime_dir: &Path,
    ) -> Result<(), String> {
        let reopened = self.reopen_tap(network.mtu);
        reopened.map_err(|error| format!("{error:#}"))?;
        if self.adapt_wire(network, runtime_dir) {
            self.rewire()?;
        }
        Ok(())
    }

    /// Whether its interface is open, and another one with other settings of its network ([`Wire::release`]).
    pub(super) fn release_wire(&mut self, network: &NetworkConfig, runtime_dir: &Path) -> bool {
        let mut config = self.config.clone();
        config.mac = self.asked_mac;
        let wire = self.wire.as_mut();
        wire.is_some_and(|wire| wire.release(network, &mut config, runtime_dir))
    }

    /// Takes over other settings of its network, as far as its interface goes ([`Wire::adapt`]); no worker may have it.
    pub(super) fn adapt_wire(&mut self, network: &NetworkConfig, runtime_dir: &Path) -> bool {
        // One that it was given for a macvtap is nobody's without it.
        self.config.mac = self.asked_mac;
        let is_due = Wire::adapt(&mut self.wire, network, &mut self.config, runtime_dir);
        let host = self.wire.as_ref().and_then(Wire::host);
        self.config.mac = host.or(self.config.mac);
        self.adapt_filter(network);
        is_due
    }

    /// The port as a worker is told. `link`: that of guests follows an interface, which has a carrier or not.
    pub(super) fn settings(&self, link: Option<bool>) -> PortSettings {
        let is_guest = !matches!(self.transport, Transport::Uplink);
        let wire = self.wire.as_ref().filter(|_| is_guest);
        if let Some(carries) = link {
            self.set_carrier(carries);
        }
        PortSettings {
            wire_queues: wire.map_or(0, Wire::queue_count),
            link: link.filter(|_| self.config.role == Role::Guest),
            ..(&self.config).into()
        }
    }

    /// The descriptors that go with [`Port::settings`] to a worker.
    ///
    /// # Errors
    /// The process has no descriptors left, or the host's interface is gone.
    pub(super) fn hand_over(&mut self) -> io::Result<Vec<OwnedFd>> {
        let wire = self.wire.as_ref().map(Wire::queues).transpose()?;
        let mut fds = self.hand_over_transport()?;
        fds.extend(wire.into_iter().flatten());
        Ok(fds)
    }

    fn hand_over_transport(&mut self) -> io::Result<Vec<OwnedFd>> {
        match &mut self.transport {
            Transport::VhostUser(socket) => Ok(vec![socket.as_fd().try_clone_to_owned()?]),
            Transport::VhostUserClient(connector) => {
                let TransportConfig::VhostUserClient { socket } = &self.config.transport else {
                    return Ok(Vec::new());
                };
                // What was for the worker before ends here.
                let (new, feed) = Connector::start(&self.config.name, socket)?;
                *connector = Some(new);
                Ok(vec![feed])
            }
            Transport::Tap(tap) => tap.queues.iter().map(OwnedFd::try_clone).collect(),
            Transport::Uplink => Ok(Vec::new()),
        }
    }

    /// What is known without the worker.
    pub(super) fn status(&self) -> PortStatus {
        PortStatus {
            name: self.config.name.clone(),
            kind: self.kind(),
            uplink: self.config.role == Role::Uplink,
            mac: self.config.mac.map(|mac| mac.to_string()),
            policy: self.config.policy.clone(),
            filter: self.filter.as_ref().map(Wanted::shown),
            state: match self.fault {
                Some(_) => PortState::Faulty,
                None if matches!(self.transport, Transport::VhostUserClient(_)) => {
                    PortState::Connecting
                }
                None => PortState::Listening,
            },
            features: Vec::new(),
            queue_pairs: 0,
            fault: self.fault.clone(),
            last_fault: None,
            faulty_queues: 0,
            counters: PortCounters::default(),
        }
    }

    /// The worker does not know the port's kind: it sees descriptors only.
    pub(super) fn kind(&self) -> PortKind {
        match &self.config.transport {
            TransportConfig::VhostUser { socket } => PortKind::VhostUser {
                socket: socket.clone(),
                client: false,
            },
            TransportConfig::VhostUserClient { socket } => PortKind::VhostUser {
                socket: socket.clone(),
                client: true,
            },
            TransportConfig::Tap { interface, netns } => PortKind::Tap {
                interface: interface.clone(),
                netns: netns.clone(),
            },
            TransportConfig::Uplink(config) => wire::kind(config),
        }
    }

    /// Tells a guest behind a tap whether its network reaches the world.
    pub(super) fn set_carrier(&self, carries: bool) {
        if let (Transport::Tap(tap), Role::Guest) = (&self.transport, self.config.role)
            && let Some(queue) = tap.queues.first()
            && let Err(errno) = sys::set_tap_carrier(queue, carries)
        {
            warn!(port = self.config.name, %errno, "set the carrier of the tap");
        }
    }
}

fn open_tap(config: &PortConfig, mtu: u16) -> anyhow::Result<Vec<OwnedFd>> {
    let TransportConfig::Tap { interface, netns } = &config.transport else {
        return Ok(Vec::new());
    };
    Ok(tap::open(&TapSpec {
        interface: interface.clone(),
        netns: netns.clone(),
        queues: config.queue_pairs,
        mtu,
        // The namespace is the guest: its interface has the guest's address.
        mac: config.mac,
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn network(keys: &str) -> NetworkConfig {
        let text = format!("[networks.n.ports.g]\n[networks.n.uplink]\nnic = \"e\"\n{keys}");
        let config = Config::parse(Path::new("nb.toml"), &text, &Overrides::default());
        config.unwrap().networks.remove(0)
    }

    #[test]
    fn an_address_made_for_a_macvtap_goes_with_it() {
        let by_switch = network("");
        let by_macvtap = network("attach = \"macvtap\"");
        for asked in [None, Some(MacAddr([2, 0, 0, 0, 0, 1]))] {
            let ports = by_switch.ports.iter();
            let mut config = ports.clone().find(|port| port.name == "g").unwrap().clone();
            config.mac = asked;
            let mut port = Port {
                config,
                asked_mac: asked,
                transport: Transport::VhostUserClient(None),
                wire: None,
                filter: None,
                fault: None,
                lease: None,
            };
            let runtime_dir = Path::new("/run/netbackend");
            assert!(port.adapt_wire(&by_macvtap, runtime_dir));
            let given = port.config.mac;
            assert!(given.is_some() && (asked.is_none() || given == asked));
            // The same with the same settings: it is derived.
            assert!(!port.adapt_wire(&by_macvtap, runtime_dir));
            assert_eq!(port.config.mac, given);
            assert!(!port.adapt_wire(&by_switch, runtime_dir));
            assert_eq!(port.config.mac, asked);
        }
    }
}

//! One network's data plane: ports, rings, the datapath thread. Runs inside the network's worker process.
//!
//! Three kinds of threads meet here. The caller adds and removes ports. Each vhost-user port has a
//! control thread (`vhost_user`) that speaks the protocol with its front-end. One or more workers carry the
//! frames (`datapath`). The first two post commands (`command`) to the workers (`mailbox`) and wait for the answer.
mod command;
mod counters;
mod datapath;
mod gateway;
mod mailbox;
mod queue_stats;
mod sys;
#[cfg(test)]
mod tests;
mod vhost_user;

use anyhow::{Context, bail};
use command::{Command, NewCarrier};
use control::{PortPolicy, PortStatus, QueueStatus, WorkerStatus};
use counters::{Carrier, PortShared};
use datapath::{Crew, CrewConfig, Limits};
pub(crate) use gateway::{Gateway, GatewaySpec, GivenSocket, open_listener, raw_sockets};
use std::{
    collections::BTreeMap,
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switch::{MacAddr, Mode, PortConfig, PortId, Role, SwitchConfig};
use tracing::warn;
use vhost_user::{Cable, Listener, ListenerConfig, Source};
use virtqueue::SealPolicy;

/// Most queue pairs of a port: vhost-user names rings by one byte in kick and call messages.
pub const MAX_QUEUE_PAIRS: u16 = 128;

/// What a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name, for logs.
    pub name: String,
    /// Forwarding policy.
    pub mode: Mode,
    /// MTU offered to guests (VIRTIO_NET_F_MTU). The value reaches a guest through its VMM's device
    /// configuration; the datapath carries frames of any size.
    pub mtu: u16,
    /// Life of a learned address.
    pub ageing: Duration,
    /// Learned addresses per port at most.
    pub fdb_capacity_per_port: usize,
    /// How long a datapath thread polls an empty network before it sleeps.
    pub poll_idle: Duration,
    /// Datapath threads.
    pub workers: u16,
    /// The CPU of each of them; none: wherever the scheduler puts them.
    pub cpus: Vec<u16>,
    /// Refuse guest memory that its owner could truncate.
    pub require_sealed_memory: bool,
    /// No guest reaches another, whatever its port's own policy.
    pub isolate: bool,
}

/// What a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Name, unique in its network.
    pub name: String,
    /// Guest or uplink.
    pub role: Role,
    /// Fixed address.
    pub mac: Option<MacAddr>,
    /// What it may do.
    pub policy: PortPolicy,
    /// Queue pairs at most, up to [`MAX_QUEUE_PAIRS`].
    pub queue_pairs: u16,
}

/// What carries a port's frames; opened by the supervisor.
#[derive(Debug)]
pub enum PortTransport {
    /// Accepts one front-end at a time, again and again.
    VhostUser(UnixListener),
    /// The front-end listens. Connections to it come over this `SOCK_SEQPACKET` socket, one for each message that asks for one.
    VhostUserClient(OwnedFd),
    /// A tap with IFF_VNET_HDR and a 12-byte header, one file per queue. The opener has set
    /// TUNSETOFFLOAD to checksums, TSO4 and TSO6 (with ECN).
    Tap(Vec<File>),
}

/// What of the host's interfaces is below a port.
#[derive(Debug, Default)]
pub struct Lower {
    /// Queues of a macvtap of its own, given like [`PortTransport::Tap`]: the port exchanges frames with that only.
    pub wire: Vec<File>,
    /// The link of the port's guest follows an interface, which now has a carrier or not ([`Network::set_link`]). Guests on taps
    /// are told by the supervisor.
    pub link: Option<bool>,
}

/// A running network.
///
/// Dropping it stops it like [`Network::stop`].
#[derive(Debug)]
pub struct Network {
    spec: NetworkSpec,
    crew: Crew,
    gateway: Option<Gateway>,
    ports: Mutex<BTreeMap<String, PortEntry>>,
}

/// What the network keeps of a port.
#[derive(Debug)]
struct PortEntry {
    id: PortId,
    shared: Arc<PortShared>,
    listener: Option<Listener>,
    cable: Option<Arc<Cable>>,
    /// The port of its own way out, joined to it.
    wire: Option<PortId>,
    /// Keeps the id taken while the port is being removed.
    removing: bool,
}

impl Network {
    /// Starts the datapath; no ports yet.
    ///
    /// # Errors
    /// The process has no fds or threads left.
    pub fn start(spec: NetworkSpec) -> anyhow::Result<Self> {
        Self::start_with(spec, None)
    }

    /// The same with a gateway.
    pub(crate) fn start_with(
        spec: NetworkSpec,
        gateway: Option<GatewaySpec>,
    ) -> anyhow::Result<Self> {
        virtqueue::survive_truncation().context("install the handler of SIGBUS")?;
        let crew = Crew::start(&CrewConfig {
            name: spec.name.clone(),
            switch: SwitchConfig {
                mode: spec.mode,
                ageing: spec.ageing,
                fdb_capacity_per_port: spec.fdb_capacity_per_port,
            },
            poll_idle: spec.poll_idle,
            workers: spec.workers,
            cpus: spec.cpus.clone(),
        })?;
        let mut network = Self {
            spec,
            crew,
            gateway: None,
            ports: Mutex::default(),
        };
        if let Some(gateway) = gateway {
            let NetworkSpec { name, mtu, .. } = &network.spec;
            let gateway = Gateway::start(name, gateway, *mtu, network.crew.mailbox());
            network.gateway = Some(gateway.context("start the gateway")?);
        }
        Ok(network)
    }

    /// The gateway, of a network that has one.
    pub(crate) fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Adds a port; it carries frames when this returns (a vhost-user port: when its front-end is there).
    ///
    /// # Errors
    /// The name is taken, the queue pairs are out of range, or the transport cannot be watched.
    pub fn add_port(&self, spec: PortSpec, transport: PortTransport) -> anyhow::Result<()> {
        self.add_port_above(spec, transport, Lower::default())
    }

    /// Adds a port that has something of the host's interfaces below it.
    ///
    /// # Errors
    /// See [`Network::add_port`].
    pub fn add_port_above(
        &self,
        spec: PortSpec,
        transport: PortTransport,
        lower: Lower,
    ) -> anyhow::Result<()> {
        if !(1..=MAX_QUEUE_PAIRS).contains(&spec.queue_pairs) {
            bail!(
                "port {}: queue_pairs is {}; choose 1 to {MAX_QUEUE_PAIRS}",
                spec.name,
                spec.queue_pairs
            );
        }
        let mut ports = self.lock_ports();
        if ports.contains_key(&spec.name) {
            bail!("port {} exists already; choose another name", spec.name);
        }
        let held = |id| self.gateway.as_ref().is_some_and(|it| it.holds(id));
        let id = free_id(&ports, held).context("the network has no port id left")?;
        let kind = match transport {
            PortTransport::VhostUser(_) => Carrier::VhostUser,
            PortTransport::VhostUserClient(_) => Carrier::VhostUserClient,
            PortTransport::Tap(_) => Carrier::Tap,
        };
        let name = spec.name.clone();
        let shared = Arc::new(PortShared::new(
            spec.name,
            kind,
            spec.role,
            spec.mac,
            spec.queue_pairs,
        ));
        let vhost_user = NewCarrier::VhostUser {
            rings: spec.queue_pairs * 2,
            receive: Arc::default(),
        };
        let limits = Limits::new(&spec.policy);
        let (carrier, source) = match transport {
            PortTransport::VhostUser(socket) => (vhost_user, Some(Source::listening(socket))),
            PortTransport::VhostUserClient(feed) => (vhost_user, Some(Source::handed(feed))),
            PortTransport::Tap(files) => {
                let files = files.into_iter().map(Arc::new);
                (NewCarrier::Tap(files.collect()), None)
            }
        };
        self.crew
            .mailbox()
            .call(Command::AddPort {
                port: id,
                config: PortConfig {
                    role: spec.role,
                    mac: spec.mac,
                },
                policy: PortPolicy {
                    isolated: spec.policy.isolated || self.spec.isolate,
                    ..spec.policy
                },
                limits,
                carrier,
                shared: Arc::clone(&shared),
            })
            .with_context(|| format!("add port {name}"))?;
        let Lower { wire, link } = lower;
        let wire = (!wire.is_empty())
            .then(|| self.wire(&ports, id, wire, &name))
            .transpose();
        let wire = match wire {
            Ok(wire) => wire,
            Err(error) => {
                self.crew.mailbox().call(Command::RemovePort(id))?;
                return Err(error);
            }
        };
        let cable = link.map(|is_up| Arc::new(Cable::new(is_up)));
        let listener = source
            .map(|source| self.listen(source?, (id, spec.queue_pairs), &shared, cable.clone()))
            .transpose();
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                for id in [Some(id), wire].into_iter().flatten() {
                    self.crew.mailbox().call(Command::RemovePort(id))?;
                }
                return Err(error);
            }
        };
        let entry = PortEntry {
            id,
            shared,
            listener,
            cable,
            wire,
            removing: false,
        };
        ports.insert(name, entry);
        Ok(())
    }

    /// Adds the port of a guest's own way out, and joins the two.
    fn wire(
        &self,
        ports: &BTreeMap<String, PortEntry>,
        guest: PortId,
        files: Vec<File>,
        name: &str,
    ) -> anyhow::Result<PortId> {
        let id = free_id(ports, |id| id == guest).context("the network has no port id left")?;
        let queues = u16::try_from(files.len()).context("a macvtap has fewer queues")?;
        let name = format!("{name} (macvtap)");
        let shared = PortShared::new(name, Carrier::Tap, Role::Guest, None, queues);
        let add = Command::AddPort {
            port: id,
            config: PortConfig {
                role: Role::Guest,
                mac: None,
            },
            limits: Limits::new(&PortPolicy::default()),
            policy: PortPolicy::default(),
            carrier: NewCarrier::Tap(files.into_iter().map(Arc::new).collect()),
            shared: Arc::new(shared),
        };
        self.crew.mailbox().call(add).context("add its macvtap")?;
        if let Err(error) = self.crew.mailbox().call(Command::Join([guest, id])) {
            self.crew.mailbox().call(Command::RemovePort(id))?;
            return Err(error).context("join it to its macvtap");
        }
        Ok(id)
    }

    fn listen(
        &self,
        source: Source,
        (port, queue_pairs): (PortId, u16),
        shared: &Arc<PortShared>,
        cable: Option<Arc<Cable>>,
    ) -> anyhow::Result<Listener> {
        let config = ListenerConfig {
            port,
            queue_pairs,
            seals: if self.spec.require_sealed_memory {
                SealPolicy::RequireSealed
            } else {
                SealPolicy::AllowUnsealed
            },
            mailbox: Arc::clone(self.crew.mailbox()),
            shared: Arc::clone(shared),
            cable,
        };
        Listener::start(source, config)
            .with_context(|| format!("start the control thread of port {}", shared.name))
    }

    /// Removes a port, its connection and all that was learned on it. False: no such port.
    ///
    /// # Errors
    /// The datapath has ended.
    pub fn remove_port(&self, name: &str) -> anyhow::Result<bool> {
        // The control thread may take a while to end (its front-end decides what it waits for), and
        // must not hold up reports meanwhile.
        let (id, wire, listener) = match self.lock_ports().get_mut(name) {
            Some(entry) if !entry.removing => {
                entry.removing = true;
                (entry.id, entry.wire, entry.listener.take())
            }
            _ => return Ok(false),
        };
        if let Some(listener) = listener {
            listener.stop();
        }
        let ids = [Some(id), wire].into_iter().flatten();
        let removed = ids
            .map(|id| self.crew.mailbox().call(Command::RemovePort(id)))
            .collect::<Result<Vec<_>, _>>();
        // While the number is still taken, and it stays so if the gateway is late: flows of whoever gets it next are not to be ended.
        let forgotten = self.gateway.as_ref().map(|it| it.forget_port(id));
        self.lock_ports().remove(name);
        if let Some(Err(error)) = forgotten {
            // It will, as soon as it does anything: the request waits there.
            warn!(port = name, %error, "the gateway has not forgotten the port yet");
        }
        removed.with_context(|| format!("remove port {name}"))?;
        Ok(true)
    }

    /// The host behind an uplink has another address now.
    ///
    /// # Errors
    /// There is no such uplink, or the address is another port's.
    pub fn set_uplink_address(&self, name: &str, mac: MacAddr) -> anyhow::Result<()> {
        let ports = self.lock_ports();
        let entry = ports.get(name).filter(|entry| !entry.removing);
        let entry = entry.with_context(|| format!("there is no port {name}"))?;
        let port = entry.id;
        let mailbox = self.crew.mailbox();
        mailbox.call(Command::SetUplinkAddress { port, mac })?;
        entry.shared.set_fixed_mac(mac);
        Ok(())
    }

    /// The interface that links of guests follow ([`Lower::link`]) has a carrier, or none.
    pub fn set_link(&self, is_up: bool) {
        for cable in self
            .lock_ports()
            .values()
            .filter_map(|entry| entry.cable.as_ref())
        {
            cable.set(is_up);
        }
    }

    /// State and counters of every port. `PortStatus::kind` is filled in by the supervisor: a placeholder here.
    pub fn report(&self) -> Vec<PortStatus> {
        self.lock_ports()
            .values()
            .map(|entry| entry.shared.status())
            .collect()
    }

    /// The datapath threads and how busy they are.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.crew.status()
    }

    /// One port with its queues, as in [`Network::report`]; `None`: there is no such port.
    pub fn show(&self, port: &str) -> Option<(PortStatus, Vec<QueueStatus>)> {
        let ports = self.lock_ports();
        let shared = &ports.get(port)?.shared;
        Some((shared.status(), shared.queue_statuses()))
    }

    /// Stops the threads and closes every port.
    pub fn stop(mut self) {
        self.end();
    }

    /// Closes every port; the workers end when they are dropped.
    fn end(&mut self) {
        let ports = std::mem::take(&mut *self.lock_ports());
        for listener in ports.into_values().filter_map(|entry| entry.listener) {
            listener.stop();
        }
        if let Some(gateway) = &mut self.gateway {
            gateway.stop(self.crew.mailbox());
        }
    }

    fn lock_ports(&self) -> MutexGuard<'_, BTreeMap<String, PortEntry>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end();
    }
}

/// The smallest id that no port has, and that is not `held` otherwise: ids stay small and dense.
fn free_id(ports: &BTreeMap<String, PortEntry>, held: impl Fn(PortId) -> bool) -> Option<PortId> {
    let is_free = |id: &PortId| {
        let has = |entry: &PortEntry| entry.id == *id || entry.wire == Some(*id);
        !held(*id) && !ports.values().any(has)
    };
    (0..u16::MAX).map(PortId).find(is_free)
}

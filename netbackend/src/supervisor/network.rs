//! The task of one network: its ports, and the worker that serves them.
use super::{
    absence::Absent,
    activation::Inherited,
    backoff::Backoff,
    forward::OpenForward,
    handle::{Added, Command, Mailbox, NetworkHandle, unavailable},
    lease::{Lease, Lessee},
    nic_watch::{News, NicWatch},
    port::Port,
    registry::{OpenNetwork, Registry},
    requests::{Adding, Outcome, Requests, Waiting},
    worker::{Event, Worker},
};
use crate::{
    config::{NetworkConfig, PortConfig},
    protocol::ToWorker,
    uplink::Wanted,
};
use control::{ApiError, Fault, NetworkState, NetworkStatus, PortDetail};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Instant,
};
use tokio::{sync::oneshot, time};
use tracing::{info, warn};

/// A network and everything that belongs to it.
#[derive(Debug)]
pub(super) struct NetworkTask {
    pub(super) config: NetworkConfig,
    /// The MTU is that of a NIC that has not been there and up yet.
    pub(super) awaits_mtu: bool,
    /// Another network takes its NIC over: until other settings come, nothing is made on it with those of now.
    pub(super) hands_over: bool,
    pub(super) runtime_dir: PathBuf,
    /// Beside the state file.
    pub(super) lease_path: PathBuf,
    /// Sockets of a service manager.
    inherited: Arc<Inherited>,
    /// Filter for the worker's log.
    pub(super) log: String,
    pub(super) ports: BTreeMap<String, Entry>,
    /// Names that a worker is still taking down.
    pub(super) removing: BTreeSet<String>,
    /// Requests for ports of such names.
    parked: Vec<Command>,
    next_serial: u64,
    mailbox: Mailbox,
    /// For leases.
    handle: NetworkHandle,
    worker: Life,
    restarts: u64,
    /// Why the worker died last, and when.
    last_death: Option<(String, Instant)>,
    backoff: Backoff,
    pub(super) requests: Requests,
    pub(super) nics: NicWatch,
    /// With their sockets.
    pub(super) forwards: Vec<OpenForward>,
}

/// A port that there is.
#[derive(Debug)]
pub(super) struct Entry {
    /// Tells a port from a later one of the same name.
    serial: u64,
    pub(super) port: Port,
    /// The present worker was told of it, and not to remove it since.
    pub(super) is_given: bool,
}

impl Entry {
    fn new(serial: u64, port: Port) -> Self {
        Self {
            serial,
            port,
            is_given: false,
        }
    }
}

#[derive(Debug)]
enum Life {
    Running(Box<Worker>),
    /// To be started then.
    Due(time::Instant),
}

impl NetworkTask {
    /// The task of a network with its open ports, and the handle for others.
    pub(super) fn new(network: OpenNetwork, registry: &Registry) -> (Self, NetworkHandle) {
        let OpenNetwork {
            config,
            ports,
            forwards,
            awaits_mtu,
        } = network;
        let ports: BTreeMap<String, Entry> = (0..)
            .zip(ports)
            .map(|(serial, port)| (port.config.name.clone(), Entry::new(serial, port)))
            .collect();
        let (mailbox, handle) = NetworkHandle::new(NetworkStatus {
            name: config.name.clone(),
            mode: config.mode,
            mtu: config.mtu,
            nic_mtu: None,
            state: NetworkState::Starting,
            worker_pid: None,
            restarts: 0,
            last_fault: None,
            responsive: true,
            workers: Vec::new(),
            ports: ports.values().map(|entry| entry.port.status()).collect(),
            nat: None,
        });
        let task = Self {
            awaits_mtu,
            hands_over: false,
            runtime_dir: registry.runtime_path(),
            lease_path: registry.lease_path(&config.name),
            config,
            inherited: Arc::clone(&registry.inherited),
            log: registry.options.log.clone(),
            next_serial: ports.len() as u64,
            ports,
            removing: BTreeSet::new(),
            parked: Vec::new(),
            mailbox,
            handle: handle.clone(),
            worker: Life::Due(time::Instant::now()),
            restarts: 0,
            last_death: None,
            backoff: Backoff::default(),
            requests: Requests::default(),
            nics: NicWatch::default(),
            forwards,
        };
        (task, handle)
    }

    /// Serves the network until it is told to stop.
    pub(super) async fn run(mut self) {
        loop {
            self.watch_nics();
            let worker = &mut self.worker;
            let event = async move {
                match worker {
                    Life::Running(worker) => Some(worker.event().await),
                    Life::Due(due) => {
                        time::sleep_until(*due).await;
                        None
                    }
                }
            };
            tokio::select! {
                () = self.mailbox.stop.notified() => break,
                Some(command) = self.mailbox.commands.recv() => match command {
                    Command::Reconfigure { network, reply } => {
                        drop(reply.send(Ok(self.take_over(*network).await)));
                    }
                    command => self.command(command),
                },
                news = self.nics.next() => match news {
                    News::Sight(nic, sight) => {
                        self.settle_mtu(&nic, sight).await;
                        self.nic_changed(&nic, sight);
                    }
                    News::TryAgain => self.rewire(),
                },
                event = event => match event {
                    None => self.start().await,
                    Some(Event::Answer(answer)) => {
                        let outcome = self.requests.answer(answer.id, answer.body);
                        self.settle(outcome);
                    }
                    Some(Event::Gone(why)) => self.worker_died(&why),
                },
            }
        }
        if let Life::Running(worker) = self.worker {
            worker.stop().await;
        }
        // The ports close, and their sockets' files go, when `self` does.
    }

    /// Starts a worker and gives it the ports.
    async fn start(&mut self) {
        self.backoff.started(Instant::now());
        match self.start_worker().await {
            Ok(worker) => {
                let (network, pid) = (&self.config.name, worker.pid());
                info!(network, pid, ports = self.ports.len(), "worker runs");
                self.worker = Life::Running(Box::new(worker));
                self.publish(NetworkState::Running);
            }
            Err(why) => self.worker_died(&why),
        }
    }

    pub(super) fn worker_died(&mut self, why: &str) {
        let outcomes = self.requests.worker_gone();
        self.removing.clear();
        let now = Instant::now();
        let pause = self.backoff.died(now);
        self.restarts += 1;
        self.last_death = Some((why.into(), now));
        warn!(
            network = self.config.name,
            ?pause,
            "worker died ({why}), starting it again"
        );
        self.worker = Life::Due(time::Instant::now() + pause);
        self.publish(if pause.is_zero() {
            NetworkState::Starting
        } else {
            NetworkState::Failed
        });
        for outcome in outcomes {
            self.settle(outcome);
        }
        self.unpark();
    }

    /// What is known of the network without its worker.
    fn status(&self) -> NetworkStatus {
        let status = self.mailbox.status.borrow().clone();
        let ports = self.ports.values().map(|entry| entry.port.status());
        let last_fault = self.last_death.as_ref().map(|(message, when)| Fault {
            message: message.clone(),
            seconds_ago: when.elapsed().as_secs(),
        });
        NetworkStatus {
            mode: self.config.mode,
            mtu: self.config.mtu,
            nic_mtu: self.smaller_mtu_of_nic(),
            last_fault,
            ports: ports.collect(),
            ..status
        }
    }

    pub(super) fn publish(&self, state: NetworkState) {
        let status = NetworkStatus {
            state,
            worker_pid: match &self.worker {
                Life::Running(worker) => Some(worker.pid()),
                Life::Due(_) => None,
            },
            restarts: self.restarts,
            ..self.status()
        };
        self.mailbox.status.send_replace(status);
    }

    pub(super) fn publish_ports(&self) {
        self.mailbox.status.send_replace(self.status());
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Report(reply) => self.report(reply),
            // Whoever restarts a guest with the name of its port need not know that the old port is
            // still being closed.
            Command::AddPort {
                name: Some(ref name),
                ..
            } if self.removing.contains(name) => {
                self.parked.push(command);
            }
            // It would be on the NIC that another network takes.
            Command::AddPort { .. } if self.hands_over => self.parked.push(command),
            // A parked one may have been given up.
            Command::AddPort { reply, .. } if reply.is_closed() => {}
            Command::AddPort {
                name,
                settings,
                lessee,
                filter,
                reply,
            } => {
                let opened = self
                    .plan_port(name.as_deref(), &settings)
                    .and_then(|config| Ok((self.open_port(&config, lessee, filter)?, config)));
                match opened {
                    Ok((entry, config)) => self.add_port(entry, config, reply),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::InsertPort { port, reply } => self.insert_port(*port, reply),
            Command::ShowPort { port, reply } => self.show_port(port, reply),
            Command::SetFilter {
                port,
                wanted,
                reply,
            } => drop(reply.send(self.set_filter(&port, wanted))),
            Command::ReleaseWires { network, reply } => {
                self.release_wires(&network);
                drop(reply.send(Ok(())));
            }
            Command::TakeWiresBack => self.take_wires_back(),
            // Served where it can be waited for.
            Command::Reconfigure { reply, .. } => drop(reply),
            Command::RemovePort { port, reply } => self.remove_port(port, Some(reply)),
            Command::EndLease { port, serial } => self.remove_exactly(port, serial),
            Command::AddForward { forward, reply } => self.add_forward(&forward, reply),
            Command::RemoveForward { forward, reply } => {
                drop(reply.send(self.remove_forward(&forward)));
            }
            Command::SetForwards { forwards, reply } => {
                drop(reply.send(Ok(self.set_forwards(&forwards))));
            }
            Command::Forwards(reply) => drop(reply.send(Ok(self.forwards()))),
            Command::Flows(reply) => {
                let flows = Vec::new();
                self.ask(ToWorker::Flows, Waiting::Flows { flows, reply });
            }
            Command::Leases(reply) => {
                let leases = Vec::new();
                self.ask(ToWorker::Leases, Waiting::Leases { leases, reply });
            }
        }
    }

    /// Takes up the parked requests; those that must still wait are parked again.
    pub(super) fn unpark(&mut self) {
        for command in std::mem::take(&mut self.parked) {
            self.command(command);
        }
    }

    fn report(&mut self, reply: oneshot::Sender<NetworkStatus>) {
        let status = self.status();
        match self.post(ToWorker::Report, &[]) {
            Some(id) => self.requests.insert(id, Waiting::Report { status, reply }),
            None => drop(reply.send(status)),
        }
    }

    /// `config`: the port as it was asked for. What it was given when it was opened, an address or another socket, is not part of
    /// it: a reload would take that for a change.
    fn add_port(
        &mut self,
        mut entry: Entry,
        config: PortConfig,
        reply: oneshot::Sender<Result<Added, ApiError>>,
    ) {
        let adding = Adding {
            config,
            serial: entry.serial,
            status: entry.port.status(),
            reply,
        };
        let port = adding.config.name.clone();
        info!(network = self.config.name, port, "port added");
        let message = ToWorker::AddPort(entry.port.settings(self.link()));
        let sent = match &mut self.worker {
            // The worker gets it when its interface is there.
            Life::Running(_) if entry.port.is_unwired() => None,
            Life::Running(worker) => Some(
                entry
                    .port
                    .hand_over()
                    .and_then(|fds| worker.post(message, &borrowed(&fds))),
            ),
            // The worker gets it when it starts; a front-end may connect before.
            Life::Due(_) => None,
        };
        entry.is_given = matches!(sent, Some(Ok(_)));
        self.ports.insert(port.clone(), entry);
        match sent {
            Some(Ok(id)) => self.requests.insert(id, Waiting::AddPort(Box::new(adding))),
            Some(Err(error)) => {
                self.ports.remove(&port);
                let message = format!("give the port to its worker: {error}");
                drop(adding.reply.send(Err(unavailable(message))));
            }
            None => self.settle(adding.done()),
        }
        self.publish_ports();
    }

    fn open_port(
        &mut self,
        config: &PortConfig,
        lessee: Option<Lessee>,
        filter: Wanted,
    ) -> Result<Entry, ApiError> {
        let absent = lessee.as_ref().map_or(Absent::Refused, Lessee::absent);
        let (inherited, runtime_dir) = (&self.inherited, &self.runtime_dir);
        let network = &self.config;
        let mut port = Port::open(network, config, inherited, runtime_dir, absent, filter)
            .map_err(|error| unavailable(format!("open port {}: {error:#}", config.name)))?;
        let serial = self.take_serial();
        if let Some(lessee) = lessee {
            let lease = Lease::start(lessee, self.handle.clone(), config.name.clone(), serial);
            port.lease = Some(lease.map_err(|error| {
                unavailable(format!(
                    "watch the process of port {}: {error}",
                    config.name
                ))
            })?);
        }
        Ok(Entry::new(serial, port))
    }

    fn take_serial(&mut self) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        serial
    }

    fn insert_port(&mut self, mut port: Port, reply: oneshot::Sender<Result<Added, ApiError>>) {
        let name = &port.config.name;
        if self.ports.contains_key(name) || self.removing.contains(name) {
            let message = format!("port {name} is there already");
            return drop(reply.send(Err(unavailable(message))));
        }
        // The NIC may have come since it was opened.
        if let Err(why) = port.follow_mtu(&self.config, &self.runtime_dir) {
            return drop(reply.send(Err(unavailable(why))));
        }
        let serial = self.take_serial();
        let config = port.config.clone();
        self.add_port(Entry::new(serial, port), config, reply);
    }

    fn show_port(&mut self, port: String, reply: oneshot::Sender<Result<PortDetail, ApiError>>) {
        let Some(entry) = self.ports.get(&port) else {
            return drop(reply.send(Err(no_such_port(&self.config.name, &port))));
        };
        let detail = Box::new(PortDetail {
            port: entry.port.status(),
            queues: Vec::new(),
        });
        match self.post(ToWorker::ShowPort(port), &[]) {
            Some(id) => self
                .requests
                .insert(id, Waiting::ShowPort { detail, reply }),
            None => drop(reply.send(Ok(*detail))),
        }
    }

    /// The worker ends, and the next one is due.
    pub(super) async fn stop_worker(&mut self) {
        let due = Life::Due(time::Instant::now());
        if let Life::Running(worker) = std::mem::replace(&mut self.worker, due) {
            worker.stop().await;
        }
    }

    /// One that runs, and is to be told of what changes.
    pub(super) fn has_worker(&self) -> bool {
        matches!(self.worker, Life::Running(_))
    }

    /// Sends a request if there is a worker that takes it.
    pub(super) fn post(&mut self, message: ToWorker, fds: &[BorrowedFd<'_>]) -> Option<u64> {
        let Life::Running(worker) = &mut self.worker else {
            return None;
        };
        let sent = worker.post(message, fds);
        if let Err(error) = &sent {
            warn!(network = self.config.name, %error, "worker takes no request");
        }
        sent.ok()
    }

    pub(super) fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Removed { port } => {
                self.removing.remove(&port);
                self.unpark();
                self.rewire();
            }
            Outcome::Fits { port } => self.fits(&port),
            Outcome::Unfit { port, why } => self.unfit(&port, why),
            // It comes back when the address is free.
            Outcome::AddressRefused { port, why } => self.unwire(&port, why),
            Outcome::ForwardRefused(forward) => self.forward_refused(&forward),
            Outcome::Abandoned { port, serial } => self.remove_exactly(port, serial),
            Outcome::Refused { port, serial } => {
                if self.has(&port, serial) {
                    self.ports.remove(&port);
                    self.publish_ports();
                }
            }
        }
    }

    pub(super) fn has(&self, port: &str, serial: u64) -> bool {
        let entry = self.ports.get(port);
        entry.is_some_and(|entry| entry.serial == serial)
    }
}

pub(super) fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

pub(super) fn no_such_port(network: &str, port: &str) -> ApiError {
    ApiError {
        code: "no-such-port".into(),
        message: format!("network {network} has no port {port:?}"),
        remedy: Some("see `netbackend status`".into()),
    }
}

//! All networks of the daemon, and how they change while it runs.
//!
//! Each change goes to the network's task, to what is [`Definitions::defined`], and to the state
//! file. Changes of networks and reloads go one after the other; ports may come and go meanwhile, so
//! that a network that hangs holds up no other.
use super::{
    absence::Absent,
    activation::Inherited,
    forward::OpenForward,
    handle::{NetworkHandle, unavailable},
    lease::Lessee,
    mtu::awaits_mtu,
    network::NetworkTask,
    port::Port,
    request::{invalid, refusal, settings_of, to_table},
    runtime_dir::RuntimeDir,
    state::{Leased, Settings, State},
    wire::take_mtu_of_nic,
};
use crate::{
    config::{Base, NetworkConfig, Overrides, TransportConfig, check_name, parse_port},
    uplink::Wanted,
};
use control::{
    ApiError, ForwardStatus, NetworkRequest, NetworkStatus, PortFilter, PortRequest, PortStatus,
};
use nat::forward::Forward;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle, time};
use toml::Table;
use tracing::{error, info, warn};

/// How long a network may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the daemon was started with.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The configuration file, to read it again.
    pub(crate) file: Option<PathBuf>,
    /// The command line, over the file.
    pub(crate) overrides: Overrides,
    /// Filter for the log, handed on to workers.
    pub(crate) log: String,
}

/// A network with all that it needs, before its worker is started.
#[derive(Debug)]
pub(super) struct OpenNetwork {
    pub(super) config: NetworkConfig,
    pub(super) ports: Vec<Port>,
    pub(super) forwards: Vec<OpenForward>,
    /// Its MTU is that of a NIC that is not there and up yet.
    pub(super) awaits_mtu: bool,
}

/// The networks.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) options: Options,
    pub(super) inherited: Arc<Inherited>,
    pub(super) runtime_dir: RuntimeDir,
    /// Held while networks change.
    pub(super) turn: tokio::sync::Mutex<()>,
    definitions: Mutex<Definitions>,
    /// A guest has changed the state ([`Registry::save_filters`]).
    pub(super) unsaved: Notify,
}

/// What there is and why. Locked for moments only, never while something is awaited.
#[derive(Debug)]
pub(super) struct Definitions {
    /// The configuration file when it was read last.
    pub(super) base: Base,
    /// What was changed since.
    pub(super) state: State,
    /// Both together, without what could not be had.
    pub(super) defined: BTreeMap<String, NetworkConfig>,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    handle: NetworkHandle,
    task: JoinHandle<()>,
}

impl Registry {
    /// Opens all sockets and taps; starts nothing yet.
    ///
    /// # Errors
    /// Something that the file asks for cannot be had. What was added at run time may fail: it
    /// is logged and left out.
    pub(super) fn open(
        options: Options,
        base: Base,
        inherited: Arc<Inherited>,
        runtime_dir: RuntimeDir,
    ) -> anyhow::Result<(Self, Vec<OpenNetwork>)> {
        let state = State::load(&base.config.state_file)?;
        let (state, networks) = fit(&base, state, &options.overrides)?;
        let registry = Self {
            options,
            inherited,
            runtime_dir,
            turn: tokio::sync::Mutex::default(),
            definitions: Mutex::new(Definitions::new(base, state)),
            unsaved: Notify::new(),
        };
        crate::uplink::remove_leftovers(&registry.runtime_path());
        let mut opened = Vec::new();
        for network in networks {
            let name = network.name.clone();
            match registry.open_network(network) {
                Ok(open) => opened.push(open),
                Err(wrong) if registry.lock().state.has_network(&name) => {
                    error!(
                        "{wrong:#}; network {name} is left out (`netbackend reload` tries again)"
                    );
                }
                Err(wrong) => return Err(wrong),
            }
        }
        Ok((registry, opened))
    }

    /// Starts the worker of a network that is open.
    pub(super) fn start(self: &Arc<Self>, network: OpenNetwork) {
        let config = network.config.clone();
        let (task, handle) = NetworkTask::new(network, self);
        let task = tokio::spawn(task.run());
        let mut definitions = self.lock();
        let running = Running { handle, task };
        definitions.running.insert(config.name.clone(), running);
        definitions.defined.insert(config.name.clone(), config);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Definitions> {
        self.definitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the sockets are.
    pub(super) fn runtime_path(&self) -> PathBuf {
        self.lock().base.config.runtime_dir.clone()
    }

    /// Where a network's leases are kept.
    pub(super) fn lease_path(&self, network: &str) -> PathBuf {
        let definitions = self.lock();
        let state = &definitions.base.config.state_file;
        state.with_file_name(format!("leases-{network}.json"))
    }

    /// All networks, by name.
    pub(crate) fn networks(&self) -> Vec<NetworkHandle> {
        let definitions = self.lock();
        let running = definitions.running.values();
        running.map(|network| network.handle.clone()).collect()
    }

    /// One network.
    pub(crate) fn network(&self, name: &str) -> Result<NetworkHandle, ApiError> {
        let definitions = self.lock();
        if let Some(found) = definitions.running.get(name) {
            return Ok(found.handle.clone());
        }
        let names: Vec<_> = definitions.running.keys().map(String::as_str).collect();
        let use_one = match names.as_slice() {
            [] => String::new(),
            names => format!("use one of: {}; or ", names.join(", ")),
        };
        Err(ApiError {
            code: "no-such-network".into(),
            message: format!("there is no network {name:?}"),
            remedy: Some(format!("{use_one}add it with `netbackend network add`")),
        })
    }

    /// Adds a network for good. Must not be cancelled: spawn it.
    pub(crate) async fn add_network(
        self: Arc<Self>,
        request: NetworkRequest,
    ) -> Result<NetworkStatus, ApiError> {
        let _turn = self.turn.lock().await;
        let name = request.name;
        check_name(&name).map_err(|wrong| refusal("bad-request", wrong.message, wrong.remedy))?;
        if self.lock().running.contains_key(&name) {
            return Err(refusal(
                "network-exists",
                format!("there is a network {name} already"),
                "choose another name, or remove that network first",
            ));
        }
        let settings = to_table(&request.settings)?;
        let mut state = self.lock().state.clone();
        // What was changed about one of that name that could not be had is not about this one.
        state.remove_network(&name, false);
        state.add_network(&name, settings);
        let networks = self
            .lock()
            .base
            .with(&self.options.overrides, |networks| state.apply(networks))
            .map_err(|wrong| invalid(&wrong))?;
        let mut config = networks.into_iter().filter(|network| network.name == name);
        let mut config = config
            .next()
            .ok_or_else(|| unavailable("no network".into()))?;
        let awaits_mtu = awaits_mtu(&config);
        take_mtu_of_nic(&mut config).map_err(|wrong| unavailable(format!("{wrong:#}")))?;
        let opened = self.runtime_dir.make_network_dir(&name).and_then(|()| {
            let ports = config.ports.iter();
            let ports = ports.map(|port| self.open_port(&config, port, Absent::Refused));
            let ports = ports.collect::<anyhow::Result<Vec<_>>>()?;
            let forwards = config.nat.iter().flat_map(|nat| &nat.forwards);
            let forwards = forwards.map(|forward| OpenForward::open(&name, forward));
            let forwards = forwards.collect::<anyhow::Result<Vec<_>>>()?;
            Ok((ports, forwards))
        });
        let (ports, forwards) = opened.map_err(|wrong| {
            self.runtime_dir.remove_network_dir(&name);
            unavailable(format!("{wrong:#}"))
        })?;
        info!(network = name, "network added");
        self.start(OpenNetwork {
            config,
            ports,
            forwards,
            awaits_mtu,
        });
        self.keep(|definitions| definitions.state = state);
        let handle = self.network(&name)?;
        handle.settled().await;
        Ok(handle.status().await)
    }

    /// Stops a network; its sockets and its directory are gone afterwards.
    pub(super) async fn end(&self, name: &str) {
        let running = {
            let mut definitions = self.lock();
            definitions.defined.remove(name);
            definitions.running.remove(name)
        };
        if let Some(Running { handle, mut task }) = running {
            handle.stop();
            if time::timeout(STOP_TIMEOUT, &mut task).await.is_err() {
                warn!(network = name, "does not stop; killed");
                // Dropping the task kills the worker and unlinks the sockets.
                task.abort();
                drop(task.await);
            }
            self.runtime_dir.remove_network_dir(name);
        }
    }

    /// Adds a port, leased to a process or for good.
    pub(crate) async fn add_port(
        &self,
        network: &str,
        request: PortRequest,
        lessee: Option<Lessee>,
    ) -> Result<PortStatus, ApiError> {
        let handle = self.network(network)?;
        let settings = settings_of(&request)?;
        let name = request.name;
        self.check_claims(network, name.as_deref().unwrap_or("p0"), &settings)?;
        let process = lessee.as_ref().map(Lessee::identity);
        let filter = Wanted::default();
        let added = handle.add_port(name, settings.clone(), lessee, filter);
        let (status, config) = added.await?;
        self.keep(|definitions| match process {
            Some(Some(process)) => {
                let lease = Leased {
                    process,
                    settings: Settings(settings),
                    filter: PortFilter::default(),
                };
                let state = &mut definitions.state;
                state.lease_port(network, &config.name, lease);
            }
            Some(None) => {}
            None => {
                definitions.state.add_port(network, &config.name, settings);
                if let Some(network) = definitions.defined.get_mut(network) {
                    network.ports.retain(|port| port.name != config.name);
                    network.ports.push(config);
                }
            }
        });
        Ok(status)
    }

    /// What another network's ports have taken already. (A tap that exists would be joined.)
    fn check_claims(&self, network: &str, port: &str, settings: &Table) -> Result<(), ApiError> {
        let definitions = self.lock();
        let Some(config) = definitions.defined.get(network) else {
            return Ok(());
        };
        // What is wrong with the request, its network tells.
        let Ok(wanted) = parse_port(config, port, settings, &definitions.base.config.runtime_dir)
        else {
            return Ok(());
        };
        let TransportConfig::Tap { interface, .. } = &wanted.transport else {
            return Ok(());
        };
        for other in definitions.defined.values() {
            let mut ports = other.ports.iter();
            if let Some(owner) = ports.find(|owner| owner.transport == wanted.transport) {
                return Err(refusal(
                    "conflict",
                    format!(
                        "interface {interface} belongs to port {}/{}",
                        other.name, owner.name
                    ),
                    "choose another interface",
                ));
            }
        }
        Ok(())
    }

    /// Begins a forward, for good. Must not be cancelled: spawn it.
    pub(crate) async fn add_forward(
        self: Arc<Self>,
        network: String,
        forward: Forward,
    ) -> Result<ForwardStatus, ApiError> {
        let handle = self.network(&network)?;
        let status = handle.add_forward(forward.clone()).await?;
        self.keep(|definitions| {
            definitions.state.add_forward(&network, &forward);
            definitions.change_forwards(&network, |forwards| forwards.push(forward));
        });
        Ok(status)
    }

    /// Changes the state and writes it down.
    pub(super) fn keep(&self, change: impl FnOnce(&mut Definitions)) {
        let mut definitions = self.lock();
        let before = definitions.state.clone();
        change(&mut definitions);
        if definitions.state != before
            && let Err(wrong) = definitions.state.save(&definitions.base.config.state_file)
        {
            error!("{wrong:#}; the change is gone after a restart");
        }
    }

    /// Stops all networks at once.
    pub(super) async fn stop(&self) {
        // What waits for the end of a pause.
        self.save();
        let names: Vec<String> = self.lock().running.keys().cloned().collect();
        for handle in self.networks() {
            handle.stop();
        }
        // They stop side by side; what each may take at most is not added up.
        let all = async {
            for name in &names {
                self.end(name).await;
            }
        };
        drop(time::timeout(STOP_TIMEOUT + Duration::from_secs(1), all).await);
    }
}

impl Definitions {
    /// Nothing is defined yet.
    pub(super) fn new(base: Base, state: State) -> Self {
        Self {
            base,
            state,
            defined: BTreeMap::new(),
            running: BTreeMap::new(),
        }
    }

    pub(super) fn change_forwards(
        &mut self,
        network: &str,
        change: impl FnOnce(&mut Vec<Forward>),
    ) {
        let defined = self.defined.get_mut(network);
        if let Some(nat) = defined.and_then(|network| network.nat.as_mut()) {
            change(&mut nat.forwards);
        }
    }
}

/// The networks of the file and of the state. What does not fit (any more) is left out.
fn fit(
    base: &Base,
    state: State,
    overrides: &Overrides,
) -> anyhow::Result<(State, Vec<NetworkConfig>)> {
    if let Ok(networks) = base.with(overrides, |networks| state.apply(networks)) {
        return Ok((state, networks));
    }
    let mut fitting = state.only_leases();
    let mut networks = base.with(overrides, |networks| fitting.apply(networks));
    for (what, part) in state.singly() {
        let mut more = fitting.clone();
        more.absorb(part);
        match base.with(overrides, |networks| more.apply(networks)) {
            Ok(found) => {
                fitting = more;
                networks = Ok(found);
            }
            Err(wrong) => error!("{what} is given up: {wrong}"),
        }
    }
    Ok((fitting, networks?))
}

#[cfg(test)]
#[path = "registry_test.rs"]
mod tests;

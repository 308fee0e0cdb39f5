//! The supervisor: owns the configuration, the sockets and taps, the control API, and one worker
//! process per network.
//!
//! Everything here runs in one thread. Each network has a task ([`network`]) that alone knows its
//! ports and its worker; others talk to it through a [`NetworkHandle`]. So a network that hangs
//! holds up nobody else.
mod absence;
mod activation;
mod backoff;
mod connector;
mod filter;
mod forward;
mod handle;
mod health;
mod lease;
mod lessees;
mod listen;
mod mtu;
mod network;
mod nic_watch;
mod notify;
mod opening;
mod plan;
mod port;
mod port_removal;
mod reconfigure;
mod registry;
mod reload;
mod reload_plan;
mod removal;
mod request;
mod requests;
mod runtime_dir;
mod start;
mod state;
mod uplink;
mod wire;
mod worker;

pub(crate) use health::examine;
pub(crate) use lease::Peer;
pub(crate) use registry::{Options, Registry};

use crate::{
    api,
    config::{Base, Config, NetworkConfig, TransportConfig},
    sys,
};
use activation::Inherited;
use anyhow::Context;
use listen::BoundSocket;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use notify::ServiceManager;
use runtime_dir::RuntimeDir;
use std::{future, path::Path, process, sync::Arc};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time,
};
use tracing::{info, warn};

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// The runtime directory, a socket or a tap cannot be had.
pub(crate) fn run(base: Base, options: Options) -> anyhow::Result<()> {
    // Sockets get their modes explicitly; between bind and chmod they must not be open to others.
    umask(Mode::S_IRWXO);
    raise_file_limit();
    let inherited = Inherited::from_environment()?;
    let manager = ServiceManager::from_environment();
    sys::clear_environment(&activation::VARIABLES);
    sys::clear_environment(&notify::VARIABLES);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(supervise(base, options, inherited, &manager))
}

async fn supervise(
    base: Base,
    options: Options,
    inherited: Inherited,
    manager: &ServiceManager,
) -> anyhow::Result<()> {
    let config = base.config.clone();
    for warning in &config.warnings {
        warn!("{warning}");
    }
    // First of all: a signal during the start must not leave sockets behind.
    let mut signals = Signals::new().context("watch for signals")?;
    let runtime_dir = RuntimeDir::claim(&config.runtime_dir)?;
    let control = control_socket(&config, &inherited).context("open the control socket")?;
    let listener = control.listener().context("serve the control socket")?;
    let (registry, opened) = Registry::open(options, base, Arc::new(inherited), runtime_dir)?;
    for (name, path) in registry.inherited.unused() {
        warn!(
            "the service manager's socket {name:?} ({}) belongs to no port (name it control or NETWORK/PORT)",
            path.display()
        );
    }
    // Nothing fails any more: processes are started only now.
    let registry = Arc::new(registry);
    let networks: Vec<_> = opened.iter().map(|open| open.config.clone()).collect();
    for network in opened {
        registry.start(network);
    }
    // Before anybody else asks for their names.
    registry.renew_leases().await;
    let api = tokio::spawn(api::serve(listener, Arc::clone(&registry)));
    let saver = tokio::spawn(Arc::clone(&registry).save_filters());
    for network in registry.networks() {
        network.settled().await;
    }
    announce(&networks, control.path());
    manager.ready("networks run");
    let signal = serve(&registry, &mut signals, manager).await;
    info!("{signal}: stopping (once more: stop at once)");
    manager.stopping();
    tokio::spawn(async move {
        let signal = signals.stop().await;
        warn!("{signal}: stopping at once");
        process::exit(1);
    });
    api.abort();
    saver.abort();
    registry.stop().await;
    info!("stopped");
    Ok(())
}

/// The service manager's, or one of our own.
fn control_socket(config: &Config, inherited: &Inherited) -> anyhow::Result<BoundSocket> {
    let path = &config.control_socket;
    Ok(match inherited.get(activation::CONTROL, path)? {
        Some(socket) => socket,
        None => BoundSocket::bind(path, config.control_access)?,
    })
}

/// Follows signals until one stops the daemon. A reload that takes long delays none of them.
async fn serve(
    registry: &Arc<Registry>,
    signals: &mut Signals,
    manager: &ServiceManager,
) -> &'static str {
    let mut watchdog = manager.watchdog_interval().map(time::interval);
    let mut reload: Option<JoinHandle<()>> = None;
    loop {
        let tick = async {
            match &mut watchdog {
                Some(interval) => drop(interval.tick().await),
                None => future::pending().await,
            }
        };
        let reloaded = async {
            match &mut reload {
                Some(reload) => drop(reload.await),
                None => future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next() => {
                if signal != RELOAD {
                    return signal;
                }
                info!("{signal}: reloading the configuration");
                manager.reloading();
                let (registry, before) = (Arc::clone(registry), reload.take());
                reload = Some(tokio::spawn(async move {
                    if let Some(before) = before {
                        drop(before.await);
                    }
                    // What it says was logged.
                    drop(registry.reload().await);
                }));
            }
            () = reloaded => {
                reload = None;
                manager.ready("networks run");
            }
            () = tick => manager.alive(),
        }
    }
}

/// What runs, and how a guest gets in.
fn announce(networks: &[NetworkConfig], control_socket: &Path) {
    for network in networks {
        let (name, mode, mtu) = (&network.name, network.mode, network.mtu);
        info!(
            "network {name}: {mode}, mtu {mtu}; attach a guest with `vmm run --net network={name} ...`"
        );
        for port in &network.ports {
            let role = if port.role == switch::Role::Uplink {
                ", uplink"
            } else {
                ""
            };
            match &port.transport {
                TransportConfig::VhostUser { socket } => {
                    info!(
                        "port {name}/{}: vhost-user {}{role}",
                        port.name,
                        socket.display()
                    );
                }
                TransportConfig::VhostUserClient { socket } => {
                    info!(
                        "port {name}/{}: vhost-user, connects to {}{role}",
                        port.name,
                        socket.display()
                    );
                }
                TransportConfig::Tap { interface, netns } => {
                    let netns = netns.iter().map(|ns| format!(" in netns {ns}"));
                    let netns: String = netns.collect();
                    info!("port {name}/{}: tap {interface}{netns}{role}", port.name);
                }
                TransportConfig::Uplink(uplink) => {
                    info!("port {name}/{}: {uplink}{role}", port.name);
                }
            }
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let socket = control_socket.display();
    info!("netbackend {version} is ready: control socket {socket}; see `netbackend status`");
}

/// Ports and guest memory regions cost descriptors; the soft limit is made for `select()`.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "raise the limit of open files");
    }
}

/// The signal that has the configuration read again; all others stop the daemon.
const RELOAD: &str = "SIGHUP";

/// The signals that the daemon follows.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => RELOAD,
        }
    }

    /// One that stops the daemon.
    async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The directory that `path` is in.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

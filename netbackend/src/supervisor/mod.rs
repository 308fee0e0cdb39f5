//! The supervisor: owns the configuration, the sockets and taps, the control API, and one worker
//! process per network.
//!
//! Everything here runs in one thread. Each network has a task ([`network`]) that alone knows its
//! ports and its worker; others talk to it through a [`NetworkHandle`]. So a network that hangs
//! holds up nobody else.
mod backoff;
mod handle;
mod lease;
mod listen;
mod network;
mod plan;
mod port;
mod requests;
mod runtime_dir;
mod worker;

pub(crate) use handle::NetworkHandle;
pub(crate) use lease::Peer;

use crate::{
    api,
    config::{Config, NetworkConfig, TransportConfig},
};
use anyhow::Context;
use listen::BoundSocket;
use network::NetworkTask;
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use port::Port;
use runtime_dir::RuntimeDir;
use std::{path::Path, process, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time,
};
use tracing::{info, warn};

/// How long networks may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// The runtime directory, a socket or a tap cannot be had.
pub(crate) fn run(config: &Config, log: &str) -> anyhow::Result<()> {
    // Sockets get their modes explicitly; between bind and chmod they must not be open to others.
    umask(Mode::S_IRWXO);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(supervise(config, log))
}

async fn supervise(config: &Config, log: &str) -> anyhow::Result<()> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    // First of all: a signal during the start must not leave sockets behind.
    let mut signals = Signals::new().context("watch for signals")?;
    let runtime_dir = RuntimeDir::claim(&config.runtime_dir)?;
    let control = BoundSocket::bind(&config.control_socket).context("open the control socket")?;
    let mut opened = Vec::new();
    for network in &config.networks {
        runtime_dir.make_network_dir(&network.name)?;
        opened.push((network, open_ports(network)?));
    }
    // Nothing fails any more: processes are started only now.
    let start = |(network, ports)| {
        let (task, handle) = NetworkTask::new(network, ports, &config.runtime_dir, log);
        (tokio::spawn(task.run()), handle)
    };
    let (tasks, handles): (Vec<_>, Vec<_>) = opened.into_iter().map(start).unzip();
    let handles: Arc<[NetworkHandle]> = handles.into();
    let listener = control.listener().context("serve the control socket")?;
    let api = tokio::spawn(api::serve(listener, Arc::clone(&handles)));
    for handle in handles.iter() {
        handle.settled().await;
    }
    announce(config);
    let signal = signals.next().await;
    info!("{signal}: stopping (once more: stop at once)");
    tokio::spawn(async move {
        let signal = signals.next().await;
        warn!("{signal}: stopping at once");
        process::exit(1);
    });
    api.abort();
    stop_networks(tasks, &handles).await;
    info!("stopped");
    Ok(())
}

fn open_ports(network: &NetworkConfig) -> anyhow::Result<Vec<Port>> {
    let open = |config| {
        Port::open(config, network.mtu)
            .with_context(|| format!("open port {} of network {}", config.name, network.name))
    };
    network.ports.iter().map(open).collect()
}

/// Tells each network to stop, and kills those that do not.
async fn stop_networks(tasks: Vec<JoinHandle<()>>, handles: &[NetworkHandle]) {
    for handle in handles {
        handle.stop();
    }
    let deadline = time::Instant::now() + STOP_TIMEOUT;
    for (mut task, handle) in tasks.into_iter().zip(handles) {
        if time::timeout_at(deadline, &mut task).await.is_err() {
            warn!(network = handle.name(), "does not stop; killed");
            // Dropping the task kills the worker and unlinks the sockets.
            task.abort();
            drop(task.await);
        }
    }
}

/// What runs, and how a guest gets in.
fn announce(config: &Config) {
    for network in &config.networks {
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
                TransportConfig::Tap { interface, netns } => {
                    let netns = netns.iter().map(|ns| format!(" in netns {ns}"));
                    let netns: String = netns.collect();
                    info!("port {name}/{}: tap {interface}{netns}{role}", port.name);
                }
            }
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let socket = config.control_socket.display();
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

/// The signals that stop the daemon.
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
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

/// The directory that `path` is in.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

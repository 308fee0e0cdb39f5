//! The worker process: runs one network for the supervisor, and nothing else.
//!
//! Standard input is the socket to the supervisor. When it ends, the worker does.
mod forwards;
mod sandbox;

use crate::{
    channel,
    network::{GatewaySpec, Lower, Network, NetworkSpec, PortTransport},
    protocol::{
        Carrier, Envelope, FromWorker, PORTS_PER_REPORT, PortSettings, QUEUES_PER_REPORT, ToWorker,
    },
    sys,
};
use anyhow::{Context, bail};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::dup2_stdin,
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
};
use switch::MacAddr;
use tracing::{debug, warn};

/// Serves the supervisor behind standard input until it says stop or is gone.
///
/// # Errors
/// Standard input is no supervisor's socket, or the protocol is violated.
pub(crate) fn run(name: &str) -> anyhow::Result<()> {
    let socket = take_stdin().context("take the supervisor's socket from standard input")?;
    // Should the supervisor be killed, its sockets must not stay open in here. It may be dead
    // already: then the socket's end says so.
    prctl::set_pdeathsig(Signal::SIGKILL).context("ask to die with the supervisor")?;
    // Shown by ps and top; 15 bytes at most.
    prctl::set_name(&CString::new(format!("nb-{name}"))?).context("name the process")?;
    sandbox::enter().context("give up privileges")?;
    let network = match configure(&socket)? {
        Some(network) => Arc::new(network),
        None => return Ok(()),
    };
    serve(&socket, network)
}

/// Moves the socket away from standard input, where everybody could read it.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

/// How much less urgent than others the threads of a gateway are (nice(2)). Woken for each few datagrams, they would push who receives
/// them from its CPU each time, until its socket is full: where CPUs are scarce who relays comes behind both ends.
const COURTESY: i32 = 1;

/// Starts the network that the first message describes; `None`: there will be none.
fn configure(socket: &OwnedFd) -> anyhow::Result<Option<Network>> {
    let message = channel::receive(socket);
    let message =
        message.context("receive the configuration (a worker is started by netbackend)")?;
    let Some((Envelope { id, body }, fds)) = message else {
        return Ok(None);
    };
    let ToWorker::Configure(settings) = body else {
        bail!("the first message is no configuration: {body:?}");
    };
    let mut fds = fds.into_iter();
    let lease_file = fds.by_ref().take(usize::from(settings.lease_file)).next();
    let gateway = settings.nat.clone().map(|config| GatewaySpec {
        config,
        lease_file: lease_file.map(File::from),
        raw_echo: fds.collect(),
    });
    if gateway.is_some()
        && let Err(error) = sys::be_nicer(COURTESY)
    {
        debug!(%error, "lower the priority");
    }
    let network = Network::start_with(NetworkSpec::from(*settings), gateway);
    let answer = match &network {
        Ok(_) => FromWorker::Done,
        Err(error) => FromWorker::Error(format!("{error:#}")),
    };
    reply(socket, id, answer)?;
    network.map(Some)
}

fn serve(socket: &OwnedFd, network: Arc<Network>) -> anyhow::Result<()> {
    loop {
        let message = channel::receive(socket).context("receive a request")?;
        let Some((Envelope { id, body }, fds)) = message else {
            debug!("the supervisor is gone");
            return Ok(());
        };
        match body {
            ToWorker::Configure(_) => bail!("configured twice"),
            ToWorker::AddPort(port) => {
                reply(socket, id, outcome(add_port(&network, port, fds)))?;
            }
            ToWorker::RemovePort(port) => remove_port(socket, id, &network, port)?,
            ToWorker::SetLink(is_up) => {
                network.set_link(is_up);
                reply(socket, id, FromWorker::Done)?;
            }
            ToWorker::SetUplinkAddress { port, mac } => {
                let set = network.set_uplink_address(&port, MacAddr(mac));
                reply(socket, id, outcome(set))?;
            }
            ToWorker::Report => report(socket, id, &network)?,
            ToWorker::ShowPort(port) => show_port(socket, id, &network, &port)?,
            ToWorker::GiveSockets(sockets) => {
                let given = forwards::give(&network, sockets, fds);
                reply(socket, id, outcome(given))?;
            }
            ToWorker::AddForward(forward) => {
                reply(socket, id, outcome(forwards::add(&network, &forward)))?;
            }
            ToWorker::RemoveForward(forward) => {
                reply(socket, id, outcome(forwards::remove(&network, &forward)))?;
            }
            ToWorker::Flows => forwards::flows(socket, id, &network)?,
            ToWorker::Leases => forwards::leases(socket, id, &network)?,
            ToWorker::Stop => {
                // Stops it, unless a removal is under way: that one ends with the process.
                drop(network);
                return reply(socket, id, FromWorker::Done);
            }
        }
    }
}

fn outcome(done: anyhow::Result<()>) -> FromWorker {
    match done {
        Ok(()) => FromWorker::Done,
        Err(error) => FromWorker::Error(format!("{error:#}")),
    }
}

fn add_port(network: &Network, port: PortSettings, mut fds: Vec<OwnedFd>) -> anyhow::Result<()> {
    let own = fds.len().checked_sub(usize::from(port.wire_queues));
    let wire = fds.split_off(own.context("a macvtap has one descriptor per queue")?);
    let transport = match port.carrier {
        Carrier::ListeningSocket => {
            let socket = <[OwnedFd; 1]>::try_from(fds)
                .ok()
                .context("a listening socket is one descriptor")?;
            let [socket] = socket;
            PortTransport::VhostUser(socket.into())
        }
        Carrier::Connections => {
            let feed = <[OwnedFd; 1]>::try_from(fds)
                .ok()
                .context("a feed of connections is one descriptor")?;
            let [feed] = feed;
            PortTransport::VhostUserClient(feed)
        }
        Carrier::TapQueues if fds.len() == usize::from(port.queue_pairs) => {
            PortTransport::Tap(fds.into_iter().map(File::from).collect())
        }
        Carrier::TapQueues => bail!("a tap has one descriptor per queue pair"),
    };
    let lower = Lower {
        wire: wire.into_iter().map(File::from).collect(),
        link: port.link,
    };
    network.add_port_above(port.into(), transport, lower)
}

/// Removes a port on a thread of its own: the peer of the port decides how long that takes, and the
/// other ports must not wait for it.
fn remove_port(
    socket: &OwnedFd,
    id: u64,
    network: &Arc<Network>,
    port: String,
) -> anyhow::Result<()> {
    let socket = socket.try_clone().context("clone the socket")?;
    let network = Arc::clone(network);
    let thread = thread::Builder::new().name(format!("rm-{port}"));
    let remove = move || {
        let answer = match network.remove_port(&port) {
            // One that this worker could not take is not there.
            Ok(true | false) => FromWorker::Done,
            Err(error) => FromWorker::Error(format!("{error:#}")),
        };
        if let Err(error) = reply(&socket, id, answer) {
            warn!(port, %error, "answer the removal");
        }
    };
    thread.spawn(remove).context("start a thread").map(drop)
}

fn report(socket: &OwnedFd, id: u64, network: &Network) -> anyhow::Result<()> {
    let mut ports = network.report();
    // A gateway that does not answer costs its counters, not the report.
    let nat = network.gateway().and_then(|gateway| gateway.status().ok());
    let mut nat = nat.map(Box::new);
    loop {
        let rest = ports.split_off(ports.len().min(PORTS_PER_REPORT));
        let more = !rest.is_empty();
        let nat = nat.take();
        let workers = if more { Vec::new() } else { network.workers() };
        let part = FromWorker::Report {
            ports,
            nat,
            workers,
            more,
        };
        reply(socket, id, part)?;
        if !more {
            return Ok(());
        }
        ports = rest;
    }
}

fn show_port(socket: &OwnedFd, id: u64, network: &Network, name: &str) -> anyhow::Result<()> {
    let Some((status, mut queues)) = network.show(name) else {
        let answer = FromWorker::Error(format!("there is no port {name}"));
        return reply(socket, id, answer);
    };
    let mut port = Some(Box::new(status));
    loop {
        let rest = queues.split_off(queues.len().min(QUEUES_PER_REPORT));
        let more = !rest.is_empty();
        let port = port.take();
        reply(socket, id, FromWorker::Port { port, queues, more })?;
        if !more {
            return Ok(());
        }
        queues = rest;
    }
}

fn reply(socket: &OwnedFd, id: u64, body: FromWorker) -> anyhow::Result<()> {
    channel::send(socket, &Envelope { id, body }, &[]).context("answer the supervisor")
}

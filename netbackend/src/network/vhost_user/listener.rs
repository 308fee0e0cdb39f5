//! The control thread of a vhost-user port: serves one front-end at a time, for ever.
use super::{
    super::{command::Command, counters::PortShared, mailbox::Mailbox},
    cable::Cable,
    direct,
    handler::Handler,
    message::PATIENCE,
    source::Source,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};
use std::{
    io,
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use switch::PortId;
use tracing::{info, warn};
use vhost::vhost_user::{BackendReqHandler, Error as ProtocolError};
use virtqueue::SealPolicy;

/// Pause after accept() failed (no fds left), so that a lasting failure costs no CPU.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What the control thread serves.
#[derive(Debug)]
pub(crate) struct ListenerConfig {
    pub(crate) port: PortId,
    pub(crate) queue_pairs: u16,
    pub(crate) seals: SealPolicy,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<PortShared>,
    /// Of a guest whose link follows an interface of the host.
    pub(crate) cable: Option<Arc<Cable>>,
}

/// The running control thread of a port.
#[derive(Debug)]
pub(crate) struct Listener {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

/// How the thread is told to end.
#[derive(Debug)]
struct Control {
    stopping: AtomicBool,
    /// Wakes the wait for a front-end.
    wake: EventFd,
    /// The connection being served; shutting it down wakes its reader.
    connection: Mutex<Option<UnixStream>>,
}

impl Listener {
    /// Starts the control thread.
    pub(crate) fn start(source: Source, config: ListenerConfig) -> io::Result<Self> {
        let control = Arc::new(Control {
            stopping: AtomicBool::new(false),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            connection: Mutex::new(None),
        });
        let thread = thread::Builder::new()
            .name(format!("vu-{}", config.shared.name))
            .spawn({
                let control = Arc::clone(&control);
                move || accept_loop(source, &control, &config)
            })?;
        Ok(Self {
            control,
            thread: Some(thread),
        })
    }

    /// Ends the connection and the thread; the datapath must still answer.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.control.stopping.store(true, Ordering::Release);
        let _ = self.control.wake.write(1);
        self.control.shut_down_connection();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end();
    }
}

impl Control {
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn set_connection(&self, connection: Option<UnixStream>) {
        *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = connection;
        if self.stopping() {
            // The stop came while the connection was being set: it found none to shut down.
            self.shut_down_connection();
        }
    }

    fn shut_down_connection(&self) {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = connection.as_ref() {
            // Fails only if the peer has ended it already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Serves front-ends one after the other. A second one that connects meanwhile waits in the socket's
/// backlog and is served when the first is gone (a restarted VMM may well connect before the kernel
/// has closed the old process's socket).
fn accept_loop(mut source: Source, control: &Control, config: &ListenerConfig) {
    while !control.stopping() {
        match wait(&mut source, control) {
            Ok(Some(stream)) => serve(stream, control, config),
            Ok(None) => {}
            Err(error) => {
                warn!(port = config.shared.name, %error, "accept a front-end");
                thread::sleep(ACCEPT_RETRY);
            }
        }
    }
}

/// Waits for a front-end, or to be woken.
fn wait(source: &mut Source, control: &Control) -> io::Result<Option<UnixStream>> {
    source.ask()?;
    let wake = PollFd::new(control.wake.as_fd(), PollFlags::POLLIN);
    // Interrupted or not: look again.
    let _ = match source.as_fd() {
        Some(fd) => poll(
            &mut [wake, PollFd::new(fd, PollFlags::POLLIN)],
            PollTimeout::NONE,
        ),
        None => poll(&mut [wake], PollTimeout::NONE),
    };
    source.next()
}

/// Serves one front-end until it is gone, then takes everything of it from the datapath.
fn serve(stream: UnixStream, control: &Control, config: &ListenerConfig) {
    let port = config.shared.name.as_str();
    info!(port, "front-end connected");
    config.shared.clear_fault();
    config.shared.set_connected(true);
    let error = serve_connection(stream, control, config);
    control.set_connection(None);
    if let Some(cable) = &config.cable {
        cable.disconnect();
    }
    // Fails only when the datapath has ended, and with it everything.
    drop(config.mailbox.call(Command::Disconnect(config.port)));
    // Only now can no ring latch a fault any more: forgotten earlier, it would stay with the port.
    config.shared.set_connected(false);
    config.shared.set_features(0);
    config.shared.clear_fault();
    match error {
        ProtocolError::Disconnected => info!(port, "front-end disconnected"),
        _ if control.stopping() => info!(port, "front-end cut off: the port is being closed"),
        error => warn!(port, %error, "front-end cut off"),
    }
}

fn serve_connection(
    stream: UnixStream,
    control: &Control,
    config: &ListenerConfig,
) -> ProtocolError {
    let (mut peeked, kept) = match prepare(&stream) {
        Ok(clones) => clones,
        Err(error) => return ProtocolError::SocketError(error),
    };
    control.set_connection(Some(kept));
    let handler = Arc::new(Mutex::new(Handler::new(
        config.port,
        config.queue_pairs,
        config.seals,
        Arc::clone(&config.mailbox),
        Arc::clone(&config.shared),
        config.cable.clone(),
    )));
    let mut requests = BackendReqHandler::from_stream(stream, Arc::clone(&handler));
    loop {
        match direct::serve(&mut peeked, &handler) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => return error,
        }
        if let Err(error) = requests.handle_request() {
            return error;
        }
    }
}

/// Makes the stream blocking with time-outs; returns a handle to peek with and one to shut it down.
fn prepare(stream: &UnixStream) -> io::Result<(UnixStream, UnixStream)> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok((stream.try_clone()?, stream.try_clone()?))
}

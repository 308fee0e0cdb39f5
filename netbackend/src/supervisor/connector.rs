//! Connecting to front-ends that listen, for workers, which open nothing themselves.
//!
//! A worker says over a socket pair when it has room for a connection, and gets one back as soon as there is one.
use crate::{channel, sys};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    task::JoinHandle,
    time::{self, Instant},
};
use tracing::{info, warn};

/// Between the first tries; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Between two tries at most: a front-end that comes back is served within half a second, and one that does not costs
/// two calls per second.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that lives longer was a good one.
const HEALTHY: Duration = Duration::from_secs(1);

/// The task that connects; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Connector(JoinHandle<()>);

impl Drop for Connector {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connector {
    /// Connects to `socket` whenever the holder of the other end, which is returned, asks for it.
    ///
    /// # Errors
    /// The process has no descriptors left.
    pub(super) fn start(port: &str, socket: &Path) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = channel::pair()?;
        let flags = OFlag::from_bits_retain(fcntl(&ours, FcntlArg::F_GETFL)?);
        fcntl(&ours, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let feed = Feed {
            worker: sys::watch(ours)?,
            port: port.to_owned(),
            socket: socket.to_owned(),
        };
        Ok((Self(tokio::spawn(feed.run())), theirs))
    }
}

struct Feed {
    worker: AsyncFd<OwnedFd>,
    port: String,
    socket: PathBuf,
}

impl Feed {
    async fn run(self) {
        let mut pause = Duration::ZERO;
        let mut last: Option<Instant> = None;
        while self.asked().await {
            // A front-end that accepts and hangs up is no better than one that is not there.
            pause = match last {
                Some(connected) if connected.elapsed() < HEALTHY => next(pause),
                _ => Duration::ZERO,
            };
            time::sleep(pause).await;
            let stream = tokio::select! {
                stream = self.connect(&mut pause) => stream,
                // It asks once; anything more is its end.
                _ = self.asked() => return,
            };
            last = Some(Instant::now());
            if let Err(error) = channel::send(self.worker.get_ref(), &(), &[stream.as_fd()]) {
                warn!(port = self.port, %error, "hand a connection to the worker");
                return;
            }
        }
    }

    /// Waits until the worker wants a connection; false: it is gone.
    async fn asked(&self) -> bool {
        let receive = |socket: &OwnedFd| channel::receive::<()>(socket);
        let asked = self.worker.async_io(Interest::READABLE, receive).await;
        matches!(asked, Ok(Some(_)))
    }

    /// Tries until it succeeds.
    async fn connect(&self, pause: &mut Duration) -> UnixStream {
        let socket = self.socket.display();
        let mut told = None;
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => {
                    info!(port = self.port, %socket, "connected to the front-end");
                    return stream;
                }
                Err(error) if told == Some(error.kind()) => {}
                Err(error) => {
                    told = Some(error.kind());
                    warn!(port = self.port, %socket, %error, "the front-end does not listen yet; trying on");
                }
            }
            *pause = next(*pause);
            time::sleep(*pause).await;
        }
    }
}

fn next(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}

//! A worker process, seen from the supervisor.
use crate::{
    channel,
    protocol::{Envelope, FromWorker, ToWorker},
    sys,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::{Child, Command},
    time,
};

/// How long a worker may take to answer while it is being started.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a worker may take to close its ports.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running worker; dropping it kills it.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    pid: u32,
    channel: AsyncFd<OwnedFd>,
    next_id: u64,
}

/// What comes from a worker.
#[derive(Debug)]
pub(super) enum Event {
    Answer(Envelope<FromWorker>),
    /// It has ended, or speaks nonsense and was ended: why.
    Gone(String),
}

impl Worker {
    /// Starts the worker of `network`, which waits for its configuration.
    pub(super) fn spawn(network: &str, log: &str) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        let channel = non_blocking(ours)?;
        // Our own file, even if it was replaced or removed since (an upgrade). Standard input is the
        // one descriptor that a child gets without unsafe code; all others close on exec.
        let child = Command::new("/proc/self/exe")
            .arg0("netbackend")
            .args(["--log", log, "worker", network])
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // Ctrl-C in a terminal goes to the whole process group; workers are stopped by us.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child
            .id()
            .ok_or_else(|| io::Error::other("it has no pid"))?;
        Ok(Self {
            child,
            pid,
            channel,
            next_id: 0,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a request without waiting for anything; its id.
    ///
    /// # Errors
    /// The worker is gone or does not read.
    pub(super) fn post(&mut self, body: ToWorker, fds: &[BorrowedFd<'_>]) -> io::Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        channel::send(self.channel.get_ref(), &Envelope { id, body }, fds)?;
        Ok(id)
    }

    /// Sends a request and waits for its answer, for use while nothing else is asked.
    pub(super) async fn call(
        &mut self,
        body: ToWorker,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), String> {
        self.ask(body, fds).await?
    }

    /// The same. The worker's refusal is within; an error outside: there is no worker any more, or it does not answer.
    pub(super) async fn ask(
        &mut self,
        body: ToWorker,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Result<(), String>, String> {
        let exchange = async {
            let id = self.post(body, fds).map_err(|error| error.to_string())?;
            loop {
                match self.event().await {
                    Event::Gone(why) => return Err(why),
                    Event::Answer(answer) if answer.id != id => {}
                    Event::Answer(answer) => match answer.body {
                        FromWorker::Error(why) => return Ok(Err(why)),
                        _ => return Ok(Ok(())),
                    },
                }
            }
        };
        time::timeout(START_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err("it does not answer".into()))
    }

    /// The next thing that happens. May be cancelled.
    pub(super) async fn event(&mut self) -> Event {
        let receive = self
            .channel
            .async_io(Interest::READABLE, |socket| channel::receive(socket));
        let broken = match receive.await {
            Ok(Some((answer, _))) => return Event::Answer(answer),
            // Its end of the socket closes with the process.
            Ok(None) => None,
            // It died with a request unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => Some(error),
        };
        if broken.is_some() {
            // Fails only if it has ended.
            drop(self.child.start_kill());
        }
        let ended = time::timeout(STOP_TIMEOUT, self.child.wait()).await;
        Event::Gone(match (broken, ended) {
            (Some(error), _) => format!("its answer is not understood: {error}"),
            (None, Ok(Ok(status))) => describe(status),
            // The socket is gone, the process is not; dropping the worker kills it.
            (None, _) => "it closed its socket".into(),
        })
    }

    /// Has the ports closed, and waits for the end; kills a worker that does not end.
    pub(super) async fn stop(mut self) {
        let stop = async {
            // If it is gone already there is nothing to wait for.
            if self.call(ToWorker::Stop, &[]).await.is_ok() {
                drop(self.child.wait().await);
            }
        };
        drop(time::timeout(STOP_TIMEOUT, stop).await);
        // Waits for the process, so that its pid is not left as a zombie. Fails only if it has ended.
        drop(self.child.kill().await);
    }
}

fn non_blocking(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(socket.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(socket.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    sys::watch(socket)
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, Some(code)) => format!("it exited with code {code}"),
        (None, None) => "it ended".into(),
    }
}

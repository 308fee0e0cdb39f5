//! Forwards, seen from the supervisor: it opens their sockets, for it may use any port, and keeps them over a restart of the worker.
use super::{
    handle::unavailable,
    network::NetworkTask,
    request::refusal,
    requests::{Outcome, Waiting},
};
use crate::{
    network::open_listener,
    protocol::{ListeningSocket, ToWorker},
};
use anyhow::{Context, bail};
use control::{ApiError, ForwardStatus};
use nat::{
    ListenAt,
    forward::{Forward, Transport},
};
use std::{
    io::{self, ErrorKind},
    os::fd::OwnedFd,
};
use tokio::sync::oneshot;
use tracing::info;

/// Descriptors in one message at most, see [`crate::channel`].
const SOCKETS_PER_MESSAGE: usize = 64;
/// Ports of a range that is added while the worker runs. All messages are sent at once, and a worker that is busy reads none of
/// them meanwhile: together they must fit the send buffer of 208 KiB. 16 full messages with the longest addresses take 140 KiB.
const LONGEST_RANGE: u16 = 1024;

/// A forward whose sockets are open.
#[derive(Debug)]
pub(super) struct OpenForward {
    pub(super) forward: Forward,
    /// One for each port of the range.
    sockets: Vec<(ListeningSocket, OwnedFd)>,
    /// Why the present worker does not have it.
    pub(super) fault: Option<String>,
}

impl OpenForward {
    /// Opens its sockets.
    pub(super) fn open(network: &str, forward: &Forward) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for port in forward.first_port..=forward.last_port {
            let at = ListenAt {
                address: forward.address,
                interface: forward.interface.clone(),
                port,
            };
            let socket = open_listener(forward.transport, &at);
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => bail!(
                    "forward {forward} of network {network}: {}",
                    explain(&error, &at)
                ),
            };
            let place = ListeningSocket {
                tcp: forward.transport == Transport::Tcp,
                address: at.address,
                interface: at.interface,
                port,
            };
            sockets.push((place, socket));
        }
        Ok(Self {
            forward: forward.clone(),
            sockets,
            fault: None,
        })
    }

    /// What a worker is sent, in this order: sockets in several messages, then the forward itself.
    pub(super) fn messages(&self) -> io::Result<Vec<(ToWorker, Vec<OwnedFd>)>> {
        let mut messages = Vec::new();
        for part in self.sockets.chunks(SOCKETS_PER_MESSAGE) {
            let places = part.iter().map(|(place, _)| place.clone()).collect();
            let sockets = part.iter().map(|(_, socket)| socket.try_clone());
            messages.push((
                ToWorker::GiveSockets(places),
                sockets.collect::<io::Result<_>>()?,
            ));
        }
        messages.push((ToWorker::AddForward(self.forward.to_string()), Vec::new()));
        Ok(messages)
    }

    pub(super) fn status(&self) -> ForwardStatus {
        ForwardStatus {
            forward: self.forward.to_string(),
            fault: self.fault.clone(),
        }
    }
}

/// Whether all ports of a range can be sent to a worker that runs.
fn check_range(forward: &Forward) -> Result<(), ApiError> {
    if forward.last_port.saturating_sub(forward.first_port) < LONGEST_RANGE {
        return Ok(());
    }
    Err(refusal(
        "bad-request",
        format!("forward {forward} is of more ports than are added to a running network at once"),
        format!("split it into ranges of {LONGEST_RANGE} ports at most"),
    ))
}

fn explain(error: &io::Error, at: &ListenAt) -> String {
    let port = at.port;
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} of the host is in use by another program or network (see `ss -lntup`); choose another"
        ),
        ErrorKind::PermissionDenied => format!(
            "port {port} of the host takes root or CAP_NET_BIND_SERVICE; choose one from 1024 on"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "the host has no address {}",
            at.address
                .map_or_else(|| "for it".into(), |address| address.to_string())
        ),
        _ if error.raw_os_error() == Some(libc::ENODEV) => format!(
            "the host has no interface {}",
            at.interface.as_deref().unwrap_or("like that")
        ),
        _ => format!("listen on port {port} of the host: {error}"),
    }
}

type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

impl NetworkTask {
    /// Opens a forward and gives it to the worker.
    pub(super) fn add_forward(&mut self, forward: &Forward, reply: Reply<ForwardStatus>) {
        let begun = self.begin_forward(forward);
        self.keep_forwards();
        let answer = match begun {
            Ok((status, Some(id))) => {
                let forward = forward.clone();
                let waiting = Waiting::AddForward {
                    forward,
                    status,
                    reply,
                };
                return self.requests.insert(id, waiting);
            }
            // The next worker gets it.
            Ok((status, None)) => Ok(status),
            Err(refused) => Err(refused),
        };
        drop(reply.send(answer));
    }

    /// Opens a forward and sends it to the worker, if there is one; the id of the request that is answered last.
    fn begin_forward(
        &mut self,
        forward: &Forward,
    ) -> Result<(ForwardStatus, Option<u64>), ApiError> {
        let open = self.open_forward(forward)?;
        let status = open.status();
        let asked = match self.post_forward(&open) {
            Ok(asked) => asked,
            Err(why) => {
                // It may have got the sockets.
                let removal = ToWorker::RemoveForward(forward.to_string());
                if self.post(removal, &[]).is_none() && self.has_worker() {
                    // Nobody else can close them.
                    self.worker_died("it takes no requests");
                }
                return Err(unavailable(format!(
                    "give forward {forward} to the worker of network {}: {why}",
                    self.config.name
                )));
            }
        };
        self.forwards.push(open);
        info!(network = self.config.name, %forward, "forward added");
        Ok((status, asked))
    }

    fn open_forward(&self, forward: &Forward) -> Result<OpenForward, ApiError> {
        if self.config.nat.is_none() {
            return Err(refusal(
                "bad-request",
                format!(
                    "network {} is in mode {}, which has no gateway",
                    self.config.name, self.config.mode
                ),
                "forwards are of networks in mode nat",
            ));
        }
        check_range(forward)?;
        if self.forwards.iter().any(|open| open.forward == *forward) {
            return Err(refusal(
                "conflict",
                format!(
                    "network {} has the forward {forward} already",
                    self.config.name
                ),
                "see `netbackend forward list`",
            ));
        }
        OpenForward::open(&self.config.name, forward).map_err(|wrong| {
            refusal(
                "conflict",
                format!("{wrong:#}"),
                "see `ss -lntup` for who listens on this host",
            )
        })
    }

    /// Sends a forward to the worker, if there is one; the id of the request that is answered last.
    fn post_forward(&mut self, open: &OpenForward) -> Result<Option<u64>, String> {
        if !self.has_worker() {
            return Ok(None);
        }
        let messages = open.messages();
        let messages = messages.map_err(|error| format!("copy its sockets: {error}"))?;
        let mut last = None;
        for (message, sockets) in messages {
            let posted = self.post(message, &super::network::borrowed(&sockets));
            last = Some(posted.ok_or("it takes no request")?);
        }
        Ok(last)
    }

    /// Ends a forward; connections through it go on.
    pub(super) fn remove_forward(&mut self, forward: &Forward) -> Result<(), ApiError> {
        let found = self
            .forwards
            .iter()
            .position(|open| open.forward == *forward);
        let Some(found) = found else {
            return Err(refusal(
                "no-such-forward",
                format!("network {} has no forward {forward}", self.config.name),
                "see `netbackend forward list`",
            ));
        };
        self.forwards.remove(found);
        self.keep_forwards();
        info!(network = self.config.name, %forward, "forward removed");
        // Without an answer it is gone with the worker.
        self.post(ToWorker::RemoveForward(forward.to_string()), &[]);
        Ok(())
    }

    pub(super) fn forwards(&self) -> Vec<ForwardStatus> {
        self.forwards.iter().map(OpenForward::status).collect()
    }

    /// Ends forwards that are not wanted any more and opens new ones; what could not be had.
    pub(super) fn set_forwards(&mut self, wanted: &[Forward]) -> Vec<String> {
        let open: Vec<Forward> = self
            .forwards
            .iter()
            .map(|open| open.forward.clone())
            .collect();
        for gone in open.iter().filter(|forward| !wanted.contains(forward)) {
            // It is there.
            let _ = self.remove_forward(gone);
        }
        let mut failed = Vec::new();
        for new in wanted.iter().filter(|forward| !open.contains(forward)) {
            if let Err(wrong) = self.begin_forward(new) {
                failed.push(wrong.to_string());
            }
        }
        self.keep_forwards();
        failed
    }

    /// The worker refused a forward: it is not there.
    pub(super) fn forward_refused(&mut self, forward: &Forward) {
        self.forwards.retain(|open| open.forward != *forward);
        self.keep_forwards();
    }

    fn keep_forwards(&mut self) {
        if let Some(nat) = &mut self.config.nat {
            nat.forwards = self
                .forwards
                .iter()
                .map(|open| open.forward.clone())
                .collect();
        }
    }

    /// Asks the worker for a list that it answers in parts.
    pub(super) fn ask(&mut self, message: ToWorker, waiting: Waiting) {
        if let Some(id) = self.post(message, &[]) {
            return self.requests.insert(id, waiting);
        }
        let name = &self.config.name;
        waiting.refuse(unavailable(format!(
            "the worker of network {name} does not run"
        )));
    }

    /// Gives all forwards to a worker that has just started.
    pub(super) async fn hand_over_forwards(&mut self, worker: &mut super::worker::Worker) {
        for open in &mut self.forwards {
            open.fault = hand_over(open, worker)
                .await
                .err()
                .map(|error| format!("{error:#}"));
        }
    }
}

async fn hand_over(open: &OpenForward, worker: &mut super::worker::Worker) -> anyhow::Result<()> {
    for (message, sockets) in open.messages().context("copy its sockets")? {
        let fds = super::network::borrowed(&sockets);
        worker
            .call(message, &fds)
            .await
            .map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

/// An answer that ends a request about forwards.
pub(super) fn added(
    forward: Forward,
    status: ForwardStatus,
    reply: Reply<ForwardStatus>,
    refused: Option<String>,
) -> Outcome {
    match refused {
        None => {
            drop(reply.send(Ok(status)));
            Outcome::Nothing
        }
        Some(why) => {
            drop(reply.send(Err(unavailable(why))));
            Outcome::ForwardRefused(forward)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{channel, protocol::Envelope};
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::os::fd::AsFd;

    #[test]
    fn range_that_is_taken_fits_a_worker_that_reads_nothing() {
        let range = |last: u16| format!("tcp:5000-{last}=:5000").parse().unwrap();
        assert!(check_range(&range(4999 + LONGEST_RANGE)).is_ok());
        let wrong = check_range(&range(5000 + LONGEST_RANGE)).unwrap_err();
        assert!(wrong.remedy.unwrap().contains("1024 ports"));

        let (ours, theirs) = channel::pair().unwrap();
        fcntl(ours.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let place = ListeningSocket {
            tcp: false,
            address: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
            interface: Some("x".repeat(15)),
            port: u16::MAX,
        };
        let fds = [theirs.as_fd(); SOCKETS_PER_MESSAGE];
        for _ in 0..usize::from(LONGEST_RANGE) / SOCKETS_PER_MESSAGE {
            let body = ToWorker::GiveSockets(vec![place.clone(); SOCKETS_PER_MESSAGE]);
            channel::send(&ours, &Envelope { id: u64::MAX, body }, &fds).unwrap();
        }
        let body = ToWorker::AddForward("x".repeat(200));
        channel::send(&ours, &Envelope { id: u64::MAX, body }, &[]).unwrap();
    }
}

//! The gateway of a network in mode `nat`.
//!
//! # Theory of operation
//! To the datapath the gateway is one more guest: a port with one pair of rings. Their other ends are in the hands of a thread
//! of this process, which feeds what comes to crate `nat`, together with what happens to the host's sockets, and sends what
//! that answers. Each round takes a burst of frames and all events there are, then sends, with one kick. A round without
//! work puts the thread to sleep until the datapath calls, a socket stirs or a timer is due.
#![deny(clippy::indexing_slicing)]
mod answer;
mod departure;
mod directory;
mod events;
mod host;
mod leases;
mod port;
mod ports;
mod request;
mod resolver;
mod settings;
mod thread;
mod wire;

pub(crate) use host::{GivenSocket, open_listener, raw_sockets};
pub(crate) use settings::GatewaySpec;

use super::{
    command::Command,
    counters::{Carrier, PortShared},
    mailbox::Mailbox,
};
use anyhow::Context;
use control::{FlowStatus, LeaseStatus, NatStatus};
use departure::Departures;
use nat::forward::Forward;
use nix::sys::eventfd::{EfdFlags, EventFd};
use request::Request;
use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use switch::{PortId, Role};
use thread::GatewayThread;
use wire::Wire;

/// Port of the gateway. Those of guests come after it.
pub(super) const PORT: PortId = PortId(0);

/// How long the gateway may take to answer: its rounds are short, and who asks is given two seconds itself.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    requests: mpsc::Sender<Request>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    departures: Departures,
}

impl Gateway {
    /// Starts the gateway of a network whose datapath is behind `mailbox`.
    pub(super) fn start(
        network: &str,
        spec: GatewaySpec,
        mtu: u16,
        mailbox: &Mailbox,
    ) -> anyhow::Result<Self> {
        let mac = spec.mac();
        let name = "gateway".to_owned();
        let shared = Arc::new(PortShared::new(
            name,
            Carrier::VhostUser,
            Role::Guest,
            Some(mac),
            1,
        ));
        let wire = Wire::new().context("make the gateway's rings")?;
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let wake = Arc::new(wake.context("make an eventfd")?);
        let (requests, asked) = mpsc::channel();
        wire.plug(mailbox, PORT, mac, Arc::clone(&shared))
            .context("plug the gateway into its network")?;
        let thread = GatewayThread::new(spec, mtu, wire, shared, (asked, Arc::clone(&wake)))
            .context("make the gateway")?;
        let thread = std::thread::Builder::new()
            .name(format!("gw-{network}"))
            .spawn(move || thread.run())
            .context("start the gateway's thread")?;
        Ok(Self {
            requests,
            wake,
            thread: Some(thread),
            departures: Departures::default(),
        })
    }

    /// Keeps a listening socket for a forward that will be added.
    pub(crate) fn give(&self, sockets: Vec<GivenSocket>) {
        self.post(Request::Give(sockets));
    }

    /// Begins a forward.
    pub(crate) fn add_forward(&self, forward: Forward) -> anyhow::Result<()> {
        let text = forward.to_string();
        self.ask(|reply| Request::AddForward { forward, reply })?
            .map_err(|why| anyhow::anyhow!("forward {text}: {why}"))
    }

    /// Ends a forward; false: there is none like it.
    pub(crate) fn remove_forward(&self, forward: Forward) -> anyhow::Result<bool> {
        self.ask(|reply| Request::RemoveForward { forward, reply })
    }

    /// All flows.
    pub(crate) fn flows(&self) -> anyhow::Result<Vec<FlowStatus>> {
        self.ask(|reply| Request::Flows { reply })
    }

    /// All leases.
    pub(crate) fn leases(&self) -> anyhow::Result<Vec<LeaseStatus>> {
        self.ask(|reply| Request::Leases { reply })
    }

    /// Counters.
    pub(crate) fn status(&self) -> anyhow::Result<NatStatus> {
        self.ask(|reply| Request::Status { reply })
    }

    /// A port is gone from the datapath. An error: the gateway has not forgotten it yet.
    pub(super) fn forget_port(&self, port: PortId) -> anyhow::Result<()> {
        let departure = self.departures.begin(port);
        self.ask(|reply| Request::ForgetPort { departure, reply })
    }

    /// Whether a number must not be given to a port: the gateway's own, and those of ports that it has yet to forget.
    pub(super) fn holds(&self, port: PortId) -> bool {
        port == PORT || self.departures.contains(port)
    }

    /// A gateway whose thread is the test's.
    #[cfg(test)]
    pub(super) fn without_thread() -> anyhow::Result<(Self, mpsc::Receiver<impl Sized>)> {
        let (requests, asked) = mpsc::channel::<Request>();
        let gateway = Self {
            requests,
            wake: Arc::new(EventFd::new()?),
            thread: None,
            departures: Departures::default(),
        };
        Ok((gateway, asked))
    }

    fn ask<T>(&self, request: impl FnOnce(mpsc::SyncSender<T>) -> Request) -> anyhow::Result<T> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.post(request(reply));
        answer
            .recv_timeout(PATIENCE)
            .context("the gateway does not answer")
    }

    fn post(&self, request: Request) {
        // Fails only if the thread has ended: then nobody answers.
        drop(self.requests.send(request));
        // Cannot fail short of 2^64 unread wake-ups.
        let _ = self.wake.write(1);
    }

    /// Ends the thread, and its port with it.
    pub(super) fn stop(&mut self, mailbox: &Mailbox) {
        if let Some(thread) = self.thread.take() {
            self.post(Request::Stop);
            drop(thread.join());
            // Fails only if the datapath has ended.
            drop(mailbox.call(Command::RemovePort(PORT)));
        }
    }
}

//! The gateway's thread.
use super::{
    super::counters::PortShared,
    directory::Root,
    events::Events,
    host::HostSockets,
    leases::LeaseFile,
    port::{self, Port},
    request::Request,
    resolver::{Follows, Resolver},
    settings::{GatewaySpec, config},
    wire::Wire,
};
use anyhow::Context;
use nix::sys::eventfd::EventFd;
use std::{
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    process,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};
use switch::MacAddr;
use tracing::error;
use virtqueue::{LocalReceiver, QueueFault};

/// Frames taken from the network before sockets are looked at.
const BURST: usize = 64;
/// Bytes of such frames: their buffers go back, and their senders are answered, before there are none left.
const BURST_BYTES: usize = 256 << 10;

/// All that the thread owns.
#[derive(Debug)]
pub(super) struct GatewayThread {
    pub(super) gateway: nat::Gateway<HostSockets>,
    wire: Wire,
    events: Events,
    requests: Receiver<Request>,
    /// Counters of the gateway's port.
    pub(super) shared: Arc<PortShared>,
    /// Kept open: it is watched.
    _wake: Arc<EventFd>,
    /// Start of the time that the gateway sees.
    clock: Instant,
    /// When the gateway has something to do by itself.
    due: Option<Duration>,
    /// The network had no room for a frame.
    full: bool,
    leases: LeaseFile,
    /// The host's DNS servers and search list, where the configuration names none.
    resolver: Option<Resolver>,
    follows: Follows,
    /// Guests that are known beforehand.
    pub(super) reserved: Vec<MacAddr>,
}

impl GatewayThread {
    pub(super) fn new(
        spec: GatewaySpec,
        mtu: u16,
        wire: Wire,
        shared: Arc<PortShared>,
        (requests, wake): (Receiver<Request>, Arc<EventFd>),
    ) -> anyhow::Result<Self> {
        let events = Events::new().context("make an epoll set")?;
        events.wake_by(&*wake).context("watch an eventfd")?;
        events.wake_by(wire.call()).context("watch an eventfd")?;
        let told = config(&spec, mtu);
        let host = HostSockets::new(events.watch(), spec.raw_echo);
        // A hash of nothing by random keys: as good a seed as the system gives.
        let seed = RandomState::new().hash_one(());
        let mut gateway = nat::Gateway::new(told, host, seed);
        let mut leases = LeaseFile::new(spec.lease_file);
        leases.restore(Duration::ZERO, gateway.services_mut());
        if let Some(root) = &spec.config.tftp_root {
            let opened = Root::open(root);
            let opened = opened.with_context(|| format!("open tftp_root {}", root.display()))?;
            gateway.services_mut().serve_directory(Box::new(opened));
        }
        let hosts = spec.config.hosts.iter();
        let follows = Follows {
            servers: spec.config.dns.is_empty(),
            search: spec.config.search.is_empty(),
        };
        Ok(Self {
            gateway,
            wire,
            events,
            requests,
            shared,
            _wake: wake,
            clock: Instant::now(),
            due: Some(Duration::ZERO),
            full: false,
            leases,
            resolver: follows.resolver(),
            follows,
            reserved: hosts.map(|host| MacAddr(host.mac)).collect(),
        })
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(fault) => {
                    // Both ends are ours, so this is a bug; the supervisor starts another worker.
                    error!(%fault, "the gateway's ring is broken: the worker ends");
                    process::exit(1);
                }
            }
        }
    }

    /// One round, and sleep if it had no work.
    fn turn(&mut self) -> Result<ControlFlow<()>, QueueFault> {
        self.events.look();
        let worked = self.round()?;
        if self.serve()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if !worked {
            self.sleep();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes over what the host's resolver was told to do, where the network's settings leave it to that; false: nothing new.
    fn follow_resolver(&mut self, now: Duration) -> bool {
        let Some(conf) = self
            .resolver
            .as_mut()
            .and_then(|resolver| resolver.changed(now))
        else {
            return false;
        };
        let services = self.gateway.services_mut();
        if self.follows.servers {
            services.set_dns_upstreams(&conf.servers);
        }
        if self.follows.search {
            services.set_search(&conf.search);
        }
        true
    }

    /// Takes what there is and sends what follows from it; false: there was nothing.
    fn round(&mut self) -> Result<bool, QueueFault> {
        let now = self.clock.elapsed();
        // First, so that a guest's first question finds servers and its first lease names domains.
        let mut stirred = self.follow_resolver(now);
        let reclaimed = self.wire.reclaim()?;
        let (receiver, sender) = self.wire.split();
        let mut out = Port::new(sender);
        let frames = take_burst(&mut self.gateway, now, receiver, &mut out)?;
        while let Some((token, ready)) = self.events.take() {
            self.gateway.host_event(now, token, ready, &mut out);
            stirred = true;
        }
        let due = self.due.is_some_and(|due| due <= now) && !self.full;
        let room = self.full && reclaimed;
        if frames == 0 && !stirred && !due && !room {
            return Ok(false);
        }
        self.due = self.gateway.poll(now, &mut out);
        if self.gateway.flush(now, &mut out) {
            self.due = Some(now);
        }
        self.full = out.full;
        let keep = self.leases.keep(now, self.gateway.services());
        // The earlier of the two.
        self.due = self.due.into_iter().chain(keep).min();
        self.wire.flush();
        Ok(true)
    }

    /// Until the datapath calls, a socket stirs, a request comes or a timer is due.
    fn sleep(&mut self) {
        if self.wire.arm(self.full) {
            return;
        }
        let timeout = match self.due {
            // What is due waits for room, which the datapath tells.
            _ if self.full => None,
            None => None,
            Some(due) => Some(due.saturating_sub(self.clock.elapsed())),
        };
        self.events.wait(timeout);
    }

    /// Takes all frames that lie in the ring by now. It comes to an end: no buffer is given back meanwhile.
    fn catch_up(&mut self) -> Result<(), QueueFault> {
        let now = self.clock.elapsed();
        let (receiver, sender) = self.wire.split();
        let mut out = Port::new(sender);
        while take_burst(&mut self.gateway, now, receiver, &mut out)? > 0 {}
        self.full |= out.full;
        self.wire.flush();
        Ok(())
    }

    /// Serves requests; break: the thread ends.
    fn serve(&mut self) -> Result<ControlFlow<()>, QueueFault> {
        while let Ok(request) = self.requests.try_recv() {
            let now = self.clock.elapsed();
            if let Request::Stop = request {
                return Ok(ControlFlow::Break(()));
            }
            if let Request::ForgetPort { .. } = request {
                // What it has sent last would bring it back.
                self.catch_up()?;
            }
            self.answer(now, request);
            // What was changed may have work to do.
            self.due = Some(now);
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Hands frames of the network to the gateway, a burst at most; how many there were.
fn take_burst(
    gateway: &mut nat::Gateway<HostSockets>,
    now: Duration,
    receiver: &mut LocalReceiver,
    out: &mut Port<'_>,
) -> Result<usize, QueueFault> {
    let (mut frames, mut bytes) = (0, 0);
    while frames < BURST
        && bytes < BURST_BYTES
        && let Some((header, frame)) = receiver.receive()?
    {
        let (port, meta) = (port::source(&header), port::meta(&header));
        gateway.input(now, port, (frame, meta), out);
        frames += 1;
        bytes += frame.len();
    }
    Ok(frames)
}

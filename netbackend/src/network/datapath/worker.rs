//! The datapath thread: rounds over active sources, sleep, forwarding.
use super::{
    super::{command::Mailbox, queue_stats::QueueDrop},
    BURST, Source,
    egress::{self, Delivery, Scratch},
    frame::Frames,
    ingress,
    poller::Poller,
    ports::{Carrier, Ports},
    retag::Retagged,
};
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use switch::{Egress, Switch, SwitchConfig};

/// Rounds with work between two looks at epoll for sources that woke up.
const ROUNDS_PER_LOOK: u32 = 16;
/// How often rings without kick fd are looked at while they are idle.
const UNKICKED_INTERVAL_MS: u16 = 1;

/// Settings of a datapath thread.
#[derive(Debug)]
pub(crate) struct WorkerConfig {
    pub(crate) switch: SwitchConfig,
    /// How long a source is polled without having work.
    pub(crate) poll_idle: Duration,
}

/// A datapath thread's state: it owns its ports and their queues.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) poller: Poller,
    /// Start of the time that the switch and the polling see.
    pub(super) clock: Instant,
    poll_idle: Duration,
    pub(super) switch: Switch,
    pub(super) ports: Ports,
    /// Sources being polled.
    active: Vec<Source>,
    /// Idle sources that nobody kicks.
    unkicked: Vec<Source>,
    pub(super) frames: Frames,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) scratch: Scratch,
    retagged: Retagged,
    /// Truncated mappings that were dealt with.
    truncations: u64,
}

impl Drop for Worker {
    /// However the thread ends: nobody may wait for an answer that never comes.
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl Worker {
    pub(crate) fn new(config: &WorkerConfig, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new(&*mailbox)?,
            mailbox,
            clock: Instant::now(),
            poll_idle: config.poll_idle,
            switch: Switch::new(config.switch),
            ports: Ports::default(),
            active: Vec::new(),
            unkicked: Vec::new(),
            frames: Frames::new(),
            deliveries: Vec::with_capacity(BURST),
            scratch: Scratch::new(),
            retagged: Retagged::new(),
            truncations: virtqueue::truncations(),
        })
    }

    /// Runs until [`super::super::command::Command::Stop`].
    pub(crate) fn run(mut self) {
        let mut rounds = 0u32;
        loop {
            if self.mailbox.is_pending() && self.serve_commands().is_break() {
                return;
            }
            if virtqueue::truncations() != self.truncations {
                self.close_truncated();
            }
            let worked = self.round();
            rounds = rounds.wrapping_add(1);
            if self.active.is_empty() {
                self.sleep();
                continue;
            }
            if !worked || rounds.is_multiple_of(ROUNDS_PER_LOOK) {
                self.poller.wait(Some(0));
                self.wake_kicked();
            }
            if !worked || std::mem::take(&mut self.scratch.starved) {
                // The guest that we wait for, or that has left us no room, may need this very CPU.
                thread::yield_now();
            }
        }
    }

    /// Polls every active source once; false: none had work.
    fn round(&mut self) -> bool {
        let now = self.clock.elapsed();
        let mut worked = false;
        let mut index = 0;
        while let Some(&source) = self.active.get(index) {
            if self.poll(source, now) {
                worked = true;
            } else if self.rests(source, now) {
                self.active.swap_remove(index);
                continue;
            }
            index += 1;
        }
        worked
    }

    /// Carries one burst from a source; false: there was none.
    fn poll(&mut self, source: Source, now: Duration) -> bool {
        let Some(port) = self.ports.get_mut(source.port) else {
            return false;
        };
        if ingress::take(port, source.queue, &mut self.frames) == 0 {
            return false;
        }
        if let Some((_, last_work)) = port.polling(source.queue) {
            *last_work = now;
        }
        self.forward(source, now);
        if let Some(port) = self.ports.get_mut(source.port) {
            ingress::complete(port, source.queue, &mut self.frames);
        }
        true
    }

    /// Asks the switch about every frame, then serves one egress queue after the other.
    pub(super) fn forward(&mut self, source: Source, now: Duration) {
        let Self {
            switch,
            ports,
            frames,
            deliveries,
            scratch,
            retagged,
            ..
        } = self;
        deliveries.clear();
        let limited = ports
            .get(source.port)
            .is_some_and(|port| port.limits.limits_guest());
        for (index, frame) in (0u16..).zip(&frames.list) {
            if limited
                && let Some(port) = ports.get_mut(source.port)
                && !port.limits.admit_from_guest(now, frame.len)
            {
                if let Some(stats) = port.shared.transmit_stats(source.queue) {
                    stats.dropped(QueueDrop::RateLimit);
                }
                continue;
            }
            let head = frames.head(frame);
            match switch.forward(now, source.port, head) {
                Egress::Drop(reason) => {
                    if let Some(stats) = ports
                        .get(source.port)
                        .and_then(|port| port.shared.transmit_stats(source.queue))
                    {
                        stats.dropped_by_switch(reason);
                    }
                }
                Egress::Port(id) => {
                    egress::plan(ports, deliveries, now, id, (index, frame.len, head));
                }
                Egress::Flood(flood) => {
                    for id in switch.targets(flood) {
                        egress::plan(ports, deliveries, now, id, (index, frame.len, head));
                    }
                }
            }
        }
        // Sorted by egress queue, then by place in the burst: each queue is served once and in order.
        deliveries.sort_unstable();
        for group in deliveries.chunk_by(|one, next| one.same_queue(*next)) {
            retagged.prepare(switch, source.port, group, frames);
            egress::deliver(ports, group, frames, retagged, scratch);
        }
    }

    /// Whether a source without work leaves the active list; it is then left to epoll.
    fn rests(&mut self, source: Source, now: Duration) -> bool {
        let poll_idle = self.poll_idle;
        let Some(port) = self.ports.get_mut(source.port) else {
            return true;
        };
        let Some((_, last_work)) = port.polling(source.queue) else {
            return true;
        };
        if now.saturating_sub(*last_work) < poll_idle {
            return false;
        }
        if let Carrier::Vhost(vhost) = &mut port.carrier
            && let Some(ring) = vhost.transmit(source.queue)
        {
            if ring.arm() {
                ring.suppress();
                return false;
            }
            if ring.kick.is_none() && !ring.is_latched() {
                self.unkicked.push(source);
            }
        }
        if let Some((active, _)) = port.polling(source.queue) {
            *active = false;
        }
        true
    }

    /// Puts a source into the active list.
    pub(super) fn activate(&mut self, source: Source) {
        let now = self.clock.elapsed();
        let Some((active, last_work)) = self.ports.polling(source) else {
            return;
        };
        if *active {
            return;
        }
        *active = true;
        *last_work = now;
        self.active.push(source);
        if let Some(port) = self.ports.get_mut(source.port)
            && let Carrier::Vhost(vhost) = &mut port.carrier
            && let Some(ring) = vhost.transmit(source.queue)
        {
            ring.suppress();
        }
    }

    /// Takes a source that is going away out of all lists.
    pub(super) fn deactivate(&mut self, source: Source) {
        self.active.retain(|other| *other != source);
        self.unkicked.retain(|other| *other != source);
        if let Some((active, _)) = self.ports.polling(source) {
            *active = false;
        }
    }

    /// Sleeps until a kick, a frame on a tap, or a command.
    fn sleep(&mut self) {
        if self.unkicked.is_empty() {
            self.poller.wait(None);
        } else {
            self.poller.wait(Some(UNKICKED_INTERVAL_MS));
            while let Some(source) = self.unkicked.pop() {
                self.activate(source);
            }
        }
        self.wake_kicked();
    }

    fn wake_kicked(&mut self) {
        while let Some(event) = self.poller.take() {
            if event.broken {
                self.break_source(event.source);
            } else {
                if let Some(stats) = self
                    .ports
                    .get(event.source.port)
                    .and_then(|port| port.shared.transmit_stats(event.source.queue))
                {
                    stats.kicked();
                }
                self.activate(event.source);
            }
        }
    }

    /// Closes ports whose guest memory was truncated: their rings are latched, the others go on.
    fn close_truncated(&mut self) {
        self.truncations = virtqueue::truncations();
        for port in self.ports.iter_mut() {
            if let Carrier::Vhost(vhost) = &mut port.carrier
                && vhost.memory_is_truncated()
            {
                vhost.latch_all(&"its guest memory was truncated", &port.shared);
                port.shared.set_queue_pairs(vhost.refresh());
            }
        }
    }

    /// The fd of a source is unusable: its queue is latched as faulty, all others go on.
    fn break_source(&mut self, source: Source) {
        let Some(port) = self.ports.get_mut(source.port) else {
            return;
        };
        match &mut port.carrier {
            Carrier::Vhost(vhost) => {
                if let Some(ring) = vhost.transmit(source.queue) {
                    if let Some(kick) = &ring.kick {
                        self.poller.forget(kick);
                    }
                    ring.latch(&"the other end of the kick fd is closed", &port.shared);
                }
                port.shared.set_queue_pairs(vhost.refresh());
            }
            Carrier::Tap(tap) => {
                if let Some(queue) = tap.queue(source.queue) {
                    self.poller.forget(&queue.file);
                    queue.latch(&"its device is gone", &port.shared);
                }
            }
        }
        self.deactivate(source);
    }
}

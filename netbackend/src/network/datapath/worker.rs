//! A datapath thread: rounds over active sources, sleep, forwarding.
use super::{
    super::{command::Inbox, mailbox::Mailbox, queue_stats::QueueDrop},
    BURST, Source, Target,
    conduct::{BEHIND_UPLINK, Behind},
    courtesy::Courtesy,
    egress::{self, Delivery, Scratch},
    frame::Frames,
    ingress,
    load::{Load, Meter},
    poller::Poller,
    ports::{Carrier, Ports},
    rescue::Rescue,
    retag::Retagged,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use switch::{Egress, Switch};
use tracing::warn;

/// How long rounds with work go on between two looks at epoll for sources that woke up.
const BETWEEN_LOOKS: Duration = Duration::from_micros(20);
/// How long rounds find nothing before the kernel is asked for events, and given the CPU: a frame that comes within this time is
/// not kept waiting for two system calls.
const SPIN: Duration = Duration::from_micros(2);
/// How often rings without kick fd are looked at while they are idle.
const UNKICKED_INTERVAL_MS: u16 = 1;

/// The place of a worker among the others.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) mailbox: Arc<Mailbox>,
    /// Of all workers.
    pub(super) loads: Arc<[Load]>,
    /// Start of the time that all switches and polling see.
    pub(super) clock: Instant,
    /// How long a source is polled without having work.
    pub(super) poll_idle: Duration,
}

/// A datapath thread's state: its view of the ports, and the sources that it serves.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) loads: Arc<[Load]>,
    pub(super) meter: Meter,
    /// Windows to pass before it gives another source away.
    pub(super) settling: u8,
    pub(super) poller: Poller,
    /// Start of the time that the switch and the polling see.
    pub(super) clock: Instant,
    poll_idle: Duration,
    pub(super) switch: Switch,
    pub(super) ports: Ports,
    /// Sources being polled.
    pub(super) active: Vec<Source>,
    /// Sources being polled that flood.
    pub(super) behind: Behind,
    /// A tap among those that are polled waits until epoll tells of its frames.
    tap_waits: bool,
    courtesy: Courtesy,
    /// Idle sources that nobody kicks.
    unkicked: Vec<Source>,
    /// When they were looked at last.
    unkicked_looked: Duration,
    pub(super) frames: Frames,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) scratch: Scratch,
    retagged: Retagged,
    /// Truncated mappings that were dealt with.
    truncations: u64,
    /// The thread beside this one, once it runs.
    rescue: Option<Rescue>,
}

impl Drop for Worker {
    /// However the thread ends: nobody may wait for an answer that never comes.
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// What became of looking at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polled {
    /// It had no work.
    Nothing,
    /// It has to wait for a receiver ([`Worker::is_held`]).
    Held,
    /// A burst was carried.
    Worked,
}

impl Worker {
    pub(super) fn new(place: Place, switch: Switch) -> io::Result<Self> {
        let Place {
            index,
            mailbox,
            loads,
            clock,
            poll_idle,
        } = place;
        let inbox = mailbox.inbox(index).map(Arc::clone);
        let inbox = inbox.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            poller: Poller::new(&*inbox)?,
            index,
            mailbox,
            inbox,
            loads,
            meter: Meter::default(),
            settling: 0,
            clock,
            poll_idle,
            switch,
            ports: Ports::default(),
            active: Vec::new(),
            behind: Behind::default(),
            tap_waits: false,
            courtesy: Courtesy::default(),
            unkicked: Vec::new(),
            unkicked_looked: Duration::ZERO,
            frames: Frames::new(),
            deliveries: Vec::with_capacity(BURST),
            scratch: Scratch::new(),
            retagged: Retagged::new(),
            truncations: virtqueue::truncations(),
            rescue: None,
        })
    }

    /// Has a thread watch the one that calls this, which is to run the worker and to drop it.
    pub(super) fn be_watched(&mut self) {
        self.rescue = Rescue::start()
            .inspect_err(
                |error| warn!(%error, "nobody watches the datapath: a front-end could hold it up"),
            )
            .ok();
    }

    /// Runs until [`super::super::command::Command::Stop`].
    pub(super) fn run(mut self) {
        let mut worked = false;
        let mut last_work = Duration::ZERO;
        let mut last_look = Duration::ZERO;
        loop {
            if self.inbox.is_pending() && self.serve_letters().is_break() {
                return;
            }
            if virtqueue::truncations() != self.truncations {
                self.close_truncated();
            }
            let now = self.clock.elapsed();
            if self.meter.begin_round(now, worked) {
                self.look_at_load(now);
            }
            if !self.unkicked.is_empty() {
                self.look_at_unkicked(now);
            }
            worked = self.round(now);
            // Frames of a tap that waits are not to be seen.
            if !worked && !self.tap_waits && self.watch() {
                // Not kept waiting for the clock.
                worked = self.round(now);
            }
            if worked {
                last_work = now;
            }
            if self.active.is_empty() && self.behind.sources.is_empty() {
                self.sleep();
                continue;
            }
            let idle = !worked && now.saturating_sub(last_work) >= SPIN;
            let looks = idle || (worked && now.saturating_sub(last_look) >= BETWEEN_LOOKS);
            if std::mem::take(&mut self.tap_waits) || looks {
                last_look = now;
                self.poller.wait(Some(0));
                self.wake_kicked();
            }
            if self.take_starved() || idle {
                // The guest that we wait for, or that has left us no room, may need this very CPU.
                self.courtesy.offer(self.clock);
            }
        }
    }

    /// Whether receivers had no room, and no other had: then nobody is kept waiting by a pause.
    fn take_starved(&mut self) -> bool {
        let starved = std::mem::take(&mut self.scratch.starved);
        let served = std::mem::take(&mut self.scratch.served);
        starved && !served
    }

    /// Polls every active source once, and one of those that are behind if it is their turn; false: none had work.
    fn round(&mut self, now: Duration) -> bool {
        let mut worked = false;
        let mut held = None;
        let mut index = 0;
        while let Some(&source) = self.active.get(index) {
            let leaves = match self.poll(source, now) {
                Polled::Worked => {
                    worked = true;
                    let behind = self.is_behind(source);
                    if behind {
                        self.behind.sources.push(source);
                    }
                    behind
                }
                Polled::Held => {
                    held.get_or_insert(index);
                    false
                }
                Polled::Nothing => self.rests(source, now),
            };
            if leaves {
                self.active.swap_remove(index);
            } else {
                index += 1;
            }
        }
        if let Some(held) = held {
            // The next room is for the one that has waited longest, which is still there: only those behind it have left.
            self.active.rotate_left(held);
        }
        if worked && let Some(load) = self.loads.get(self.index) {
            self.meter.note_fair(now, load);
        }
        if self.behind.sources.is_empty() {
            return worked;
        }
        if let Some(source) = self.behind.turn(now, Load::last_fair(&self.loads)) {
            worked |= self.poll_behind(source, now);
        }
        worked
    }

    fn is_behind(&mut self, source: Source) -> bool {
        let conduct = self.ports.conduct(source);
        conduct.is_some_and(|conduct| conduct.behind)
    }

    /// Polls a source that is behind; false: it had no work.
    fn poll_behind(&mut self, source: Source, now: Duration) -> bool {
        let begun = Instant::now();
        let polled = self.poll(source, now);
        let worked = polled == Polled::Worked;
        self.behind.took(now, begun.elapsed());
        if worked && self.is_behind(source) {
            return true;
        }
        if worked {
            self.active.push(source);
        } else if polled == Polled::Held || !self.rests(source, now) {
            return false;
        }
        self.behind.sources.retain(|other| *other != source);
        worked
    }

    /// Carries one burst from a source.
    fn poll(&mut self, source: Source, now: Duration) -> Polled {
        if !self.anticipate(source) {
            return Polled::Nothing;
        }
        let Some(conduct) = self.ports.conduct(source) else {
            return Polled::Nothing;
        };
        let (most, behind) = (conduct.burst(), conduct.behind);
        let (waits_for, last_work) = (conduct.waits_for, conduct.last_work);
        let Some(port) = self.ports.get_mut(source.port) else {
            return Polled::Nothing;
        };
        // A tap of which epoll has told nothing holds nothing back.
        let tap = port.tap_queue(source.queue);
        let is_empty = tap.is_some_and(|tap| tap.is_waiting());
        if !is_empty && waits_for.is_some_and(|target| self.is_held(target, last_work, now)) {
            return Polled::Held;
        }
        let Some(port) = self.ports.get_mut(source.port) else {
            return Polled::Nothing;
        };
        let work = ingress::take(port, source.queue, most, &mut self.frames);
        let tap = port.tap_queue(source.queue);
        self.tap_waits |= tap.is_some_and(|tap| tap.is_waiting());
        if work == 0 {
            return Polled::Nothing;
        }
        self.scratch.blames_sender = behind;
        let mut extra = self.forward(source, now);
        let target = self.next_target();
        let waits_for = self.waited_for();
        if let Some(port) = self.ports.get_mut(source.port) {
            if port.shared.is_uplink() {
                extra /= BEHIND_UPLINK;
            }
            if let Some(conduct) = port.conduct(source.queue) {
                conduct.last_work = now;
                conduct.target = target;
                conduct.waits_for = waits_for;
                conduct.bursts = conduct.bursts.saturating_add(1);
                conduct.note(now, self.frames.list.len(), extra);
            }
            let blamed = std::mem::take(&mut self.scratch.blamed);
            if blamed > 0
                && let Some(stats) = port.shared.transmit_stats(source.queue)
            {
                stats.dropped(QueueDrop::Flood, blamed);
            }
            ingress::complete(port, source.queue, &mut self.frames);
        }
        if let Some(ring) = target.and_then(|target| self.ports.own_receive(target)) {
            ring.foresee();
        }
        Polled::Worked
    }

    /// Asks the switch about every frame, then serves one egress queue after the other. Returns what the burst has cost beyond what
    /// a burst of as many frames may: in copies, and addresses that moved.
    pub(super) fn forward(&mut self, source: Source, now: Duration) -> usize {
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
        frames.source = source.port;
        let moves = switch.counters().fdb_moves;
        let mut copies = 0usize;
        let mut steady: Option<Target> = None;
        let limited = ports
            .get(source.port)
            .is_some_and(|port| port.limits.limits_guest());
        for (index, frame) in (0u16..).zip(&frames.list) {
            if limited
                && let Some(port) = ports.get_mut(source.port)
                && !port.limits.admit_from_guest(now, frame.len)
            {
                if let Some(stats) = port.shared.transmit_stats(source.queue) {
                    stats.dropped(QueueDrop::RateLimit, 1);
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
                Egress::Port(id) => match steady {
                    // As nearly all of a burst.
                    Some(to) if to.port == id => deliveries.push(Delivery::new(to, index)),
                    _ => steady = egress::plan(ports, deliveries, id, (index, head)),
                },
                Egress::Flood(flood) => {
                    for id in switch.targets(flood) {
                        copies += 1;
                        egress::plan(ports, deliveries, id, (index, head));
                    }
                }
            }
        }
        // Sorted by egress queue, then by place in the burst: each queue is served once and in order.
        if !deliveries.is_sorted() {
            deliveries.sort_unstable();
        }
        for group in deliveries.chunk_by(|one, next| one.same_queue(*next)) {
            retagged.prepare(switch, source.port, group, frames);
            egress::deliver(ports, now, group, frames, retagged, scratch);
        }
        let moved = switch.counters().fdb_moves - moves;
        let moved = usize::try_from(moved).unwrap_or(usize::MAX);
        // Whose address another pretends to have moves it back with every burst, and is not to blame. Nor is an uplink that brings a
        // broadcast for all with its unicast: it costs no more than another uplink would.
        let frames = frames.list.len();
        copies.saturating_sub(2 * frames) + moved.saturating_sub(frames / 4)
    }

    /// Whether a source without work leaves the active list; it is then left to epoll.
    fn rests(&mut self, source: Source, now: Duration) -> bool {
        let poll_idle = self.courtesy.poll_idle(now, self.poll_idle);
        let Some(port) = self.ports.get_mut(source.port) else {
            return true;
        };
        let Some(conduct) = port.conduct(source.queue) else {
            return true;
        };
        if now.saturating_sub(conduct.last_work) < poll_idle {
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
        if let Some(conduct) = port.conduct(source.queue) {
            conduct.active = false;
        }
        true
    }

    /// Puts a source into the active list.
    pub(super) fn activate(&mut self, source: Source) {
        let now = self.clock.elapsed();
        let Some(conduct) = self.ports.conduct(source) else {
            return;
        };
        if conduct.active {
            return;
        }
        conduct.active = true;
        conduct.last_work = now;
        // A pause is no way out of being behind.
        let list = if conduct.behind {
            &mut self.behind.sources
        } else {
            &mut self.active
        };
        list.push(source);
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
        self.behind.sources.retain(|other| *other != source);
        self.unkicked.retain(|other| *other != source);
        if let Some(conduct) = self.ports.conduct(source) {
            conduct.active = false;
        }
    }

    /// Sleeps until a kick, a frame on a tap, or a command.
    fn sleep(&mut self) {
        if let Some(rescue) = &self.rescue {
            rescue.sleeps();
        }
        let limit = (!self.unkicked.is_empty()).then_some(UNKICKED_INTERVAL_MS);
        self.poller.wait(limit);
        if let Some(rescue) = &self.rescue {
            rescue.wakes();
        }
        self.wake_kicked();
    }

    /// Nobody tells of frames of those without a kick fd: they are polled now and then, also while others are busy.
    fn look_at_unkicked(&mut self, now: Duration) {
        let interval = Duration::from_millis(UNKICKED_INTERVAL_MS.into());
        if now.saturating_sub(self.unkicked_looked) < interval {
            return;
        }
        self.unkicked_looked = now;
        while let Some(source) = self.unkicked.pop() {
            self.activate(source);
        }
    }

    fn wake_kicked(&mut self) {
        while let Some(event) = self.poller.take() {
            if self.ports.conduct(event.source).is_none() {
                // It has gone since, perhaps to another worker.
                continue;
            }
            if event.broken {
                self.break_source(event.source);
            } else {
                self.wake(event.source);
            }
        }
    }

    /// A source was kicked, or has frames.
    fn wake(&mut self, source: Source) {
        let Some(port) = self.ports.get_mut(source.port) else {
            return;
        };
        let is_tap = match port.tap_queue(source.queue) {
            Some(tap) if tap.is_latched() => {
                // epoll would tell of its frames for ever.
                self.break_source(source);
                return;
            }
            Some(tap) => {
                tap.announce();
                true
            }
            None => false,
        };
        let is_active = port
            .conduct(source.queue)
            .is_some_and(|conduct| conduct.active);
        // A tap that is polled is only asked about.
        if !(is_tap && is_active)
            && let Some(stats) = port.shared.transmit_stats(source.queue)
        {
            stats.kicked();
        }
        self.activate(source);
    }

    /// Closes ports whose guest memory was truncated: their rings are latched, the others go on.
    fn close_truncated(&mut self) {
        self.truncations = virtqueue::truncations();
        for port in self.ports.iter_mut() {
            if let Carrier::Vhost(vhost) = &mut port.carrier
                && vhost.latch_truncated(&"its guest memory was truncated", &port.shared)
            {
                vhost.refresh();
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
            }
            Carrier::Tap(tap) => {
                if let Some(queue) = tap.queue(source.queue) {
                    if !queue.is_latched() && queue.recovers() {
                        // There may be frames behind the error.
                        self.wake(source);
                        return;
                    }
                    self.poller.forget(&queue.file);
                    queue.latch(&"its device is gone", &port.shared);
                }
            }
        }
        self.deactivate(source);
    }
}

#[cfg(test)]
#[path = "worker_test.rs"]
mod tests;

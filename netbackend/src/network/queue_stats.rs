//! Counters of one queue, in the shape of DPDK's vhost library (`rte_vhost_vring_stats_get`).
//!
//! Whoever holds the ring is their only writer: a plain load and store each, once per burst. Only drops, and what goes to a tap,
//! are counted by several workers at once. Reports read them from other threads, so a report may catch a burst half counted.
use super::counters::Counter;
use control::{QueueCounters, SizeBins};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering::Relaxed},
    },
};
use switch::DropReason;

/// Why a queue drops a frame that the switch has nothing against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueDrop {
    /// Too short, too long, or its virtio header asks for what is impossible or not negotiated.
    Malformed,
    /// The transmit ring is disabled.
    Disabled,
    /// The driver has left no (sufficient) buffers.
    NoRoom,
    /// No receive queue runs.
    NoQueue,
    /// Software could not segment or checksum it.
    Offload,
    /// The tap did not take it.
    Device,
    /// The port's rate limit.
    RateLimit,
    /// It floods, and receivers have no room for all of that.
    Flood,
}

impl QueueDrop {
    const ALL: [Self; 8] = [
        Self::Malformed,
        Self::Disabled,
        Self::NoRoom,
        Self::NoQueue,
        Self::Offload,
        Self::Device,
        Self::RateLimit,
        Self::Flood,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Disabled => "queue_disabled",
            Self::NoRoom => "no_room",
            Self::NoQueue => "no_queue",
            Self::Offload => "offload_failed",
            Self::Device => "device_refused",
            Self::RateLimit => "rate_limit",
            Self::Flood => "flood",
        }
    }
}

/// Bins of frame lengths: shorter than 64, 64, 65-127, ... 1519 and more.
const BINS: usize = 8;

/// From this length on all frames are in the last bin.
const LONG: usize = 1519;

/// The bin of each length up to [`LONG`] (without FCS), as `vhost_queue_stats_update` sorts them: looked up, as a search takes a dozen
/// instructions of each frame.
static BIN_OF: [u8; LONG + 1] = bins();

const fn bins() -> [u8; LONG + 1] {
    let mut bins = [0; LONG + 1];
    let mut len = 0;
    while len <= LONG {
        bins[len] = match len {
            0..=63 => 0,
            64 => 1,
            65..=127 => 2,
            128..=255 => 3,
            256..=511 => 4,
            512..=1023 => 5,
            1024..LONG => 6,
            _ => 7,
        };
        len += 1;
    }
    bins
}

#[inline]
fn bin(len: u32) -> usize {
    let len = usize::try_from(len).unwrap_or(LONG).min(LONG);
    BIN_OF.get(len).copied().unwrap_or_default().into()
}

/// What a burst adds; kept in registers and on the stack while the burst is under way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) frames: u64,
    bytes: u64,
    sizes: [u64; BINS],
    multicast: u64,
    broadcast: u64,
    drops: [u64; QueueDrop::ALL.len()],
    pub(super) software: u64,
}

impl Tally {
    /// A frame of `len` bytes that begins with `head` went through.
    #[inline]
    pub(super) fn pass(&mut self, len: u32, head: &[u8]) {
        self.frames += 1;
        self.bytes += u64::from(len);
        if let Some(bin) = self.sizes.get_mut(bin(len)) {
            *bin += 1;
        }
        // IEEE 802.3, 3.2.3: the first bit on the wire tells a group address.
        if head.first().is_some_and(|octet| octet & 1 != 0) {
            if head.get(..6).is_some_and(|to| to == [0xff; 6]) {
                self.broadcast += 1;
            } else {
                self.multicast += 1;
            }
        }
    }

    /// Frames were dropped.
    pub(super) fn drop(&mut self, reason: QueueDrop, frames: u64) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += frames;
        }
    }

    /// Takes back the drops for one reason; how many they were.
    pub(super) fn forgive(&mut self, reason: QueueDrop) -> u64 {
        let count = self.drops.get_mut(reason as usize);
        count.map(std::mem::take).unwrap_or_default()
    }

    /// Frames dropped, whatever the reason.
    pub(super) fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }
}

/// Counters of a queue as the datapath keeps them; the meaning is that of [`QueueCounters`].
#[derive(Debug, Default)]
pub(super) struct QueueStats {
    frames: Counter,
    bytes: Counter,
    sizes: [Counter; BINS],
    multicast: Counter,
    broadcast: Counter,
    drops: [Counter; QueueDrop::ALL.len()],
    switch_drops: [Counter; DropReason::ALL.len()],
    software: Counter,
    kicks: Counter,
    calls: Counter,
    calls_suppressed: Counter,
    faults: Counter,
    latched: AtomicBool,
    /// It is a ring, and frames may use it.
    carrying: AtomicBool,
    /// The worker that serves it as a source, counted from 1; 0: none does.
    worker: AtomicU16,
    /// An eventfd of the port's front-end has held a worker up. All queues of the port have this in common.
    holds_up: Arc<AtomicBool>,
}

impl QueueStats {
    /// Of a port's queue.
    pub(super) fn of(holds_up: &Arc<AtomicBool>) -> Self {
        Self {
            holds_up: Arc::clone(holds_up),
            ..Self::default()
        }
    }

    /// No eventfd of the port's front-end may be written to.
    #[inline]
    pub(super) fn holds_up(&self) -> bool {
        self.holds_up.load(Relaxed)
    }

    /// From now on none may, as long as there is the port.
    pub(super) fn set_holding_up(&self) {
        self.faults.add(1);
        self.holds_up.store(true, Relaxed);
    }

    /// Adds what a burst has done; the caller holds the queue.
    pub(super) fn add(&self, tally: &Tally) {
        self.add_by(tally, Counter::add);
    }

    /// Adds what a burst has done to a queue that others use at the same time.
    pub(super) fn add_among_others(&self, tally: &Tally) {
        self.add_by(tally, Counter::add_among_others);
    }

    #[inline]
    fn add_by(&self, tally: &Tally, add: impl Fn(&Counter, u64)) {
        if tally.frames > 0 {
            add(&self.frames, tally.frames);
            add(&self.bytes, tally.bytes);
            for (counter, count) in self.sizes.iter().zip(tally.sizes) {
                if count > 0 {
                    add(counter, count);
                }
            }
            if tally.multicast + tally.broadcast > 0 {
                add(&self.multicast, tally.multicast);
                add(&self.broadcast, tally.broadcast);
            }
        }
        if tally.software > 0 {
            add(&self.software, tally.software);
        }
        if tally.dropped() > 0 {
            let drops = self.drops.iter().zip(tally.drops);
            for (counter, count) in drops.filter(|(_, count)| *count > 0) {
                counter.add_among_others(count);
            }
        }
    }

    /// The switch dropped a frame of this queue.
    pub(super) fn dropped_by_switch(&self, reason: DropReason) {
        if let Some(counter) = self.switch_drops.get(reason as usize) {
            counter.add_among_others(1);
        }
    }

    /// Frames were dropped outside of a burst.
    pub(super) fn dropped(&self, reason: QueueDrop, frames: u64) {
        if let Some(counter) = self.drops.get(reason as usize) {
            counter.add_among_others(frames);
        }
    }

    pub(super) fn kicked(&self) {
        self.kicks.add(1);
    }

    /// Used buffers were published, and the driver was called or wanted no call.
    pub(super) fn published(&self, called: bool) {
        if called {
            self.calls.add(1);
        } else {
            self.calls_suppressed.add(1);
        }
    }

    pub(super) fn called(&self) {
        self.calls.add(1);
    }

    /// The queue is faulty from now on, or was set up anew.
    pub(super) fn set_latched(&self, latched: bool) {
        if latched {
            self.faults.add(1);
        }
        self.latched.store(latched, Relaxed);
    }

    pub(super) fn is_latched(&self) -> bool {
        self.latched.load(Relaxed)
    }

    /// Frames may use the ring, or not any more.
    pub(super) fn set_carrying(&self, carrying: bool) {
        self.carrying.store(carrying, Relaxed);
    }

    pub(super) fn is_carrying(&self) -> bool {
        self.carrying.load(Relaxed)
    }

    /// A worker serves the source from now on; `None`: none does.
    pub(super) fn set_worker(&self, worker: Option<u16>) {
        let number = worker.map_or(0, |worker| worker.saturating_add(1));
        self.worker.store(number, Relaxed);
    }

    /// The worker that serves the source, if it is one.
    pub(super) fn worker(&self) -> Option<u16> {
        self.worker.load(Relaxed).checked_sub(1)
    }

    /// The counters without names, for sums.
    pub(super) fn totals(&self) -> QueueCounters {
        let drops = self.drops.iter().chain(&self.switch_drops);
        QueueCounters {
            frames: self.frames.get(),
            bytes: self.bytes.get(),
            dropped: drops.map(Counter::get).sum(),
            software_offloads: self.software.get(),
            kicks: self.kicks.get(),
            calls: self.calls.get(),
            calls_suppressed: self.calls_suppressed.get(),
            faults: self.faults.get(),
            ..QueueCounters::default()
        }
    }

    /// The counters as the control API shows them.
    pub(super) fn snapshot(&self) -> QueueCounters {
        let [
            undersize,
            size_64,
            size_65_127,
            size_128_255,
            size_256_511,
            size_512_1023,
            size_1024_1518,
            size_1519_and_more,
        ] = self.sizes.each_ref().map(Counter::get);
        let queue = QueueDrop::ALL.iter().map(|reason| reason.name());
        let queue = queue.zip(&self.drops);
        let switch = DropReason::ALL.iter().map(|reason| reason.name());
        let switch = switch.zip(&self.switch_drops);
        let drops: BTreeMap<String, u64> = queue
            .chain(switch)
            .map(|(name, count)| (name.to_owned(), count.get()))
            .filter(|(_, count)| *count > 0)
            .collect();
        QueueCounters {
            sizes: SizeBins {
                undersize,
                size_64,
                size_65_127,
                size_128_255,
                size_256_511,
                size_512_1023,
                size_1024_1518,
                size_1519_and_more,
            },
            multicast: self.multicast.get(),
            broadcast: self.broadcast.get(),
            drops,
            ..self.totals()
        }
    }
}

#[cfg(test)]
#[path = "queue_stats_test.rs"]
mod tests;

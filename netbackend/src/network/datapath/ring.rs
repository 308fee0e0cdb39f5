//! One running ring: the queue and its notification fds.
use super::super::{
    command::{Kick, RingStart},
    counters::PortShared,
    queue_stats::QueueStats,
};
use super::{conduct::Conduct, rescue};
use nix::errno::Errno;
use std::{fs::File, io, sync::Arc};
use tracing::warn;
use virtqueue::{Burst, DeviceQueue, MemoryMap, QueueConfig, QueueFault, RingPosition};

/// A ring that the datapath owns.
#[derive(Debug)]
pub(super) struct Ring {
    queue: DeviceQueue,
    stats: Arc<QueueStats>,
    /// Watched for kicks; none: the front-end never kicks.
    pub(super) kick: Option<Arc<File>>,
    call: Option<Arc<File>>,
    err: Option<Arc<File>>,
    pub(super) enabled: bool,
    /// Faulty: not touched until it is set up again.
    latched: bool,
    /// As a source.
    pub(super) conduct: Conduct,
}

impl Ring {
    pub(super) fn new(start: RingStart, stats: Arc<QueueStats>) -> Result<Self, QueueFault> {
        let config = resumed(&start.memory, start.config)?;
        let mut queue = DeviceQueue::new(start.memory, &config)?;
        queue.suppress_kicks();
        stats.set_latched(false);
        stats.set_carrying(start.enabled);
        Ok(Self {
            queue,
            stats,
            kick: match start.kick {
                Kick::Fd(file) => Some(file),
                Kick::Polled => None,
            },
            call: start.call,
            err: start.err,
            enabled: start.enabled,
            latched: false,
            conduct: Conduct::default(),
        })
    }

    /// Goes on from where it stands with other memory, addresses or features.
    pub(super) fn reconfigure(
        &mut self,
        memory: Arc<MemoryMap>,
        config: QueueConfig,
    ) -> Result<(), QueueFault> {
        let config = QueueConfig {
            position: self.queue.position(),
            ..config
        };
        self.queue = DeviceQueue::new(memory, &config)?;
        self.queue.suppress_kicks();
        self.latched = false;
        self.stats.set_latched(false);
        self.stats.set_carrying(self.enabled);
        Ok(())
    }

    /// Lets frames use it or not.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
        self.stats.set_carrying(self.carries());
    }

    /// Its counters. Whoever holds the ring is their only writer.
    pub(super) fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// Takes up to `max` chains. A fault latches the ring.
    pub(super) fn pop(&mut self, burst: &mut Burst, max: usize, shared: &PortShared) -> usize {
        if self.latched {
            return 0;
        }
        match self.queue.pop_burst(burst, max) {
            Ok(count) => count,
            Err(fault) => {
                self.latch(&fault, shared);
                0
            }
        }
    }

    /// Whether a pop finds something: a look of who polls.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        !self.latched && self.queue.has_available()
    }

    /// Whether so many chains are there, or it is no use to wait for them.
    #[inline]
    pub(super) fn has_room(&self, chains: u16) -> bool {
        self.latched || self.queue.has_as_many(chains)
    }

    /// Looks ahead at the next chain, once a burst is done.
    pub(super) fn foresee(&mut self) {
        if !self.latched {
            self.queue.foresee();
        }
    }

    /// Begins to load what the next chain needs.
    #[inline]
    pub(super) fn prefetch(&self) {
        self.queue.prefetch();
    }

    /// Gives back all but the oldest `keep` chains of a burst.
    pub(super) fn unpop(&mut self, burst: &mut Burst, keep: usize) {
        if burst.len() > keep {
            self.queue.unpop(burst, keep);
        }
    }

    /// Stages the completion of the oldest chains of a burst, into which so many bytes were written.
    #[inline]
    pub(super) fn complete_written(&mut self, burst: &Burst, written: &[u32]) {
        self.queue.complete_written(burst, written);
    }

    /// Completes a burst into which nothing was written, and calls the driver if it wants that.
    pub(super) fn publish_all(&mut self, burst: &Burst) {
        let wanted = self.queue.publish_all(burst);
        self.published(wanted);
    }

    /// Publishes what is staged and, behind it, the oldest chains of a burst, into which so many bytes were written. Calls the driver if it
    /// wants that.
    pub(super) fn publish_written(&mut self, burst: &Burst, written: &[u32]) {
        let wanted = self.queue.publish_written(burst, written);
        self.published(wanted);
    }

    fn published(&mut self, wanted: bool) {
        let call = wanted && self.call.is_some();
        self.stats.published(call);
        if call {
            self.notify_driver();
        }
    }

    /// Calls the driver.
    pub(super) fn signal(&mut self) {
        if self.call.is_some() {
            self.stats.called();
            self.notify_driver();
        }
    }

    fn notify_driver(&mut self) {
        if let Some(call) = &self.call
            && !notify(call, &self.stats)
        {
            self.call = None;
        }
    }

    /// Replaces the call fd, and calls once: what was published before may not have been told.
    pub(super) fn set_call(&mut self, call: Option<Arc<File>>) {
        self.call = call;
        self.signal();
    }

    pub(super) fn set_err(&mut self, err: Option<Arc<File>>) {
        self.err = err;
    }

    /// Asks for kicks; true: there is work already.
    pub(super) fn arm(&mut self) -> bool {
        !self.latched && self.queue.arm_kicks()
    }

    /// Asks for no kicks.
    pub(super) fn suppress(&mut self) {
        if !self.latched {
            self.queue.suppress_kicks();
        }
    }

    pub(super) fn position(&self) -> RingPosition {
        self.queue.position()
    }

    pub(super) fn memory_is_truncated(&self) -> bool {
        self.queue.memory_is_truncated()
    }

    /// Whether frames may use it.
    pub(super) fn carries(&self) -> bool {
        self.enabled && !self.latched
    }

    pub(super) fn is_latched(&self) -> bool {
        self.latched
    }

    /// Ends the use of the ring until it is set up again, and tells the front-end.
    pub(super) fn latch(&mut self, fault: &dyn std::fmt::Display, shared: &PortShared) {
        if self.latched {
            return;
        }
        self.latched = true;
        self.stats.set_latched(true);
        self.stats.set_carrying(false);
        shared.latch_fault(fault.to_string());
        if let Some(err) = &self.err {
            notify(err, &self.stats);
        }
    }
}

/// A packed ring goes on where its own memory says: front-ends (QEMU) know no better than where it was when it was last started,
/// if the back-end before us has died. The used index of a split ring they read themselves.
fn resumed(memory: &MemoryMap, config: QueueConfig) -> Result<QueueConfig, QueueFault> {
    if !config.features.packed {
        return Ok(config);
    }
    let next = DeviceQueue::used_index_in_memory(memory, &config)?;
    let position = RingPosition {
        next_avail: next,
        next_used: next,
    };
    Ok(QueueConfig { position, ..config })
}

/// Adds one to an eventfd; false: it is unusable. A full one is as good as told. One that had to be interrupted was the last that is
/// used of its port, whatever fds come after it: the next would hold us up as well.
fn notify(fd: &File, stats: &QueueStats) -> bool {
    if stats.holds_up() {
        return false;
    }
    match rescue::during(|| nix::unistd::write(fd, &1u64.to_ne_bytes())) {
        Ok(_) => true,
        Err(Errno::EINTR) => {
            stats.set_holding_up();
            warn!("an eventfd of a front-end held the datapath up: it gets no more calls");
            false
        }
        Err(error) => io::Error::from(error).kind() == io::ErrorKind::WouldBlock,
    }
}

impl Drop for Ring {
    /// A queue that is not there is not faulty.
    fn drop(&mut self) {
        self.stats.set_latched(false);
        self.stats.set_carrying(false);
    }
}

//! What was agreed with the guest: enough to tell it all to a back-end that comes back.
use crate::virtio::{Call, QueueSetup};
use std::sync::Arc;
use virtqueue::{DeviceQueue, MemoryMap, QueueConfig, QueueFault};
use vmm_sys_util::eventfd::EventFd;

/// One ring of the record.
#[derive(Debug, Clone)]
pub struct RingRecord {
    /// Index among the back-end's rings.
    pub index: usize,
    /// Layout, and where it started.
    pub config: QueueConfig,
    /// The guest's doorbell.
    pub kick: Arc<EventFd>,
    /// The guest's interrupt.
    pub call: Call,
    /// The back-end may use it.
    pub enabled: bool,
}

impl RingRecord {
    /// A ring as the driver set it up, disabled. Checks that it lies in guest memory.
    pub fn new(setup: QueueSetup, memory: &Arc<MemoryMap>) -> Result<Self, QueueFault> {
        DeviceQueue::new(Arc::clone(memory), &setup.config)?;
        Ok(Self {
            index: setup.index,
            config: setup.config,
            kick: setup.kick,
            call: setup.call,
            enabled: false,
        })
    }

    /// Where a back-end that knows nothing of the ring has to go on.
    ///
    /// Completions come in order (VIRTIO_F_IN_ORDER, or by the habit of back-ends for network
    /// rings), so the used index counts exactly the chains that were dealt with: the next chain to
    /// fetch is the one of that number (vhost-user specification, "Inflight I/O tracking").
    pub fn resume_base(&self, memory: &MemoryMap) -> Result<u16, QueueFault> {
        DeviceQueue::used_index_in_memory(memory, &self.config)
    }
}

/// The negotiated state of a NIC that a driver runs.
#[derive(Debug, Clone, Default)]
pub struct LinkRecord {
    /// Features to set at the back-end.
    pub features: u64,
    /// There is no cable: no ring is ever enabled, so that a back-end discards what is sent and brings nothing.
    pub unplugged: bool,
    /// Rings the driver enabled, by index ascending.
    pub rings: Vec<RingRecord>,
}

impl LinkRecord {
    /// Enables the rings of the first `pairs` queue pairs if there is a cable, disables the others; returns those that
    /// changed.
    pub fn set_pairs(&mut self, pairs: u16) -> Vec<(usize, bool)> {
        let mut changed = Vec::new();
        for ring in &mut self.rings {
            let enabled = !self.unplugged && ring.index < 2 * usize::from(pairs);
            if ring.enabled != enabled {
                ring.enabled = enabled;
                changed.push((ring.index, enabled));
            }
        }
        changed
    }
}

//! Port writes that KVM keeps until a vCPU leaves it for another reason (Documentation/virt/kvm/api.rst, KVM_REGISTER_COALESCED_MMIO).
//!
//! KVM emulates `rep outs` element by element. Each would cost an exit; so they cost one for every 169, which is what its ring holds.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::Vcpu;
use crate::bus::Bus;

/// Entries of KVM's ring at most: a page, without its header.
const RING: usize = 170;
/// Bytes brought at once.
const BATCH: usize = 1024;

/// What all vCPUs of a machine know of the ring, which they share.
#[derive(Debug)]
pub struct Kept {
    /// This KVM can keep writes to ports.
    supported: bool,
    /// Ranges of ports whose writes are kept.
    ranges: AtomicUsize,
    /// One vCPU at a time takes from the ring: writes arrive in their order.
    turn: Mutex<()>,
}

impl Kept {
    pub(super) fn new(supported: bool) -> Self {
        Self {
            supported,
            ranges: AtomicUsize::new(0),
            turn: Mutex::default(),
        }
    }

    pub(super) fn is_supported(&self) -> bool {
        self.supported
    }

    /// There is one more range. Said before KVM keeps the first write.
    pub(super) fn begin(&self) {
        self.ranges.fetch_add(1, Ordering::SeqCst);
    }

    /// There is one less. Only when all writes of the range have been brought, which those of a vCPU have been once it has exited.
    pub(super) fn end(&self) {
        self.ranges.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Writes of one width to one port, one after the other.
struct Run {
    port: u64,
    size: usize,
    len: usize,
    bytes: [u8; BATCH],
}

impl Run {
    /// Adds a write; false: it is another port's or width's, or there is no room.
    fn push(&mut self, port: u64, element: &[u8]) -> bool {
        if self.len == 0 {
            (self.port, self.size) = (port, element.len());
        }
        let end = self.len + element.len();
        let same = self.port == port && self.size == element.len();
        match self.bytes.get_mut(self.len..end) {
            Some(place) if same => place.copy_from_slice(element),
            _ => return false,
        }
        self.len = end;
        true
    }

    fn bring(&mut self, pio: &Bus) {
        if let Some(bytes) = self.bytes.get(..self.len).filter(|bytes| !bytes.is_empty()) {
            pio.write_repeated(self.port, self.size, bytes);
        }
        self.len = 0;
    }
}

impl Vcpu {
    /// Brings what KVM has kept to the devices, before anything else of this exit happens.
    pub(super) fn bring_kept(&mut self, pio: &Bus) {
        if self.kept.ranges.load(Ordering::SeqCst) == 0 {
            return;
        }
        let _turn = self
            .kept
            .turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut run = Run {
            port: 0,
            size: 0,
            len: 0,
            bytes: [0; BATCH],
        };
        // What this vCPU wrote is in the ring by now; what others add meanwhile may wait for them.
        for _ in 0..RING {
            let Ok(Some(write)) = self.fd.coalesced_mmio_read() else {
                break;
            };
            let len = usize::try_from(write.len).unwrap_or(usize::MAX);
            let Some(element) = write.data.get(..len) else {
                continue;
            };
            if !run.push(write.phys_addr, element) {
                run.bring(pio);
                run.push(write.phys_addr, element);
            }
        }
        run.bring(pio);
    }
}

#[cfg(test)]
#[path = "kept_test.rs"]
mod tests;

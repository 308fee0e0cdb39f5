//! Writes that KVM keeps until somebody takes them: a vCPU that leaves it for another reason, or a thread that waits for one.
//!
//! KVM emulates `rep outs` element by element. Each would cost an exit; so they cost one for every 169, which is what its ring holds.
//! A register that only says what its device needs some time later costs none at all.

use std::sync::{
    Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicBool, Ordering},
};

use kvm_ioctls::{VcpuFd, VmFd};

use super::{
    ring::{RING, Ring, Write},
    vm::KvmError,
};
use crate::{bus::Bus, interrupt::DoorbellAddress};

/// Bytes brought at once.
const BATCH: usize = 1024;

/// What all vCPUs of a machine know of the ring, which they share.
#[derive(Debug)]
pub struct Kept {
    /// This KVM can keep writes, to memory and to ports.
    supported: bool,
    /// Something has been kept, or may have been.
    used: AtomicBool,
    /// One at a time takes from the ring, and brings what it took before another takes: writes arrive in their order.
    turn: Mutex<Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    /// Open as soon as there is a vCPU.
    ring: Option<Ring>,
    /// Taken by somebody who could not bring it. It is the next one.
    left: Option<Write>,
}

impl Turn {
    fn take(&mut self) -> Option<Write> {
        self.left.take().or_else(|| self.ring.as_mut()?.take())
    }
}

impl Kept {
    pub(super) fn new(supported: bool) -> Self {
        Self {
            supported,
            used: AtomicBool::new(false),
            turn: Mutex::default(),
        }
    }

    pub(super) fn is_supported(&self) -> bool {
        self.supported
    }

    /// There is a vCPU, and the ring with the first one.
    pub(super) fn open(&self, vm: &VmFd, vcpu: &VcpuFd) -> Result<(), KvmError> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.supported && turn.ring.is_none() {
            turn.ring = Some(Ring::open(vm, vcpu)?);
        }
        Ok(())
    }

    /// Something is kept from now on. Said before KVM keeps the first write.
    pub(super) fn begin(&self) {
        self.used.store(true, Ordering::SeqCst);
    }

    /// Brings what KVM has kept to the devices. For a vCPU, before anything else of its exit happens; it waits for whoever is at it: what
    /// this vCPU wrote may have been taken, but not brought.
    pub(super) fn bring(&self, pio: &Bus, mmio: &Bus) {
        if !self.used.load(Ordering::SeqCst) {
            return;
        }
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut run = Run::new();
        // What this vCPU wrote is in the ring by now; what others add meanwhile may wait for them.
        for _ in 0..=RING {
            let Some(write) = turn.take() else { break };
            match write.at {
                DoorbellAddress::Pio(port) => {
                    if !run.push(port, write.data()) {
                        run.bring(pio);
                        run.push(port, write.data());
                    }
                }
                DoorbellAddress::Mmio(addr) => {
                    run.bring(pio);
                    // One by one, as doorbells are posted.
                    mmio.write(addr, write.data());
                }
            }
        }
        run.bring(pio);
    }

    /// Brings what devices take without their lock ([`Bus::post`]), up to the first write that is another's: for a device's own thread,
    /// which must wait neither for vCPUs nor for other devices, and must not be the last who holds one.
    pub(super) fn post(&self, mmio: &Bus) {
        if !self.used.load(Ordering::SeqCst) {
            return;
        }
        let Some(mut turn) = self.try_turn() else {
            // Somebody brings them just now.
            return;
        };
        for _ in 0..=RING {
            let Some(write) = turn.take() else { break };
            let posted = match write.at {
                DoorbellAddress::Mmio(addr) => mmio.post(addr, write.data()),
                DoorbellAddress::Pio(_) => false,
            };
            if !posted {
                turn.left = Some(write);
                break;
            }
        }
    }

    fn try_turn(&self) -> Option<MutexGuard<'_, Turn>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Writes of one width to one port, one after the other.
struct Run {
    port: u16,
    size: usize,
    len: usize,
    bytes: [u8; BATCH],
}

impl Run {
    fn new() -> Self {
        Self {
            port: 0,
            size: 0,
            len: 0,
            bytes: [0; BATCH],
        }
    }

    /// Adds a write; false: it is another port's or width's, or there is no room.
    fn push(&mut self, port: u16, element: &[u8]) -> bool {
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
            pio.write_repeated(self.port.into(), self.size, bytes);
        }
        self.len = 0;
    }
}

#[cfg(test)]
#[path = "kept_test.rs"]
mod tests;

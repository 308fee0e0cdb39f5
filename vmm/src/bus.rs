//! Port-I/O and MMIO dispatch from vCPU exits to devices.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use thiserror::Error;

/// A device behind a range of ports or of memory. Called from any vCPU thread; one call at a time per device.
pub trait BusDevice: Send {
    /// Fills `data` (1, 2, 4 or 8 bytes; anything else is the guest's problem) from `offset` in the range.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// Takes `data` written at `offset` in the range.
    fn write(&mut self, offset: u64, data: &[u8]);
    /// Fills `data` from `offset`, which is read once for every `size` bytes: an instruction with a REP prefix.
    fn read_repeated(&mut self, offset: u64, size: usize, data: &mut [u8]) {
        for element in data.chunks_mut(size.max(1)) {
            self.read(offset, element);
        }
    }
    /// Takes `data` written at `offset`, `size` bytes at a time.
    fn write_repeated(&mut self, offset: u64, size: usize, data: &[u8]) {
        for element in data.chunks(size.max(1)) {
            self.write(offset, element);
        }
    }
}

/// Writes that a device takes without being waited for: they are offered before its lock is taken.
pub trait PostedWrites: Send + Sync {
    /// Takes `data` written at `offset` in the range; false: it is for the device.
    fn post(&self, offset: u64, data: &[u8]) -> bool;
}

/// Why a range was refused.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum BusError {
    /// It overlaps a range that is taken.
    #[error("range {0:#x}+{1:#x} overlaps another device")]
    Overlap(u64, u64),
    /// It is empty or wraps around the address space.
    #[error("range {0:#x}+{1:#x} is empty or wraps")]
    Range(u64, u64),
}

type Shared = Arc<Mutex<dyn BusDevice>>;

/// What takes some writes to a range, if anything does.
pub type Posted = Option<Arc<dyn PostedWrites>>;

#[derive(Clone)]
struct Slot {
    len: u64,
    device: Shared,
    posted: Posted,
}

/// Devices by address range. Ranges may be added, moved and removed while vCPUs run (PCI BARs move).
#[derive(Default, Clone)]
pub struct Bus {
    slots: Arc<RwLock<BTreeMap<u64, Slot>>>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.read_slots()
                    .iter()
                    .map(|(base, slot)| (*base, slot.len)),
            )
            .finish()
    }
}

impl Bus {
    fn read_slots(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u64, Slot>> {
        // A device that panicked took its vCPU thread along; the map itself is never left half-changed.
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a device at `base..base + len`.
    pub fn insert(&self, base: u64, len: u64, device: Shared) -> Result<(), BusError> {
        self.insert_posted(base, len, device, None)
    }

    /// Puts a device at `base..base + len`, some writes to which `posted` takes.
    pub fn insert_posted(
        &self,
        base: u64,
        len: u64,
        device: Shared,
        posted: Posted,
    ) -> Result<(), BusError> {
        let last = len.checked_sub(1).and_then(|extra| base.checked_add(extra));
        let last = last.ok_or(BusError::Range(base, len))?;
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let overlaps = slots
            .range(..=last)
            .next_back()
            .is_some_and(|(start, slot)| base <= start.saturating_add(slot.len - 1));
        if overlaps {
            return Err(BusError::Overlap(base, len));
        }
        let slot = Slot {
            len,
            device,
            posted,
        };
        slots.insert(base, slot);
        Ok(())
    }

    /// Takes away what starts at `base`.
    pub fn remove(&self, base: u64) {
        let gone = self
            .slots
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&base);
        // Without the map's lock: the last of a device ends its thread, which may be posting.
        drop(gone);
    }

    /// The device at `addr` and the offset in its range. The map's lock is not held while the device works, so that a device may
    /// move its own range.
    fn find(&self, addr: u64) -> Option<(Slot, u64)> {
        let slots = self.read_slots();
        let (base, slot) = slots.range(..=addr).next_back()?;
        let offset = addr - base;
        (offset < slot.len).then(|| (slot.clone(), offset))
    }

    /// Dispatches a read; unclaimed addresses read as all ones. False: unclaimed.
    pub fn read(&self, addr: u64, data: &mut [u8]) -> bool {
        let Some((slot, offset)) = self.find(addr) else {
            data.fill(0xFF);
            return false;
        };
        slot.device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(offset, data);
        true
    }

    /// Dispatches a write; unclaimed writes are lost. False: unclaimed.
    pub fn write(&self, addr: u64, data: &[u8]) -> bool {
        let Some((slot, offset)) = self.find(addr) else {
            return false;
        };
        if slot.posted.is_some_and(|posted| posted.post(offset, data)) {
            return true;
        }
        slot.device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(offset, data);
        true
    }

    /// Dispatches a write that its device takes without its lock; false: it takes none such. Unclaimed writes are lost. The device itself
    /// is not touched, nor held.
    pub fn post(&self, addr: u64, data: &[u8]) -> bool {
        let found = {
            let slots = self.read_slots();
            let slot = slots.range(..=addr).next_back();
            let slot = slot.map(|(base, slot)| (addr - base, slot));
            let slot = slot.filter(|(offset, slot)| *offset < slot.len);
            slot.map(|(offset, slot)| (offset, slot.posted.clone()))
        };
        let Some((offset, posted)) = found else {
            return true;
        };
        posted.is_some_and(|posted| posted.post(offset, data))
    }

    /// As [`read`](Self::read), once for every `size` bytes of `data`; no other access comes between them.
    pub fn read_repeated(&self, addr: u64, size: usize, data: &mut [u8]) -> bool {
        let Some((slot, offset)) = self.find(addr) else {
            data.fill(0xFF);
            return false;
        };
        slot.device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read_repeated(offset, size, data);
        true
    }

    /// As [`write`](Self::write), once for every `size` bytes of `data`; no other access comes between them.
    pub fn write_repeated(&self, addr: u64, size: usize, data: &[u8]) -> bool {
        if size == data.len() {
            // Every `out` is one of these: it may be posted.
            return self.write(addr, data);
        }
        let Some((slot, offset)) = self.find(addr) else {
            return false;
        };
        slot.device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_repeated(offset, size, data);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Cell(u8);

    impl BusDevice for Cell {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(self.0 + u8::try_from(offset).unwrap());
        }
        fn write(&mut self, _offset: u64, data: &[u8]) {
            self.0 = data[0];
        }
    }

    fn cell(value: u8) -> Shared {
        Arc::new(Mutex::new(Cell(value)))
    }

    #[test]
    fn accesses_reach_their_device_by_offset() {
        let bus = Bus::default();
        bus.insert(0x10, 4, cell(1)).unwrap();
        bus.insert(0x14, 4, cell(100)).unwrap();
        let mut byte = [0];
        assert!(bus.read(0x13, &mut byte));
        assert_eq!(byte, [4]);
        assert!(bus.write(0x14, &[7]) && bus.read(0x14, &mut byte));
        assert_eq!(byte, [7]);
        for addr in [0xF, 0x18] {
            assert!(!bus.read(addr, &mut byte) && !bus.write(addr, &[0]));
            assert_eq!(byte, [0xFF]);
        }
    }

    /// Takes even values at offset 1.
    #[derive(Default)]
    struct Even(AtomicU8);

    impl PostedWrites for Even {
        fn post(&self, offset: u64, data: &[u8]) -> bool {
            let taken = offset == 1 && data[0].is_multiple_of(2);
            if taken {
                self.0.store(data[0], Ordering::SeqCst);
            }
            taken
        }
    }

    #[test]
    fn what_is_not_posted_reaches_the_device() {
        let bus = Bus::default();
        let even = Arc::new(Even::default());
        bus.insert_posted(0x10, 4, cell(1), Some(Arc::clone(&even) as _))
            .unwrap();
        let mut byte = [0];
        assert!(bus.write(0x11, &[8]) && bus.read(0x10, &mut byte));
        assert_eq!((even.0.load(Ordering::SeqCst), byte), (8, [1]));
        for (addr, value) in [(0x11, 7), (0x12, 6)] {
            assert!(bus.write(addr, &[value]) && bus.read(0x10, &mut byte));
            assert_eq!(byte, [value]);
        }
        assert_eq!(even.0.load(Ordering::SeqCst), 8);
        // Nor is anything else where only what can be posted is wanted.
        assert!(bus.post(0x11, &[6]));
        for (addr, value) in [(0x11, 5), (0x12, 4)] {
            assert!(!bus.post(addr, &[value]));
        }
        assert!(bus.post(0x14, &[4]) && bus.post(0xf, &[4]), "nobody's");
        assert!(bus.read(0x10, &mut byte));
        assert_eq!((even.0.load(Ordering::SeqCst), byte), (6, [6]));
    }

    #[test]
    fn ranges_never_overlap_and_can_move() {
        let bus = Bus::default();
        bus.insert(0x10, 4, cell(1)).unwrap();
        for (base, len) in [(0x10, 4), (0x0E, 3), (0x13, 9), (0, u64::MAX), (0x11, 1)] {
            assert_eq!(
                bus.insert(base, len, cell(2)),
                Err(BusError::Overlap(base, len))
            );
        }
        assert_eq!(bus.insert(5, 0, cell(2)), Err(BusError::Range(5, 0)));
        assert_eq!(
            bus.insert(u64::MAX, 2, cell(2)),
            Err(BusError::Range(u64::MAX, 2))
        );
        bus.remove(0x10);
        bus.insert(0x0E, 4, cell(2)).unwrap();
        bus.insert(u64::MAX, 1, cell(2)).unwrap();
    }
}

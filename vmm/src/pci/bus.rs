//! One bus of 32 slots: configuration accesses to functions, BARs onto the machine's busses.
use super::{
    PciDevice,
    allocator::{BarAllocator, WindowFull, Windows},
    bar::{Bar, BarAddress},
    config::Identity,
    function::Function,
    spec,
};
use crate::bus::{Bus, BusDevice, Posted};
use crate::limit::RateLimit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use thiserror::Error;

/// Slots of a bus. Slot 0 holds the host bridge.
pub const SLOTS: u8 = 32;

/// Why a device cannot be put on the bus.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PciError {
    /// All slots are taken.
    #[error(
        "all 31 PCI slots are taken: use fewer --net and --disk options (the host bridge has the 32nd slot)"
    )]
    BusFull,
    /// The slot is taken, or there is no such slot.
    #[error("PCI slot {0} is not free")]
    SlotTaken(u8),
    /// A window has no room for a BAR.
    #[error(transparent)]
    Window(#[from] WindowFull),
}

/// A device, and where its BARs are mapped.
struct Slot {
    device: Arc<Mutex<dyn PciDevice>>,
    /// Held over a configuration write and the remapping that follows from it, so that two vCPUs
    /// cannot interleave.
    mapped: Mutex<Vec<Mapping>>,
}

struct Mapping {
    bar: Bar,
    region: Arc<Mutex<BarRegion>>,
    posted: Posted,
    at: Option<BarAddress>,
}

/// A PCI bus. Cheap to clone; clones are the same bus.
#[derive(Clone)]
pub struct PciBus {
    slots: Arc<RwLock<[Option<Arc<Slot>>; SLOTS as usize]>>,
    allocator: Arc<Mutex<BarAllocator>>,
    ports: Bus,
    memory: Bus,
}

impl std::fmt::Debug for PciBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PciBus").finish_non_exhaustive()
    }
}

impl PciBus {
    /// A bus with a host bridge in slot 0. BARs come from `windows` and appear on `ports` and
    /// `memory`.
    pub fn new(ports: Bus, memory: Bus, windows: Windows) -> Self {
        let bus = Self {
            slots: Arc::new(RwLock::new([const { None }; SLOTS as usize])),
            allocator: Arc::new(Mutex::new(BarAllocator::new(windows))),
            ports,
            memory,
        };
        let bridge = Arc::new(Mutex::new(HostBridge::new()));
        bus.put(
            0,
            Slot {
                device: bridge,
                mapped: Mutex::default(),
            },
        );
        bus
    }

    /// The lowest slot without a device.
    pub fn free_slot(&self) -> Result<u8, PciError> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().position(Option::is_none);
        free.and_then(|slot| u8::try_from(slot).ok())
            .ok_or(PciError::BusFull)
    }

    /// Puts `device` into `slot`, gives its BARs addresses and has them decoded, as firmware would.
    pub fn add(&self, slot: u8, device: Arc<Mutex<dyn PciDevice>>) -> Result<(), PciError> {
        if slot >= SLOTS || self.slot(slot).is_some() {
            return Err(PciError::SlotTaken(slot));
        }
        let mut mapped = Vec::new();
        {
            let mut locked = lock(&device);
            let mut allocator = lock(&self.allocator);
            for bar in locked.function().bars().to_vec() {
                let base = allocator.allocate(&bar)?;
                bar.set_base(locked.function_mut().config_mut(), base);
                mapped.push(Mapping {
                    posted: locked.posted_writes(bar.index),
                    bar,
                    region: Arc::new(Mutex::new(BarRegion {
                        device: Arc::clone(&device),
                        bar: bar.index,
                    })),
                    at: None,
                });
            }
            locked.function_mut().enable_decoding();
        }
        let slot_device = Slot {
            device,
            mapped: Mutex::new(mapped),
        };
        self.remap(&slot_device, &mut lock(&slot_device.mapped));
        self.put(slot, slot_device);
        Ok(())
    }

    /// A configuration read; functions that are not there read as ones.
    pub fn config_read(&self, address: FunctionAddress, offset: u16, data: &mut [u8]) {
        match self.function(address) {
            Some(slot) => lock(&slot.device).config_read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// A configuration write; BARs follow at once.
    pub fn config_write(&self, address: FunctionAddress, offset: u16, data: &[u8]) {
        let Some(slot) = self.function(address) else {
            return;
        };
        let mut mapped = lock(&slot.mapped);
        lock(&slot.device).config_write(offset, data);
        self.remap(&slot, &mut mapped);
    }

    /// Takes every device off the bus, which ends their work. (The machine's busses lead to the
    /// devices and to this bus, and this bus leads to them: nothing of that would ever go away by
    /// itself.)
    pub fn clear(&self) {
        let slots = {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slots, [const { None }; SLOTS as usize])
        };
        for slot in slots.into_iter().flatten() {
            for mapping in lock(&slot.mapped).drain(..) {
                if let Some(at) = mapping.at {
                    self.unmap(at);
                }
            }
        }
    }

    fn function(&self, address: FunctionAddress) -> Option<Arc<Slot>> {
        (address.function == 0).then(|| self.slot(address.slot))?
    }

    fn slot(&self, slot: u8) -> Option<Arc<Slot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(usize::from(slot))?.clone()
    }

    fn put(&self, slot: u8, device: Slot) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = slots.get_mut(usize::from(slot)) {
            *place = Some(Arc::new(device));
        }
    }

    /// Brings the busses to what the function's registers now say.
    fn remap(&self, slot: &Slot, mapped: &mut [Mapping]) {
        for mapping in mapped {
            let wanted = lock(&slot.device).function().decoded(mapping.bar.index);
            if wanted == mapping.at {
                continue;
            }
            if let Some(old) = mapping.at.take() {
                lock(&slot.device).bar_moved(mapping.bar.index, None);
                self.unmap(old);
            }
            let Some(new) = wanted else { continue };
            if self.map(new, mapping) {
                mapping.at = Some(new);
                lock(&slot.device).bar_moved(mapping.bar.index, Some(new));
            }
        }
    }

    fn map(&self, at: BarAddress, mapping: &Mapping) -> bool {
        let region: Arc<Mutex<dyn BusDevice>> = Arc::clone(&mapping.region) as _;
        let (bus, base) = match at {
            BarAddress::Io(base) => (&self.ports, base),
            BarAddress::Memory(base) => (&self.memory, base),
        };
        let result = bus.insert_posted(base, mapping.bar.size, region, mapping.posted.clone());
        // The guest chose the address; a BAR on top of another device is simply not seen.
        if let Err(error) = &result {
            static LIMIT: RateLimit = RateLimit::new();
            if LIMIT.allow() {
                tracing::warn!(%error, bar = mapping.bar.index, "PCI BAR is not decoded");
            }
        }
        result.is_ok()
    }

    fn unmap(&self, at: BarAddress) {
        match at {
            BarAddress::Io(base) => self.ports.remove(base),
            BarAddress::Memory(base) => self.memory.remove(base),
        }
    }
}

/// A function's place on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionAddress {
    /// Slot, 0 to 31.
    pub slot: u8,
    /// Function, 0 to 7. Ours are all function 0.
    pub function: u8,
}

/// One BAR on one of the machine's busses.
struct BarRegion {
    device: Arc<Mutex<dyn PciDevice>>,
    bar: u8,
}

impl BusDevice for BarRegion {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let mut device = lock(&self.device);
        if !device.function().msix_read(self.bar, offset, data) {
            device.bar_read(self.bar, offset, data);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut device = lock(&self.device);
        if !device.function_mut().msix_write(self.bar, offset, data) {
            device.bar_write(self.bar, offset, data);
        }
    }

    fn read_repeated(&mut self, offset: u64, size: usize, data: &mut [u8]) {
        let mut device = lock(&self.device);
        // Tables of MSI-X are read by nobody like that.
        if device.function().msix().is_none() {
            device.bar_read_repeated(self.bar, offset, size, data);
            return;
        }
        drop(device);
        for element in data.chunks_mut(size.max(1)) {
            self.read(offset, element);
        }
    }

    fn write_repeated(&mut self, offset: u64, size: usize, data: &[u8]) {
        let mut device = lock(&self.device);
        if device.function().msix().is_none() {
            device.bar_write_repeated(self.bar, offset, size, data);
            return;
        }
        drop(device);
        for element in data.chunks(size.max(1)) {
            self.write(offset, element);
        }
    }
}

/// The bridge between the processor and the bus: identity only.
struct HostBridge(Function);

impl HostBridge {
    fn new() -> Self {
        Self(Function::new(&Identity {
            // Intel's "virtual host bridge", which no chipset quirk of an OS applies to.
            vendor: 0x8086,
            device: 0x0d57,
            class: 0x06_00_00,
            ..Identity::default()
        }))
    }
}

impl PciDevice for HostBridge {
    fn function(&self) -> &Function {
        &self.0
    }

    fn function_mut(&mut self) -> &mut Function {
        &mut self.0
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        // There is nothing to switch off.
        if offset >= spec::CACHE_LINE_SIZE {
            self.0.config_write(offset, data);
        }
    }
}

/// A device model that panicked is broken by itself; what it left behind is still memory-safe.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "bus_test.rs"]
mod tests;

//! The Intel 82540EM ("PRO/1000 MT Desktop", e1000) as a PCI function.
//!
//! # Theory of operation
//! [`E1000`] is what the bus sees: two BARs and the command register. Behind it, [`device::Device`]
//! holds registers, rings and interrupts, and one thread moves frames between the driver's rings
//! and a [`Wire`](super::wire::Wire), a burst at a time. Register accesses take the device's lock between
//! two bursts; the doorbells TDT and RDT take none and wake the thread only if it sleeps.
//!
//! A doorbell cannot be an ioeventfd: its value is the new tail, which KVM throws away.
//!
//! A packet leaves without being copied here: its buffers in guest RAM go into a descriptor chain,
//! behind a private copy of those headers that the NIC has to change. TCP segmentation leaves as
//! one GSO frame. A frame that arrives is copied once more, from the NIC's own receive buffers: the
//! filters come first, and an e1000 ring has no way to skip a buffer.
pub mod datapath;
pub mod descriptor;
pub mod device;
mod interrupts;
mod packet;
pub mod phy;
mod receive;
mod segment;
#[expect(missing_docs, reason = "the names are the data sheet's")]
pub mod spec;
pub mod state;
mod thread;
mod transmit;

use self::{
    device::Device,
    thread::{Datapath, Shared},
};
use super::{
    Attachment, MacAddress,
    wire::{RingWire, WireError},
};
use crate::{
    interrupt::InterruptController,
    memory::GuestRam,
    pci::{BarKind, Function, Identity, Intx, PciBus, PciDevice, PciError},
};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Instant,
};
use thiserror::Error;

/// The BAR with all registers.
const MEMORY_BAR: u8 = 0;
/// The BAR with IOADDR and IODATA.
const IO_BAR: u8 = 1;

/// Why there is no NIC.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NicError {
    /// Its way to the network.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its place on the bus.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// Interrupt or thread.
    #[error("resources of an emulated NIC: {0}")]
    Resources(#[from] io::Error),
}

/// An e1000 on the bus.
#[derive(Debug)]
pub struct E1000 {
    function: Function,
    shared: Arc<Shared>,
    /// IOADDR.
    io_address: u32,
    _datapath: Datapath,
}

impl E1000 {
    /// A NIC for `slot` on the network behind `attachment`.
    pub fn connect(
        attachment: &Attachment,
        mac: MacAddress,
        ram: &GuestRam,
        controller: &Arc<dyn InterruptController>,
        slot: u8,
    ) -> Result<Self, NicError> {
        let mut function = Function::new(&Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE_82540EM,
            revision: 2,
            class: spec::CLASS,
            subsystem_vendor: spec::VENDOR,
            subsystem: spec::SUBSYSTEM,
        });
        function.add_bar(MEMORY_BAR, BarKind::Memory32, spec::MEMORY_LEN);
        function.add_bar(IO_BAR, BarKind::Io, spec::IO_LEN);
        let intx = Arc::new(Intx::new(controller.intx(slot, 0)?));
        function.add_intx(Arc::clone(&intx));
        let wire = RingWire::connect(attachment, ram)?;
        let link = wire.link();
        let device = Device::new(mac, link.is_up(), Arc::clone(&ram.map), intx);
        let shared = Arc::new(Shared::new(device)?);
        let listener = Arc::clone(&shared);
        link.set_listener(move || listener.link_changed());
        Ok(Self {
            function,
            _datapath: Datapath::start(Arc::clone(&shared), wire)?,
            shared,
            io_address: 0,
        })
    }

    fn read_register(&self, offset: u64) -> u32 {
        let Ok(offset) = u32::try_from(offset & !3) else {
            return 0;
        };
        self.shared.lock().read(offset, Instant::now())
    }

    fn write_register(&self, offset: u64, value: u32) {
        let Ok(offset) = u32::try_from(offset) else {
            return;
        };
        if let Some(doorbell) = self.shared.doorbells().at(offset) {
            doorbell.store(value & 0xffff, std::sync::atomic::Ordering::SeqCst);
        } else {
            let mut device = self.shared.lock();
            device.write(offset, value, Instant::now());
            if !device.needs_thread(offset) {
                return;
            }
        }
        self.shared.wake();
    }
}

impl PciDevice for E1000 {
    fn function(&self) -> &Function {
        &self.function
    }

    fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        self.function.config_write(offset, data);
        let master = self.function.bus_master();
        self.shared.lock().set_bus_master(master);
        self.shared.wake();
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) {
        let value = match (bar, offset & !3) {
            (MEMORY_BAR, register) => self.read_register(register),
            (_, spec::IOADDR) => self.io_address,
            (_, spec::IODATA) => self.read_register(self.io_address.into()),
            _ => 0,
        };
        // Registers are 32 bits wide; a narrow access gets its part of one.
        let start = usize::try_from(offset & 3).unwrap_or(0);
        data.fill(0);
        for (byte, value) in data.iter_mut().zip(value.to_le_bytes().iter().skip(start)) {
            *byte = *value;
        }
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) {
        // Only whole registers can be written (13.2.1).
        let (Ok(bytes), 0) = (<[u8; 4]>::try_from(data), offset & 3) else {
            return;
        };
        let value = u32::from_le_bytes(bytes);
        match (bar, offset) {
            (MEMORY_BAR, offset) => self.write_register(offset, value),
            (_, spec::IOADDR) => self.io_address = value & 0x1_fffc,
            (_, spec::IODATA) => self.write_register(self.io_address.into(), value),
            _ => {}
        }
    }
}

/// Puts an e1000 into the lowest free slot of `bus`; returns the slot.
pub fn attach(
    bus: &PciBus,
    attachment: &Attachment,
    mac: MacAddress,
    ram: &GuestRam,
    controller: &Arc<dyn InterruptController>,
) -> Result<u8, NicError> {
    let slot = bus.free_slot()?;
    let nic = E1000::connect(attachment, mac, ram, controller, slot)?;
    bus.add(slot, Arc::new(Mutex::new(nic)))?;
    Ok(slot)
}

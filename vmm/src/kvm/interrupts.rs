//! Interrupts and doorbells through KVM: irqfds with a routing table for MSI, shared level lines for INTx, ioeventfds for kicks.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE, KvmIrqRouting, kvm_irq_routing_entry,
};
use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::Kept;
use crate::{
    bus::Bus,
    interrupt::{DoorbellAddress, InterruptController, IntxLine, MsiMessage, MsiVector},
    layout::{IOAPIC_PINS, intx_gsi},
};

/// Interrupt numbers in KVM's routing table at most (KVM_MAX_IRQ_ROUTES).
const MAX_GSI: u32 = 4096;
/// Pins of each of the two 8259s.
const PIC_PINS: u32 = 8;

/// KVM's side of all interrupts of a machine.
#[derive(Debug)]
pub struct KvmInterrupts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vm: Arc<VmFd>,
    kept: Arc<Kept>,
    /// Where kept writes to memory go.
    mmio: Bus,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Unmasked MSI vectors by interrupt number.
    routes: BTreeMap<u32, MsiMessage>,
    /// Interrupt numbers handed out.
    next_gsi: u32,
    /// Given back by vectors that are gone.
    free_gsis: Vec<u32>,
    /// Which users hold a level line up, as a bit each.
    raised: BTreeMap<u32, u32>,
    /// INTx users handed out, by line.
    users: BTreeMap<u32, u32>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives KVM the whole routing table: it has no way to change one entry.
    fn apply(&self, state: &State) -> io::Result<()> {
        let mut entries = legacy_routes();
        entries.extend(
            state
                .routes
                .iter()
                .map(|(gsi, message)| msi_route(*gsi, *message)),
        );
        let routing = KvmIrqRouting::from_entries(&entries)
            .map_err(|e| io::Error::other(format!("too many interrupt routes: {e:?}")))?;
        Ok(self.vm.set_gsi_routing(&routing)?)
    }
}

impl KvmInterrupts {
    /// Sets up the legacy routes of `vm`, whose devices are on `mmio`.
    pub fn new(vm: Arc<VmFd>, kept: Arc<Kept>, mmio: Bus) -> io::Result<Self> {
        let state = State {
            next_gsi: IOAPIC_PINS,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            vm,
            kept,
            mmio,
            state: Mutex::new(state),
        });
        shared.apply(&shared.lock())?;
        Ok(Self { shared })
    }

    /// An edge-triggered legacy line (serial port): signalling the eventfd pulses it.
    pub fn edge_line(&self, gsi: u32) -> io::Result<EventFd> {
        let event = EventFd::new(EFD_NONBLOCK)?;
        self.shared.vm.register_irqfd(&event, gsi)?;
        Ok(event)
    }
}

impl InterruptController for KvmInterrupts {
    fn msi_vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        let eventfd = EventFd::new(EFD_NONBLOCK)?;
        let mut state = self.shared.lock();
        let gsi = if let Some(gsi) = state.free_gsis.pop() {
            gsi
        } else if state.next_gsi < MAX_GSI {
            state.next_gsi += 1;
            state.next_gsi - 1
        } else {
            return Err(io::Error::other("all interrupt routes of KVM are taken"));
        };
        Ok(Arc::new(KvmMsiVector {
            shared: Arc::clone(&self.shared),
            eventfd,
            gsi,
        }))
    }

    fn intx(&self, slot: u8, pin: u8) -> io::Result<Arc<dyn IntxLine>> {
        let gsi = intx_gsi(slot, pin);
        let mut state = self.shared.lock();
        let users = state.users.entry(gsi).or_default();
        let share = 1u32
            .checked_shl(*users)
            .ok_or_else(|| io::Error::other("INTx line has 32 users"))?;
        *users += 1;
        Ok(Arc::new(KvmIntx {
            shared: Arc::clone(&self.shared),
            gsi,
            share,
        }))
    }

    fn add_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()> {
        Ok(self
            .shared
            .vm
            .register_ioevent(event, &io_address(address), NoDatamatch)?)
    }

    fn remove_doorbell(&self, address: DoorbellAddress, event: &EventFd) -> io::Result<()> {
        Ok(self
            .shared
            .vm
            .unregister_ioevent(event, &io_address(address), NoDatamatch)?)
    }

    fn add_byte_doorbell(
        &self,
        address: DoorbellAddress,
        byte: u8,
        event: &EventFd,
    ) -> io::Result<()> {
        let vm = &self.shared.vm;
        Ok(vm.register_ioevent(event, &io_address(address), byte)?)
    }

    fn remove_byte_doorbell(
        &self,
        address: DoorbellAddress,
        byte: u8,
        event: &EventFd,
    ) -> io::Result<()> {
        let vm = &self.shared.vm;
        Ok(vm.unregister_ioevent(event, &io_address(address), byte)?)
    }

    fn keep_writes(&self, at: DoorbellAddress, len: u32) -> io::Result<()> {
        if !self.shared.kept.is_supported() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.shared.kept.begin();
        let vm = &self.shared.vm;
        Ok(vm.register_coalesced_mmio(io_address(at), len)?)
    }

    fn bring_writes(&self, at: DoorbellAddress, len: u32) -> io::Result<()> {
        let vm = &self.shared.vm;
        Ok(vm.unregister_coalesced_mmio(io_address(at), len)?)
    }

    fn post_writes(&self) {
        self.shared.kept.post(&self.shared.mmio);
    }
}

fn io_address(address: DoorbellAddress) -> IoEventAddress {
    match address {
        DoorbellAddress::Mmio(addr) => IoEventAddress::Mmio(addr),
        DoorbellAddress::Pio(port) => IoEventAddress::Pio(u64::from(port)),
    }
}

/// One MSI vector: an irqfd while it has a route, a plain eventfd that remembers while it has none.
#[derive(Debug)]
struct KvmMsiVector {
    shared: Arc<Shared>,
    eventfd: EventFd,
    gsi: u32,
}

impl MsiVector for KvmMsiVector {
    fn eventfd(&self) -> &EventFd {
        &self.eventfd
    }

    fn set_route(&self, message: Option<MsiMessage>) -> io::Result<()> {
        let mut state = self.shared.lock();
        let Some(message) = message else {
            if state.routes.remove(&self.gsi).is_none() {
                return Ok(());
            }
            self.shared.vm.unregister_irqfd(&self.eventfd, self.gsi)?;
            return self.shared.apply(&state);
        };
        let before = state.routes.insert(self.gsi, message);
        if before == Some(message) {
            return Ok(());
        }
        let result = self.route(&state, before.is_none());
        if result.is_err() {
            // Or the guest's next attempt would be taken for one that changes nothing.
            match before {
                Some(before) => state.routes.insert(self.gsi, before),
                None => state.routes.remove(&self.gsi),
            };
        }
        result
    }
}

impl KvmMsiVector {
    fn route(&self, state: &State, attach: bool) -> io::Result<()> {
        self.shared.apply(state)?;
        if attach {
            // KVM looks at the eventfd once when it is attached: what came in while masked is delivered now.
            self.shared.vm.register_irqfd(&self.eventfd, self.gsi)?;
        }
        Ok(())
    }
}

impl Drop for KvmMsiVector {
    fn drop(&mut self) {
        if let Err(error) = self.set_route(None) {
            tracing::warn!(gsi = self.gsi, %error, "taking down an interrupt route failed");
        }
        self.shared.lock().free_gsis.push(self.gsi);
    }
}

/// One user's share of a level-triggered line.
#[derive(Debug)]
struct KvmIntx {
    shared: Arc<Shared>,
    gsi: u32,
    share: u32,
}

impl IntxLine for KvmIntx {
    fn set(&self, level: bool) {
        let mut state = self.shared.lock();
        let raised = state.raised.entry(self.gsi).or_default();
        let before = *raised;
        *raised = if level {
            before | self.share
        } else {
            before & !self.share
        };
        let after = *raised;
        if (before == 0) != (after == 0)
            && let Err(error) = self.shared.vm.set_irq_line(self.gsi, after != 0)
        {
            tracing::warn!(gsi = self.gsi, %error, "setting an interrupt line failed");
        }
    }
}

/// The routes a PC is born with: each ISA interrupt reaches both the 8259s and the I/O APIC. The timer (IRQ 0) is on I/O APIC pin 2,
/// as the MADT's interrupt source override says.
fn legacy_routes() -> Vec<kvm_irq_routing_entry> {
    let mut entries = Vec::new();
    for gsi in 0..2 * PIC_PINS {
        let chip = if gsi < PIC_PINS {
            KVM_IRQCHIP_PIC_MASTER
        } else {
            KVM_IRQCHIP_PIC_SLAVE
        };
        entries.push(chip_route(gsi, chip, gsi % PIC_PINS));
    }
    for gsi in 0..IOAPIC_PINS {
        match gsi {
            0 => entries.push(chip_route(0, KVM_IRQCHIP_IOAPIC, 2)),
            2 => {} // the cascade of the second 8259: its I/O APIC pin belongs to the timer
            _ => entries.push(chip_route(gsi, KVM_IRQCHIP_IOAPIC, gsi)),
        }
    }
    entries
}

fn chip_route(gsi: u32, irqchip: u32, pin: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        ..Default::default()
    };
    entry.u.irqchip.irqchip = irqchip;
    entry.u.irqchip.pin = pin;
    entry
}

fn msi_route(gsi: u32, message: MsiMessage) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    let [a0, a1, a2, a3, b0, b1, b2, b3] = message.address.to_le_bytes();
    entry.u.msi.address_lo = u32::from_le_bytes([a0, a1, a2, a3]);
    entry.u.msi.address_hi = u32::from_le_bytes([b0, b1, b2, b3]);
    entry.u.msi.data = message.data;
    entry
}

#[cfg(test)]
#[path = "interrupts_test.rs"]
mod tests;

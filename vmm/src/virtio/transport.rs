//! The virtio 1.x PCI transport: a [`VirtioDevice`] as a PCI function.
use super::{
    Activation, Call, QueueSetup, VirtioDevice, VirtioError,
    caps::{self, window},
    common_cfg::{DeviceView, Effect},
    interrupt::Interrupts,
    spec,
    state::TransportState,
};
use crate::{
    eventfd,
    interrupt::{DoorbellAddress, InterruptController},
    limit::RateLimit,
    memory::GuestRam,
    pci::{BarAddress, BarKind, Function, Identity, Intx, PciDevice},
};
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A virtio device on the PCI bus.
pub struct VirtioPci {
    // Runtime glue
    controller: Arc<dyn InterruptController>,
    memory: GuestRam,
    // Sub-devices
    function: Function,
    device: Box<dyn VirtioDevice>,
    interrupts: Interrupts,
    // Runtime book-keeping
    /// One per queue, for the life of the device; ioeventfds signal them.
    kicks: Vec<Arc<EventFd>>,
    /// Doorbells in the kernel.
    doorbells: Vec<DoorbellAddress>,
    /// What each queue of the living device was last told to signal.
    calls: Vec<Option<Call>>,
    pci_cfg: u16,
    // Volatile state
    state: TransportState,
}

impl std::fmt::Debug for VirtioPci {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtioPci")
            .field("device_type", &self.device.device_type())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl VirtioPci {
    /// Wraps `device` for `slot`: one MSI-X vector per queue and one for configuration changes.
    pub fn new(
        mut device: Box<dyn VirtioDevice>,
        memory: GuestRam,
        controller: Arc<dyn InterruptController>,
        slot: u8,
    ) -> Result<Self, VirtioError> {
        let sizes = device.queue_sizes();
        let count = sizes.len() + 1;
        if sizes.len() > caps::MAX_QUEUES || count > caps::MAX_VECTORS {
            return Err(VirtioError::TooManyQueues(sizes.len()));
        }
        let vectors = (0..count)
            .map(|_| controller.msi_vector())
            .collect::<Result<Vec<_>, _>>()?;
        let intx = Arc::new(Intx::new(controller.intx(slot, 0)?));
        let kicks = (0..sizes.len())
            .map(|_| EventFd::new(EFD_NONBLOCK).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;

        let kind = device.device_type();
        let mut function = Function::new(&Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE_BASE + kind,
            revision: 1,
            class: device.class(),
            subsystem_vendor: spec::VENDOR,
            // 4.1.2.1: anything from 0x40 on for a modern device.
            subsystem: 0x40 + kind,
        });
        function.add_bar(caps::BAR, BarKind::Memory64, caps::BAR_LEN);
        let pci_cfg = caps::add(&mut function, sizes.len())?;
        function.add_msix(caps::MSIX, vectors.clone())?;
        function.add_intx(Arc::clone(&intx));

        let interrupts = Interrupts::new(vectors, intx)?;
        device.attach(interrupts.notifier());
        Ok(Self {
            controller,
            memory,
            function,
            interrupts,
            calls: vec![None; sizes.len()],
            kicks,
            doorbells: Vec::new(),
            pci_cfg,
            state: TransportState::new(&sizes),
            device,
        })
    }

    /// The registers, as a snapshot must carry them.
    pub fn state(&self) -> &TransportState {
        &self.state
    }

    fn view(&self) -> DeviceView {
        DeviceView {
            features: self.offered(),
            device_status: if self.interrupts.needs_reset() {
                spec::STATUS_NEEDS_RESET
            } else {
                0
            },
            generation: self.interrupts.generation(),
            vectors: u16::try_from(self.kicks.len() + 1).unwrap_or(u16::MAX),
        }
    }

    fn offered(&self) -> u64 {
        self.device.features() | spec::F_VERSION_1
    }

    fn msix_enabled(&self) -> bool {
        self.function.msix().is_some_and(crate::pci::Msix::enabled)
    }

    fn write_common(&mut self, offset: u64, data: &[u8]) {
        let view = self.view();
        match self.state.write_common(&view, offset, data) {
            Effect::None => {}
            Effect::Vector => self.update_calls(),
            Effect::Status(value) => self.write_status(value),
        }
    }

    /// The device status state machine (virtio 1.2, 2.1 and 3.1.1).
    fn write_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        // 2.1.1: a driver does not clear bits, except by reset. NEEDS_RESET is ours.
        let new = value & !spec::STATUS_NEEDS_RESET & !self.state.status;
        self.state.status |=
            new & (spec::STATUS_ACKNOWLEDGE | spec::STATUS_DRIVER | spec::STATUS_FAILED);
        if new & spec::STATUS_FEATURES_OK != 0 && self.features_acceptable() {
            self.state.status |= spec::STATUS_FEATURES_OK;
        }
        if new & spec::STATUS_DRIVER_OK != 0
            && self.state.has(spec::STATUS_FEATURES_OK)
            && !self.state.has(spec::STATUS_FAILED)
        {
            self.state.status |= spec::STATUS_DRIVER_OK;
            self.activate();
        }
    }

    fn features_acceptable(&self) -> bool {
        let driver = self.state.driver_features;
        driver & !self.offered() == 0
            && driver & spec::F_VERSION_1 != 0
            && self.device.accepts(driver)
    }

    fn activate(&mut self) {
        self.configure_interrupts();
        let result = self.setups().and_then(|queues| {
            self.device.activate(Activation {
                features: self.state.driver_features,
                queues,
                memory: self.memory.clone(),
            })
        });
        if let Err(error) = result {
            static LIMIT: RateLimit = RateLimit::new();
            if LIMIT.allow() {
                tracing::warn!(%error, device_type = self.device.device_type(), "virtio device did not start");
            }
            self.interrupts.notifier().needs_reset();
        }
    }

    fn setups(&mut self) -> Result<Vec<QueueSetup>, VirtioError> {
        let features = self.state.driver_features;
        let mut setups = Vec::new();
        for (index, kick) in self.kicks.iter().enumerate() {
            let Some(queue) = self.state.queues.get(index).filter(|queue| queue.enabled) else {
                continue;
            };
            let call = self.interrupts.call(queue.vector)?;
            if let Some(known) = self.calls.get_mut(index) {
                *known = Some(call.clone());
            }
            setups.push(QueueSetup {
                index,
                config: queue.config(features),
                kick: Arc::clone(kick),
                call,
            });
        }
        Ok(setups)
    }

    fn configure_interrupts(&self) {
        self.interrupts.configure(
            self.msix_enabled(),
            self.state.config_vector,
            self.state.has(spec::STATUS_DRIVER_OK),
        );
    }

    /// MSI-X was switched or a vector assigned: a living device signals elsewhere from now on.
    fn update_calls(&mut self) {
        self.configure_interrupts();
        if !self.state.has(spec::STATUS_DRIVER_OK) {
            return;
        }
        for (index, known) in self.calls.iter_mut().enumerate() {
            let (Some(old), Some(queue)) = (known.as_ref(), self.state.queues.get(index)) else {
                continue;
            };
            match self.interrupts.call(queue.vector) {
                Ok(call) if !call.same_as(old) => {
                    self.device.set_call(index, call.clone());
                    *known = Some(call);
                }
                Ok(_) => {}
                Err(_) => self.interrupts.notifier().needs_reset(),
            }
        }
    }

    /// Returns when the device touches guest memory no more; only then does the status read 0
    /// (2.4.1).
    fn reset(&mut self) {
        self.device.reset();
        self.calls.fill(None);
        self.state.reset();
        self.interrupts.reset(self.msix_enabled());
        for kick in &self.kicks {
            // A kick of the past life.
            eventfd::drain(kick);
        }
    }

    /// The guest forbids access to its memory under a living device, as Linux does before a kexec: what works on the rings stops, and
    /// only a reset helps (virtio 1.2, 2.1.2). No interrupt tells: who did this knows, and MSIs are memory writes too.
    fn master_lost(&mut self) {
        if self.state.has(spec::STATUS_DRIVER_OK) {
            self.device.reset();
            self.calls.fill(None);
            self.interrupts.set_needs_reset();
        }
    }

    fn notify(&self, offset: u64) {
        let queue = usize::try_from(offset / u64::from(caps::NOTIFY_MULTIPLIER)).ok();
        // 2-byte writes stay in the kernel (ioeventfd); this is for every other access.
        if let Some(kick) = queue.and_then(|queue| self.kicks.get(queue)) {
            eventfd::signal(kick);
        }
    }

    fn remove_doorbells(&mut self) {
        for (address, kick) in self.doorbells.drain(..).zip(&self.kicks) {
            if let Err(error) = self.controller.remove_doorbell(address, kick) {
                static LIMIT: RateLimit = RateLimit::new();
                if LIMIT.allow() {
                    tracing::warn!(%error, ?address, "removing a doorbell failed");
                }
            }
        }
    }

    fn add_doorbells(&mut self, base: u64) {
        for (kick, index) in self.kicks.iter().zip(0u64..) {
            let offset = caps::NOTIFY + index * u64::from(caps::NOTIFY_MULTIPLIER);
            let address = DoorbellAddress::Mmio(base + offset);
            if let Err(error) = self.controller.add_doorbell(address, kick) {
                // The queue still works: its doorbell writes exit to us.
                static LIMIT: RateLimit = RateLimit::new();
                if LIMIT.allow() {
                    tracing::warn!(%error, ?address, "no doorbell in the kernel: kicks are slow");
                }
                break;
            }
            self.doorbells.push(address);
        }
    }

    /// The BAR access that the PCI configuration access capability describes (4.1.4.9), if it is a
    /// legal one.
    fn window(&self) -> Option<(u64, usize)> {
        let config = self.function.config();
        let bar = config.u16(self.pci_cfg + window::BAR).to_le_bytes()[0];
        let offset = config.u32(self.pci_cfg + window::OFFSET);
        let length = config.u32(self.pci_cfg + window::LENGTH);
        let legal = bar == caps::BAR
            && matches!(length, 1 | 2 | 4)
            && offset.is_multiple_of(length)
            && u64::from(offset) + u64::from(length) <= caps::BAR_LEN;
        legal.then_some((u64::from(offset), usize::try_from(length).ok()?))
    }

    fn touches_window(&self, offset: u16, data: &[u8]) -> bool {
        let data_at = usize::from(self.pci_cfg + window::DATA);
        let start = usize::from(offset);
        start < data_at + 4 && start + data.len() > data_at
    }
}

impl PciDevice for VirtioPci {
    fn function(&self) -> &Function {
        &self.function
    }

    fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        if self.touches_window(offset, data)
            && let Some((at, length)) = self.window()
        {
            let mut value = [0; 4];
            if let Some(value) = value.get_mut(..length)
                && !self.function.msix_read(caps::BAR, at, value)
            {
                self.bar_read(caps::BAR, at, value);
            }
            let data_at = self.pci_cfg + window::DATA;
            self.function.config_mut().set(data_at, &value);
        }
        self.function.config_read(offset, data);
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        let (msix, master) = (self.msix_enabled(), self.function.bus_master());
        self.function.config_write(offset, data);
        // Only the edge: a firmware may never have set it.
        if master && !self.function.bus_master() {
            self.master_lost();
        }
        if self.touches_window(offset, data)
            && let Some((at, length)) = self.window()
        {
            let data_at = self.pci_cfg + window::DATA;
            let value = self.function.config().u32(data_at).to_le_bytes();
            if let Some(value) = value.get(..length)
                && !self.function.msix_write(caps::BAR, at, value)
            {
                self.bar_write(caps::BAR, at, value);
            }
        }
        if self.msix_enabled() != msix {
            self.update_calls();
        }
    }

    fn bar_read(&mut self, _bar: u8, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match offset {
            caps::COMMON..caps::ISR => {
                let view = self.view();
                self.state.read_common(&view, offset - caps::COMMON, data);
            }
            caps::ISR => {
                if let Some(first) = data.first_mut() {
                    *first = self.interrupts.take_isr();
                }
            }
            caps::DEVICE..caps::NOTIFY => self.device.read_config(offset - caps::DEVICE, data),
            _ => {}
        }
    }

    fn bar_write(&mut self, _bar: u8, offset: u64, data: &[u8]) {
        match offset {
            caps::COMMON..caps::ISR => self.write_common(offset - caps::COMMON, data),
            caps::DEVICE..caps::NOTIFY => self.device.write_config(offset - caps::DEVICE, data),
            caps::NOTIFY..caps::NOTIFY_END => self.notify(offset - caps::NOTIFY),
            _ => {}
        }
    }

    fn bar_moved(&mut self, _bar: u8, at: Option<BarAddress>) {
        self.remove_doorbells();
        if let Some(BarAddress::Memory(base)) = at {
            self.add_doorbells(base);
        }
    }
}

impl Drop for VirtioPci {
    fn drop(&mut self) {
        self.remove_doorbells();
        self.device.reset();
    }
}

#[cfg(test)]
#[path = "transport_test.rs"]
mod tests;

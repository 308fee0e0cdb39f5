//! A machine put together: memory, KVM, devices, vCPUs; and its life from power-on to power-off.

mod console;
mod devices;
mod events;
mod stopper;
mod vcpus;

use std::{
    io,
    sync::{Arc, Mutex, atomic::AtomicBool, mpsc::Receiver},
};

use thiserror::Error;

pub use events::{Event, EventSender, events};

use crate::{
    boot::{self, BootError},
    bus::{Bus, BusError},
    config::GuestConfig,
    devices::{I8042, PowerManagement, Rtc, SerialConsole, SerialPort, SerialWriter},
    kvm::{KvmError, KvmInterrupts, Vm},
    layout::{ACPI_PM_PORT, SERIAL_IRQ, SERIAL_PORT},
    memory::{GuestRam, MemoryError},
    net::{nic::NicError, wire::WireError},
};

pub use console::Console;
pub use devices::{DeviceError, HostResources};
pub use stopper::Stopper;

use vcpus::Vcpus;

/// Why a machine cannot be built or started.
#[derive(Debug, Error)]
pub enum MachineError {
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Kernel, initrd, command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A PCI device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Two devices at one address.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Interrupts and threads.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl MachineError {
    /// A back-end is away and may come back.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Device(
                DeviceError::Session(error)
                | DeviceError::Nic(NicError::Wire(WireError::Session(error))),
            ) => error.is_passing(),
            _ => false,
        }
    }
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> MachineError {
    let what = what.into();
    move |source| MachineError::Io { what, source }
}

/// A machine ready to start.
#[derive(Debug)]
pub struct Machine {
    // Dropped in this order: vCPUs never run without their devices.
    vm: Vm,
    pio: Bus,
    mmio: Bus,
    _devices: devices::Devices,
    console: SerialConsole,
    events: EventSender,
    receiver: Receiver<Event>,
    /// Set when the vCPUs are to stop.
    stop: Arc<AtomicBool>,
    vcpus: Vec<crate::kvm::Vcpu>,
}

impl Machine {
    /// Builds the machine and loads what it boots.
    pub fn build(config: &GuestConfig, host: &HostResources) -> Result<Self, MachineError> {
        let ram = GuestRam::new(config.memory.0, config.hugepages)?;
        let boot_state = boot::load(&ram, &config.boot, config.cpus)?;
        let vm = Vm::new(ram.clone())?;
        let (pio, mmio) = (Bus::default(), Bus::default());
        let interrupts = Arc::new(
            KvmInterrupts::new(vm.fd(), vm.kept(), mmio.clone())
                .map_err(io_error("setting up interrupt routes"))?,
        );
        let (events, receiver) = events();
        let stop = Arc::new(AtomicBool::new(false));
        let output = host.serial().writer(Arc::clone(&stop));
        let console = board(output, &pio, &interrupts, &events)?;
        let devices = devices::plug_in(
            config,
            host,
            &pio,
            &mmio,
            &ram,
            &(Arc::clone(&interrupts) as _),
        )?;
        let mut vcpus = Vec::new();
        for index in 0..config.cpus {
            vcpus.push(vm.vcpu(index, config.cpus)?);
        }
        if let Some(first) = vcpus.first() {
            first.boot(boot_state)?;
        }
        Ok(Self {
            vm,
            pio,
            mmio,
            _devices: devices,
            console,
            events,
            receiver,
            stop,
            vcpus,
        })
    }

    /// Where events of this machine are sent from.
    pub fn events(&self) -> EventSender {
        self.events.clone()
    }

    /// The serial console's input.
    pub fn console(&self) -> SerialConsole {
        self.console.clone()
    }

    /// Runs the vCPUs until an event ends that; all vCPUs have stopped when this returns.
    pub fn run(mut self) -> Result<Event, MachineError> {
        let vcpus = std::mem::take(&mut self.vcpus);
        let running = Vcpus::start(vcpus, &self.stop, &self.pio, &self.mmio, &self.events)
            .map_err(io_error("starting the vCPU threads"))?;
        // The machine itself holds a sender, so the channel cannot be closed.
        let event = self.receiver.recv().unwrap_or(Event::Quit);
        drop(running);
        tracing::debug!(
            ram = self.vm.ram().map.region_count(),
            ?event,
            "vCPUs have stopped"
        );
        Ok(event)
    }
}

/// Puts the board's own devices on the port bus.
fn board(
    output: SerialWriter,
    pio: &Bus,
    interrupts: &KvmInterrupts,
    events: &EventSender,
) -> Result<SerialConsole, MachineError> {
    let line = interrupts
        .edge_line(SERIAL_IRQ)
        .map_err(io_error("wiring the serial port"))?;
    let (serial, console) = SerialPort::new(line, output);
    pio.insert(u64::from(SERIAL_PORT), 8, Arc::new(Mutex::new(serial)))?;
    pio.insert(
        u64::from(ACPI_PM_PORT),
        8,
        Arc::new(Mutex::new(PowerManagement::new(events.clone()))),
    )?;
    pio.insert(0x70, 2, Arc::new(Mutex::new(Rtc::default())))?;
    // Port 0x61 in between is the speaker's: KVM's timer answers it before the bus is asked.
    let keyboard = Arc::new(Mutex::new(I8042::new(events.clone())));
    pio.insert(0x60, 5, keyboard)?;
    Ok(console)
}

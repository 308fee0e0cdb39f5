//! The PCI bus of a machine and everything on it.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};

use thiserror::Error;

use crate::{
    bus::{Bus, BusError},
    config::{GuestConfig, NetModel, SerialConfig},
    devices::SerialOutput,
    interrupt::InterruptController,
    layout,
    memory::GuestRam,
    net::{
        Attachment, MacAddress, SessionError, SourceError, e1000, ne2k,
        nic::{NicError, Plug},
        pcnet, rtl8139,
    },
    pci::{CONFIG_PORTS, CONFIG_PORTS_LEN, ConfigPorts, ECAM_LEN, Ecam, PciBus, Windows},
    virtio::{
        self, VirtioError,
        blk::{Block, DiskError, Image},
        net::Net,
        rng::Rng,
    },
};

/// Why a device is missing.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Two devices at one address.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The log of the serial console.
    #[error("cannot write the serial console to {0}: {1}")]
    Serial(SerialConfig, io::Error),
    /// A disk image.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A port of netbackend.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A NIC's back-end.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An emulated NIC.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The entropy source.
    #[error("cannot read the host's random numbers: {0}")]
    Rng(io::Error),
    /// A virtio device or its place on the bus.
    #[error(transparent)]
    Virtio(#[from] VirtioError),
}

/// What devices need of the host and keep across a reboot of the guest.
#[derive(Debug, Default)]
pub struct HostResources {
    serial: SerialOutput,
    /// Disk images, locked, in the order of the command line.
    disks: Vec<Arc<Image>>,
    /// Back-ends of the NICs and the addresses of the NICs, in the order of the command line.
    nets: Vec<(Attachment, MacAddress)>,
}

impl HostResources {
    /// Where the serial console's output goes.
    pub(super) fn serial(&self) -> &SerialOutput {
        &self.serial
    }

    /// Opens the console and disks and asks for ports.
    pub fn open(config: &GuestConfig, control_socket: Option<&Path>) -> Result<Self, DeviceError> {
        let default_socket = control::default_socket(&control::default_runtime_dir());
        let control_socket = control_socket.unwrap_or(&default_socket);
        let serial = SerialOutput::open(&config.serial)
            .map_err(|source| DeviceError::Serial(config.serial.clone(), source))?;
        let mut host = Self {
            serial,
            ..Self::default()
        };
        for disk in &config.disks {
            let image = Image::open(&disk.path, disk.readonly)?;
            host.disks.push(Arc::new(image));
        }
        for (net, index) in config.nets.iter().zip(0..) {
            let derived = || MacAddress::derive(&config.name, index);
            let mac = net.mac.map_or_else(derived, MacAddress);
            let attachment = Attachment::resolve(net, mac, control_socket)?;
            host.nets.push((attachment, mac));
        }
        Ok(host)
    }
}

/// The devices of one machine. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Devices {
    bus: PciBus,
    pio: Bus,
    mmio: Bus,
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.pio.remove(CONFIG_PORTS);
        self.mmio.remove(layout::ECAM_START);
        self.bus.clear();
    }
}

/// Builds the bus and puts every device into the next slot: disks, NICs, entropy.
pub(super) fn plug_in(
    config: &GuestConfig,
    host: &HostResources,
    pio: &Bus,
    mmio: &Bus,
    ram: &GuestRam,
    interrupts: &Arc<dyn InterruptController>,
) -> Result<Devices, DeviceError> {
    let devices = Devices {
        bus: PciBus::new(pio.clone(), mmio.clone(), windows()),
        pio: pio.clone(),
        mmio: mmio.clone(),
    };
    let bus = &devices.bus;
    let ports = Arc::new(Mutex::new(ConfigPorts::new(bus.clone())));
    pio.insert(CONFIG_PORTS, CONFIG_PORTS_LEN, ports)?;
    let ecam = Arc::new(Mutex::new(Ecam::new(bus.clone())));
    mmio.insert(layout::ECAM_START, ECAM_LEN, ecam)?;

    for image in &host.disks {
        let disk = Block::new(Arc::clone(image));
        virtio::attach(bus, Box::new(disk), ram, interrupts)?;
    }
    for ((attachment, mac), net) in host.nets.iter().zip(&config.nets) {
        let plug = Plug {
            attachment,
            mac: *mac,
            poll_idle: net.poll_idle,
            ram,
            controller: interrupts,
        };
        match net.model {
            NetModel::Virtio => {
                let nic = Net::connect(attachment, *mac, net.queues, ram)?;
                virtio::attach(bus, Box::new(nic), ram, interrupts)?;
            }
            NetModel::E1000 => {
                plug.attach(bus, |parts| {
                    e1000::Device::new(e1000::spec::I82540EM, parts)
                })?;
            }
            NetModel::Rtl8139 | NetModel::Rtl8139C => {
                let chip = if net.model == NetModel::Rtl8139 {
                    rtl8139::spec::C_PLUS
                } else {
                    rtl8139::spec::C
                };
                plug.attach(bus, |parts| {
                    rtl8139::Device::new(chip, parts, Instant::now())
                })?;
            }
            NetModel::Ne2kPci => {
                plug.attach(bus, ne2k::Device::new)?;
            }
            NetModel::Pcnet | NetModel::PcnetFast => {
                let chip = if net.model == NetModel::Pcnet {
                    pcnet::spec::AM79C970A
                } else {
                    pcnet::spec::AM79C973
                };
                plug.attach(bus, |parts| pcnet::Device::new(chip, parts))?;
            }
            NetModel::E1000Server => {
                plug.attach(bus, |parts| {
                    e1000::Device::new(e1000::spec::I82545EM, parts)
                })?;
            }
        }
    }
    if config.rng {
        let rng = Rng::new().map_err(DeviceError::Rng)?;
        virtio::attach(bus, Box::new(rng), ram, interrupts)?;
    }
    Ok(devices)
}

fn windows() -> Windows {
    let io = u64::from(layout::PCI_PIO_START);
    Windows {
        io: io..io + u64::from(layout::PCI_PIO_SIZE),
        memory32: layout::PCI_MMIO32_START..layout::PCI_MMIO32_START + layout::PCI_MMIO32_SIZE,
        memory64: layout::PCI_MMIO64_START..layout::PCI_MMIO64_START + layout::PCI_MMIO64_SIZE,
    }
}

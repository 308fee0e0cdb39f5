//! The PCI bus of a machine and everything on it.

use std::sync::{Arc, Mutex};

use thiserror::Error;

use crate::{
    bus::{Bus, BusError},
    config::GuestConfig,
    interrupt::InterruptController,
    memory::GuestRam,
};

/// Why a device is missing.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// Two devices at one address.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What devices need of the host and keep across a reboot of the guest.
#[derive(Debug, Default)]
pub struct HostResources {}

impl HostResources {
    /// Opens disks and asks for ports.
    pub fn open(
        _config: &GuestConfig,
        _control_socket: Option<&std::path::Path>,
    ) -> Result<Self, DeviceError> {
        Ok(Self {})
    }
}

/// The devices of one machine.
#[derive(Debug)]
pub(super) struct Devices {}

pub(super) fn plug_in(
    _config: &GuestConfig,
    _host: &HostResources,
    _pio: &Bus,
    _mmio: &Bus,
    _ram: &GuestRam,
    _interrupts: Arc<dyn InterruptController>,
) -> Result<Devices, DeviceError> {
    let _ = Mutex::new(());
    Ok(Devices {})
}

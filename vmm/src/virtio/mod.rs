//! Virtio devices and their PCI transport.
//!
//! # Theory of operation
//! [`VirtioPci`] owns the registers a driver sees and the status state machine. At DRIVER_OK it
//! hands every enabled queue to the device: ring addresses, the kick eventfd (an ioeventfd on the
//! queue's doorbell) and the call (an irqfd). From then on the device works on threads of its own,
//! or lets a vhost-user back-end work, and the transport is off the path. A reset returns only when
//! nobody touches guest memory any more.
pub mod blk;
mod caps;
mod common_cfg;
mod interrupt;
pub mod net;
pub mod rng;
pub mod spec;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
mod transport;
mod worker;

pub use interrupt::{Call, Notifier};
pub use transport::VirtioPci;

use crate::{
    interrupt::InterruptController,
    memory::GuestRam,
    pci::{CapabilityError, PciBus, PciError},
};
use std::{
    io,
    sync::{Arc, Mutex},
};
use thiserror::Error;
use virtqueue::{QueueConfig, QueueFault};
use vmm_sys_util::eventfd::EventFd;

/// Why a virtio device could not be made or started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VirtioError {
    /// An eventfd, vector or thread could not be had.
    #[error("virtio device resources: {0}")]
    Resources(#[from] io::Error),
    /// More queues than the transport has room for.
    #[error("{0} virtqueues are more than one PCI function has room for")]
    TooManyQueues(usize),
    /// The device has too many PCI capabilities.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// The bus does not take it.
    #[error(transparent)]
    Pci(#[from] PciError),
    /// The driver set up a queue that cannot be.
    #[error("queue {index}: {fault}")]
    Queue {
        /// Which queue.
        index: usize,
        /// What is wrong with it.
        fault: QueueFault,
    },
    /// The driver did not set up a queue that the device needs.
    #[error("queue {0} is not enabled")]
    QueueMissing(usize),
}

/// One enabled queue, as a device gets it.
#[derive(Debug, Clone)]
pub struct QueueSetup {
    /// Which of the device's queues.
    pub index: usize,
    /// Where the ring lies. Not validated.
    pub config: QueueConfig,
    /// Signalled when the driver added buffers. Non-blocking.
    pub kick: Arc<EventFd>,
    /// To signal when the driver wants to hear of used buffers.
    pub call: Call,
}

/// What a device needs to live.
#[derive(Debug)]
pub struct Activation {
    /// Negotiated features.
    pub features: u64,
    /// Enabled queues, by index ascending.
    pub queues: Vec<QueueSetup>,
    /// Guest memory.
    pub memory: GuestRam,
}

/// A virtio device behind a transport. Calls come from vCPU threads, one at a time.
pub trait VirtioDevice: Send {
    /// Device type (virtio 1.2, 5).
    fn device_type(&self) -> u16;
    /// PCI class code: base class, subclass, programming interface.
    fn class(&self) -> u32;
    /// Offered features; the same for the device's whole life. VERSION_1 is added.
    fn features(&self) -> u64;
    /// The device can live with these features, a subset of the offered ones.
    fn accepts(&self, _features: u64) -> bool {
        true
    }
    /// Largest size of each queue, a power of two.
    fn queue_sizes(&self) -> Vec<u16>;
    /// Gives the device its way to report configuration changes. Called once, before anything else.
    fn attach(&mut self, _notifier: Notifier) {}
    /// Reads device configuration; bytes beyond it stay 0.
    fn read_config(&self, offset: u64, data: &mut [u8]);
    /// Writes device configuration.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}
    /// DRIVER_OK: start to work.
    fn activate(&mut self, activation: Activation) -> Result<(), VirtioError>;
    /// Signal `call` for queue `index` from now on.
    fn set_call(&mut self, index: usize, call: Call);
    /// Stop; returns when guest memory is no longer touched. A device that was not activated does
    /// nothing.
    fn reset(&mut self);
}

/// Puts `device` into the lowest free slot of `bus`; returns the slot.
pub fn attach(
    bus: &PciBus,
    device: Box<dyn VirtioDevice>,
    memory: &GuestRam,
    controller: &Arc<dyn InterruptController>,
) -> Result<u8, VirtioError> {
    let slot = bus.free_slot()?;
    let pci = VirtioPci::new(device, memory.clone(), Arc::clone(controller), slot)?;
    bus.add(slot, Arc::new(Mutex::new(pci)))?;
    Ok(slot)
}

/// Copies from a configuration structure's bytes, as [`VirtioDevice::read_config`] wants it.
fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    for (byte, value) in data.iter_mut().zip(config.iter().skip(start)) {
        *byte = *value;
    }
}

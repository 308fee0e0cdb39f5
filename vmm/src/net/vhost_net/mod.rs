//! A NIC's rings served by the host's kernel: vhost-net moves frames between them and a macvtap, with no thread of ours.
//!
//! # Theory of operation
//! Each queue pair is a device of vhost-net, with a queue of the macvtap behind it. A ring runs while a queue is set as its back-end
//! (VHOST_NET_SET_BACKEND); taking it away returns when the kernel uses the ring no more. Queues of pairs that the guest does not use
//! are detached from the macvtap, or the kernel would hand frames to them. A macvtap that goes with its NIC and returns has other queues:
//! then devices are opened anew, and go on where the guest's rings are. Descriptors are validated by the kernel. A ring that it
//! cannot make sense of is told over an eventfd; then the whole NIC stands still until the driver resets it.
mod device;

use self::device::Device;
use super::{
    backend::Ends,
    error::SessionError,
    record::{LinkRecord, RingRecord},
    session::Start,
};
use crate::{memory::GuestRam, virtio::spec};
use netbackend::direct::{Bare, Queue};
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// VIRTIO_NET_F_MRG_RXBUF.
const MRG_RXBUF: u64 = 1 << 15;
/// What vhost-net itself has to know of, as it lays out what is in the rings. Not more of what it offers: its bit 27 is not ANY_LAYOUT
/// but VHOST_NET_F_VIRTIO_NET_HDR, that the file behind knows no headers.
const OF_RINGS: u64 = spec::F_VERSION_1 | spec::F_INDIRECT_DESC | spec::F_EVENT_IDX | MRG_RXBUF;
/// Of virtio-net's features (virtio 1.2, 5.1.3), those that a macvtap has: CSUM, GUEST_CSUM, GUEST_TSO4, TSO6 and ECN, HOST_TSO4, TSO6
/// and ECN.
const OF_MACVTAP: u64 = 1 | 1 << 1 | 0b111 << 7 | 0b111 << 11;

/// A started or idle NIC.
pub(super) struct VhostNet {
    /// For each queue pair.
    devices: Vec<Device>,
    macvtap: Arc<Bare>,
    /// The macvtap's, as they were when this was opened.
    queues: Arc<[Queue]>,
    features: u64,
    errors: Arc<EventFd>,
}

impl std::fmt::Debug for VhostNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VhostNet")
            .field("pairs", &self.devices.len())
            .field("features", &format_args!("{:#x}", self.features))
            .finish_non_exhaustive()
    }
}

impl VhostNet {
    /// Opens a device for each of `pairs` queue pairs.
    pub(super) fn open(
        macvtap: &Arc<Bare>,
        pairs: u16,
        memory: &GuestRam,
    ) -> Result<Self, SessionError> {
        let queues = macvtap.queues();
        if queues.len() < usize::from(pairs) {
            return Err(SessionError::Queues(pairs));
        }
        let memory = Arc::new(memory.mmap.clone());
        let mut features = u64::MAX;
        let mut devices = Vec::new();
        for _ in 0..pairs {
            let (device, offered) = Device::open(Arc::clone(&memory))?;
            features &= offered_to_guest(offered);
            devices.push(device);
        }
        if features & spec::F_VERSION_1 == 0 {
            return Err(SessionError::Legacy);
        }
        Ok(Self {
            devices,
            macvtap: Arc::clone(macvtap),
            queues,
            features,
            errors: Arc::new(EventFd::new(EFD_NONBLOCK)?),
        })
    }

    pub(super) fn features(&self) -> u64 {
        self.features
    }

    pub(super) fn ends(&self) -> Ends {
        Ends::Kernel {
            macvtap: Arc::clone(&self.macvtap),
            errors: Arc::clone(&self.errors),
        }
    }

    /// Whether there is a network behind the macvtap.
    pub(super) fn carries(&self) -> bool {
        self.macvtap.carries()
    }

    /// Whether the macvtap has been made again since, and has other queues.
    pub(super) fn is_outdated(&self) -> bool {
        !Arc::ptr_eq(&self.queues, &self.macvtap.queues())
    }

    /// Tells everything in `record`, and lets the enabled rings run.
    pub(super) fn start(
        &mut self,
        record: &LinkRecord,
        memory: &GuestRam,
        start: Start,
    ) -> Result<(), SessionError> {
        let missing = record.features & !self.features;
        if missing != 0 {
            return Err(SessionError::Features(missing));
        }
        // What was wrong with the rings of before is none of these.
        let _ = self.errors.read();
        for (device, queue) in self.devices.iter().zip(&*self.queues) {
            queue.suit(record.features)?;
            device.prepare(record.features & OF_RINGS, memory)?;
        }
        for ring in &record.rings {
            self.set_up(ring, memory, start)?;
        }
        for ring in &record.rings {
            self.enable(ring.index, ring.enabled)?;
        }
        Ok(())
    }

    fn set_up(
        &self,
        ring: &RingRecord,
        memory: &GuestRam,
        start: Start,
    ) -> Result<(), SessionError> {
        let index = ring.index;
        let base = match start {
            Start::Fresh => Ok(ring.config.position.next_avail),
            // vhost-net, too, publishes what it has used in the order in which it took it.
            Start::Resume => ring.resume_base(&memory.map),
        };
        let base = base.map_err(|fault| SessionError::Ring { index, fault })?;
        let (device, _) = self.pair(index)?;
        device.set_up(index % 2, ring, base, &self.errors)
    }

    /// Lets the kernel use a ring that was set up, or not. It goes on where it was.
    pub(super) fn enable(&self, index: usize, enabled: bool) -> Result<(), SessionError> {
        let (device, queue) = self.pair(index)?;
        device.run(index % 2, enabled.then(|| queue.file()))?;
        // The receive ring is the one that frames come to.
        if index.is_multiple_of(2) {
            attach(queue, enabled)?;
        }
        Ok(())
    }

    pub(super) fn set_call(&self, index: usize, call: &EventFd) -> Result<(), SessionError> {
        let (device, _) = self.pair(index)?;
        device.set_call(index % 2, call)
    }

    /// Afterwards the kernel touches guest memory no more.
    pub(super) fn stop(&mut self, record: &LinkRecord) -> Result<(), SessionError> {
        for ring in &record.rings {
            self.enable(ring.index, false)?;
            let (device, _) = self.pair(ring.index)?;
            let position = device.position(ring.index % 2)?;
            tracing::trace!(ring = ring.index, position, "vhost-net has stopped a ring");
        }
        Ok(())
    }

    /// Stops all rings if the kernel has told that it cannot use one; whether it has.
    pub(super) fn take_fault(&mut self) -> bool {
        if self.errors.read().is_err() {
            return false;
        }
        for index in 0..2 * self.devices.len() {
            if let Err(error) = self.enable(index, false) {
                tracing::debug!(%error, index, "stop a ring");
            }
        }
        true
    }

    /// What a ring belongs to.
    fn pair(&self, index: usize) -> Result<(&Device, &Queue), SessionError> {
        let pair = index / 2;
        let found = self.devices.get(pair).zip(self.queues.get(pair));
        found.ok_or_else(|| SessionError::Queues(u16::try_from(pair + 1).unwrap_or(u16::MAX)))
    }
}

impl Drop for VhostNet {
    fn drop(&mut self) {
        // The rings end with their devices; the queues stay for whoever comes next.
        for queue in &*self.queues {
            // Of a macvtap that has gone with its NIC there is nothing to detach.
            let _ = attach(queue, false);
        }
    }
}

/// An interface that has gone takes its queues with it: only the way back in is an error.
fn attach(queue: &Queue, attached: bool) -> Result<(), SessionError> {
    match queue.set_attached(attached) {
        Err(error) if attached => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a guest may be offered where vhost-net itself offers this.
fn offered_to_guest(kernel: u64) -> u64 {
    kernel & OF_RINGS | OF_MACVTAP
}

#[cfg(test)]
mod kernel_test;

#[cfg(test)]
mod tests {
    use super::*;

    /// VIRTIO_F_RING_PACKED.
    const PACKED: u64 = 1 << 34;
    /// VHOST_F_LOG_ALL, VHOST_NET_F_VIRTIO_NET_HDR, VIRTIO_F_NOTIFY_ON_EMPTY: of the kernel's set, none for guests.
    const OTHERS: u64 = 1 << 26 | 1 << 27 | 1 << 24;

    #[test]
    fn a_guest_is_offered_what_both_the_kernel_and_the_macvtap_have() {
        // As Linux 6.1 does.
        let kernel = spec::F_VERSION_1
            | spec::F_INDIRECT_DESC
            | spec::F_EVENT_IDX
            | MRG_RXBUF
            | 1 << 33
            | OTHERS;
        assert_eq!(offered_to_guest(kernel), OF_RINGS | OF_MACVTAP);
        let older = spec::F_VERSION_1 | MRG_RXBUF;
        assert_eq!(offered_to_guest(older), older | OF_MACVTAP);
        assert_eq!(offered_to_guest(0) & OF_RINGS, 0);
        // Whatever kernels may come to offer.
        let most = offered_to_guest(u64::MAX);
        assert_eq!(most & (PACKED | OTHERS | spec::F_IN_ORDER), 0);
        assert_eq!(most, OF_RINGS | OF_MACVTAP);
    }

    #[test]
    fn the_kernel_is_told_of_ring_features_only() {
        let guest = OF_RINGS | OF_MACVTAP;
        assert_eq!(guest & OF_RINGS, guest & !OF_MACVTAP);
        assert_eq!(OF_RINGS & OF_MACVTAP, 0);
    }
}

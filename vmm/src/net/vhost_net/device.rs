//! One device of the kernel's vhost-net: a pair of rings, receive and transmit.
use super::super::{error::SessionError, record::RingRecord};
use crate::memory::GuestRam;
use std::{
    fs::File,
    io::ErrorKind,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    net::VhostNet as _,
    vhost_kern::{VhostKernBackend, net::Net},
};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

/// An open /dev/vhost-net.
pub(super) struct Device(Net<Arc<GuestMemoryMmap>>);

impl AsRawFd for Device {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl VhostKernBackend for Device {
    type AS = Arc<GuestMemoryMmap>;

    fn mem(&self) -> &Self::AS {
        self.0.mem()
    }

    /// `RingRecord::new` has looked. The crate's own check refuses a ring that ends where memory ends.
    fn is_valid(&self, _: &VringConfigData) -> bool {
        true
    }
}

impl Device {
    /// A device of this process, and what the kernel offers.
    pub(super) fn open(memory: Arc<GuestMemoryMmap>) -> Result<(Self, u64), SessionError> {
        let device = Self(Net::new(memory).map_err(refusal)?);
        let offered = at("VHOST_GET_FEATURES", device.get_features())?;
        at("VHOST_SET_OWNER", device.set_owner())?;
        Ok((device, offered))
    }

    /// Tells what holds for both rings. None of them runs.
    pub(super) fn prepare(&self, features: u64, memory: &GuestRam) -> Result<(), SessionError> {
        let regions = memory
            .mmap
            .iter()
            .map(VhostUserMemoryRegionInfo::from_guest_region)
            .collect::<Result<Vec<_>, _>>();
        let regions = regions.map_err(|_| SessionError::Memory)?;
        at("VHOST_SET_FEATURES", self.set_features(features))?;
        at("VHOST_SET_MEM_TABLE", self.set_mem_table(&regions)).map(drop)
    }

    /// Tells of a ring that does not run; `local` is which of the two it is.
    pub(super) fn set_up(
        &self,
        local: usize,
        ring: &RingRecord,
        base: u16,
        errors: &EventFd,
    ) -> Result<(), SessionError> {
        let config = &ring.config;
        let addresses = VringConfigData {
            queue_max_size: config.size,
            queue_size: config.size,
            flags: 0,
            desc_table_addr: config.desc,
            used_ring_addr: config.used,
            avail_ring_addr: config.avail,
            log_addr: None,
        };
        at(
            "VHOST_SET_VRING_NUM",
            self.set_vring_num(local, config.size),
        )?;
        at("VHOST_SET_VRING_BASE", self.set_vring_base(local, base))?;
        at(
            "VHOST_SET_VRING_ADDR",
            self.set_vring_addr(local, &addresses),
        )?;
        at("VHOST_SET_VRING_ERR", self.set_vring_err(local, errors))?;
        self.set_call(local, ring.call.eventfd())?;
        at(
            "VHOST_SET_VRING_KICK",
            self.set_vring_kick(local, &ring.kick),
        )
    }

    pub(super) fn set_call(&self, local: usize, call: &EventFd) -> Result<(), SessionError> {
        at("VHOST_SET_VRING_CALL", self.set_vring_call(local, call))
    }

    /// A ring runs while there is a queue behind it. After one is taken away the kernel touches the ring no more.
    pub(super) fn run(&self, local: usize, queue: Option<&File>) -> Result<(), SessionError> {
        at("VHOST_NET_SET_BACKEND", self.0.set_backend(local, queue))
    }

    /// The next chain that the kernel will take of a ring; of one that does not run it stays.
    pub(super) fn position(&self, local: usize) -> Result<u32, SessionError> {
        at("VHOST_GET_VRING_BASE", self.get_vring_base(local))
    }
}

fn at<T>(step: &'static str, result: vhost::Result<T>) -> Result<T, SessionError> {
    result.map_err(|error| SessionError::Kernel { step, error })
}

/// Why /dev/vhost-net does not open, with the remedy.
fn refusal(error: vhost::Error) -> SessionError {
    let vhost::Error::VhostOpen(error) = error else {
        let step = "open /dev/vhost-net";
        return SessionError::Kernel { step, error };
    };
    let remedy = match (error.kind(), error.raw_os_error()) {
        // The node may be there before its module is (`modules.devname`).
        (ErrorKind::NotFound, _) | (_, Some(libc::ENODEV | libc::ENXIO)) => {
            "load it with `modprobe vhost_net`, or leave out vhost=on"
        }
        (ErrorKind::PermissionDenied, _) => {
            "run as a user that may read and write it, of group kvm as a rule, or leave out vhost=on"
        }
        _ => "leave out vhost=on to do without",
    };
    SessionError::NoVhostNet { error, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn each_refusal_names_its_remedy() {
        for (errno, remedy) in [
            (libc::ENOENT, "modprobe vhost_net"),
            (libc::ENODEV, "modprobe vhost_net"),
            (libc::ENXIO, "modprobe vhost_net"),
            (libc::EACCES, "group kvm"),
            (libc::EPERM, "group kvm"),
            (libc::ENOMEM, "leave out vhost=on"),
        ] {
            let open = vhost::Error::VhostOpen(io::Error::from_raw_os_error(errno));
            let text = refusal(open).to_string();
            assert!(text.starts_with("/dev/vhost-net: "), "{text}");
            assert!(text.contains(remedy), "{text}");
            assert!(text.contains("vhost=on"), "{text}");
        }
    }
}

//! The requests of the protocol, one by one, as crate `vhost` hands them over.
use super::{
    handler::{Handler, MAX_MEM_SLOTS, RequestError},
    inflight,
    ring_setup::{self, UserAddresses},
};
use std::fs::File;
use vhost::{
    VhostUserMemoryRegionBase,
    vhost_user::{
        Error as ProtocolError, GpuBackend, VhostUserBackendReqHandlerMut,
        VhostUserProtocolFeatures,
        message::{
            VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags,
            VhostUserInflight, VhostUserLog, VhostUserMemoryRegion, VhostUserShMemConfig,
            VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags,
            VhostUserVringState,
        },
    },
};

type Reply<T> = Result<T, ProtocolError>;

fn unsupported<T>(what: &'static str) -> Reply<T> {
    Err(RequestError::Unsupported(what).into())
}

impl VhostUserBackendReqHandlerMut for Handler {
    /// QEMU sends it once, others per queue pair: nothing to remember.
    fn set_owner(&mut self) -> Reply<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Reply<()> {
        Ok(self.stop_all()?)
    }

    fn reset_device(&mut self) -> Reply<()> {
        Ok(self.reset()?)
    }

    fn get_features(&mut self) -> Reply<u64> {
        Ok(self.offered)
    }

    fn set_features(&mut self, features: u64) -> Reply<()> {
        Ok(self.negotiate(features)?)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Reply<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.map_table(regions, files)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Reply<()> {
        let packed = self.ring_features().packed;
        let ring = self.stopped_ring(index)?;
        ring.set_size(num, packed).map_err(RequestError::from)?;
        let narrow = self.ring(index)?.0;
        Ok(self.start_if_ready(narrow)?)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Reply<()> {
        Ok(self.set_addresses(
            index,
            UserAddresses {
                desc: descriptor,
                avail: available,
                used,
            },
        )?)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Reply<()> {
        let packed = self.ring_features().packed;
        let ring = self.stopped_ring(index)?;
        Ok(ring.set_base(base, packed).map_err(RequestError::from)?)
    }

    fn get_vring_base(&mut self, index: u32) -> Reply<VhostUserVringState> {
        let position = self.stop(index)?;
        // The ring starts again with the next SET_VRING_KICK (vhost-user.rst, "Starting and
        // stopping rings").
        self.ring(index)?.1.kick = None;
        let base = ring_setup::base(position, self.ring_features().packed);
        Ok(VhostUserVringState::new(index, base))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Reply<()> {
        Ok(Self::set_kick(self, index, fd)?)
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Reply<()> {
        Ok(Self::set_call(self, index, fd)?)
    }

    fn set_vring_err(&mut self, index: u8, fd: Option<File>) -> Reply<()> {
        Ok(Self::set_err(self, index, fd)?)
    }

    fn get_protocol_features(&mut self) -> Reply<VhostUserProtocolFeatures> {
        Ok(self.offered_protocol())
    }

    fn set_protocol_features(&mut self, features: u64) -> Reply<()> {
        let unknown = features & !self.offered_protocol().bits();
        if unknown != 0 {
            return Err(RequestError::ProtocolFeatures(unknown).into());
        }
        self.protocol_features = features;
        Ok(())
    }

    /// Rings, not pairs: the stock Rust front-end and Cloud Hypervisor compare with rings. QEMU and
    /// DPDK's virtio-user compare with pairs and are only less strict for it; one pair too many then
    /// fails at its first ring message.
    fn get_queue_num(&mut self) -> Reply<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Reply<()> {
        Ok(self.enable(index, enable)?)
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Reply<Vec<u8>> {
        Ok(self.config(offset, size)?)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Reply<()> {
        unsupported("SET_CONFIG")
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Reply<()> {
        unsupported("GPU_SET_SOCKET")
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Reply<File> {
        unsupported("GET_SHARED_OBJECT")
    }

    fn get_inflight_fd(&mut self, asked: &VhostUserInflight) -> Reply<(VhostUserInflight, File)> {
        let layout = inflight::Layout::of(self.ring_features());
        let created = inflight::create(asked, layout, self.rings.len());
        Ok(created.map_err(RequestError::from)?)
    }

    fn set_inflight_fd(&mut self, region: &VhostUserInflight, file: File) -> Reply<()> {
        let layout = inflight::Layout::of(self.ring_features());
        let adopted = inflight::adopt(region, &file, layout, self.rings.len());
        Ok(adopted.map_err(RequestError::from)?)
    }

    fn get_max_mem_slots(&mut self) -> Reply<u64> {
        Ok(MAX_MEM_SLOTS)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        fd: File,
        _postcopy_listening: Option<bool>,
    ) -> Reply<Option<VhostUserMemoryRegionBase>> {
        self.add_region(region, fd)?;
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Reply<()> {
        Ok(self.remove_region(region)?)
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Reply<Option<File>> {
        unsupported("SET_DEVICE_STATE_FD")
    }

    fn check_device_state(&mut self) -> Reply<()> {
        unsupported("CHECK_DEVICE_STATE")
    }

    fn get_shmem_config(&mut self) -> Reply<VhostUserShMemConfig> {
        unsupported("GET_SHMEM_CONFIG")
    }

    fn set_log_base(&mut self, log: &VhostUserLog, file: File) -> Reply<()> {
        Ok(self.set_log(file, log.mmap_offset, log.mmap_size)?)
    }
}

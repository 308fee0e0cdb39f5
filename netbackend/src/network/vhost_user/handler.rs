//! The protocol state of one connection: what the front-end said, turned into datapath commands.
//!
//! Lives as long as the connection. Every change that the datapath must see is a command whose
//! answer is awaited before the front-end gets its reply, so after a reply nothing of the old state is
//! in use. An error ends the connection (and with REPLY_ACK is reported first).
use super::{
    super::{
        command::{Answer, Command, CommandError, Kick, RingId, RingStart},
        counters::PortShared,
        mailbox::Mailbox,
        sys,
    },
    cable::Cable,
    features,
    inflight::InflightError,
    ring_setup::{RingSetup, SetupError, UserAddresses},
};
use std::{fs::File, io, sync::Arc};
use switch::{MacAddr, PortId};
use thiserror::Error;
use tracing::debug;
use vhost::vhost_user::{
    Error as ProtocolError, VhostUserProtocolFeatures, message::VhostUserMemoryRegion,
};
use virtqueue::{
    DirtyLog, LogError, MapError, MemoryMap, RegionSpec, RingFeatures, RingPosition, SealPolicy,
};

/// Memory regions of one front-end: the limit of the kernel's vhost, and what QEMU asks for.
pub(super) const MAX_MEM_SLOTS: u64 = 509;

/// Smallest MTU of a virtio-net device (virtio 1.2, 5.1.4.1), and the largest that it can tell.
const MIN_MTU: u64 = 68;
const MAX_MTU: u64 = 65_535;

/// VHOST_USER_MAX_CONFIG_SIZE: of what a front-end keeps of a device's configuration space.
const MAX_CONFIG: usize = 256;
/// VIRTIO_NET_S_LINK_UP (virtio 1.2, 5.1.4).
const LINK_UP: u16 = 1;

// Device status (virtio 1.2, 2.1): ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET, FAILED.
const STATUS_BITS: u8 = 0xcf;
const STATUS_FEATURES_OK: u8 = 8;

/// Why a request was refused.
#[derive(Debug, Error)]
pub(super) enum RequestError {
    #[error("features {0:#x} were not offered")]
    Features(u64),
    #[error("protocol features {0:#x} were not offered")]
    ProtocolFeatures(u64),
    #[error("there is no ring {0}: ask for fewer queues, or give the port more queue pairs")]
    NoRing(u32),
    #[error("ring {0} is running; stop it first")]
    Running(u32),
    #[error("a status of {0:#x} has bits that virtio does not know")]
    Status(u64),
    #[error("{0:#x} is no ring, with or without an fd")]
    RingIndex(u64),
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    #[error("SET_VRING_ENABLE takes 0 or 1, not {0}")]
    Enable(u32),
    #[error("{0} is no station's address")]
    NotAStation(MacAddr),
    #[error("an MTU of {0} bytes is out of range ({MIN_MTU} to {MAX_MTU})")]
    Mtu(u64),
    #[error("no memory table was set")]
    NoMemory,
    #[error("more than {MAX_MEM_SLOTS} memory regions")]
    TooManyRegions,
    #[error("map guest memory: {0}")]
    Map(#[from] MapError),
    #[error("map the dirty log: {0}")]
    Log(#[from] LogError),
    #[error("inflight region: {0}")]
    Inflight(#[from] InflightError),
    #[error("set up ring: {0}")]
    Setup(#[from] SetupError),
    #[error("notification fd: {0}")]
    Notifier(#[source] io::Error),
    #[error("the configuration space has {MAX_CONFIG} bytes at most")]
    Config,
    #[error(transparent)]
    Datapath(#[from] CommandError),
}

impl From<RequestError> for ProtocolError {
    fn from(error: RequestError) -> Self {
        Self::ReqHandlerError(io::Error::other(error))
    }
}

/// Protocol state of one connection.
#[derive(Debug)]
pub(super) struct Handler {
    port: PortId,
    pub(super) offered: u64,
    features: Option<u64>,
    pub(super) protocol_features: u64,
    memory: Option<Arc<MemoryMap>>,
    log: Option<Arc<DirtyLog>>,
    status: u8,
    pub(super) rings: Vec<RingSetup>,
    seals: SealPolicy,
    mailbox: Arc<Mailbox>,
    shared: Arc<PortShared>,
    pub(super) cable: Option<Arc<Cable>>,
}

impl Handler {
    pub(super) fn new(
        port: PortId,
        queue_pairs: u16,
        seals: SealPolicy,
        mailbox: Arc<Mailbox>,
        shared: Arc<PortShared>,
        cable: Option<Arc<Cable>>,
    ) -> Self {
        Self {
            port,
            offered: features::offered(queue_pairs),
            features: None,
            protocol_features: 0,
            memory: None,
            log: None,
            status: 0,
            rings: (0..queue_pairs.saturating_mul(2))
                .map(|_| RingSetup::default())
                .collect(),
            seals,
            mailbox,
            shared,
            cable,
        }
    }

    /// Protocol features that are offered.
    pub(super) fn offered_protocol(&self) -> VhostUserProtocolFeatures {
        features::offered_protocol(self.cable.is_some())
    }

    /// GET_CONFIG: of `struct virtio_net_config` (virtio 1.2, 5.1.4) the front-end needs the link's state only; address and MTU
    /// it was told by others.
    pub(super) fn config(&self, offset: u32, size: u32) -> Result<Vec<u8>, RequestError> {
        let Some(cable) = &self.cable else {
            return Err(RequestError::Unsupported("GET_CONFIG"));
        };
        let status = if cable.is_up() { LINK_UP } else { 0 };
        let pairs = u16::try_from(self.rings.len() / 2).unwrap_or(u16::MAX);
        let mut config = vec![0; 6];
        config.extend(status.to_le_bytes());
        config.extend(pairs.to_le_bytes());
        config.resize(MAX_CONFIG, 0);
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        range
            .and_then(|(offset, size)| config.get(offset..offset.checked_add(size)?))
            .map(<[u8]>::to_vec)
            .ok_or(RequestError::Config)
    }

    /// Whether SET_FEATURES has negotiated protocol features, as crate `vhost` wants to see before
    /// it passes SET_VRING_ENABLE on.
    pub(super) fn features_are_set(&self) -> bool {
        self.features.is_some_and(features::rings_start_disabled)
    }

    /// Whether the front-end has acknowledged a protocol feature.
    pub(super) fn negotiated(&self, feature: VhostUserProtocolFeatures) -> bool {
        self.protocol_features & feature.bits() != 0
    }

    /// SEND_RARP: the other ports, and the world behind an uplink, learn where the guest is now.
    pub(super) fn announce(&mut self, mac: MacAddr) -> Result<(), RequestError> {
        if !mac.is_station() {
            return Err(RequestError::NotAStation(mac));
        }
        let port = self.port;
        self.mailbox.call(Command::Announce { port, mac })?;
        Ok(())
    }

    /// NET_SET_MTU: the datapath carries frames of any size, so any MTU that there can be is fine.
    pub(super) fn check_mtu(&self, mtu: u64) -> Result<(), RequestError> {
        if !(MIN_MTU..=MAX_MTU).contains(&mtu) {
            return Err(RequestError::Mtu(mtu));
        }
        debug!(
            port = self.shared.name,
            mtu, "the front-end tells its guest an MTU"
        );
        Ok(())
    }

    /// GET_STATUS: the device status that the front-end has set (virtio 1.2, 2.1).
    pub(super) fn status(&self) -> u8 {
        self.status
    }

    /// SET_STATUS. 0 resets the device: its rings stop until they get a kick fd again. What was told of memory and of
    /// the rings stays, as after GET_VRING_BASE: QEMU sends 0 whenever it has stopped the device.
    pub(super) fn set_status(&mut self, status: u64) -> Result<(), RequestError> {
        let Some(mut status) = u8::try_from(status).ok().filter(|s| s & !STATUS_BITS == 0) else {
            return Err(RequestError::Status(status));
        };
        if status == 0 {
            self.stop_all()?;
            for ring in &mut self.rings {
                ring.kick = None;
            }
        }
        // The bit stays off if the features are not agreed on: the front-end reads it back (virtio 1.2, 3.1.1).
        if self.features.is_none() {
            status &= !STATUS_FEATURES_OK;
        }
        self.status = status;
        Ok(())
    }

    /// RESET_DEVICE: as after connecting; what was negotiated of the protocol, and memory, stay.
    pub(super) fn reset(&mut self) -> Result<(), RequestError> {
        self.stop_all()?;
        for ring in &mut self.rings {
            *ring = RingSetup::default();
        }
        self.features = None;
        self.status = 0;
        self.shared.set_features(0);
        self.apply_log()
    }

    pub(super) fn ring(&mut self, index: u32) -> Result<(u16, &mut RingSetup), RequestError> {
        let narrow = u16::try_from(index).map_err(|_| RequestError::NoRing(index))?;
        self.rings
            .get_mut(usize::from(narrow))
            .map(|ring| (narrow, ring))
            .ok_or(RequestError::NoRing(index))
    }

    pub(super) fn stopped_ring(&mut self, index: u32) -> Result<&mut RingSetup, RequestError> {
        let (_, ring) = self.ring(index)?;
        if ring.running {
            return Err(RequestError::Running(index));
        }
        Ok(ring)
    }

    /// The ring layout that was negotiated; before that, the plainest.
    pub(super) fn ring_features(&self) -> RingFeatures {
        features::ring_features(self.features.unwrap_or_default())
    }

    fn id(&self, index: u16) -> RingId {
        RingId {
            port: self.port,
            index,
        }
    }

    /// Starts ring `index` if nothing is missing any more. The call fd may come later: the datapath
    /// signals once when it does.
    pub(super) fn start_if_ready(&mut self, index: u16) -> Result<(), RequestError> {
        let (Some(acked), Some(memory)) = (self.features, self.memory.clone()) else {
            return Ok(());
        };
        let id = self.id(index);
        let (_, ring) = self.ring(index.into())?;
        if ring.running || ring.kick.is_none() {
            return Ok(());
        }
        let Some(config) = ring.config(&memory, features::ring_features(acked))? else {
            return Ok(());
        };
        let Some(kick) = ring.kick.take() else {
            return Ok(());
        };
        let start = Box::new(RingStart {
            memory,
            config,
            kick,
            call: ring.call.clone(),
            err: ring.err.clone(),
            enabled: ring.is_enabled(features::rings_start_disabled(acked)),
        });
        ring.running = true;
        self.mailbox.call(Command::StartRing { ring: id, start })?;
        debug!(port = self.shared.name, ring = index, "ring started");
        Ok(())
    }

    fn start_all_ready(&mut self) -> Result<(), RequestError> {
        let rings = u16::try_from(self.rings.len()).unwrap_or(u16::MAX);
        (0..rings).try_for_each(|index| self.start_if_ready(index))
    }

    /// Takes ring `index` from the datapath; afterwards not one byte is written for it.
    pub(super) fn stop(&mut self, index: u32) -> Result<RingPosition, RequestError> {
        let narrow = self.ring(index)?.0;
        let id = self.id(narrow);
        let features = self.ring_features();
        if !self.ring(index)?.1.running {
            return Ok(self.ring(index)?.1.position(features));
        }
        let answer = self.mailbox.call(Command::StopRing(id))?;
        let ring = self.ring(index)?.1;
        ring.running = false;
        if let Answer::Position(position) = answer {
            ring.set_position(position);
        }
        Ok(ring.position(features))
    }

    /// Lets running rings go on with the present memory, addresses and features.
    fn reconfigure_running(&mut self) -> Result<(), RequestError> {
        let (Some(acked), Some(memory)) = (self.features, self.memory.clone()) else {
            return Ok(());
        };
        let ring_features = features::ring_features(acked);
        let mut rings = Vec::new();
        for (index, ring) in (0u16..).zip(&self.rings).filter(|(_, r)| r.running) {
            if let Some(config) = ring.config(&memory, ring_features)? {
                rings.push((index, config));
            }
        }
        if !rings.is_empty() {
            self.mailbox.call(Command::Reconfigure {
                port: self.port,
                memory,
                rings,
            })?;
        }
        Ok(())
    }

    /// The log that writes are to be marked in; `None`: the guest does not migrate.
    fn active_log(&self) -> Option<Arc<DirtyLog>> {
        let logs = self.features.is_some_and(features::logs);
        self.log.as_ref().filter(|_| logs).cloned()
    }

    /// Lets the memory map log or not, as features and SET_LOG_BASE say now.
    fn apply_log(&mut self) -> Result<(), RequestError> {
        let log = self.active_log();
        if let Some(memory) = &self.memory
            && (log.is_some() || memory.logs())
        {
            self.memory = Some(memory.with_log(log)?);
        }
        Ok(())
    }

    /// SET_LOG_BASE: the log for now and later; the one before is let go of when this returns.
    pub(super) fn set_log(
        &mut self,
        file: File,
        offset: u64,
        size: u64,
    ) -> Result<(), RequestError> {
        self.log = Some(Arc::new(DirtyLog::map(file, offset, size)?));
        self.apply_log()?;
        self.reconfigure_running()
    }

    /// Replaces the memory map. The old one is let go of when this returns.
    fn replace_memory(&mut self, memory: Arc<MemoryMap>) -> Result<(), RequestError> {
        self.memory = Some(memory);
        self.apply_log()?;
        self.reconfigure_running()?;
        self.start_all_ready()
    }

    pub(super) fn negotiate(&mut self, acked: u64) -> Result<(), RequestError> {
        if acked & !self.offered != 0 {
            return Err(RequestError::Features(acked & !self.offered));
        }
        self.features = Some(acked);
        self.shared.set_features(acked);
        self.apply_log()?;
        self.mailbox.call(Command::SetOffloads {
            port: self.port,
            offloads: features::offloads(acked),
        })?;
        self.reconfigure_running()?;
        self.start_all_ready()
    }

    pub(super) fn map_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
    ) -> Result<(), RequestError> {
        let generation = self.memory.as_ref().map_or(0, |map| map.generation() + 1);
        let specs = regions
            .iter()
            .zip(files)
            .map(|(region, file)| region_spec(region, file))
            .collect();
        let memory = MemoryMap::map(generation, specs, self.seals)?;
        self.replace_memory(memory)
    }

    /// A region that is there already changes nothing: QEMU has a device of its own for each queue pair, and some versions (7.2.22)
    /// announce each region for each of them.
    pub(super) fn add_region(
        &mut self,
        region: &VhostUserMemoryRegion,
        file: File,
    ) -> Result<(), RequestError> {
        let spec = region_spec(region, file);
        let memory = match &self.memory {
            Some(map) if map.has(&spec) => return Ok(()),
            Some(map) if map.region_count() as u64 >= MAX_MEM_SLOTS => {
                return Err(RequestError::TooManyRegions);
            }
            Some(map) => map.with_region(spec, self.seals)?,
            None => MemoryMap::map(0, vec![spec], self.seals)?,
        };
        self.replace_memory(memory)
    }

    /// A region of which nothing is mapped has gone already: QEMU 7.2.22 removes one for each queue pair.
    pub(super) fn remove_region(
        &mut self,
        region: &VhostUserMemoryRegion,
    ) -> Result<(), RequestError> {
        let (guest, user, size) = (region.guest_phys_addr, region.user_addr, region.memory_size);
        let map = self.memory.as_ref().ok_or(RequestError::NoMemory)?;
        if map.is_clear(guest, user, size) {
            return Ok(());
        }
        let memory = map.without_region(guest, user, size)?;
        self.stop_rings_outside(&memory)?;
        self.replace_memory(memory)
    }

    /// Stops rings that lie in memory which is being taken away: the front-end's mistake, but it must
    /// not leave them behind.
    fn stop_rings_outside(&mut self, memory: &MemoryMap) -> Result<(), RequestError> {
        let ring_features = self.ring_features();
        for index in 0..u32::try_from(self.rings.len()).unwrap_or(u32::MAX) {
            let (_, ring) = self.ring(index)?;
            if ring.running && ring.config(memory, ring_features).is_err() {
                self.stop(index)?;
                self.ring(index)?.1.addresses = None;
            }
        }
        Ok(())
    }

    pub(super) fn set_kick(&mut self, index: u8, file: Option<File>) -> Result<(), RequestError> {
        let kick = match file {
            Some(file) => Kick::Fd(Arc::new(self.notifier(file)?)),
            None => Kick::Polled,
        };
        self.stop(index.into())?;
        let (narrow, ring) = self.ring(index.into())?;
        ring.kick = Some(kick);
        self.start_if_ready(narrow)
    }

    pub(super) fn set_call(&mut self, index: u8, file: Option<File>) -> Result<(), RequestError> {
        let call = file.map(|f| self.notifier(f)).transpose()?.map(Arc::new);
        let id = self.id(index.into());
        let (narrow, ring) = self.ring(index.into())?;
        ring.call.clone_from(&call);
        if ring.running {
            self.mailbox.call(Command::SetCall { ring: id, call })?;
        }
        self.start_if_ready(narrow)
    }

    pub(super) fn set_err(&mut self, index: u8, file: Option<File>) -> Result<(), RequestError> {
        let err = file.map(|f| self.notifier(f)).transpose()?.map(Arc::new);
        let id = self.id(index.into());
        let ring = self.ring(index.into())?.1;
        ring.err.clone_from(&err);
        if ring.running {
            self.mailbox.call(Command::SetErr { ring: id, err })?;
        }
        Ok(())
    }

    fn notifier(&self, file: File) -> Result<File, RequestError> {
        match sys::prepare_notifier(&file) {
            Ok(()) => Ok(file),
            Err(error) => {
                let error = RequestError::Notifier(error);
                self.shared.latch_fault(error.to_string());
                Err(error)
            }
        }
    }

    pub(super) fn set_addresses(
        &mut self,
        index: u32,
        addresses: UserAddresses,
    ) -> Result<(), RequestError> {
        let (narrow, ring) = self.ring(index)?;
        ring.addresses = Some(addresses);
        if ring.running {
            return self.reconfigure_running();
        }
        self.start_if_ready(narrow)
    }

    /// Enables or disables a ring. Also called for a SET_VRING_ENABLE that comes before SET_FEATURES.
    pub(super) fn enable(&mut self, index: u32, enabled: bool) -> Result<(), RequestError> {
        let (narrow, ring) = self.ring(index)?;
        ring.set_enabled(enabled);
        if ring.running {
            let ring = self.id(narrow);
            self.mailbox.call(Command::EnableRing { ring, enabled })?;
        }
        Ok(())
    }

    pub(super) fn stop_all(&mut self) -> Result<(), RequestError> {
        (0..u32::try_from(self.rings.len()).unwrap_or(u32::MAX))
            .try_for_each(|index| self.stop(index).map(drop))
    }
}

fn region_spec(region: &VhostUserMemoryRegion, file: File) -> RegionSpec {
    RegionSpec {
        guest_addr: region.guest_phys_addr,
        user_addr: region.user_addr,
        size: region.memory_size,
        mmap_offset: region.mmap_offset,
        file,
    }
}

//! For tests: a vhost-user back-end that sends every frame back, on the stock protocol crate.
use crate::wait::{wait, wait_or_hangup};
use std::{
    collections::HashMap,
    fs::File,
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use vhost::vhost_user::{
    Backend, BackendReqHandler, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut,
    VhostUserFrontendReqHandler,
    message::{
        VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags,
        VhostUserInflight, VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures,
        VhostUserShMemConfig, VhostUserSharedMsg, VhostUserSingleMemoryRegion,
        VhostUserVringAddrFlags, VhostUserVringState,
    },
};
use virtqueue::{
    Burst, DeviceQueue, MemoryMap, QueueConfig, RegionSpec, RingFeatures, RingPosition, SealPolicy,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What the back-end is to be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traits {
    pub(crate) features: u64,
    pub(crate) protocol: VhostUserProtocolFeatures,
    /// Answer to GET_QUEUE_NUM.
    pub(crate) queue_num: u64,
    /// Rings it really has.
    pub(crate) rings: u32,
    /// Never answers GET_VRING_BASE.
    pub(crate) stalls: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self {
            features: 1 << 30
                | crate::virtio::spec::F_VERSION_1
                | crate::virtio::spec::RING_FEATURES
                | 0b11
                | 1 << 15,
            protocol: VhostUserProtocolFeatures::MQ
                | VhostUserProtocolFeatures::REPLY_ACK
                | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS,
            queue_num: 16,
            rings: 16,
            stalls: false,
        }
    }
}

/// A running back-end.
pub(crate) struct EchoBackend {
    path: PathBuf,
    stop: EventFd,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// What was asked, in order.
    requests: Vec<String>,
    /// Closes the living connection.
    connection: Option<UnixStream>,
    /// Link state in the configuration space.
    carries: bool,
    /// To the front-end.
    news: Option<Backend>,
}

impl EchoBackend {
    pub(crate) fn start(path: &Path, traits: Traits) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let stop = EventFd::new(EFD_NONBLOCK).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stopped, known) = (stop.try_clone().unwrap(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            while wait(&[&stopped, &listener], None).unwrap() & 1 == 0 {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, traits, &known, &stopped);
            }
        });
        Self {
            path: path.into(),
            stop,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.lock().unwrap().requests.clone()
    }

    pub(crate) fn asked(&self, request: &str) -> bool {
        self.requests().iter().any(|known| known == request)
    }

    /// Changes the link, and says so.
    pub(crate) fn set_link(&self, carries: bool) {
        let mut shared = self.shared.lock().unwrap();
        shared.carries = carries;
        let news = shared.news.clone();
        drop(shared);
        // The stock crate cannot send CONFIG_CHANGE_MSG. Whatever is said, the front-end looks; this it refuses.
        let refused = news
            .unwrap()
            .shared_object_add(&VhostUserSharedMsg::default());
        assert!(refused.is_err(), "{refused:?}");
    }

    /// Loses the link, and says nothing.
    pub(crate) fn lose_link(&self) {
        self.shared.lock().unwrap().carries = false;
    }

    /// Drops the connection, keeps listening.
    pub(crate) fn disconnect(&self) {
        if let Some(stream) = &self.shared.lock().unwrap().connection {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    }
}

impl Drop for EchoBackend {
    fn drop(&mut self) {
        self.stop.write(1).unwrap();
        self.disconnect();
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn serve(stream: UnixStream, traits: Traits, shared: &Arc<Mutex<Shared>>, stop: &EventFd) {
    shared.lock().unwrap().connection = Some(stream.try_clone().unwrap());
    let handler = Arc::new(Mutex::new(Handler {
        traits,
        shared: Arc::clone(shared),
        features: 0,
        memory: None,
        rings: HashMap::new(),
    }));
    let ended = EventFd::new(EFD_NONBLOCK).unwrap();
    let echo = std::thread::spawn({
        let (handler, ended) = (Arc::clone(&handler), ended.try_clone().unwrap());
        move || {
            // The pause bounds the wait for kicks, of which this simple back-end keeps no list.
            while wait(&[&ended], Some(Duration::from_millis(1))).unwrap() == 0 {
                handler.lock().unwrap().echo();
            }
        }
    });
    let mut requests = BackendReqHandler::from_stream(stream, handler);
    while wait(&[stop], Some(Duration::ZERO)).unwrap() == 0 {
        match requests.handle_request() {
            Ok(()) | Err(Error::ReqHandlerError(_)) => {}
            Err(_) => break,
        }
    }
    ended.write(1).unwrap();
    echo.join().unwrap();
    shared.lock().unwrap().connection = None;
}

#[derive(Default)]
struct Ring {
    config: QueueConfig,
    queue: Option<DeviceQueue>,
    kick: Option<File>,
    call: Option<File>,
    enabled: bool,
}

struct Handler {
    traits: Traits,
    shared: Arc<Mutex<Shared>>,
    features: u64,
    memory: Option<Arc<MemoryMap>>,
    rings: HashMap<u32, Ring>,
}

impl Handler {
    fn note(&self, request: impl Into<String>) {
        self.shared.lock().unwrap().requests.push(request.into());
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        if index >= self.traits.rings {
            return Err(Error::InvalidParam);
        }
        Ok(self.rings.entry(index).or_default())
    }

    /// Moves frames from each transmit ring to the receive ring of the same pair.
    fn echo(&mut self) {
        for pair in 0..self.traits.rings / 2 {
            let (rx, tx) = (2 * pair, 2 * pair + 1);
            if let [Some(rx), Some(tx)] = self.rings.get_disjoint_mut([&rx, &tx]) {
                echo_pair(rx, tx);
            }
        }
    }
}

fn echo_pair(rx: &mut Ring, tx: &mut Ring) {
    if !(rx.enabled && tx.enabled) {
        return;
    }
    let (Some(from), Some(to)) = (&mut tx.queue, &mut rx.queue) else {
        return;
    };
    let (mut sent, mut room) = (Burst::new(), Burst::new());
    while let Ok(1) = to.pop_burst(&mut room, 1) {
        let Ok(1) = from.pop_burst(&mut sent, 1) else {
            to.unpop(&mut room, 0);
            break;
        };
        let (source, target) = (sent.chain(0).unwrap(), room.chain(0).unwrap());
        let len = source.readable().len();
        let copied = source.readable().copy_to(0, &target.writable(), 0, len);
        from.complete(source.head(), 0);
        to.complete(target.head(), copied);
        for (queue, call) in [(&mut *from, &tx.call), (&mut *to, &rx.call)] {
            if queue.publish()
                && let Some(mut call) = call.as_ref()
            {
                call.write_all(&1u64.to_ne_bytes()).unwrap();
            }
        }
        sent.clear();
        room.clear();
    }
}

fn refuse<T>() -> Result<T> {
    Err(Error::InvalidOperation("not in this test"))
}

impl VhostUserBackendReqHandlerMut for Handler {
    fn set_owner(&mut self) -> Result<()> {
        self.note("SET_OWNER");
        Ok(())
    }
    fn get_features(&mut self) -> Result<u64> {
        Ok(self.traits.features)
    }
    fn set_features(&mut self, features: u64) -> Result<()> {
        self.note(format!("SET_FEATURES {features:#x}"));
        self.features = features;
        Ok(())
    }
    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<u64>>> {
        self.note(format!("SET_MEM_TABLE {}", regions.len()));
        let regions = regions.iter().zip(files).map(|(region, file)| RegionSpec {
            guest_addr: region.guest_phys_addr,
            user_addr: region.user_addr,
            size: region.memory_size,
            mmap_offset: region.mmap_offset,
            file,
        });
        let map = MemoryMap::map(1, regions.collect(), SealPolicy::RequireSealed);
        self.memory = Some(map.map_err(|_| Error::InvalidParam)?);
        Ok(None)
    }
    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.ring(index)?.config.size = u16::try_from(num).unwrap();
        Ok(())
    }
    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        desc: u64,
        used: u64,
        avail: u64,
        _log: u64,
    ) -> Result<()> {
        let memory = self.memory.clone().ok_or(Error::InvalidParam)?;
        let guest = |address| memory.user_to_guest(address).ok_or(Error::InvalidParam);
        let features = self.features;
        let ring = self.ring(index)?;
        ring.config.desc = guest(desc)?;
        ring.config.avail = guest(avail)?;
        ring.config.used = guest(used)?;
        ring.config.features = RingFeatures {
            event_idx: features & 1 << 29 != 0,
            indirect: features & 1 << 28 != 0,
            in_order: features & 1 << 35 != 0,
            packed: false,
        };
        Ok(())
    }
    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.note(format!("SET_VRING_BASE {index} {base}"));
        let base = u16::try_from(base).unwrap();
        self.ring(index)?.config.position = RingPosition {
            next_avail: base,
            next_used: base,
        };
        Ok(())
    }
    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.note(format!("GET_VRING_BASE {index}"));
        let connection = self.shared.lock().unwrap().connection.take();
        if let (true, Some(connection)) = (self.traits.stalls, &connection) {
            wait_or_hangup(&[], connection, None).unwrap();
        }
        self.shared.lock().unwrap().connection = connection;
        let ring = self.ring(index)?;
        ring.kick = None;
        let queue = ring.queue.take();
        let base = queue.map_or(0, |queue| queue.position().next_avail);
        Ok(VhostUserVringState::new(index, base.into()))
    }
    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let memory = self.memory.clone().ok_or(Error::InvalidParam)?;
        let ring = self.ring(index.into())?;
        ring.kick = fd;
        let queue = DeviceQueue::new(memory, &ring.config);
        ring.queue = Some(queue.map_err(|_| Error::InvalidParam)?);
        Ok(())
    }
    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(index.into())?.call = fd;
        Ok(())
    }
    fn set_vring_err(&mut self, _index: u8, _fd: Option<File>) -> Result<()> {
        refuse()
    }
    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.traits.protocol)
    }
    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }
    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.traits.queue_num)
    }
    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.note(format!("SET_VRING_ENABLE {index} {enable}"));
        self.ring(index)?.enabled = enable;
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        refuse()
    }
    fn reset_device(&mut self) -> Result<()> {
        refuse()
    }
    fn get_config(&mut self, _: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let mut config = vec![0xee; size as usize];
        config[6..8].copy_from_slice(&[self.shared.lock().unwrap().carries.into(), 0]);
        Ok(config)
    }
    fn set_backend_req_fd(&mut self, backend: Backend) {
        backend.set_reply_ack_flag(true);
        backend.set_shared_object_flag(true);
        self.shared.lock().unwrap().news = Some(backend);
    }
    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        refuse()
    }
    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        refuse()
    }
    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        refuse()
    }
    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        refuse()
    }
    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        refuse()
    }
    fn get_max_mem_slots(&mut self) -> Result<u64> {
        refuse()
    }
    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<u64>> {
        refuse()
    }
    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        refuse()
    }
    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        refuse()
    }
    fn check_device_state(&mut self) -> Result<()> {
        refuse()
    }
    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        refuse()
    }
    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        refuse()
    }
}

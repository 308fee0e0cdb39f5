//! A guest made of the stock vhost-user front-end and the driver side of `virtqueue`, on a memfd.
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures},
};
use virtqueue::{
    DriverBuffer, DriverQueue, MemoryMap, NET_HEADER_LEN, NetHeader, QueueConfig, RegionSpec,
    RingFeatures, RingPosition, SealPolicy,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Where the guest's memory is, for the guest and for its VMM.
pub(super) const GUEST_BASE: u64 = 0x1_0000_0000;
pub(super) const USER_BASE: u64 = 0x7000_0000_0000;
pub(super) const MEMORY: u64 = 32 << 20;
/// Each ring has this much memory for its areas; buffers come after all rings.
const RING_AREA: u64 = 0x1_0000;
const BUFFERS: u64 = 4 << 20;
/// Bytes between two transmit buffers.
const TX_STRIDE: u64 = 80 << 10;
const TX_SLOTS: u64 = 64;

// Feature bits by their names in the spec.
pub(super) const CSUM: u64 = 1 << 0;
pub(super) const GUEST_CSUM: u64 = 1 << 1;
pub(super) const GUEST_TSO4: u64 = 1 << 7;
pub(super) const HOST_TSO4: u64 = 1 << 11;
pub(super) const GUEST_UFO: u64 = 1 << 10;
pub(super) const HOST_UFO: u64 = 1 << 14;
pub(super) const MRG_RXBUF: u64 = 1 << 15;
pub(super) const INDIRECT_DESC: u64 = 1 << 28;
pub(super) const EVENT_IDX: u64 = 1 << 29;
pub(super) const VERSION_1: u64 = 1 << 32;
pub(super) const RING_PACKED: u64 = 1 << 34;
pub(super) const IN_ORDER: u64 = 1 << 35;
pub(super) const GUEST_USO4: u64 = 1 << 54;
pub(super) const HOST_USO: u64 = 1 << 56;
pub(super) const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
pub(super) const PLAIN: u64 = VERSION_1 | PROTOCOL_FEATURES;
pub(super) const ALL: u64 = PLAIN
    | CSUM
    | GUEST_CSUM
    | GUEST_TSO4
    | HOST_TSO4
    | GUEST_UFO
    | HOST_UFO
    | GUEST_USO4
    | HOST_USO
    | MRG_RXBUF
    | INDIRECT_DESC
    | EVENT_IDX
    | IN_ORDER;

/// What a guest is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuestSpec {
    pub(super) features: u64,
    pub(super) pairs: u16,
    pub(super) queue_size: u16,
    pub(super) rx_buffer: u32,
}

impl Default for GuestSpec {
    fn default() -> Self {
        Self {
            features: ALL,
            pairs: 1,
            queue_size: 256,
            rx_buffer: 2048,
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "timed out: {what}");
        std::thread::yield_now();
    }
}

/// Guest memory on a memfd, mapped on the driver's side.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) file: File,
    pub(super) map: Arc<MemoryMap>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let fd: OwnedFd = memfd_create(c"guest", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let file = File::from(fd);
        file.set_len(MEMORY).unwrap();
        let region = RegionSpec {
            guest_addr: GUEST_BASE,
            user_addr: USER_BASE,
            size: MEMORY,
            mmap_offset: 0,
            file: file.try_clone().unwrap(),
        };
        let map = MemoryMap::map(0, vec![region], SealPolicy::AllowUnsealed).unwrap();
        Self { file, map }
    }

    /// The memory as the front-end announces it.
    pub(super) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST_BASE,
            memory_size: MEMORY,
            userspace_addr: USER_BASE,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }
}

/// One ring on the driver's side.
#[derive(Debug)]
pub(super) struct GuestRing {
    pub(super) queue: DriverQueue,
    pub(super) config: QueueConfig,
    pub(super) kick: EventFd,
    pub(super) call: EventFd,
}

impl GuestRing {
    pub(super) fn new(memory: &Memory, index: u16, size: u16, features: u64) -> Self {
        let packed = features & RING_PACKED != 0;
        let (desc, avail, _) = if packed {
            DriverQueue::packed_layout(size)
        } else {
            DriverQueue::layout(size)
        };
        let start = GUEST_BASE + u64::from(index) * RING_AREA;
        let avail_at = start + desc as u64;
        let ring_features = RingFeatures {
            event_idx: features & EVENT_IDX != 0,
            indirect: features & INDIRECT_DESC != 0,
            in_order: features & IN_ORDER != 0,
            packed,
        };
        let config = QueueConfig {
            size,
            desc: start,
            avail: avail_at,
            used: (avail_at + avail as u64).next_multiple_of(4),
            features: ring_features,
            position: RingPosition::start(ring_features),
        };
        Self {
            queue: DriverQueue::new(Arc::clone(&memory.map), &config).unwrap(),
            config,
            kick: EventFd::new(EFD_NONBLOCK).unwrap(),
            call: EventFd::new(EFD_NONBLOCK).unwrap(),
        }
    }

    /// The ring as the front-end announces it.
    pub(super) fn vring(&self) -> VringConfigData {
        let user = |addr| addr - GUEST_BASE + USER_BASE;
        VringConfigData {
            queue_max_size: self.config.size,
            queue_size: self.config.size,
            flags: 0,
            desc_table_addr: user(self.config.desc),
            used_ring_addr: user(self.config.used),
            avail_ring_addr: user(self.config.avail),
            log_addr: None,
        }
    }

    pub(super) fn publish_and_kick(&mut self) {
        if self.queue.publish() {
            self.kick.write(1).unwrap();
        }
    }
}

/// A connected guest.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) spec: GuestSpec,
    pub(super) memory: Memory,
    pub(super) rings: Vec<GuestRing>,
    pub(super) header_len: usize,
    next_tx: u64,
}

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) header: NetHeader,
    pub(super) frame: Vec<u8>,
}

/// The front-end's end of a connection; not `Debug` in crate `vhost`.
pub(super) struct Connected {
    pub(super) guest: Guest,
    pub(super) frontend: Frontend,
}

pub(super) fn connect(path: &Path, rings: u64) -> Frontend {
    Frontend::from_stream(connect_stream(path), rings)
}

/// Connects; the port may still be busy with the one before.
pub(super) fn connect_stream(path: &Path) -> UnixStream {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(begun.elapsed() < DEADLINE, "backlog stays full");
                std::thread::yield_now();
            }
            Err(error) => panic!("connect: {error}"),
        }
    }
}

impl Guest {
    pub(super) fn new(spec: GuestSpec) -> Self {
        let memory = Memory::new();
        let rings = (0..spec.pairs * 2)
            .map(|index| GuestRing::new(&memory, index, spec.queue_size, spec.features))
            .collect();
        let header_len = if spec.features & (VERSION_1 | MRG_RXBUF) == 0 {
            10
        } else {
            12
        };
        let mut guest = Self {
            spec,
            memory,
            rings,
            header_len,
            next_tx: 0,
        };
        for pair in 0..spec.pairs {
            guest.post_all(pair);
        }
        guest
    }

    /// Connects the way QEMU does.
    pub(super) fn connect(self, path: &Path) -> Connected {
        let frontend = connect(path, u64::from(self.spec.pairs) * 2);
        self.attach(frontend)
    }

    /// Goes through the whole handshake on a connection.
    pub(super) fn attach(self, mut frontend: Frontend) -> Connected {
        frontend.set_owner().unwrap();
        let offered = frontend.get_features().unwrap();
        assert_eq!(self.spec.features & !offered, 0, "not offered");
        if self.spec.features & PROTOCOL_FEATURES != 0 {
            let protocol = frontend.get_protocol_features().unwrap();
            frontend.set_protocol_features(protocol).unwrap();
            if protocol.contains(VhostUserProtocolFeatures::REPLY_ACK) {
                frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
            }
        }
        frontend.set_features(self.spec.features).unwrap();
        frontend.set_mem_table(&[self.memory.region()]).unwrap();
        for index in 0..self.rings.len() {
            let base = self.rings[index].config.position.next_avail;
            self.start_ring(&mut frontend, index, base);
        }
        // Without REPLY_ACK, a reply to a later message says that all before it are done.
        frontend.get_features().unwrap();
        Connected {
            guest: self,
            frontend,
        }
    }

    pub(super) fn start_ring(&self, frontend: &mut Frontend, index: usize, base: u16) {
        let ring = &self.rings[index];
        frontend.set_vring_num(index, ring.config.size).unwrap();
        frontend.set_vring_base(index, base).unwrap();
        frontend.set_vring_addr(index, &ring.vring()).unwrap();
        frontend.set_vring_kick(index, &ring.kick).unwrap();
        frontend.set_vring_call(index, &ring.call).unwrap();
        if self.spec.features & PROTOCOL_FEATURES != 0 {
            frontend.set_vring_enable(index, true).unwrap();
        }
    }

    fn rx_buffer(&self, pair: u16, token: u64) -> DriverBuffer {
        let per_ring = u64::from(self.spec.queue_size) * u64::from(self.spec.rx_buffer);
        let tx_end = BUFFERS + TX_SLOTS * TX_STRIDE;
        DriverBuffer {
            addr: GUEST_BASE
                + tx_end
                + u64::from(pair) * per_ring
                + token * u64::from(self.spec.rx_buffer),
            len: self.spec.rx_buffer,
            writable: true,
        }
    }

    /// Fills a receive ring with buffers.
    fn post_all(&mut self, pair: u16) {
        for token in 0..u64::from(self.spec.queue_size) {
            let buffer = self.rx_buffer(pair, token);
            assert!(buffer.addr + u64::from(buffer.len) <= GUEST_BASE + MEMORY);
            let ring = &mut self.rings[usize::from(pair) * 2];
            assert!(ring.queue.add(&[buffer], token));
        }
        self.rings[usize::from(pair) * 2].publish_and_kick();
    }

    /// Makes the first receive ring anew, empty, and fills it; no device may have it.
    pub(super) fn reset_receive_ring(&mut self) {
        let zeroes = vec![0; usize::try_from(RING_AREA).unwrap()];
        assert!(self.memory.map.write(GUEST_BASE, &zeroes));
        let GuestSpec {
            queue_size,
            features,
            ..
        } = self.spec;
        self.rings[0] = GuestRing::new(&self.memory, 0, queue_size, features);
        self.post_all(0);
    }

    /// Sends a plain frame.
    pub(super) fn send(&mut self, frame: &[u8]) {
        self.send_with(NetHeader::default(), frame);
    }

    /// Sends a frame with a header, in two buffers.
    pub(super) fn send_with(&mut self, header: NetHeader, frame: &[u8]) {
        self.send_on(0, &[(header, frame.to_vec())]);
    }

    /// Sends frames in one go.
    pub(super) fn send_on(&mut self, pair: u16, frames: &[(NetHeader, Vec<u8>)]) {
        for (header, frame) in frames {
            let header = header.encode();
            let slot = self.next_tx % TX_SLOTS;
            self.next_tx += 1;
            let at = GUEST_BASE + BUFFERS + slot * TX_STRIDE;
            assert!(self.memory.map.write(at, &header[..self.header_len]));
            assert!(self.memory.map.write(at + 64, frame));
            let buffers = [
                DriverBuffer {
                    addr: at,
                    len: u32::try_from(self.header_len).unwrap(),
                    writable: false,
                },
                DriverBuffer {
                    addr: at + 64,
                    len: u32::try_from(frame.len()).unwrap(),
                    writable: false,
                },
            ];
            let ring = &mut self.rings[usize::from(pair) * 2 + 1];
            let begun = Instant::now();
            while !ring.queue.add(&buffers, slot) {
                assert!(begun.elapsed() < DEADLINE, "transmit ring stays full");
                ring.publish_and_kick();
                while ring.queue.poll_used().unwrap().is_some() {}
            }
        }
        self.rings[usize::from(pair) * 2 + 1].publish_and_kick();
    }

    /// Completed transmit chains since the last call.
    pub(super) fn reap(&mut self) -> Vec<u64> {
        let ring = &mut self.rings[1];
        let mut tokens = Vec::new();
        while let Some(used) = ring.queue.poll_used().unwrap() {
            assert_eq!(used.written, 0);
            tokens.push(used.token);
        }
        tokens
    }

    /// A frame that has arrived on a queue pair.
    pub(super) fn poll(&mut self, pair: u16) -> Option<Received> {
        let index = usize::from(pair) * 2;
        let used = self.rings[index].queue.poll_used().unwrap()?;
        let mut bytes = self.read_buffer(pair, used.token, used.written);
        let mut head = [0; NET_HEADER_LEN];
        head[..self.header_len].copy_from_slice(&bytes[..self.header_len]);
        let header = NetHeader::decode(&head).unwrap();
        let mut frame = bytes.split_off(self.header_len);
        let mut tokens = VecDeque::from([used.token]);
        for _ in 1..header.num_buffers {
            let mut more = None;
            wait_for("the rest of a mergeable frame", || {
                more = self.rings[index].queue.poll_used().unwrap();
                more.is_some()
            });
            let used = more.unwrap();
            frame.extend(self.read_buffer(pair, used.token, used.written));
            tokens.push_back(used.token);
        }
        for token in tokens {
            let buffer = self.rx_buffer(pair, token);
            assert!(self.rings[index].queue.add(&[buffer], token));
        }
        self.rings[index].publish_and_kick();
        Some(Received { header, frame })
    }

    fn read_buffer(&self, pair: u16, token: u64, written: u32) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(written).unwrap()];
        let buffer = self.rx_buffer(pair, token);
        assert!(written <= buffer.len);
        assert!(self.memory.map.read(buffer.addr, &mut bytes));
        bytes
    }

    /// Waits for a frame on the first queue pair.
    #[track_caller]
    pub(super) fn receive(&mut self) -> Received {
        let mut received = None;
        wait_for("a frame", || {
            received = self.poll(0);
            received.is_some()
        });
        received.unwrap()
    }
}

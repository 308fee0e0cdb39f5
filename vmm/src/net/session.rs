//! One connection to a vhost-user back-end.
use super::{
    error::SessionError,
    news::News,
    record::{LinkRecord, RingRecord},
    watchdog::Deadline,
};
use crate::memory::GuestRam;
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};
use std::{
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    sync::Arc,
    time::Duration,
};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{
        Frontend, VhostUserFrontend,
        message::{
            VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures,
            VhostUserVirtioFeatures,
        },
    },
};
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

/// Time that one exchange (a handshake, a start, a stop) may take. A vCPU may be waiting for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// VHOST_USER_F_PROTOCOL_FEATURES.
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
const WANTED: VhostUserProtocolFeatures = VhostUserProtocolFeatures::MQ
    .union(VhostUserProtocolFeatures::REPLY_ACK)
    .union(OF_NEWS);
/// Together they tell when the link's state changes, and what it is.
const OF_NEWS: VhostUserProtocolFeatures =
    VhostUserProtocolFeatures::BACKEND_REQ.union(VhostUserProtocolFeatures::CONFIG);
/// VIRTIO_NET_F_STATUS: there is a state of the link.
const STATUS: u64 = 1 << 16;
/// Of `struct virtio_net_config` (virtio 1.2, 5.1.4), up to `status`.
const CONFIG_LEN: u32 = 8;
/// VIRTIO_NET_S_LINK_UP.
const LINK_UP: u8 = 1;

fn at<T>(step: &'static str, result: vhost::Result<T>) -> Result<T, SessionError> {
    result.map_err(|error| SessionError::Protocol { step, error })
}

/// Where a started ring begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Where the driver put it.
    Fresh,
    /// Where the last back-end left it.
    Resume,
}

/// A live connection, owner of the device, features known.
pub(super) struct Session {
    frontend: Frontend,
    stream: Arc<UnixStream>,
    features: u64,
    /// Of a back-end that tells of its link.
    news: Option<News>,
    carries: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("stream", &self.stream)
            .field("features", &format_args!("{:#x}", self.features))
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects and learns what the back-end offers. Fails if it does not serve `pairs` queue
    /// pairs.
    pub(super) fn connect(path: &Path, pairs: u16) -> Result<Self, SessionError> {
        let stream = Arc::new(dial(path)?);
        let deadline = Deadline::new(&stream, PATIENCE);
        Self::handshake(&stream, pairs).map_err(|error| match error {
            // The listener took the connection and nobody reads it.
            SessionError::Protocol { step, .. } if step == FIRST_STEP && deadline.has_passed() => {
                SessionError::Busy(path.into())
            }
            error => error,
        })
    }

    fn handshake(stream: &Arc<UnixStream>, pairs: u16) -> Result<Self, SessionError> {
        let rings = 2 * u64::from(pairs);
        let open = || {
            let stream = stream.try_clone()?;
            Ok::<_, SessionError>(Frontend::from_stream(stream, rings))
        };
        let mut frontend = open()?;
        let features = at(FIRST_STEP, frontend.get_features())?;
        if features & crate::virtio::spec::F_VERSION_1 == 0 {
            return Err(SessionError::Legacy);
        }
        at("SET_OWNER", frontend.set_owner())?;
        let mut protocol = VhostUserProtocolFeatures::empty();
        if features & PROTOCOL_FEATURES != 0 {
            let offered = at("GET_PROTOCOL_FEATURES", frontend.get_protocol_features())?;
            protocol = offered & WANTED;
            if !protocol.contains(OF_NEWS) || features & STATUS == 0 {
                protocol -= OF_NEWS;
            }
            at(
                "SET_PROTOCOL_FEATURES",
                frontend.set_protocol_features(protocol),
            )?;
        }
        if protocol.contains(VhostUserProtocolFeatures::REPLY_ACK) {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        if pairs > 1 {
            let enough = if protocol.contains(VhostUserProtocolFeatures::MQ) {
                // The client believes that the answer counts rings and holds us to it, but QEMU and
                // DPDK count pairs. So it is asked through a second client on the same socket.
                let mut probe = open()?;
                at("GET_FEATURES", probe.get_features())?;
                at(
                    "SET_PROTOCOL_FEATURES",
                    probe.set_protocol_features(protocol),
                )?;
                at("GET_QUEUE_NUM", probe.get_queue_num())?
            } else {
                1
            };
            let last = usize::from(pairs) * 2 - 1;
            let refused = enough < u64::from(pairs)
                || enough < rings && frontend.set_vring_num(last, 256).is_err();
            if refused {
                return Err(SessionError::Queues(pairs));
            }
        }
        let mut session = Self {
            frontend,
            stream: Arc::clone(stream),
            features,
            news: None,
            carries: true,
        };
        if protocol.contains(OF_NEWS) {
            let (news, theirs) = News::open()?;
            let given = session.frontend.set_backend_request_fd(&theirs);
            at("SET_BACKEND_REQ_FD", given)?;
            session.news = Some(news);
            session.look()?;
        }
        Ok(session)
    }

    /// Where news of the back-end come, to wait for them.
    pub(super) fn news(&self) -> Option<Arc<UnixStream>> {
        self.news.as_ref().map(News::stream)
    }

    /// Takes the news.
    pub(super) fn take_news(&mut self) -> Result<(), SessionError> {
        if self.news.as_ref().is_some_and(|news| news.take().is_err()) {
            // There will be no more; frames need none.
            self.news = None;
        }
        let _deadline = Deadline::new(&self.stream, PATIENCE);
        self.look()
    }

    /// Whether there is a network behind the back-end, as it said last.
    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    fn look(&mut self) -> Result<(), SessionError> {
        let config = self.frontend.get_config(
            0,
            CONFIG_LEN,
            VhostUserConfigFlags::empty(),
            &[0; CONFIG_LEN as usize],
        );
        let (_, config) = at("GET_CONFIG", config)?;
        self.carries = config.get(6).is_some_and(|status| status & LINK_UP != 0);
        Ok(())
    }

    /// Virtio features the back-end offers.
    pub(super) fn features(&self) -> u64 {
        self.features & !PROTOCOL_FEATURES
    }

    /// The socket, to wait for its end.
    pub(super) fn stream(&self) -> Arc<UnixStream> {
        Arc::clone(&self.stream)
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
        let _deadline = Deadline::new(&self.stream, PATIENCE);
        let features = record.features | self.features & PROTOCOL_FEATURES;
        at("SET_FEATURES", self.frontend.set_features(features))?;
        let regions = memory
            .mmap
            .iter()
            .map(VhostUserMemoryRegionInfo::from_guest_region)
            .collect::<Result<Vec<_>, _>>();
        let regions = regions.map_err(|_| SessionError::Memory)?;
        at("SET_MEM_TABLE", self.frontend.set_mem_table(&regions))?;
        // Before they start, as QEMU does: a ring that runs disabled is drained and its frames are
        // discarded ("Ring states"), and after a reconnect the driver has frames waiting in it.
        for ring in &record.rings {
            self.enable(ring.index, ring.enabled)?;
        }
        for ring in &record.rings {
            if self.starts(ring) {
                self.start_ring(ring, memory, start)?;
            }
        }
        Ok(())
    }

    /// Whether the back-end is told of a ring. One that has no way to disable it is not told of those that must not run.
    fn starts(&self, ring: &RingRecord) -> bool {
        ring.enabled || self.features & PROTOCOL_FEATURES != 0
    }

    fn start_ring(
        &mut self,
        ring: &RingRecord,
        memory: &GuestRam,
        start: Start,
    ) -> Result<(), SessionError> {
        let index = ring.index;
        let base = match start {
            Start::Fresh => Ok(ring.config.position.next_avail),
            Start::Resume => ring.resume_base(&memory.map),
        };
        let base = base.map_err(|fault| SessionError::Ring { index, fault })?;
        let addresses = vring_addresses(ring, memory)?;
        let frontend = &self.frontend;
        at(
            "SET_VRING_NUM",
            frontend.set_vring_num(index, ring.config.size),
        )?;
        at("SET_VRING_BASE", frontend.set_vring_base(index, base))?;
        at("SET_VRING_ADDR", frontend.set_vring_addr(index, &addresses))?;
        at(
            "SET_VRING_CALL",
            frontend.set_vring_call(index, ring.call.eventfd()),
        )?;
        // Last: the kick descriptor starts the ring.
        at("SET_VRING_KICK", frontend.set_vring_kick(index, &ring.kick))
    }

    /// Lets the back-end use a started ring, or not.
    pub(super) fn enable(&mut self, index: usize, enabled: bool) -> Result<(), SessionError> {
        // Without protocol features a ring runs from its kick on ("Ring states" in the vhost-user
        // specification).
        if self.features & PROTOCOL_FEATURES == 0 {
            return Ok(());
        }
        let _deadline = Deadline::new(&self.stream, PATIENCE);
        at(
            "SET_VRING_ENABLE",
            self.frontend.set_vring_enable(index, enabled),
        )
    }

    /// Gives a started ring another interrupt.
    pub(super) fn set_call(&mut self, index: usize, call: &EventFd) -> Result<(), SessionError> {
        let _deadline = Deadline::new(&self.stream, PATIENCE);
        at("SET_VRING_CALL", self.frontend.set_vring_call(index, call))
    }

    /// Stops the rings of `record`: after the answer the back-end touches guest memory no more.
    pub(super) fn stop(&mut self, record: &LinkRecord) -> Result<(), SessionError> {
        let _deadline = Deadline::new(&self.stream, PATIENCE);
        for ring in &record.rings {
            if self.starts(ring) {
                at("GET_VRING_BASE", self.frontend.get_vring_base(ring.index))?;
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The client may share the socket with a clone of ours; this ends it for all.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// The first message: where a back-end that is busy with somebody else leaves us waiting.
const FIRST_STEP: &str = "GET_FEATURES";

/// Ring addresses are given in our own address space ("Memory access" in the vhost-user
/// specification).
fn vring_addresses(ring: &RingRecord, memory: &GuestRam) -> Result<VringConfigData, SessionError> {
    let host = |address| {
        let pointer = memory.mmap.get_host_address(GuestAddress(address));
        pointer
            .map(|pointer| pointer as u64)
            .map_err(|_| SessionError::Memory)
    };
    Ok(VringConfigData {
        queue_max_size: ring.config.size,
        queue_size: ring.config.size,
        flags: 0,
        desc_table_addr: host(ring.config.desc)?,
        used_ring_addr: host(ring.config.used)?,
        avail_ring_addr: host(ring.config.avail)?,
        log_addr: None,
    })
}

/// Connects within bounded time: a listener whose backlog is full would block us for ever.
fn dial(path: &Path) -> Result<UnixStream, SessionError> {
    let failed = |errno: Errno| match errno {
        Errno::ENOENT => SessionError::NoSocket(path.into()),
        Errno::ECONNREFUSED => SessionError::Stale(path.into()),
        Errno::EACCES | Errno::EPERM => SessionError::Permission(path.into()),
        Errno::EAGAIN | Errno::ETIMEDOUT => SessionError::Busy(path.into()),
        errno => SessionError::Connect {
            path: path.into(),
            error: errno.into(),
        },
    };
    let address = UnixAddr::new(path).map_err(failed)?;
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(failed)?;
    let patience = TimeVal::seconds(2);
    setsockopt(&fd, sockopt::SendTimeout, &patience).map_err(failed)?;
    connect(fd.as_raw_fd(), &address).map_err(failed)?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::zero()).map_err(failed)?;
    Ok(UnixStream::from(fd))
}

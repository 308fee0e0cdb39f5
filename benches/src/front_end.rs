//! One vhost-user front-end with a receive and a transmit ring, driven by hand.

use std::path::Path;

use anyhow::{Context, ensure};
use vhost::{
    VhostBackend, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures},
};
use virtqueue::NET_HEADER_LEN;

use crate::{
    Endpoint, FrameKind, Role,
    memory::{Memory, Pages, USER_BASE},
    ring::{Ring, stride},
};

const VERSION_1: u64 = 1 << 32;
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
/// VIRTIO_NET_F_CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4 (virtio 1.2, 5.1.3): what GSO frames need.
const GSO: u64 = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11;

/// Rings and memory of a front-end.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Entries of each ring.
    pub queue_size: u16,
    /// What it sends and expects: GSO frames need features of the back-end.
    pub frame: FrameKind,
    /// Guest memory.
    pub pages: Pages,
}

/// A front-end that is attached and running.
pub struct FrontEnd {
    /// From the back-end.
    pub rx: Ring,
    /// To the back-end.
    pub tx: Ring,
    /// Shared with the back-end.
    pub memory: Memory,
    _session: Frontend,
}

impl std::fmt::Debug for FrontEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrontEnd")
            .field("rx", &self.rx)
            .field("tx", &self.tx)
            .finish_non_exhaustive()
    }
}

impl FrontEnd {
    /// Attaches to the back-end that listens at `socket`, with rings of `size` entries, for plain frames of `frame` bytes.
    pub fn attach(socket: &Path, size: u16, frame: u32) -> anyhow::Result<Self> {
        let options = Options {
            queue_size: size,
            frame: FrameKind::Plain(frame),
            pages: Pages::Normal,
        };
        Self::meet(&Endpoint::open(socket, Role::Connect)?, options)
    }

    /// Attaches to the back-end at `endpoint`, whoever of the two listens.
    pub fn meet(endpoint: &Endpoint, options: Options) -> anyhow::Result<Self> {
        let path = endpoint.path().display();
        Self::set_up(endpoint, options).with_context(|| format!("attaching to {path}"))
    }

    /// Gives all receive buffers to the back-end.
    pub fn post_buffers(&mut self) {
        self.rx.fill();
    }

    fn set_up(endpoint: &Endpoint, options: Options) -> anyhow::Result<Self> {
        let size = options.queue_size;
        let room = crate::Content::new(options.frame)?.frame_len() + NET_HEADER_LEN;
        let stride = stride(room as u64);
        let memory = Memory::new(2 * u64::from(size) * stride, options.pages)?;
        let mut session = Frontend::from_stream(endpoint.meet()?, 2);
        let has_protocol_features = negotiate(&mut session, options.frame)?;
        session.set_mem_table(&[memory.region()])?;
        let rx = Ring::new(&memory, 0, size, stride)?;
        let tx = Ring::new(&memory, 1, size, stride)?;
        for (index, ring) in [&rx, &tx].into_iter().enumerate() {
            start(&mut session, index, ring)?;
        }
        if has_protocol_features {
            for index in 0..2 {
                session.set_vring_enable(index, true)?;
            }
        }
        Ok(Self {
            rx,
            tx,
            memory,
            _session: session,
        })
    }
}

/// As few features as the frames need: neither side pays for what is not measured. Returns whether the back-end knows protocol
/// features.
fn negotiate(session: &mut Frontend, frame: FrameKind) -> anyhow::Result<bool> {
    session.set_owner()?;
    let offered = session.get_features()?;
    let needed = match frame {
        FrameKind::Plain(_) => VERSION_1,
        FrameKind::Gso => VERSION_1 | GSO,
    };
    ensure!(
        offered & needed == needed,
        "the back-end lacks features: it offers {offered:#x}, {needed:#x} are needed"
    );
    let protocol = offered & PROTOCOL_FEATURES;
    if protocol != 0 {
        let wanted = session.get_protocol_features()? & VhostUserProtocolFeatures::REPLY_ACK;
        session.set_protocol_features(wanted)?;
    }
    session.set_features(needed | protocol)?;
    Ok(protocol != 0)
}

fn start(session: &mut Frontend, index: usize, ring: &Ring) -> anyhow::Result<()> {
    let config = &ring.config;
    session.set_vring_num(index, config.size)?;
    session.set_vring_base(index, 0)?;
    session.set_vring_addr(
        index,
        &VringConfigData {
            queue_max_size: config.size,
            queue_size: config.size,
            flags: 0,
            desc_table_addr: USER_BASE + config.desc,
            used_ring_addr: USER_BASE + config.used,
            avail_ring_addr: USER_BASE + config.avail,
            log_addr: None,
        },
    )?;
    session.set_vring_call(index, &ring.call)?;
    Ok(session.set_vring_kick(index, &ring.kick)?)
}

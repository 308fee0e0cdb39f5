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
    memory::{BUFFERS, Memory, Pages, USER_BASE},
    ring::{Ring, Shape},
};

const VERSION_1: u64 = 1 << 32;
/// VIRTIO_F_RING_PACKED and VIRTIO_F_IN_ORDER.
const PACKED: u64 = 1 << 34 | 1 << 35;
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
/// VIRTIO_NET_F_CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4 (virtio 1.2, 5.1.3).
pub(crate) const CSUM: u64 = 1 << 0;
pub(crate) const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
pub(crate) const HOST_TSO4: u64 = 1 << 11;
/// What GSO frames need in both directions.
const GSO: u64 = CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4;
/// VIRTIO_NET_F_MRG_RXBUF.
const MERGEABLE: u64 = 1 << 15;

/// Rings and memory of a front-end.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Entries of each ring.
    pub queue_size: u16,
    /// What it sends and expects: GSO frames need features of the back-end.
    pub frame: FrameKind,
    /// Guest memory.
    pub pages: Pages,
    /// Buffers have 2 KiB and a frame takes as many as it needs, in both directions. Otherwise each frame has one of its size.
    pub mergeable: bool,
    /// Packed rings that complete in order, instead of split ones.
    pub packed: bool,
}

impl Options {
    /// Usual rings for frames of kind `frame`.
    pub fn new(frame: FrameKind) -> Self {
        Self {
            queue_size: 256,
            frame,
            pages: Pages::Normal,
            mergeable: false,
            packed: false,
        }
    }

    /// Features are as few as the frames need: neither side pays for what is not measured.
    fn layout(&self) -> anyhow::Result<Layout> {
        let room = crate::Content::new(self.frame)?.frame_len() + NET_HEADER_LEN;
        let whole = Shape::whole(room as u64);
        let (received, sent) = if self.mergeable {
            (Shape::in_pieces(1), Shape::in_pieces(room as u64))
        } else {
            (whole, whole)
        };
        Ok(Layout {
            queue_size: self.queue_size,
            features: match self.frame {
                FrameKind::Plain(_) => 0,
                FrameKind::Gso => GSO,
            },
            received,
            sent,
            mergeable: self.mergeable,
            more: 0,
            pages: self.pages,
            packed: self.packed,
        })
    }
}

/// What a front-end consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Entries of each ring.
    pub(crate) queue_size: u16,
    /// Offloads that it needs.
    pub(crate) features: u64,
    /// Buffers of each ring, with one distance.
    pub(crate) received: Shape,
    pub(crate) sent: Shape,
    /// A frame that is received may take several buffers.
    pub(crate) mergeable: bool,
    /// Bytes behind all buffers.
    pub(crate) more: u64,
    pub(crate) pages: Pages,
    pub(crate) packed: bool,
}

impl Layout {
    fn features(&self) -> u64 {
        let mergeable = if self.mergeable { MERGEABLE } else { 0 };
        let packed = if self.packed { PACKED } else { 0 };
        VERSION_1 | self.features | mergeable | packed
    }

    fn buffers(&self) -> u64 {
        self.received.extent(self.queue_size) + self.sent.extent(self.queue_size)
    }

    /// Where the bytes behind all buffers begin.
    pub(crate) fn behind_buffers(&self) -> u64 {
        BUFFERS + self.buffers()
    }
}

/// A front-end that is attached and running.
pub struct FrontEnd {
    /// From the back-end.
    pub rx: Ring,
    /// To the back-end.
    pub tx: Ring,
    /// Shared with the back-end.
    pub memory: Memory,
    /// Whether a frame that comes may take several buffers.
    pub(crate) mergeable: bool,
    /// Rings are served as long as it is there.
    session: Option<Frontend>,
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
            ..Options::new(FrameKind::Plain(frame))
        };
        Self::meet(&Endpoint::open(socket, Role::Connect)?, options)
    }

    /// Attaches to the back-end at `endpoint`, whoever of the two listens.
    pub fn meet(endpoint: &Endpoint, options: Options) -> anyhow::Result<Self> {
        Self::meet_with(endpoint, options.layout()?)
    }

    /// The same for any rings and buffers.
    pub(crate) fn meet_with(endpoint: &Endpoint, layout: Layout) -> anyhow::Result<Self> {
        let path = endpoint.path().display();
        Self::set_up(endpoint, layout).with_context(|| format!("attaching to {path}"))
    }

    /// Gives all receive buffers to the back-end.
    pub fn post_buffers(&mut self) {
        self.rx.fill();
    }

    /// One whose rings nobody serves yet.
    #[cfg(test)]
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        Self::of(options.layout()?)
    }

    fn of(layout: Layout) -> anyhow::Result<Self> {
        let (size, packed) = (layout.queue_size, layout.packed);
        let memory = Memory::new(layout.buffers() + layout.more, layout.pages)?;
        Ok(Self {
            rx: Ring::new(&memory, 0, size, layout.received, packed)?,
            tx: Ring::new(&memory, 1, size, layout.sent, packed)?,
            memory,
            mergeable: layout.mergeable,
            session: None,
        })
    }

    fn set_up(endpoint: &Endpoint, layout: Layout) -> anyhow::Result<Self> {
        let mut end = Self::of(layout)?;
        let mut session = Frontend::from_stream(endpoint.meet()?, 2);
        let has_protocol_features = negotiate(&mut session, layout.features())?;
        session.set_mem_table(&[end.memory.region()])?;
        for (index, ring) in [&end.rx, &end.tx].into_iter().enumerate() {
            start(&mut session, index, ring)?;
        }
        if has_protocol_features {
            for index in 0..2 {
                session.set_vring_enable(index, true)?;
            }
        }
        end.session = Some(session);
        Ok(end)
    }
}

/// Agrees on the features that are needed and no more. Returns whether the back-end knows protocol features.
fn negotiate(session: &mut Frontend, needed: u64) -> anyhow::Result<bool> {
    session.set_owner()?;
    let offered = session.get_features()?;
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
    session.set_vring_base(index, config.position.next_avail)?;
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

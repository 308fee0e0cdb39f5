//! One vhost-user front-end with a receive and a transmit ring, driven by hand.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use vhost::{
    VhostBackend, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures, VhostUserVirtioFeatures},
};
use virtqueue::{DriverBuffer, DriverQueue, NET_HEADER_LEN, QueueConfig, RingFeatures};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::memory::{BUFFER_AREA, BUFFERS, Memory, RING_AREA, USER_BASE};

const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// A ring on the driver's side, with one buffer for each entry.
#[derive(Debug)]
pub struct Ring {
    queue: DriverQueue,
    config: QueueConfig,
    kick: EventFd,
    call: EventFd,
    buffers: u64,
    stride: u64,
}

impl Ring {
    fn new(
        memory: &Memory,
        index: u16,
        size: u16,
        event_idx: bool,
        frame: u32,
    ) -> anyhow::Result<Self> {
        let (desc, avail, _) = DriverQueue::layout(size);
        let start = u64::from(index) * RING_AREA;
        let avail_at = start + desc as u64;
        let config = QueueConfig {
            size,
            desc: start,
            avail: avail_at,
            used: (avail_at + avail as u64).next_multiple_of(64),
            features: RingFeatures {
                event_idx,
                ..RingFeatures::default()
            },
            ..QueueConfig::default()
        };
        let stride = (u64::from(frame) + NET_HEADER_LEN as u64).next_multiple_of(64);
        ensure!(
            stride * u64::from(size) <= BUFFER_AREA,
            "{size} frames of {frame} bytes are too much memory"
        );
        Ok(Self {
            queue: DriverQueue::new(Arc::clone(memory.map()), &config)?,
            config,
            kick: EventFd::new(EFD_NONBLOCK)?,
            call: EventFd::new(EFD_NONBLOCK)?,
            buffers: BUFFERS + u64::from(index) * BUFFER_AREA,
            stride,
        })
    }

    /// Address of the buffer of `slot`.
    pub fn buffer(&self, slot: u64) -> u64 {
        self.buffers + slot % u64::from(self.config.size) * self.stride
    }

    /// Adds the buffer of `slot`; false: the ring is full.
    pub fn add(&mut self, slot: u64, len: u32, writable: bool) -> bool {
        let addr = self.buffer(slot);
        self.queue.add(
            &[DriverBuffer {
                addr,
                len,
                writable,
            }],
            slot,
        )
    }

    /// Publishes what was added, with a kick if the back-end wants one.
    pub fn publish(&mut self) {
        if self.queue.publish() {
            // A full counter is a kick that is still pending.
            let _ = self.kick.write(1);
        }
    }

    /// The next buffer that the back-end is done with: its slot and the bytes written.
    pub fn done(&mut self) -> anyhow::Result<Option<(u64, u32)>> {
        Ok(self
            .queue
            .poll_used()?
            .map(|used| (used.token, used.written)))
    }

    /// Entries.
    pub fn size(&self) -> u16 {
        self.config.size
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
    /// Attaches to the back-end behind `socket` with rings of `size` entries and buffers for frames of `frame` bytes.
    pub fn attach(socket: &Path, size: u16, frame: u32) -> anyhow::Result<Self> {
        let memory = Memory::new()?;
        let mut session = Frontend::connect(socket, 2)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        session.set_owner()?;
        let offered = session.get_features()?;
        let features = offered & (VERSION_1 | EVENT_IDX | PROTOCOL_FEATURES);
        ensure!(
            features & VERSION_1 != 0,
            "the back-end does not offer VERSION_1"
        );
        if features & PROTOCOL_FEATURES != 0 {
            let wanted = session.get_protocol_features()? & VhostUserProtocolFeatures::REPLY_ACK;
            session.set_protocol_features(wanted)?;
        }
        session.set_features(features)?;
        session.set_mem_table(&[memory.region()])?;
        let event_idx = features & EVENT_IDX != 0;
        let rx = Ring::new(&memory, 0, size, event_idx, frame)?;
        let tx = Ring::new(&memory, 1, size, event_idx, frame)?;
        for (index, ring) in [&rx, &tx].into_iter().enumerate() {
            start(&mut session, index, ring)?;
        }
        if features & PROTOCOL_FEATURES != 0 {
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

//! A [`Wire`] that is a vhost-user back-end.
//!
//! # Theory of operation
//! We are the driver of a receive and a transmit ring. The rings lie in a memory region of our own
//! that the back-end maps beside guest RAM. A frame going out is a chain of a private slot (virtio
//! header and those first bytes that the NIC had to change) and of the guest's own buffers: its
//! payload moves once, in the back-end. A frame coming in is written to a slot of ours, because
//! the NIC must look at it before it knows whether, where and in what shape the guest gets it.
use super::{
    MAX_BUFFERS, MAX_HEAD, MAX_RECEIVED, Offloads, Outgoing, Wire,
    arena::{Arena, RX_LEN, RX_SIZE, TX_SLOTS},
};
use crate::{
    eventfd,
    limit::RateLimit,
    memory::{GuestRam, MemoryError},
    net::{Attachment, Link, LinkRecord, RingRecord, SessionError},
    virtio::{Call, QueueSetup, spec},
};
use std::{io, sync::Arc};
use thiserror::Error;
use virtqueue::{DriverBuffer, DriverQueue, NET_HEADER_LEN, NetHeader, QueueFault, RingFeatures};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

// virtio 1.2, 5.1.3.
const CSUM: u64 = 1 << 0;
const GUEST_CSUM: u64 = 1 << 1;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
/// What we make use of.
const WANTED: u64 =
    CSUM | GUEST_CSUM | HOST_TSO4 | HOST_TSO6 | HOST_ECN | spec::F_EVENT_IDX | spec::F_VERSION_1;

/// Index of the receive ring (5.1.2).
const RX: usize = 0;
/// Index of the transmit ring.
const TX: usize = 1;

/// Why an emulated NIC has no wire.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The back-end.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The shared region.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The rings in it.
    #[error("rings of an emulated NIC: {0}")]
    Ring(#[from] QueueFault),
    /// Descriptors and threads.
    #[error("resources of an emulated NIC: {0}")]
    Resources(#[from] io::Error),
}

/// One ring's signals.
#[derive(Debug)]
struct Events {
    kick: Arc<EventFd>,
    call: Arc<EventFd>,
}

impl Events {
    fn new() -> io::Result<Self> {
        Ok(Self {
            kick: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            call: Arc::new(EventFd::new(EFD_NONBLOCK)?),
        })
    }
}

/// A NIC's rings and its link to the back-end.
#[derive(Debug)]
pub struct RingWire {
    link: Arc<Link>,
    /// Guest RAM and the region of the rings.
    memory: GuestRam,
    arena: Arena,
    features: u64,
    /// There is no cable.
    unplugged: bool,
    rx: DriverQueue,
    tx: DriverQueue,
    rx_events: Events,
    tx_events: Events,
    /// The token of the frame in each transmit slot.
    tokens: Box<[u64]>,
    free_slots: Vec<u16>,
    /// Receive slots went back to the ring and are not published.
    returned: u16,
    /// Completions taken, of what came in and of what was sent.
    taken: [u64; 2],
    /// The back-end broke the rules: nothing moves until the rings are started anew.
    broken: bool,
    /// Tokens of frames that broken rings have lost: they count as sent.
    lost: Vec<u64>,
    chain: Vec<DriverBuffer>,
}

impl RingWire {
    /// Connects to the back-end behind `attachment` and starts the rings.
    pub fn connect(attachment: &Attachment, ram: &GuestRam) -> Result<Self, WireError> {
        let arena = |features: u64| {
            Arena::new(RingFeatures {
                event_idx: features & spec::F_EVENT_IDX != 0,
                indirect: false,
                // A back-end could then write one used element for many.
                in_order: false,
                packed: false,
            })
        };
        // Where things lie does not depend on features, but the link wants the memory first.
        let memory = arena(0).map(ram)?;
        let link = Link::connect(&attachment.target, 1, memory.clone())?;
        let mut features = link.features() & WANTED;
        if features & CSUM == 0 {
            features &= !(HOST_TSO4 | HOST_TSO6);
        }
        if features & (HOST_TSO4 | HOST_TSO6) == 0 {
            features &= !HOST_ECN;
        }
        let arena = arena(features);
        let mut wire = Self {
            rx: DriverQueue::new(Arc::clone(&memory.map), &arena.rx)?,
            tx: DriverQueue::new(Arc::clone(&memory.map), &arena.tx)?,
            link: Arc::new(link),
            memory,
            arena,
            features,
            unplugged: !attachment.cable,
            rx_events: Events::new()?,
            tx_events: Events::new()?,
            tokens: vec![0; usize::from(TX_SLOTS)].into_boxed_slice(),
            free_slots: Vec::with_capacity(usize::from(TX_SLOTS)),
            returned: 0,
            taken: [0; 2],
            broken: false,
            lost: Vec::with_capacity(usize::from(TX_SLOTS)),
            chain: Vec::with_capacity(MAX_BUFFERS + 1),
        };
        wire.start()?;
        Ok(wire)
    }

    /// The link to the back-end.
    pub fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Signalled when frames came in, and when frames were sent.
    pub fn events(&self) -> [Arc<EventFd>; 2] {
        [
            Arc::clone(&self.rx_events.call),
            Arc::clone(&self.tx_events.call),
        ]
    }

    /// Asks for signals; true: frames were sent meanwhile, of which none will tell. What came in is there to be looked at once more.
    #[must_use]
    pub fn arm(&mut self) -> bool {
        eventfd::drain(&self.rx_events.call);
        eventfd::drain(&self.tx_events.call);
        if self.broken {
            return false;
        }
        let _ = self.rx.arm_calls();
        self.tx.arm_calls()
    }

    /// No more signals: we look by ourselves.
    pub fn disarm(&mut self) {
        self.rx.suppress_calls();
        self.tx.suppress_calls();
    }

    /// Whether something came in, and whether something was sent, that was not asked for yet.
    pub fn waiting(&self) -> [bool; 2] {
        [self.rx.has_used(), self.tx.has_used()]
    }

    /// Completions taken so far, of what came in and of what was sent: frames, and what was none.
    pub fn taken(&self) -> [u64; 2] {
        self.taken
    }

    /// The back-end broke the rules.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Starts the rings anew. Frames on their way out are lost.
    pub fn mend(&mut self) {
        let lost = (0..TX_SLOTS).filter(|slot| !self.free_slots.contains(slot));
        let tokens = lost.filter_map(|slot| self.tokens.get(usize::from(slot)));
        let tokens: Vec<u64> = tokens.copied().collect();
        self.restart();
        self.lost.extend(tokens);
    }

    fn start(&mut self) -> Result<(), QueueFault> {
        self.rx = DriverQueue::new(Arc::clone(&self.memory.map), &self.arena.rx)?;
        self.tx = DriverQueue::new(Arc::clone(&self.memory.map), &self.arena.tx)?;
        self.free_slots.clear();
        self.free_slots.extend((0..TX_SLOTS).rev());
        self.broken = false;
        self.lost.clear();
        self.returned = 0;
        for slot in 0..RX_SIZE {
            self.offer(slot);
        }
        // The back-end is not there yet: it finds them when it starts.
        let _ = self.rx.publish();
        self.returned = 0;
        let mut record = LinkRecord {
            features: self.features,
            unplugged: self.unplugged,
            rings: Vec::new(),
        };
        for (index, config, events) in [
            (RX, self.arena.rx, &self.rx_events),
            (TX, self.arena.tx, &self.tx_events),
        ] {
            let setup = QueueSetup {
                index,
                config,
                kick: Arc::clone(&events.kick),
                call: Call::Event(Arc::clone(&events.call)),
            };
            record.rings.push(RingRecord::new(setup, &self.memory.map)?);
        }
        record.set_pairs(1);
        self.link.start(record);
        eventfd::signal(&self.rx_events.kick);
        Ok(())
    }

    fn offer(&mut self, slot: u16) {
        let buffer = DriverBuffer {
            addr: self.arena.rx_slot(slot),
            len: RX_LEN,
            writable: true,
        };
        if self.rx.add(&[buffer], slot.into()) {
            self.returned += 1;
        }
    }

    fn fail(&mut self, fault: QueueFault) {
        static LIMIT: RateLimit = RateLimit::new();
        if !self.broken && LIMIT.allow() {
            tracing::warn!(%fault, "the back-end of an emulated NIC broke its ring");
        }
        self.broken = true;
    }

    /// Copies a frame out of its slot, which the back-end may still write to; `None`: there is none.
    fn copy_in(&self, slot: u16, written: u32, frame: &mut Vec<u8>) -> Option<NetHeader> {
        let len = usize::try_from(written).ok()?.checked_sub(NET_HEADER_LEN)?;
        let at = self.arena.rx_slot(slot);
        let mut header = [0; NET_HEADER_LEN];
        frame.resize(len.min(MAX_RECEIVED), 0);
        let copied = self.memory.map.read(at, &mut header)
            && self.memory.map.read(at + NET_HEADER_LEN as u64, frame);
        NetHeader::decode(&header).filter(|_| copied)
    }
}

impl Wire for RingWire {
    fn offloads(&self) -> Offloads {
        Offloads {
            checksum: self.features & CSUM != 0,
            tso4: self.features & HOST_TSO4 != 0,
            tso6: self.features & HOST_TSO6 != 0,
            ecn: self.features & HOST_ECN != 0,
        }
    }

    fn send(&mut self, frame: &Outgoing<'_>) -> bool {
        let needed = u16::try_from(frame.body.len() + 1).unwrap_or(u16::MAX);
        if self.broken || needed > self.tx.free() || frame.head.len() > MAX_HEAD {
            return false;
        }
        let Some(slot) = self.free_slots.pop() else {
            return false;
        };
        let addr = self.arena.tx_slot(slot);
        let header = frame.header.encode();
        let len = header.len() + frame.head.len();
        let memory = &self.memory.map;
        let written =
            memory.write(addr, &header) && memory.write(addr + header.len() as u64, frame.head);
        self.chain.clear();
        self.chain.push(DriverBuffer {
            addr,
            len: u32::try_from(len).unwrap_or(0),
            writable: false,
        });
        self.chain.extend_from_slice(frame.body);
        if !written || !self.tx.add(&self.chain, slot.into()) {
            self.free_slots.push(slot);
            return false;
        }
        if let Some(token) = self.tokens.get_mut(usize::from(slot)) {
            *token = frame.token;
        }
        true
    }

    fn flush(&mut self) {
        if self.tx.publish() {
            eventfd::signal(&self.tx_events.kick);
        }
        if self.returned > 0 {
            self.returned = 0;
            if self.rx.publish() {
                eventfd::signal(&self.rx_events.kick);
            }
        }
    }

    fn sent(&mut self) -> Option<u64> {
        if self.broken {
            return None;
        }
        if let Some(token) = self.lost.pop() {
            return Some(token);
        }
        match self.tx.poll_used() {
            Ok(used) => {
                self.taken[1] += u64::from(used.is_some());
                let slot = u16::try_from(used?.token).unwrap_or(0);
                self.free_slots.push(slot);
                self.tokens.get(usize::from(slot)).copied()
            }
            Err(fault) => {
                self.fail(fault);
                None
            }
        }
    }

    fn has_received(&self) -> bool {
        !self.broken && self.rx.has_used()
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<NetHeader> {
        // A back-end that returns nothing but empty chains is cut short at one round of the ring.
        for _ in 0..RX_SIZE {
            if self.broken {
                return None;
            }
            let used = match self.rx.poll_used() {
                Ok(used) => used?,
                Err(fault) => {
                    self.fail(fault);
                    return None;
                }
            };
            self.taken[0] += 1;
            let slot = u16::try_from(used.token).unwrap_or(0);
            let header = self.copy_in(slot, used.written, frame);
            self.offer(slot);
            if header.is_some() {
                return header;
            }
        }
        None
    }

    fn restart(&mut self) {
        self.link.stop();
        if let Err(fault) = self.start() {
            self.fail(fault);
        }
    }
}

#[cfg(test)]
#[path = "rings_test.rs"]
mod tests;

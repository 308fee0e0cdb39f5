//! The memory that an emulated NIC shares with its back-end beside guest RAM: rings, headers, receive buffers.
use super::{MAX_HEAD, MAX_RECEIVED};
use crate::{
    layout::NIC_RINGS_START,
    memory::{GuestRam, MemoryError, extend},
};
use virtqueue::{DriverQueue, NET_HEADER_LEN, QueueConfig, RingFeatures};

/// Entries of the receive ring: the NIC's packet buffer, in frames.
pub(super) const RX_SIZE: u16 = 256;
/// Entries of the transmit ring, one per buffer.
pub(super) const TX_SIZE: u16 = 1024;
/// Frames on their way out at most.
pub(super) const TX_SLOTS: u16 = 256;
/// Header and head of a frame on its way out.
pub(super) const TX_SLOT_LEN: u64 = (NET_HEADER_LEN + MAX_HEAD) as u64;
/// Header and frame coming in; a multiple of the page, so that short frames touch one page each.
const RX_SLOT_LEN: u32 = 20 << 10;
/// Bytes of an incoming frame and its header.
pub(super) const RX_LEN: u32 = (16 << 10) + 12;
const _: () = assert!(RX_LEN as usize == MAX_RECEIVED + NET_HEADER_LEN && RX_LEN < RX_SLOT_LEN);
const PAGE: u64 = 4096;

/// Addresses in the shared region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arena {
    pub(super) rx: QueueConfig,
    pub(super) tx: QueueConfig,
    tx_slots: u64,
    rx_slots: u64,
    end: u64,
}

impl Arena {
    /// Lays out rings with `features`.
    pub(super) fn new(features: RingFeatures) -> Self {
        let mut next = NIC_RINGS_START;
        let rx = ring(&mut next, RX_SIZE, features);
        let tx = ring(&mut next, TX_SIZE, features);
        let tx_slots = take(&mut next, u64::from(TX_SLOTS) * TX_SLOT_LEN);
        let rx_slots = take(&mut next, u64::from(RX_SIZE) * u64::from(RX_SLOT_LEN));
        Self {
            rx,
            tx,
            tx_slots,
            rx_slots,
            end: next,
        }
    }

    /// Guest RAM with this region added.
    pub(super) fn map(&self, ram: &GuestRam) -> Result<GuestRam, MemoryError> {
        extend(ram, NIC_RINGS_START, self.end - NIC_RINGS_START)
    }

    pub(super) fn tx_slot(&self, index: u16) -> u64 {
        self.tx_slots + u64::from(index) * TX_SLOT_LEN
    }

    pub(super) fn rx_slot(&self, index: u16) -> u64 {
        self.rx_slots + u64::from(index) * u64::from(RX_SLOT_LEN)
    }
}

/// The next `len` bytes, from a page boundary on.
fn take(next: &mut u64, len: u64) -> u64 {
    let start = *next;
    *next = (start + len).next_multiple_of(PAGE);
    start
}

fn ring(next: &mut u64, size: u16, features: RingFeatures) -> QueueConfig {
    let (desc, avail, used) = DriverQueue::layout(size);
    QueueConfig {
        size,
        desc: take(next, desc as u64),
        avail: take(next, avail as u64),
        used: take(next, used as u64),
        features,
        ..QueueConfig::default()
    }
}

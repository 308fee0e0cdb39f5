//! MSI-X (PCI 3.0, 6.8.2): the table, the pending bits and the routes behind them.
//!
//! Events live in each vector's eventfd. A vector that is masked has no route: its events stay in
//! the eventfd, which is what the pending bit shows, and fire when the route comes back. So nothing
//! here is on the path of an interrupt.
use super::spec;
use crate::{
    interrupt::{MsiMessage, MsiVector},
    limit::RateLimit,
    wait::is_readable,
};
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// One table entry, as the guest wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixEntry {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
    /// Vector control.
    pub control: u32,
}

impl Default for MsixEntry {
    fn default() -> Self {
        // 6.8.2.9: vectors are masked after reset.
        Self {
            address: 0,
            data: 0,
            control: spec::MSIX_VECTOR_MASK,
        }
    }
}

impl MsixEntry {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.data.to_le_bytes());
        bytes[12..].copy_from_slice(&self.control.to_le_bytes());
        bytes
    }

    fn set_dword(&mut self, dword: u64, value: u32) {
        match dword {
            0 => self.address = self.address & !0xffff_ffff | u64::from(value & !3),
            1 => self.address = self.address & 0xffff_ffff | u64::from(value) << 32,
            2 => self.data = value,
            _ => self.control = value & spec::MSIX_VECTOR_MASK,
        }
    }
}

/// What a snapshot must carry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MsixState {
    /// Message control bits the guest wrote: enable and function mask.
    pub control: u16,
    /// The table.
    pub table: Vec<MsixEntry>,
}

/// Where table and pending bits lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixLayout {
    /// BAR of both.
    pub bar: u8,
    /// Offset of the table in the BAR, 8-byte aligned.
    pub table: u32,
    /// Offset of the pending bit array in the BAR, 8-byte aligned.
    pub pending: u32,
}

impl MsixLayout {
    /// Body of the capability, after ID and next pointer.
    pub(super) fn capability(&self, vectors: usize) -> [u8; 10] {
        let size = u16::try_from(vectors.saturating_sub(1)).unwrap_or(0);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&size.to_le_bytes());
        body[2..6].copy_from_slice(&(self.table | u32::from(self.bar)).to_le_bytes());
        body[6..].copy_from_slice(&(self.pending | u32::from(self.bar)).to_le_bytes());
        body
    }
}

/// The MSI-X function of a device.
pub struct Msix {
    // Runtime glue
    layout: MsixLayout,
    vectors: Vec<Arc<dyn MsiVector>>,
    // Volatile state
    state: MsixState,
    /// Routes as last set.
    routed: Vec<Option<MsiMessage>>,
}

impl std::fmt::Debug for Msix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Msix")
            .field("layout", &self.layout)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Msix {
    /// MSI-X with one table entry per vector, all masked.
    pub fn new(layout: MsixLayout, vectors: Vec<Arc<dyn MsiVector>>) -> Self {
        let count = vectors.len();
        Self {
            layout,
            vectors,
            state: MsixState {
                control: 0,
                table: vec![MsixEntry::default(); count],
            },
            routed: vec![None; count],
        }
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// No vector at all.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// What a snapshot must carry.
    pub fn state(&self) -> &MsixState {
        &self.state
    }

    /// The function uses MSI-X rather than INTx.
    pub fn enabled(&self) -> bool {
        self.state.control & spec::MSIX_ENABLE != 0
    }

    /// The eventfd behind `vector`; `None`: no such vector.
    pub fn eventfd(&self, vector: u16) -> Option<&EventFd> {
        self.vectors
            .get(usize::from(vector))
            .map(|vector| vector.eventfd())
    }

    /// The guest wrote message control.
    pub(super) fn set_control(&mut self, control: u16) {
        self.state.control = control & (spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK);
        for index in 0..self.vectors.len() {
            self.update_route(index);
        }
    }

    /// Back to power-on: table masked, MSI-X off.
    pub fn reset(&mut self) {
        self.state.table.fill(MsixEntry::default());
        self.set_control(0);
    }

    /// Handles a read of the table or of the pending bits; false: `offset` is neither.
    pub(super) fn read(&self, bar: u8, offset: u64, data: &mut [u8]) -> bool {
        if bar != self.layout.bar {
            return false;
        }
        if let Some(at) = inside(offset, self.layout.table, self.table_len()) {
            data.fill(0);
            for (at, byte) in (at..).zip(data) {
                let entry = usize::try_from(at / spec::MSIX_ENTRY_LEN).ok();
                let entry = entry.and_then(|entry| self.state.table.get(entry));
                let bytes = entry.copied().map_or([0; 16], MsixEntry::to_bytes);
                *byte = bytes[usize::try_from(at % spec::MSIX_ENTRY_LEN).unwrap_or(0)];
            }
            return true;
        }
        if let Some(at) = inside(offset, self.layout.pending, self.pending_len()) {
            for (at, byte) in (at..).zip(data) {
                *byte = self.pending_byte(at);
            }
            return true;
        }
        false
    }

    /// Handles a write to the table (the pending bits are read-only); false: `offset` is neither.
    pub(super) fn write(&mut self, bar: u8, offset: u64, data: &[u8]) -> bool {
        if bar != self.layout.bar {
            return false;
        }
        if inside(offset, self.layout.pending, self.pending_len()).is_some() {
            return true;
        }
        let Some(at) = inside(offset, self.layout.table, self.table_len()) else {
            return false;
        };
        // 6.8.2: software must use aligned dwords or qwords; anything else is undefined, here:
        // lost.
        if !at.is_multiple_of(4) || !data.len().is_multiple_of(4) {
            return true;
        }
        for (dword, bytes) in (at / 4..).zip(data.chunks_exact(4)) {
            let Ok(index) = usize::try_from(dword / 4) else {
                break;
            };
            let Some(entry) = self.state.table.get_mut(index) else {
                break;
            };
            entry.set_dword(dword % 4, bytes.try_into().map_or(0, u32::from_le_bytes));
            self.update_route(index);
        }
        true
    }

    fn table_len(&self) -> u64 {
        self.vectors.len() as u64 * spec::MSIX_ENTRY_LEN
    }

    fn pending_len(&self) -> u64 {
        (self.vectors.len() as u64).div_ceil(64) * 8
    }

    fn pending_byte(&self, at: u64) -> u8 {
        let first = usize::try_from(at).unwrap_or(usize::MAX).saturating_mul(8);
        (0..8)
            .filter(|bit| self.pending(first.saturating_add(*bit)))
            .fold(0, |byte, bit| byte | 1 << bit)
    }

    /// An event waits in the eventfd of a vector that has no route. (One with a route is drained by
    /// the kernel.)
    fn pending(&self, index: usize) -> bool {
        let Some((vector, None)) = self.vectors.get(index).zip(self.routed.get(index).copied())
        else {
            return false;
        };
        is_readable(vector.eventfd())
    }

    fn update_route(&mut self, index: usize) {
        let (Some(vector), Some(entry), Some(routed)) = (
            self.vectors.get(index),
            self.state.table.get(index),
            self.routed.get_mut(index),
        ) else {
            return;
        };
        let control = self.state.control;
        let open = control & spec::MSIX_ENABLE != 0
            && control & spec::MSIX_FUNCTION_MASK == 0
            && entry.control & spec::MSIX_VECTOR_MASK == 0;
        let wanted = open.then_some(MsiMessage {
            address: entry.address,
            data: entry.data,
        });
        if wanted == *routed {
            return;
        }
        match vector.set_route(wanted) {
            Ok(()) => *routed = wanted,
            Err(error) => {
                static LIMIT: RateLimit = RateLimit::new();
                if LIMIT.allow() {
                    tracing::warn!(%error, index, "setting an MSI-X route failed");
                }
            }
        }
    }
}

/// Offset of `offset` in `start..start + len`.
fn inside(offset: u64, start: u32, len: u64) -> Option<u64> {
    offset.checked_sub(u64::from(start)).filter(|at| *at < len)
}

#[cfg(test)]
#[path = "msix_test.rs"]
mod tests;

//! Hands out BAR addresses from the host bridge's windows, as firmware would.
use super::bar::{Bar, BarKind};
use std::ops::Range;
use thiserror::Error;

/// The host bridge's windows: what `_CRS` tells the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// I/O ports.
    pub io: Range<u64>,
    /// Memory below 4 GiB.
    pub memory32: Range<u64>,
    /// Memory above 4 GiB; empty: none.
    pub memory64: Range<u64>,
}

/// A window is full.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("no room for a PCI BAR of {size:#x} bytes in the {window} window")]
pub struct WindowFull {
    size: u64,
    window: &'static str,
}

/// A bump allocator over the windows: devices come at start and stay.
#[derive(Debug, Clone)]
pub(super) struct BarAllocator {
    free: Windows,
}

impl BarAllocator {
    pub(super) fn new(mut windows: Windows) -> Self {
        // Base 0 means "unassigned" to Linux and to our decoder.
        for range in [
            &mut windows.io,
            &mut windows.memory32,
            &mut windows.memory64,
        ] {
            range.start = range.start.max(1);
        }
        Self { free: windows }
    }

    /// A naturally aligned base for `bar`. 64-bit BARs too go low while there is room, for guests
    /// that cannot reach beyond 4 GiB.
    pub(super) fn allocate(&mut self, bar: &Bar) -> Result<u64, WindowFull> {
        let (range, window) = match bar.kind {
            BarKind::Io => (&mut self.free.io, "I/O port"),
            BarKind::Memory32 => (&mut self.free.memory32, "32-bit memory"),
            BarKind::Memory64 => {
                if let Some(base) = take(&mut self.free.memory32, bar.size) {
                    return Ok(base);
                }
                (&mut self.free.memory64, "64-bit memory")
            }
        };
        take(range, bar.size).ok_or(WindowFull {
            size: bar.size,
            window,
        })
    }
}

fn take(free: &mut Range<u64>, size: u64) -> Option<u64> {
    let base = free.start.checked_next_multiple_of(size)?;
    let end = base.checked_add(size)?;
    if end > free.end {
        return None;
    }
    free.start = end;
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(kind: BarKind, size: u64) -> Bar {
        Bar {
            index: 0,
            kind,
            size,
        }
    }

    #[test]
    fn aligns_naturally_and_spills_high() {
        let mut allocator = BarAllocator::new(Windows {
            io: 0..0x20,
            memory32: 0xe000_0000..0xe000_3000,
            memory64: 0x1_0000_0000..0x1_0001_0000,
        });
        assert_eq!(allocator.allocate(&bar(BarKind::Io, 0x10)), Ok(0x10));
        assert!(allocator.allocate(&bar(BarKind::Io, 4)).is_err());
        assert_eq!(
            allocator.allocate(&bar(BarKind::Memory32, 0x10)),
            Ok(0xe000_0000)
        );
        assert_eq!(
            allocator.allocate(&bar(BarKind::Memory64, 0x1000)),
            Ok(0xe000_1000)
        );
        assert_eq!(
            allocator.allocate(&bar(BarKind::Memory64, 0x2000)),
            Ok(0x1_0000_0000)
        );
        assert_eq!(
            allocator.allocate(&bar(BarKind::Memory32, 0x1000)),
            Ok(0xe000_2000)
        );
        assert!(allocator.allocate(&bar(BarKind::Memory32, 0x10)).is_err());
    }
}

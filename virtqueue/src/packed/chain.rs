//! Reading one descriptor chain of a packed ring into a burst, distrusting every word of it.

use super::{
    cursor::Cursor,
    layout::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE_U32, Ring, Table, Word},
};
use crate::{
    Burst, Head, MemoryMap, QueueFault, RingFeatures,
    chain::{ChainBuilder, append_chain, append_single, indirect_entries},
    memory::Window,
};

/// Appends the chain whose first descriptor, at `at`, was read as `first`; it may take `room` descriptors at most. On a fault the
/// burst is as before.
#[inline]
pub(super) fn read_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    (at, first): (Cursor, Word),
    (room, window): (u16, &mut Window),
    burst: &mut Burst,
) -> Result<u16, QueueFault> {
    let addr = ring.load_addr(at.index());
    if !first.has(DESC_F_NEXT | DESC_F_INDIRECT) {
        let buffer = (addr, first.len, first.has(DESC_F_WRITE));
        if append_single(mem, window, burst, Head::new(first.id, 1), buffer) {
            return Ok(1);
        }
    }
    read_any_chain(mem, ring, features, (at, addr, first), room, burst)
}

#[cold]
fn read_any_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    (at, addr, first): (Cursor, u64, Word),
    room: u16,
    burst: &mut Burst,
) -> Result<u16, QueueFault> {
    let head = append_chain(mem, burst, |chain| {
        if first.has(DESC_F_INDIRECT) {
            walk_table(mem, ring, features, (addr, first), chain)?;
            return Ok(Head::new(first.id, 1));
        }
        walk(ring, (at, addr, first), room, chain)
    })?;
    Ok(head.slots())
}

/// A chain in the ring: its descriptors follow each other, and the last one has its id (2.8.6).
fn walk(
    ring: &Ring,
    (mut at, mut addr, mut word): (Cursor, u64, Word),
    room: u16,
    chain: &mut ChainBuilder<'_>,
) -> Result<Head, QueueFault> {
    let mut slots = 1;
    loop {
        // 2.8.19: no table within a chain. Whether the table alone would do is no longer of interest.
        if word.has(DESC_F_INDIRECT) {
            return Err(QueueFault::IndirectNext);
        }
        chain.buffer(addr, word.len, word.has(DESC_F_WRITE))?;
        if !word.has(DESC_F_NEXT) {
            return Ok(Head::new(word.id, slots));
        }
        // Beyond what the device has given back there is nothing that the driver may have written.
        if slots == room {
            return Err(QueueFault::Loop);
        }
        slots += 1;
        at = at.after(1, ring.size);
        // What follows was written before the first descriptor was made available; its lap says nothing more.
        word = ring.load(at.index());
        addr = ring.load_addr(at.index());
    }
}

/// A chain in a table: all of its entries; NEXT means nothing there (2.8.7).
fn walk_table(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    (addr, word): (u64, Word),
    chain: &mut ChainBuilder<'_>,
) -> Result<(), QueueFault> {
    if !features.indirect {
        return Err(QueueFault::IndirectNotNegotiated);
    }
    if word.has(DESC_F_NEXT) {
        return Err(QueueFault::IndirectNext);
    }
    let count = indirect_entries(word.len, ring.size, DESC_SIZE_U32)?;
    let table = Table::new(mem, addr, count).ok_or(QueueFault::BufferUnmapped(addr))?;
    for (addr, word) in table.entries() {
        if word.has(DESC_F_INDIRECT) {
            return Err(QueueFault::IndirectNested);
        }
        chain.buffer(addr, word.len, word.has(DESC_F_WRITE))?;
    }
    Ok(())
}

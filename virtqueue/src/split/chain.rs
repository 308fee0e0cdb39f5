//! Reading one descriptor chain from guest memory into a burst, distrusting every word of it.

use super::layout::{
    DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE_U32, Descriptor, Ring, Table,
};
use crate::{
    Burst, Head, MemoryMap, QueueFault, RingFeatures,
    chain::{ChainBuilder, append_chain, append_single, indirect_entries},
    memory::Window,
};

/// Appends the chain that starts at `head`. On a fault the burst is as before.
#[inline]
pub(super) fn read_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    (head, window): (u16, &mut Window),
    burst: &mut Burst,
) -> Result<(), QueueFault> {
    if let Some(descriptor) = ring.table().load(head)
        && !descriptor.has(DESC_F_NEXT | DESC_F_INDIRECT)
    {
        let writable = descriptor.has(DESC_F_WRITE);
        let buffer = (descriptor.addr, descriptor.len, writable);
        if append_single(mem, window, burst, Head::new(head, 1), buffer) {
            return Ok(());
        }
    }
    read_any_chain(mem, ring, features, head, burst)
}

/// Any chain, one descriptor after the other, each read once; those that [`read_chain`] gave up on are read anew.
#[cold]
fn read_any_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    head: u16,
    burst: &mut Burst,
) -> Result<(), QueueFault> {
    append_chain(mem, burst, |chain| {
        walk(mem, ring, features, head, chain)?;
        Ok(Head::new(head, 1))
    })?;
    Ok(())
}

fn walk(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    head: u16,
    chain: &mut ChainBuilder<'_>,
) -> Result<(), QueueFault> {
    let mut table = ring.table();
    let mut in_indirect = false;
    let mut steps = 0;
    let mut descriptor = table.load(head).ok_or(QueueFault::Head(head))?;
    loop {
        steps += 1;
        if steps > table.len() {
            return Err(QueueFault::Loop);
        }
        if descriptor.has(DESC_F_INDIRECT) {
            table = open_indirect(mem, ring, features, descriptor, in_indirect)?;
            in_indirect = true;
            steps = 0;
            descriptor = table
                .load(0)
                .ok_or(QueueFault::IndirectLength(descriptor.len))?;
            continue;
        }
        let writable = descriptor.has(DESC_F_WRITE);
        chain.buffer(descriptor.addr, descriptor.len, writable)?;
        if !descriptor.has(DESC_F_NEXT) {
            return Ok(());
        }
        descriptor = table
            .load(descriptor.next)
            .ok_or(QueueFault::Next(descriptor.next))?;
    }
}

fn open_indirect(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    descriptor: Descriptor,
    in_indirect: bool,
) -> Result<Table, QueueFault> {
    if !features.indirect {
        return Err(QueueFault::IndirectNotNegotiated);
    }
    if in_indirect {
        return Err(QueueFault::IndirectNested);
    }
    if descriptor.has(DESC_F_NEXT) {
        return Err(QueueFault::IndirectNext);
    }
    let count = indirect_entries(descriptor.len, ring.size, DESC_SIZE_U32)?;
    Table::indirect(mem, descriptor.addr, count).ok_or(QueueFault::BufferUnmapped(descriptor.addr))
}

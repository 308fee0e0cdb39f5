//! Reading one descriptor chain from guest memory into a burst, distrusting every word of it.

use crate::{
    Burst, MemoryMap, QueueFault, RingFeatures,
    burst::{ChainMeta, Segment},
    layout::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE_U32, Descriptor, Ring, Table},
};

/// Descriptors in an indirect table at most, for queues smaller than this: QEMU's and Linux' own limit.
const INDIRECT_MAX: u16 = 1024;

/// Appends the chain that starts at `head`. On a fault the burst is as before.
#[inline]
pub(crate) fn read_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    head: u16,
    burst: &mut Burst,
) -> Result<(), QueueFault> {
    // Nearly always: one buffer in one region. All of it in registers, and stored once.
    if let Some(descriptor) = ring.table().load(head)
        && !descriptor.has(DESC_F_NEXT | DESC_F_INDIRECT)
        && let Some((host, covered)) = mem.span(descriptor.addr, u64::from(descriptor.len))
        && covered == u64::from(descriptor.len)
        && descriptor.len > 0
    {
        let writable = descriptor.has(DESC_F_WRITE);
        let (readable_len, writable_len) = if writable {
            (0, descriptor.len)
        } else {
            (descriptor.len, 0)
        };
        burst.chains.push(ChainMeta {
            head,
            first: u32::try_from(burst.segments.len()).unwrap_or(u32::MAX),
            readable: u32::from(!writable),
            writable: u32::from(writable),
            readable_len,
            writable_len,
            saw_writable: writable,
        });
        burst.segments.push(Segment {
            host,
            len: descriptor.len,
        });
        return Ok(());
    }
    read_any_chain(mem, ring, features, head, burst)
}

/// Any chain, one descriptor after the other, each read once; those that [`read_chain`] gave up on are read anew.
fn read_any_chain(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    head: u16,
    burst: &mut Burst,
) -> Result<(), QueueFault> {
    // Far fewer than fit: a burst takes no chain beyond its 2048 segments, and no chain has more than its tables' entries.
    let first = burst.segments.len();
    let mut meta = ChainMeta {
        head,
        first: u32::try_from(first).unwrap_or(u32::MAX),
        readable: 0,
        writable: 0,
        readable_len: 0,
        writable_len: 0,
        saw_writable: false,
    };
    match walk(mem, ring, features, head, &mut burst.segments, &mut meta) {
        Ok(()) => {
            burst.chains.push(meta);
            Ok(())
        }
        Err(fault) => {
            burst.segments.truncate(first);
            Err(fault)
        }
    }
}

fn walk(
    mem: &MemoryMap,
    ring: &Ring,
    features: RingFeatures,
    head: u16,
    segments: &mut Vec<Segment>,
    meta: &mut ChainMeta,
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
        append_buffer(mem, descriptor, segments, meta)?;
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
    let bad_length = QueueFault::IndirectLength(descriptor.len);
    let count = descriptor.len / DESC_SIZE_U32;
    if count == 0 || !descriptor.len.is_multiple_of(DESC_SIZE_U32) {
        return Err(bad_length);
    }
    let count = u16::try_from(count).map_err(|_| bad_length)?;
    if count > ring.size.max(INDIRECT_MAX) {
        return Err(bad_length);
    }
    Table::indirect(mem, descriptor.addr, count).ok_or(QueueFault::BufferUnmapped(descriptor.addr))
}

#[inline]
fn append_buffer(
    mem: &MemoryMap,
    descriptor: Descriptor,
    segments: &mut Vec<Segment>,
    meta: &mut ChainMeta,
) -> Result<(), QueueFault> {
    let writable = descriptor.has(DESC_F_WRITE);
    if !writable && meta.saw_writable {
        return Err(QueueFault::Order);
    }
    if meta
        .readable_len
        .checked_add(meta.writable_len)
        .and_then(|sum| sum.checked_add(descriptor.len))
        .is_none()
    {
        return Err(QueueFault::ChainLength);
    }
    let before = segments.len();
    let mut addr = descriptor.addr;
    let mut left = u64::from(descriptor.len);
    // Nearly always one turn; more where a buffer spans adjacent regions. Nothing forbids empty buffers: they add no segment.
    while left > 0 {
        let unmapped = QueueFault::BufferUnmapped(descriptor.addr);
        let (host, covered) = mem.span(addr, left).ok_or(unmapped)?;
        let len = u32::try_from(covered).map_err(|_| unmapped)?;
        segments.push(Segment { host, len });
        left -= covered;
        addr = addr.wrapping_add(covered);
    }
    let added = u32::try_from(segments.len() - before).unwrap_or(u32::MAX);
    if writable {
        meta.writable += added;
        meta.writable_len += descriptor.len;
        meta.saw_writable = true;
    } else {
        meta.readable += added;
        meta.readable_len += descriptor.len;
    }
    Ok(())
}

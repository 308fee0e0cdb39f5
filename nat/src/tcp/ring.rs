//! Bytes of one direction of a flow. Nothing is held while nothing is stored: a ring gets storage when it needs some, and gives it
//! back when it is empty.
use crate::bytes::copy;
use std::io::{IoSlice, IoSliceMut};

/// Smallest storage: most answers fit, and thousands of them under way at once are kept for the next ones.
const MIN: usize = 4 << 10;
/// Sizes of storage: `MIN << 0`, up to 4 MiB.
const CLASSES: usize = 11;
/// Bytes of storage that are kept for the next flow.
const KEEP: usize = 16 << 20;

/// Largest storage of a ring.
pub(crate) const MAX_RING: usize = MIN << (CLASSES - 1);

/// Storage that no flow holds now, so that an exchange costs no trip to the allocator and no clearing.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: [Vec<Box<[u8]>>; CLASSES],
    kept: usize,
}

impl Pool {
    /// Storage of the least size that holds `len`; as much as there is, if there is none.
    fn take(&mut self, len: usize) -> Box<[u8]> {
        let class = class_of(len);
        match self.free.get_mut(class).and_then(Vec::pop) {
            Some(storage) => {
                self.kept -= storage.len();
                storage
            }
            None => vec![0; MIN << class].into_boxed_slice(),
        }
    }

    fn give(&mut self, storage: Box<[u8]>) {
        if storage.is_empty() || self.kept + storage.len() > KEEP {
            return;
        }
        self.kept += storage.len();
        if let Some(free) = self.free.get_mut(class_of(storage.len())) {
            free.push(storage);
        }
    }
}

fn class_of(len: usize) -> usize {
    let class = len.div_ceil(MIN).next_power_of_two().trailing_zeros() as usize;
    class.min(CLASSES - 1)
}

/// A ring of bytes whose length its owner keeps: offsets are from the first byte that was not consumed.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    storage: Box<[u8]>,
    /// of the byte at offset 0; always less than the capacity, a power of two, or 0
    head: usize,
}

impl Ring {
    pub(crate) fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// The capacity that [`Ring::reserve`] would give.
    pub(crate) fn capacity_for(len: usize) -> usize {
        MIN << class_of(len)
    }

    /// Makes room for `len` bytes in all, at most [`MAX_RING`]; the first `used` are kept.
    pub(crate) fn reserve(&mut self, pool: &mut Pool, used: usize, len: usize) {
        if len <= self.capacity() {
            return;
        }
        let mut storage = pool.take(len);
        let mut writer = crate::bytes::Writer::new(&mut storage);
        let (a, b) = self.slices(0, used);
        writer.put(a);
        writer.put(b);
        pool.give(std::mem::replace(&mut self.storage, storage));
        self.head = 0;
    }

    /// Gives the storage back.
    pub(crate) fn release(&mut self, pool: &mut Pool) {
        pool.give(std::mem::take(&mut self.storage));
        self.head = 0;
    }

    /// Drops bytes from the front.
    pub(crate) fn consume(&mut self, len: usize) {
        if let Some(mask) = self.capacity().checked_sub(1) {
            self.head = (self.head + len) & mask;
        }
    }

    fn split(&self, offset: usize, len: usize) -> (usize, usize, usize) {
        let capacity = self.capacity();
        let offset = offset.min(capacity);
        let len = len.min(capacity - offset);
        let start = match capacity.checked_sub(1) {
            Some(mask) => (self.head + offset) & mask,
            None => 0,
        };
        let first = len.min(capacity - start);
        (start, first, len - first)
    }

    /// Bytes from an offset, in two parts where the ring wraps.
    pub(crate) fn slices(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        let (start, first, second) = self.split(offset, len);
        (
            self.storage.get(start..start + first).unwrap_or_default(),
            self.storage.get(..second).unwrap_or_default(),
        )
    }

    fn slices_mut(&mut self, offset: usize, len: usize) -> (&mut [u8], &mut [u8]) {
        let (start, first, second) = self.split(offset, len);
        let (low, high) = self.storage.split_at_mut(start);
        let first = high.get_mut(..first).unwrap_or_default();
        (first, low.get_mut(..second).unwrap_or_default())
    }

    /// Stores bytes at an offset; what is behind the capacity is not stored.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let (a, b) = self.slices_mut(offset, bytes.len());
        let (first, rest) = bytes.split_at(a.len().min(bytes.len()));
        copy(a, first);
        copy(b, rest);
    }

    /// Bytes from an offset, for a vectored write.
    pub(crate) fn to_write(&self, offset: usize, len: usize) -> [IoSlice<'_>; 2] {
        let (a, b) = self.slices(offset, len);
        [IoSlice::new(a), IoSlice::new(b)]
    }

    /// Room from an offset, for a vectored read.
    pub(crate) fn room(&mut self, offset: usize, len: usize) -> [IoSliceMut<'_>; 2] {
        let (a, b) = self.slices_mut(offset, len);
        [IoSliceMut::new(a), IoSliceMut::new(b)]
    }
}

#[cfg(test)]
#[path = "ring_test.rs"]
mod tests;

//! Reading and writing big-endian fields without a panic, and the Internet checksum (RFC 1071).

/// `N` bytes at an offset.
pub(crate) fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A 16-bit field.
pub(crate) fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    get(bytes, at).map(u16::from_be_bytes)
}

/// A 32-bit field.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    get(bytes, at).map(u32::from_be_bytes)
}

/// Bytes that are copied at once if they are copied in parts.
const PART: usize = 2048;

/// Copies as many bytes as there are and have room. `virtqueue::copy` tells why long copies go in parts between some places.
pub(crate) fn copy(place: &mut [u8], bytes: &[u8]) {
    let len = place.len().min(bytes.len());
    let behind = place.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr()) % 4096;
    let part = if (1..64).contains(&behind) {
        PART
    } else {
        len.max(1)
    };
    for (place, bytes) in place.chunks_mut(part).zip(bytes.chunks(part)) {
        let len = place.len().min(bytes.len());
        if let (Some(place), Some(bytes)) = (place.get_mut(..len), bytes.get(..len)) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Writes a field; behind the end nothing happens.
pub(crate) fn set(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = at
        .checked_add(field.len())
        .and_then(|end| bytes.get_mut(at..end))
    {
        place.copy_from_slice(field);
    }
}

/// Fills a buffer from its start.
#[derive(Debug)]
pub(crate) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self(buffer)
    }

    /// Room for the next `len` bytes, or for what there is.
    pub(crate) fn take(&mut self, len: usize) -> &'a mut [u8] {
        let buffer = std::mem::take(&mut self.0);
        let (now, rest) = buffer.split_at_mut(len.min(buffer.len()));
        self.0 = rest;
        now
    }

    /// Writes bytes, as many as there is room for.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        copy(self.take(bytes.len()), bytes);
    }
}

/// A sum of 16-bit words in the making, in the byte order of the machine (RFC 1071, 2 B).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes; all calls but the last have an even number of them.
    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
            sum = next + u64::from(carry);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            set(&mut last, 0, rest);
            let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(last));
            sum = next + u64::from(carry);
        }
        Self(sum)
    }

    /// The sum, folded to 16 bits, as it stands in the frame: not complemented.
    pub(crate) fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
        (sum as u16).to_ne_bytes()
    }

    /// The checksum, as it stands in the frame.
    pub(crate) fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }
}

#[cfg(test)]
#[path = "bytes_test.rs"]
mod tests;

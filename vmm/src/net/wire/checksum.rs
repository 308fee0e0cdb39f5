//! The Internet checksum (RFC 1071), in pieces of any length.
use virtqueue::NetHeader;

/// A running ones' complement sum.
///
/// ```
/// use vmm::net::wire::Sum;
/// let mut sum = Sum::default();
/// sum.add(&[0x45, 0x00, 0x00]);
/// sum.add(&[0x1c]);
/// assert_eq!(sum.complement(), !0x451c);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    total: u64,
    /// The next byte is the low half of a word.
    odd: bool,
}

impl Sum {
    /// Adds bytes that follow those before.
    pub fn add(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.odd
            && let Some((first, rest)) = bytes.split_first()
        {
            self.total += u64::from(*first);
            self.odd = false;
            bytes = rest;
        }
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            if let Ok(word) = <[u8; 4]>::try_from(word) {
                self.total += u64::from(u32::from_be_bytes(word));
            }
        }
        let mut pairs = words.remainder().chunks_exact(2);
        for pair in &mut pairs {
            if let Ok(pair) = <[u8; 2]>::try_from(pair) {
                self.total += u64::from(u16::from_be_bytes(pair));
            }
        }
        if let [last] = pairs.remainder() {
            self.total += u64::from(*last) << 8;
            self.odd = true;
        }
    }

    /// The sum, folded.
    pub fn fold(self) -> u16 {
        let mut total = self.total;
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        u16::try_from(total).unwrap_or(u16::MAX)
    }

    /// What goes into a checksum field. Never 0, which UDP gives another meaning; to the sum
    /// both zeroes are the same.
    pub fn complement(self) -> u16 {
        match !self.fold() {
            0 => 0xffff,
            value => value,
        }
    }
}

/// Completes a partial checksum of a whole frame: `start` and `offset` as in `virtio_net_hdr`. False: they lie beyond the frame.
pub fn replace_partial(frame: &mut [u8], start: usize, offset: usize) -> bool {
    let at = start + offset;
    let (Some(covered), true) = (frame.get(start..), at + 2 <= frame.len()) else {
        return false;
    };
    let mut sum = Sum::default();
    sum.add(covered);
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.complement().to_be_bytes());
    }
    true
}

/// Makes a frame from a guest what it would be on a cable: a partial checksum is completed. Returns whether its checksum is right;
/// `None`: the frame makes no sense.
pub fn complete(header: &NetHeader, frame: &mut [u8]) -> Option<bool> {
    if !header.needs_csum {
        return Some(header.data_valid);
    }
    replace_partial(frame, header.csum_start.into(), header.csum_offset.into()).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..=254).collect();
        let mut whole = Sum::default();
        whole.add(&bytes);
        for cut in 0..bytes.len() {
            let mut sum = Sum::default();
            let (left, right) = bytes.split_at(cut);
            sum.add(left);
            sum.add(&[]);
            sum.add(right);
            assert_eq!(sum.fold(), whole.fold(), "cut at {cut}");
        }
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_ones() {
        // RFC 1071's example.
        let mut sum = Sum::default();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
        sum.add(&sum.complement().to_be_bytes());
        assert_eq!(sum.fold(), 0xffff);
    }

    #[test]
    fn offsets_beyond_the_frame_are_refused() {
        let mut frame = [1u8; 20];
        for (start, offset) in [(21, 0), (20, 0), (0, 19), (10, 9), (65535, 65535)] {
            assert!(
                !replace_partial(&mut frame, start, offset),
                "{start} {offset}"
            );
        }
        assert_eq!(frame, [1; 20]);
        assert!(replace_partial(&mut frame, 0, 18));
    }
}

//! The Internet checksum (RFC 1071): sums, pseudo-headers, completion of a partial one.
use virtqueue::NetHeader;

use super::Reject;
use super::bytes;
use super::parse::ETHERNET_LEN;

/// Bytes added per round of the inner loop: a vector register or two.
const LANES: usize = 8;

/// A ones' complement sum under way. Pieces may have any length; they count as one string of bytes.
///
/// ```
/// use netbackend::offload::Checksum;
///
/// let mut pieces = Checksum::default();
/// pieces.add(&[0x00, 0x01, 0xf2]);
/// pieces.add(&[0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
/// assert_eq!(pieces.finish(), !0xddf2); // RFC 1071, section 3
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Checksum {
    /// sum of 16-bit words, not folded
    sum: u64,
    /// whether the next byte is the low one of its word
    odd: bool,
}

impl Checksum {
    /// The sum over a TCP or UDP pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).
    ///
    /// `addresses` are source and destination as they follow each other in the IPv4 or IPv6 header;
    /// `len` is the length of the transport header and its payload.
    #[must_use]
    pub fn pseudo_header(addresses: &[u8], protocol: u8, len: u32) -> Self {
        let mut checksum = Self::default();
        checksum.add(addresses);
        checksum.add(&[0, protocol]);
        checksum.add(&len.to_be_bytes());
        checksum
    }

    /// Adds the bytes that follow.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = sum_words(bytes);
        // Byte order does not matter to the sum but for a final swap (RFC 1071, 2.B): a piece that
        // starts in the middle of a word has its bytes on the other sides.
        self.sum += u64::from(if self.odd { sum.swap_bytes() } else { sum });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The value for a checksum field: the complement of the sum.
    #[must_use]
    pub fn finish(self) -> u16 {
        !fold(self.sum)
    }

    /// The value for a UDP checksum field, where zero means "none" (RFC 768): 0xffff in its place.
    #[must_use]
    pub fn finish_nonzero(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            value => value,
        }
    }
}

/// The folded sum of big-endian words; an odd last byte is the high one of its word.
#[inline]
fn sum_words(bytes: &[u8]) -> u16 {
    // 32-bit words in native order: 64-bit lanes take 2^32 of them before they overflow.
    let mut lanes = [0_u64; LANES];
    let (words, tail) = bytes.as_chunks::<4>();
    let (rounds, rest) = words.as_chunks::<LANES>();
    for round in rounds {
        for (lane, word) in lanes.iter_mut().zip(round) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    for (lane, word) in lanes.iter_mut().zip(rest) {
        *lane += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    let sum = lanes
        .iter()
        .fold(u64::from(u32::from_ne_bytes(last)), |sum, lane| {
            sum + (lane >> 32) + (lane & 0xffff_ffff)
        });
    u16::from_be(fold(sum))
}

/// Adds the carries back in until 16 bits are left.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "three folds leave 16 bits of 33"
    )]
    let folded = sum as u16;
    folded
}

/// Completes a partial checksum in place, as VIRTIO_NET_HDR_F_NEEDS_CSUM asks (virtio 1.2,
/// 5.1.6.2): the field holds the sum of the pseudo-header, and gets the checksum of all from
/// `csum_start` to the end of the frame.
///
/// The caller has looked at `header.needs_csum`. A result of zero is written as 0xffff, whatever
/// the protocol: for UDP it must be, for the others both mean the same, and the kernel does so too
/// (`skb_checksum_help`).
///
/// # Errors
/// [`Reject::ChecksumRange`] if the field is not within the frame and behind its Ethernet header:
/// nothing is written.
pub fn complete_checksum(frame: &mut [u8], header: &NetHeader) -> Result<(), Reject> {
    let start = usize::from(header.csum_start);
    let field = start + usize::from(header.csum_offset);
    if start < ETHERNET_LEN || bytes::get_u16(frame, field).is_none() {
        return Err(Reject::ChecksumRange);
    }
    let mut checksum = Checksum::default();
    checksum.add(frame.get(start..).unwrap_or_default());
    bytes::put(frame, field, checksum.finish_nonzero().to_be_bytes()).ok_or(Reject::ChecksumRange)
}

#[cfg(test)]
#[path = "checksum_test.rs"]
mod tests;

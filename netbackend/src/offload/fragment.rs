//! The fields of IP fragments.
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::bytes;
use super::parse::{FRAGMENT, IPV6_LEN, IpVersion, UDP};
use super::validate::UDP_LEN;

/// Bytes of an IPv6 fragment header (RFC 8200, 4.5).
pub(super) const IPV6_FRAGMENT_LEN: usize = 8;

const IPV4_FRAGMENT: usize = 6;
/// "More fragments" of IPv4 (RFC 791, 3.1).
const IPV4_MORE: u16 = 0x2000;
const IPV6_NEXT_HEADER: usize = 6;
/// "M flag" of the IPv6 fragment header.
const IPV6_MORE: u16 = 1;

/// Moves the UDP header behind the IPv6 header at `l3` away to make room for a fragment header with
/// an identification of its own; `None`: there is no room.
pub(super) fn insert_ipv6(headers: &mut [u8], l3: usize) -> Option<()> {
    let at = l3 + IPV6_LEN;
    let udp: [u8; UDP_LEN] = bytes::get(headers, at)?;
    bytes::put(headers, at + IPV6_FRAGMENT_LEN, udp)?;
    bytes::put(headers, l3 + IPV6_NEXT_HEADER, [FRAGMENT])?;
    let [a, b, c, d] = identification().to_be_bytes();
    bytes::put(headers, at, [UDP, 0, 0, 0, a, b, c, d])
}

/// Writes the offset (in bytes) of a fragment, and whether more follow.
pub(super) fn patch(
    headers: &mut [u8],
    (ip, l3): (IpVersion, usize),
    offset: u16,
    more: bool,
) -> Option<()> {
    let (at, field) = match ip {
        // In units of 8 bytes.
        IpVersion::V4 => (
            l3 + IPV4_FRAGMENT,
            (offset / 8) | if more { IPV4_MORE } else { 0 },
        ),
        // Likewise, three bits to the left.
        IpVersion::V6 => (l3 + IPV6_LEN + 2, offset | if more { IPV6_MORE } else { 0 }),
    };
    bytes::put(headers, at, field.to_be_bytes())
}

/// An identification that is not used again soon, nor to be guessed (RFC 7739, 5.3).
fn identification() -> u32 {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let hash = KEY.hash_one(COUNTER.fetch_add(1, Ordering::Relaxed));
    let [a, b, c, d, ..] = hash.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

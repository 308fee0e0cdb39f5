//! Where the headers of a frame are, from its own bytes: the `hdr_len` of a virtio-net header is a
//! hint.
use thiserror::Error;

use super::bytes;

/// Bytes of an Ethernet header without tags.
pub(super) const ETHERNET_LEN: usize = 14;
/// Bytes of an IPv6 header without extensions.
pub(super) const IPV6_LEN: usize = 40;
/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
const VLAN_TAG_LEN: usize = 4;
/// C-VLAN within S-VLAN (IEEE 802.1Q).
const MAX_VLAN_TAGS: usize = 2;

const IPV4_MIN_LEN: usize = 20;
const TCP_MIN_LEN: usize = 20;
/// RFC 8200, 4.1 has each of hop-by-hop, routing, fragment once and destination options twice.
const MAX_EXTENSIONS: usize = 5;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpVersion {
    /// RFC 791
    V4,
    /// RFC 8200
    V6,
}

/// Where the headers of an IP frame are, as offsets from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// offset of the IP header
    pub l3: usize,
    /// version of the IP header
    pub ip: IpVersion,
    /// offset of what follows IP options or extension headers
    pub l4: usize,
    /// IP protocol number of what is at `l4`
    pub protocol: u8,
    /// the packet is a fragment of another: there may be no transport header at `l4`
    pub is_fragment: bool,
    /// IPv6 with a routing header: the pseudo-header may have another destination than the IP
    /// header
    pub has_routing_header: bool,
}

/// Why a frame has no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// other than IPv4 and IPv6 behind at most two VLAN tags
    #[error("not an IP frame")]
    NotIp,
    /// headers go on behind the last byte
    #[error("headers are truncated")]
    Truncated,
    /// version or header length is impossible
    #[error("malformed IP or TCP header")]
    Malformed,
    /// more IPv6 extension headers than RFC 8200, 4.1 has
    #[error("too many IPv6 extension headers")]
    TooManyExtensions,
}

/// Finds the headers of a frame from its first bytes.
pub fn parse(head: &[u8]) -> Result<Layout, ParseError> {
    let mut at = ETHERNET_LEN - 2;
    for _ in 0..=MAX_VLAN_TAGS {
        match bytes::get_u16(head, at).ok_or(ParseError::Truncated)? {
            ETHERTYPE_IPV4 => return parse_ipv4(head, at + 2),
            ETHERTYPE_IPV6 => return parse_ipv6(head, at + 2),
            ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => at += VLAN_TAG_LEN,
            _ => break,
        }
    }
    Err(ParseError::NotIp)
}

fn parse_ipv4(head: &[u8], l3: usize) -> Result<Layout, ParseError> {
    let header: [u8; IPV4_MIN_LEN] = bytes::get(head, l3).ok_or(ParseError::Truncated)?;
    let [
        version_ihl,
        _,
        _,
        _,
        _,
        _,
        fragment @ ..,
        _,
        protocol,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
    ] = header;
    let ihl = usize::from(version_ihl & 0xf) * 4;
    if version_ihl >> 4 != 4 || ihl < IPV4_MIN_LEN {
        return Err(ParseError::Malformed);
    }
    if head.len() < l3 + ihl {
        return Err(ParseError::Truncated);
    }
    Ok(Layout {
        l3,
        ip: IpVersion::V4,
        l4: l3 + ihl,
        protocol,
        // More fragments, or an offset (RFC 791, 3.1).
        is_fragment: u16::from_be_bytes(fragment) & 0x3fff != 0,
        has_routing_header: false,
    })
}

fn parse_ipv6(head: &[u8], l3: usize) -> Result<Layout, ParseError> {
    let header: [u8; IPV6_LEN] = bytes::get(head, l3).ok_or(ParseError::Truncated)?;
    let [version, _, _, _, _, _, next_header, ..] = header;
    if version >> 4 != 6 {
        return Err(ParseError::Malformed);
    }
    let mut layout = Layout {
        l3,
        ip: IpVersion::V6,
        l4: l3 + IPV6_LEN,
        protocol: next_header,
        is_fragment: false,
        has_routing_header: false,
    };
    for _ in 0..=MAX_EXTENSIONS {
        if !skip_extension(head, &mut layout)? {
            return Ok(layout);
        }
    }
    Err(ParseError::TooManyExtensions)
}

/// Steps over one extension header; false: there is none, or nothing to be found behind it.
fn skip_extension(head: &[u8], layout: &mut Layout) -> Result<bool, ParseError> {
    if !matches!(
        layout.protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
    ) {
        return Ok(false);
    }
    let [next_header, length, fragment @ .., _, _, _, _] =
        bytes::get::<8>(head, layout.l4).ok_or(ParseError::Truncated)?;
    let length = match layout.protocol {
        FRAGMENT => {
            // An offset, or more fragments (RFC 8200, 4.5); neither: an "atomic" fragment, the
            // whole packet.
            layout.is_fragment |= u16::from_be_bytes(fragment) & 0xfff9 != 0;
            8
        }
        _ => 8 + usize::from(length) * 8,
    };
    if layout.is_fragment {
        return Ok(false);
    }
    layout.has_routing_header |= layout.protocol == ROUTING;
    layout.l4 += length;
    layout.protocol = next_header;
    if head.len() < layout.l4 {
        Err(ParseError::Truncated)
    } else {
        Ok(true)
    }
}

impl Layout {
    /// Offset of the payload of a TCP frame, within `head`.
    pub fn tcp_payload(&self, head: &[u8]) -> Result<usize, ParseError> {
        let data_offset = bytes::get_u8(head, self.l4 + 12).ok_or(ParseError::Truncated)?;
        let length = usize::from(data_offset >> 4) * 4;
        if length < TCP_MIN_LEN {
            return Err(ParseError::Malformed);
        }
        let payload = self.l4 + length;
        if head.len() < payload {
            Err(ParseError::Truncated)
        } else {
            Ok(payload)
        }
    }
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;

//! What a router among the guests says about a packet that it could not pass on (RFC 1191, 4; RFC 4443, 3.2).
use crate::bytes::{get, get_u16, get_u32};
use crate::frame::protocol;
use crate::icmp::plateau;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// No MTU below these is believed: what every host can put together (RFC 1122, 3.3.2), or every link carries (RFC 8200, 5). A guest
/// would have each datagram cut into crumbs.
const LEAST_V4: u16 = 576;
const LEAST_V6: u16 = 1280;

/// A datagram or segment of the gateway was too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// where it came from, as the guests see it
    pub(crate) remote: SocketAddr,
    /// whom it was for
    pub(crate) guest: SocketAddr,
    pub(crate) mtu: u16,
    pub(crate) about: About,
}

/// What was too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Udp,
    /// a segment with this sequence number
    Tcp(u32),
}

impl TooBig {
    /// Reads the rest of the error, from its fifth byte on. `None`: it is about neither UDP nor TCP, or makes no sense.
    pub(crate) fn parse(v4: bool, rest: &[u8]) -> Option<Self> {
        let word = get_u32(rest, 0)?;
        let quoted = rest.get(4..)?;
        let (source, destination, number, head) = if v4 {
            quoted_v4(quoted)?
        } else {
            quoted_v6(quoted)?
        };
        let about = match number {
            protocol::UDP => About::Udp,
            protocol::TCP => About::Tcp(get_u32(head, 4)?),
            _ => return None,
        };
        let (mtu, least) = if v4 {
            (word & 0xffff, LEAST_V4)
        } else {
            (word, LEAST_V6)
        };
        let told = u16::try_from(mtu).unwrap_or(u16::MAX);
        let mtu = if v4 && told == 0 {
            plateau::below(get_u16(quoted, 2)?)
        } else {
            told
        };
        Some(Self {
            remote: SocketAddr::new(source, get_u16(head, 0)?),
            guest: SocketAddr::new(destination, get_u16(head, 2)?),
            mtu: mtu.max(least),
            about,
        })
    }
}

/// Both addresses, the protocol, and what is behind the header.
type Quoted<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn quoted_v4(packet: &[u8]) -> Option<Quoted<'_>> {
    let [first] = get(packet, 0)?;
    let [number] = get(packet, 9)?;
    // The ports are in the first fragment.
    let is_first = get_u16(packet, 6)? << 3 == 0;
    let address = |at| Some(IpAddr::V4(Ipv4Addr::from_octets(get(packet, at)?)));
    let behind = packet.get(usize::from(first & 0x0f) * 4..)?;
    let whole = (address(12)?, address(16)?, number, behind);
    (first >> 4 == 4 && is_first).then_some(whole)
}

/// The gateway sends no extension header but that of a fragment.
fn quoted_v6(packet: &[u8]) -> Option<Quoted<'_>> {
    let [first] = get(packet, 0)?;
    let [mut number] = get(packet, 6)?;
    let mut at = 40;
    if number == protocol::FRAGMENT && get_u16(packet, 42)? >> 3 == 0 {
        [number] = get(packet, 40)?;
        at = 48;
    }
    let address = |at| Some(IpAddr::V6(Ipv6Addr::from_octets(get(packet, at)?)));
    let whole = (address(8)?, address(24)?, number, packet.get(at..)?);
    (first >> 4 == 6).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(mtu: u16) -> Vec<u8> {
        let mut rest = vec![0, 0];
        rest.extend(mtu.to_be_bytes());
        rest.extend([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 63, 17, 0, 0]);
        rest.extend([192, 0, 2, 80, 10, 0, 2, 15, 0, 80, 0x9c, 0x40]);
        rest
    }

    fn v6(mtu: u32, fragment: bool) -> Vec<u8> {
        let mut rest = mtu.to_be_bytes().to_vec();
        rest.extend([0x60, 0, 0, 0, 5, 0xdc, if fragment { 44 } else { 17 }, 63]);
        for last in [1, 2] {
            rest.extend(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).octets());
        }
        if fragment {
            rest.extend([17, 0, 0, 1, 0, 0, 0, 9]);
        }
        rest.extend([0, 80, 0x9c, 0x40]);
        rest
    }

    #[test]
    fn both_ends_and_a_believable_mtu() {
        let found = TooBig::parse(true, &v4(1400)).unwrap();
        assert_eq!(found.remote.to_string(), "192.0.2.80:80");
        assert_eq!(
            (found.guest.to_string().as_str(), found.mtu),
            ("10.0.2.15:40000", 1400)
        );
        assert_eq!(TooBig::parse(true, &v4(68)).unwrap().mtu, 576);
        // Routers older than RFC 1191 say nothing: it was 1500 bytes long.
        assert_eq!(TooBig::parse(true, &v4(0)).unwrap().mtu, 1492);
        for fragment in [false, true] {
            let found = TooBig::parse(false, &v6(1400, fragment)).unwrap();
            assert_eq!(found.remote.to_string(), "[fd00::1]:80");
            assert_eq!(
                (found.guest.to_string().as_str(), found.mtu),
                ("[fd00::2]:40000", 1400)
            );
        }
        assert_eq!(TooBig::parse(false, &v6(68, false)).unwrap().mtu, 1280);
        assert_eq!(
            TooBig::parse(false, &v6(1 << 20, false)).unwrap().mtu,
            u16::MAX
        );
    }

    #[test]
    fn of_a_segment_the_sequence_number_counts() {
        for (is_v4, mut rest, number) in [(true, v4(1400), 9), (false, v6(1400, false), 6)] {
            rest[4 + number] = protocol::TCP;
            rest.extend([1, 2, 3]);
            assert_eq!(TooBig::parse(is_v4, &rest), None);
            rest.push(4);
            let found = TooBig::parse(is_v4, &rest).unwrap();
            assert_eq!(found.about, About::Tcp(0x0102_0304));
        }
    }

    #[test]
    fn what_is_truncated_or_about_something_else_is_nothing() {
        for (is_v4, whole) in [
            (true, v4(1400)),
            (false, v6(1400, false)),
            (false, v6(1400, true)),
        ] {
            for len in 0..whole.len() {
                assert_eq!(TooBig::parse(is_v4, &whole[..len]), None, "{len}");
            }
            assert_eq!(TooBig::parse(!is_v4, &whole), None);
        }
        let mut icmp = v4(1400);
        icmp[4 + 9] = 1;
        assert_eq!(TooBig::parse(true, &icmp), None);
        let mut later = v4(1400);
        later[4 + 7] = 1;
        assert_eq!(TooBig::parse(true, &later), None);
    }
}

//! ICMP errors to guests (RFC 792, RFC 4443, 3).
use crate::MacAddr;
use crate::bytes::{Sum, Writer};
use crate::env::Env;
use crate::frame::{IpHeader, Packet, Pseudo, emit_ip, protocol, write_ip};
use crate::host::HostError;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a packet that an error quotes: what keeps the error below the least MTU (RFC 1812, 4.3.2.3: 576; RFC 4443, 3: 1280).
const QUOTE_V4: usize = 576 - 20 - 8;
const QUOTE_V6: usize = 1280 - 40 - 8;

/// What is wrong, as a type and code of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    NetworkUnreachable,
    HostUnreachable,
    PortUnreachable,
    /// communication administratively prohibited
    Prohibited,
    /// TTL or hop limit
    TimeExceeded,
    /// fragmentation needed, or packet too big
    TooBig(u32),
    /// as another router said, in the family's own numbers
    Other {
        kind: u8,
        code: u8,
    },
}

impl Problem {
    /// What a failed connection or transmission means; `None`: nothing that a guest is told.
    pub(crate) const fn of(error: HostError) -> Option<Self> {
        match error {
            HostError::NetworkUnreachable | HostError::AddressNotAvailable => {
                Some(Self::NetworkUnreachable)
            }
            HostError::HostUnreachable | HostError::TimedOut => Some(Self::HostUnreachable),
            HostError::NotPermitted => Some(Self::Prohibited),
            HostError::Refused => Some(Self::PortUnreachable),
            _ => None,
        }
    }

    /// Type, code, and the four bytes behind the checksum.
    #[allow(clippy::match_same_arms, reason = "two tables, one of each family")]
    fn header(self, v4: bool) -> (u8, u8, u32) {
        match (self, v4) {
            (Self::NetworkUnreachable, true) => (3, 0, 0),
            (Self::HostUnreachable, true) => (3, 1, 0),
            (Self::PortUnreachable, true) => (3, 3, 0),
            (Self::Prohibited, true) => (3, 13, 0),
            (Self::TimeExceeded, true) => (11, 0, 0),
            // RFC 1191, 4
            (Self::TooBig(mtu), true) => (3, 4, mtu & 0xffff),
            (Self::NetworkUnreachable, false) => (1, 0, 0),
            (Self::HostUnreachable, false) => (1, 3, 0),
            (Self::PortUnreachable, false) => (1, 4, 0),
            (Self::Prohibited, false) => (1, 1, 0),
            (Self::TimeExceeded, false) => (3, 0, 0),
            (Self::TooBig(mtu), false) => (2, 0, mtu),
            (Self::Other { kind, code }, _) => (kind, code, 0),
        }
    }
}

/// Who is told, by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quote<'a> {
    pub(crate) guest: u32,
    pub(crate) mac: MacAddr,
    /// who says so; `None`: the gateway
    pub(crate) offender: Option<IpAddr>,
    /// who sent what is quoted
    pub(crate) to: IpAddr,
    /// the packet from its IP header on
    pub(crate) packet: &'a [u8],
}

/// Tells the sender of a packet what is wrong with it.
pub(crate) fn tell(env: &mut Env<'_>, guest: u32, packet: &Packet<'_>, problem: Problem) {
    let quote = Quote {
        guest,
        mac: packet.link.source,
        offender: None,
        to: packet.source,
        packet: packet.whole,
    };
    tell_quoting(env, &quote, problem);
}

/// What is left of a packet that is not at hand any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remains<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: u8,
    /// bytes 4 to 7 behind the IP header
    pub(crate) second_word: [u8; 4],
    /// what came behind these; empty: not known
    pub(crate) rest: &'a [u8],
}

/// Tells the sender of a packet that is not at hand any more: headers are made up.
pub(crate) fn tell_of(
    env: &mut Env<'_>,
    (guest, mac): (u32, MacAddr),
    offender: Option<IpAddr>,
    remains: &Remains<'_>,
    problem: Problem,
) {
    let Remains {
        source,
        destination,
        protocol,
        ..
    } = *remains;
    let Some(pseudo) = Pseudo::new(source.ip(), destination.ip()) else {
        return;
    };
    let header = IpHeader {
        source: source.ip(),
        destination: destination.ip(),
        protocol,
        hop_limit: 1,
        traffic_class: 0,
    };
    let mut bytes = [0; QUOTE_V6];
    let rest = remains
        .rest
        .get(..QUOTE_V6 - pseudo.ip_len() - 8)
        .unwrap_or(remains.rest);
    let mut writer = Writer::new(&mut bytes);
    write_ip(&mut writer, &header, pseudo, 8 + rest.len());
    if protocol == protocol::ICMP || protocol == protocol::ICMPV6 {
        // Of an echo the ports are its identifier; type, code and sum come first.
        writer.put(&[if protocol == protocol::ICMP { 8 } else { 128 }, 0, 0, 0]);
        writer.put(&source.port().to_be_bytes());
    } else {
        writer.put(&source.port().to_be_bytes());
        writer.put(&destination.port().to_be_bytes());
    }
    writer.put(&remains.second_word);
    writer.put(rest);
    let quote = Quote {
        guest,
        mac,
        offender,
        to: source.ip(),
        packet: bytes
            .get(..pseudo.ip_len() + 8 + rest.len())
            .unwrap_or_default(),
    };
    tell_quoting(env, &quote, problem);
}

fn tell_quoting(env: &mut Env<'_>, quote: &Quote<'_>, problem: Problem) {
    let Some(source) = quote
        .offender
        .filter(|offender| offender.is_ipv4() == quote.to.is_ipv4())
        .or_else(|| env.gateway_address(quote.to))
    else {
        return;
    };
    let now = env.now;
    let allowed = env
        .guests
        .get_mut(quote.guest)
        .is_some_and(|guest| guest.may_get_error(now));
    let Some(pseudo) = Pseudo::new(source, quote.to) else {
        return;
    };
    if !allowed || quote.to.is_unspecified() || quote.to.is_multicast() {
        return;
    }
    let v4 = quote.to.is_ipv4();
    let mut message = [0; 8 + QUOTE_V6];
    let (kind, code, rest) = problem.header(v4);
    let room = if v4 { QUOTE_V4 } else { QUOTE_V6 };
    let quoted = quote.packet.get(..room).unwrap_or(quote.packet);
    let mut writer = Writer::new(&mut message);
    writer.put(&[kind, code, 0, 0]);
    writer.put(&rest.to_be_bytes());
    writer.put(quoted);
    let message = message.get_mut(..8 + quoted.len()).unwrap_or_default();
    let (number, sum) = if v4 {
        (protocol::ICMP, Sum::default())
    } else {
        let sum = pseudo.sum(protocol::ICMPV6, message.len());
        (protocol::ICMPV6, sum)
    };
    let checksum = sum.bytes(message).checksum();
    crate::bytes::set(message, 2, &checksum);
    let header = IpHeader {
        source,
        destination: quote.to,
        protocol: number,
        hop_limit: 64,
        traffic_class: 0,
    };
    let link = env.link_to(quote.mac);
    if emit_ip(env.out, link, &header, message) {
        env.counters.icmp_errors += 1;
    }
}

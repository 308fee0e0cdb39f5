//! Whole packets of several guests, of both families: with their sums right or left open, in fragments, or for several.
use super::frames::{GATEWAY, GUEST, PORTS, checksum};
use crate::input::Input;
use nat::{Checksum, FrameMeta, Gso, GsoKind, PortId};
use std::net::{IpAddr, SocketAddr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ETHERNET: usize = 14;

/// What one guest sends.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) port: PortId,
    pub(super) frames: Vec<(Vec<u8>, FrameMeta)>,
}

/// The ends of a packet, and where a connection stands.
#[derive(Debug)]
struct Ends {
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
}

/// `kind`: what they are; `last`: what the gateway sent last.
pub(super) fn frames(input: &mut Input<'_>, kind: u8, last: &[u8]) -> Sent {
    let station = input.u8() % 4;
    let ends = (kind & 1 != 0).then(|| answer(last)).flatten();
    let ends = ends.unwrap_or_else(|| fresh(input, station));
    let (protocol, payload) = match kind >> 1 & 3 {
        0 | 1 => (TCP, tcp(input, &ends)),
        2 => (UDP, udp(input, &ends)),
        _ if ends.from.is_ipv4() => (1, echo(input, 8)),
        _ => (58, echo(input, 128)),
    };
    let packet = Packet {
        station,
        from: ends.from.ip(),
        to: ends.to.ip(),
        protocol,
        payload,
    };
    let frames = match kind >> 3 & 7 {
        0..=2 => vec![(packet.summed().frame(None), FrameMeta::default())],
        3 => vec![packet.open(None)],
        4 => {
            let size = input.u16();
            vec![packet.open(Some(size))]
        }
        _ => packet.summed().fragments(input),
    };
    Sent {
        port: PortId(1 + u16::from(station) % PORTS),
        frames,
    }
}

/// Where the last frame of the gateway came from, if it was TCP or UDP: for an answer.
fn answer(last: &[u8]) -> Option<Ends> {
    let version = last.get(ETHERNET)? >> 4;
    let (from, to, start) = if version == 4 {
        let address = |at: usize| -> Option<[u8; 4]> { last.get(at..at + 4)?.try_into().ok() };
        (address(30)?.into(), address(26)?.into(), 34)
    } else {
        let address = |at: usize| -> Option<[u8; 16]> { last.get(at..at + 16)?.try_into().ok() };
        (IpAddr::from(address(38)?), IpAddr::from(address(22)?), 54)
    };
    let port = |at: usize| Some(u16::from_be_bytes(last.get(at..at + 2)?.try_into().ok()?));
    let number = |at: usize| {
        let bytes = last.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    };
    Some(Ends {
        from: SocketAddr::new(from, port(start + 2)?),
        to: SocketAddr::new(to, port(start)?),
        seq: number(start + 8),
        ack: number(start + 4),
    })
}

/// Ends as a guest may choose them.
fn fresh(input: &mut Input<'_>, station: u8) -> Ends {
    let which = input.u8();
    let last = 0x15 - 6 * (which >> 4 & 1) + station;
    let (from, to) = if which & 1 == 0 {
        let to: [u8; 4] = match which >> 1 & 7 {
            0..=2 => [192, 0, 2, 1 + (which >> 6)],
            3 => [10, 0, 2, 2],
            4 => [10, 0, 2, 3],
            5 => [255; 4],
            6 => [224, 0, 0, 251],
            _ => [127, 0, 0, 1],
        };
        (IpAddr::from([10, 0, 2, last]), IpAddr::from(to))
    } else {
        let to: [u16; 8] = match which >> 1 & 7 {
            0..=3 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
            4 => [0xfd00, 0, 0, 0, 0, 0, 0, 2],
            5 => [0xfd00, 0, 0, 0, 0, 0, 0, 3],
            6 => [0xff02, 0, 0, 0, 0, 0, 1, 2],
            _ => [0, 0, 0, 0, 0, 0, 0, 1],
        };
        let from = [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)];
        (IpAddr::from(from), IpAddr::from(to))
    };
    let ports = input.u8();
    let port = [53, 67, 69, 80, 123, 547, 4000, 0][usize::from(ports & 7)];
    Ends {
        from: SocketAddr::new(from, 40_000 + u16::from(ports >> 3)),
        to: SocketAddr::new(to, port),
        seq: u32::from(input.u8()),
        ack: 0,
    }
}

/// A number near the one that is right, more often than not that one.
fn near(base: u32, input: &mut Input<'_>) -> [u8; 4] {
    let off = match input.u8() {
        0..=191 => 0,
        192..=223 => u32::from(input.u8()),
        224..=239 => u32::from(input.u8()).wrapping_neg(),
        _ => input.u32(),
    };
    base.wrapping_add(off).to_be_bytes()
}

fn body(input: &mut Input<'_>) -> Vec<u8> {
    let (len, many) = (usize::from(input.u8()), input.u8() & 3);
    let mut body = input.take(len.min(64)).to_vec();
    body.resize(len << (2 * many), 7);
    body
}

/// A segment, with options of a few kinds.
fn tcp(input: &mut Input<'_>, ends: &Ends) -> Vec<u8> {
    const OPTIONS: [&[u8]; 4] = [
        &[],
        &[2, 4, 5, 0xb4],
        &[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 3, 7, 0],
        &[3, 3, 7, 0],
    ];
    let options = OPTIONS[usize::from(input.u8() & 3)];
    let mut tcp = ports(ends);
    tcp.extend(near(ends.seq, input));
    // Of the segments that it may acknowledge most are of a byte: SYN, FIN.
    let acked = ends.ack.wrapping_add(u32::from(input.u8() & 1));
    tcp.extend(near(acked, input));
    let length = u8::try_from(5 + options.len() / 4).unwrap_or(5);
    tcp.extend([length << 4, input.u8()]);
    tcp.extend(input.u16().to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(options);
    tcp.extend(body(input));
    tcp
}

fn udp(input: &mut Input<'_>, ends: &Ends) -> Vec<u8> {
    let body = body(input);
    let len = u16::try_from(8 + body.len()).unwrap_or(u16::MAX);
    let mut udp = ports(ends);
    udp.extend(len.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(body);
    udp
}

fn ports(ends: &Ends) -> Vec<u8> {
    [ends.from.port(), ends.to.port()]
        .map(u16::to_be_bytes)
        .concat()
}

/// An echo request, or any message.
fn echo(input: &mut Input<'_>, request: u8) -> Vec<u8> {
    let kind = match input.u8() {
        0..=191 => request,
        other => other,
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(body(input));
    message
}

#[derive(Debug)]
struct Packet {
    station: u8,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: Vec<u8>,
}

impl Packet {
    /// The pseudo-header's part of the sum, and where the sum is.
    fn pseudo(&self) -> (Vec<u8>, usize) {
        let at = match self.protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        };
        if self.protocol == 1 {
            return (Vec::new(), at);
        }
        let len = u32::try_from(self.payload.len()).unwrap_or(0);
        let mut pseudo = [octets(self.from), octets(self.to)].concat();
        pseudo.extend(len.to_be_bytes());
        pseudo.extend([0, 0, 0, self.protocol]);
        (pseudo, at)
    }

    fn put(&mut self, at: usize, sum: [u8; 2]) {
        if let Some(field) = self.payload.get_mut(at..at + 2) {
            field.copy_from_slice(&sum);
        }
    }

    fn summed(mut self) -> Self {
        let (pseudo, at) = self.pseudo();
        self.put(at, [0, 0]);
        let sum = checksum(&[&pseudo, &self.payload]);
        self.put(at, sum);
        self
    }

    /// With the sum left open (virtio 1.2, 5.1.6.2), and to be cut into parts of a size.
    fn open(mut self, size: Option<u16>) -> (Vec<u8>, FrameMeta) {
        let (pseudo, at) = self.pseudo();
        self.put(at, checksum(&[&pseudo]).map(|byte| !byte));
        let header = if self.from.is_ipv4() { 20 } else { 40 };
        let kind = match (self.protocol, self.from.is_ipv4()) {
            (TCP, true) => GsoKind::Tcp4,
            (TCP, false) => GsoKind::Tcp6,
            _ => GsoKind::Udp,
        };
        let meta = FrameMeta {
            checksum: Checksum::Partial {
                start: 14 + header,
                offset: u16::try_from(at).unwrap_or(0),
            },
            gso: size.map(|size| Gso {
                kind,
                size,
                header_len: 0,
            }),
        };
        (self.frame(None), meta)
    }

    /// A frame of all of it, or of a part: its place, its length, and what tells it from other packets.
    fn frame(&self, part: Option<(usize, usize, u8)>) -> Vec<u8> {
        let (start, len, id) = part.unwrap_or((0, self.payload.len(), 0));
        let payload = self.payload.get(start..start + len).unwrap_or_default();
        let more = start + len < self.payload.len();
        let offset = u16::try_from(start).unwrap_or(0);
        let mut frame = Vec::from(GATEWAY.0);
        let [mac @ .., last] = GUEST.0;
        frame.extend(mac);
        frame.push(last + self.station);
        if self.from.is_ipv4() {
            let total = u16::try_from(20 + len).unwrap_or(u16::MAX).to_be_bytes();
            let mut header = vec![0x45, 0, total[0], total[1], 0, id];
            header.extend((offset >> 3 | u16::from(more) << 13).to_be_bytes());
            header.extend([64, self.protocol, 0, 0]);
            header.extend(octets(self.from));
            header.extend(octets(self.to));
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum);
            frame.extend([8, 0]);
            frame.extend(header);
        } else {
            let extension = if part.is_some() { 8 } else { 0 };
            let total = u16::try_from(extension + len).unwrap_or(u16::MAX);
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(total.to_be_bytes());
            frame.extend([if part.is_some() { 44 } else { self.protocol }, 64]);
            frame.extend(octets(self.from));
            frame.extend(octets(self.to));
            if part.is_some() {
                frame.extend([self.protocol, 0]);
                frame.extend((offset & !7 | u16::from(more)).to_be_bytes());
                frame.extend([0, 0, 0, id]);
            }
        }
        frame.extend(payload);
        frame
    }

    /// In pieces, which come in any order, and not always all of them.
    fn fragments(&self, input: &mut Input<'_>) -> Vec<(Vec<u8>, FrameMeta)> {
        let (size, id) = (8 * (1 + usize::from(input.u8() & 0x3f)), input.u8());
        let len = self.payload.len();
        let starts = (0..len).step_by(size).take(16);
        let part = |start: usize| (start, size.min(len - start), id);
        let mut frames: Vec<_> = starts
            .map(|start| (self.frame(Some(part(start))), FrameMeta::default()))
            .collect();
        match input.u8() % 4 {
            0 => frames.reverse(),
            1 => drop(frames.pop()),
            _ => {}
        }
        frames
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

//! Frames of one guest to one host of the world: made up, or whole ones.
use crate::input::Input;
use nat::MacAddr;

pub(super) const GATEWAY: MacAddr = MacAddr([0x52, 0x55, 10, 0, 2, 2]);
pub(super) const GUEST: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Ports that guests are behind.
pub(super) const PORTS: u16 = 2;

/// A frame of the guest: made up, or a whole one with its sums right and fields of the input.
pub(super) fn any(input: &mut Input<'_>, last: &[u8]) -> Vec<u8> {
    let kind = input.u8();
    let len = usize::from(input.u8()) * if kind & 0x80 == 0 { 1 } else { 64 };
    let mut frame = Vec::from(GATEWAY.0);
    frame.extend(GUEST.0);
    match kind % 4 {
        0 => {
            frame.extend([[8, 0], [0x86, 0xdd], [8, 6], [0x81, 0]][usize::from(kind >> 4 & 3)]);
            frame.extend(input.take(len));
        }
        1 => ipv4(&mut frame, 17, input.take(len)),
        2 => ipv4(&mut frame, 1, input.take(len)),
        _ => {
            // A segment that answers the last one: numbers near those that are right.
            let field = |at: usize| {
                let bytes = last.get(at..at + 4).and_then(|b| b.try_into().ok());
                u32::from_be_bytes(bytes.unwrap_or([0; 4]))
            };
            let mut tcp = vec![0x9c, 0x40 + input.u8() % 4, 0, 80 + input.u8() % 4];
            let near = |base: u32, input: &mut Input<'_>| {
                base.wrapping_add(u32::from(input.u16() >> (input.u8() % 16)))
                    .to_be_bytes()
            };
            tcp.extend(near(field(42), input));
            tcp.extend(near(field(38), input));
            tcp.extend([0x50 | (input.u8() & 0xf0), input.u8()]);
            tcp.extend(input.u16().to_be_bytes());
            tcp.extend([0, 0, 0, 0]);
            tcp.extend(input.take(len % 64));
            tcp.resize(tcp.len() + len, 7);
            ipv4(&mut frame, 6, &tcp);
        }
    }
    frame
}

/// An IPv4 packet, with sums that are right, so that the input gets past them.
fn ipv4(frame: &mut Vec<u8>, protocol: u8, payload: &[u8]) {
    let (source, destination) = ([10, 0, 2, 15], [192, 0, 2, 1]);
    let total = u16::try_from(20 + payload.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, protocol, 0, 0];
    header.extend(source);
    header.extend(destination);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    let mut payload = payload.to_vec();
    let len = u16::try_from(payload.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let pseudo = [&source[..], &destination, &[0, protocol], &len].concat();
    let (at, pseudo) = match protocol {
        6 => (16, &pseudo[..]),
        17 => (6, &pseudo[..]),
        _ => (2, &[][..]),
    };
    if let Some(field) = payload.get_mut(at..at + 2) {
        field.fill(0);
        let sum = checksum(&[pseudo, &payload]);
        payload[at..at + 2].copy_from_slice(&sum);
    }
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(payload);
}

/// RFC 1071; all parts but the last are even.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap_or(0)).to_be_bytes()
}

//! Packets that are larger than their network's MTU go as fragments (RFC 791, 3.2; RFC 8200, 4.5): what the host's kernel put
//! together, a guest's NIC may not take whole.
use super::build::{IpHeader, Link, Pseudo, emit_ip_parts, ip_packet};
use super::{ETHERNET_LEN, protocol};
use crate::bytes::{Sum, Writer, set};
use crate::meta::{FrameMeta, Output};

/// Bytes of a fragment header (RFC 8200, 4.5).
const EXTENSION: usize = 8;
/// Offsets count such units.
const UNIT: usize = 8;

/// How large packets may be, and the identification of the next one that is larger.
#[derive(Debug)]
pub(crate) struct Fragmenter {
    pub(crate) mtu: u16,
    pub(crate) next_id: u32,
}

#[derive(Debug, Clone, Copy)]
struct Fragment {
    id: u32,
    start: usize,
    len: usize,
    more: bool,
}

impl Fragmenter {
    /// Packets to take for the room that there is on a way with an MTU: all surely find it, however long they are, unless there is
    /// little; then it is one.
    pub(crate) fn room_within(mtu: u16, out: &mut dyn Output) -> usize {
        // Of each fragment at most so much is headers, and padding to the unit of offsets.
        let step = usize::from(mtu).saturating_sub(40 + EXTENSION + UNIT);
        let most = usize::from(u16::MAX).div_ceil(step.max(UNIT));
        let in_fragments = out.room_for(ETHERNET_LEN + usize::from(mtu)) / most;
        out.room().min(in_fragments.max(1))
    }

    /// Sends an IP packet whose payload is complete, checksums and all, in as many frames as it takes. False: there was no room.
    pub(crate) fn emit(
        &mut self,
        out: &mut dyn Output,
        link: Link,
        header: &IpHeader,
        parts: [&[u8]; 2],
    ) -> bool {
        self.emit_within(self.mtu, out, link, header, parts)
    }

    /// The same on a way with a smaller MTU.
    pub(crate) fn emit_within(
        &mut self,
        mtu: u16,
        out: &mut dyn Output,
        link: Link,
        header: &IpHeader,
        parts: [&[u8]; 2],
    ) -> bool {
        let Some(pseudo) = Pseudo::new(header.source, header.destination) else {
            return false;
        };
        let total: usize = parts.map(<[u8]>::len).iter().sum();
        let room = usize::from(mtu).saturating_sub(pseudo.ip_len());
        if total <= room {
            return emit_ip_parts(out, link, header, parts);
        }
        let extension = extension_len(pseudo);
        let step = (room.saturating_sub(extension) / UNIT * UNIT).max(UNIT);
        // All or none: one that is missing makes the others worthless.
        if out.room_for(ETHERNET_LEN + usize::from(mtu)) < total.div_ceil(step) {
            return false;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        (0..total).step_by(step).all(|start| {
            let len = step.min(total - start);
            let more = start + len < total;
            let fragment = Fragment {
                id,
                start,
                len,
                more,
            };
            emit_one(out, link, header, pseudo, parts, fragment)
        })
    }
}

fn extension_len(pseudo: Pseudo) -> usize {
    match pseudo {
        Pseudo::V4(..) => 0,
        Pseudo::V6(..) => EXTENSION,
    }
}

fn emit_one(
    out: &mut dyn Output,
    link: Link,
    header: &IpHeader,
    pseudo: Pseudo,
    parts: [&[u8]; 2],
    fragment: Fragment,
) -> bool {
    let Fragment { id, start, len, .. } = fragment;
    let payload_len = extension_len(pseudo) + len;
    // Offsets are multiples of eight: the bits below are for flags.
    let offset = u16::try_from(start).unwrap_or(u16::MAX);
    let more = u16::from(fragment.more);
    let frame_len = ETHERNET_LEN + pseudo.ip_len() + payload_len;
    out.emit(frame_len, FrameMeta::default(), &mut |frame| {
        let outer = IpHeader {
            protocol: match pseudo {
                Pseudo::V4(..) => header.protocol,
                Pseudo::V6(..) => protocol::FRAGMENT,
            },
            ..*header
        };
        let mut writer = Writer::new(ip_packet(frame, link, &outer, pseudo, payload_len));
        if let Pseudo::V6(..) = pseudo {
            writer.put(&[header.protocol, 0]);
            writer.put(&(offset | more).to_be_bytes());
            writer.put(&id.to_be_bytes());
        }
        put_range(&mut writer, parts, start, len);
        if let Pseudo::V4(..) = pseudo {
            mark(frame, id, (more << 13) | (offset / 8));
        }
    })
}

/// Makes an IPv4 packet a fragment.
fn mark(frame: &mut [u8], id: u32, flags_and_offset: u16) {
    let [_, _, high, low] = id.to_be_bytes();
    set(frame, ETHERNET_LEN + 4, &[high, low]);
    set(frame, ETHERNET_LEN + 6, &flags_and_offset.to_be_bytes());
    set(frame, ETHERNET_LEN + 10, &[0, 0]);
    let header = frame
        .get(ETHERNET_LEN..ETHERNET_LEN + 20)
        .unwrap_or_default();
    let sum = Sum::default().bytes(header).checksum();
    set(frame, ETHERNET_LEN + 10, &sum);
}

/// Bytes `start` to `start + len` of what the parts are together.
fn put_range(writer: &mut Writer<'_>, parts: [&[u8]; 2], start: usize, len: usize) {
    let (mut skip, mut left) = (start, len);
    for part in parts {
        let rest = part.get(skip..).unwrap_or_default();
        skip = skip.saturating_sub(part.len());
        let now = rest.get(..left.min(rest.len())).unwrap_or_default();
        writer.put(now);
        left -= now.len();
    }
}

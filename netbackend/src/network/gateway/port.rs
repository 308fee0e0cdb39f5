//! Frames of the gateway in the shape of the network, and back.
use nat::{Checksum, FrameMeta, Gso, GsoKind, Output, PortId};
use virtqueue::{GsoType, LocalSender, NetHeader};

/// Bytes of a frame at most: an IP packet of 65 535 and its Ethernet header.
const LONGEST: usize = 65_535 + 14;

/// Where the gateway puts its frames: the transmit ring.
#[derive(Debug)]
pub(super) struct Port<'a> {
    sender: &'a mut LocalSender,
    /// A frame found no room.
    pub(super) full: bool,
}

impl<'a> Port<'a> {
    pub(super) fn new(sender: &'a mut LocalSender) -> Self {
        Self {
            sender,
            full: false,
        }
    }
}

impl Output for Port<'_> {
    fn emit(&mut self, len: usize, meta: FrameMeta, fill: &mut dyn FnMut(&mut [u8])) -> bool {
        let sent = self.sender.send(&header(meta), len, fill);
        self.full |= !sent;
        sent
    }

    fn room(&mut self) -> usize {
        let room = self.sender.room_for(LONGEST);
        self.full |= room == 0;
        room
    }

    fn room_for(&mut self, len: usize) -> usize {
        self.sender.room_for(len)
    }
}

/// The port that a frame came in by: the datapath puts it where drivers find a hint that none may rely on, as it is told to by
/// [`PortOffloads::wants_source`](super::super::command::PortOffloads).
pub(super) const fn source(header: &NetHeader) -> PortId {
    PortId(header.hdr_len)
}

/// What the network says beside a frame, for the gateway. It looks for the headers itself.
pub(super) fn meta(header: &NetHeader) -> FrameMeta {
    let kind = match header.gso {
        GsoType::TcpV4 => Some(GsoKind::Tcp4),
        GsoType::TcpV6 => Some(GsoKind::Tcp6),
        GsoType::UdpL4 => Some(GsoKind::Udp),
        // UFO was not negotiated.
        GsoType::None | GsoType::Udp => None,
    };
    let checksum = if header.needs_csum {
        Checksum::Partial {
            start: header.csum_start,
            offset: header.csum_offset,
        }
    } else if header.data_valid {
        Checksum::Valid
    } else {
        Checksum::Unknown
    };
    FrameMeta {
        checksum,
        gso: kind.map(|kind| Gso {
            kind,
            size: header.gso_size,
            header_len: 0,
        }),
    }
}

/// The same the other way.
fn header(meta: FrameMeta) -> NetHeader {
    let mut header = NetHeader::default();
    match meta.checksum {
        Checksum::Unknown => {}
        Checksum::Valid => header.data_valid = true,
        Checksum::Partial { start, offset } => {
            header.needs_csum = true;
            header.csum_start = start;
            header.csum_offset = offset;
        }
    }
    if let Some(gso) = meta.gso {
        header.gso = match gso.kind {
            GsoKind::Tcp4 => GsoType::TcpV4,
            GsoKind::Tcp6 => GsoType::TcpV6,
            GsoKind::Udp => GsoType::UdpL4,
        };
        header.gso_size = gso.size;
        header.hdr_len = gso.header_len;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_a_frame_survives_both_ways() {
        let partial = Checksum::Partial {
            start: 34,
            offset: 16,
        };
        let gso = |kind| {
            Some(Gso {
                kind,
                size: 1448,
                header_len: 0,
            })
        };
        for (checksum, gso) in [
            (Checksum::Unknown, None),
            (Checksum::Valid, None),
            (partial, None),
            (partial, gso(GsoKind::Tcp4)),
            (partial, gso(GsoKind::Tcp6)),
            (partial, gso(GsoKind::Udp)),
        ] {
            let beside = FrameMeta { checksum, gso };
            assert_eq!(meta(&header(beside)), beside);
        }
    }
}

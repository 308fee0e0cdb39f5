//! Segments of tests, written and read by smoltcp.
use crate::FrameMeta;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber,
};

/// A segment. What a test does not say is as usual.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    /// of S, F, R, A
    pub(crate) flags: &'static str,
    /// `None`: whatever it is
    pub(crate) window: Option<u16>,
    pub(crate) mss: Option<u16>,
    pub(crate) shift: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) sacks: Vec<(u32, u32)>,
    pub(crate) payload: Vec<u8>,
    /// segment size, if it stands for several
    pub(crate) gso: Option<u16>,
}

const fn plain(seq: u32, ack: Option<u32>, flags: &'static str) -> Tcp {
    Tcp {
        seq,
        ack,
        flags,
        window: None,
        mss: None,
        shift: None,
        sack: false,
        sacks: Vec::new(),
        payload: Vec::new(),
        gso: None,
    }
}

/// SYN with the options that Linux sends, timestamps aside.
pub(crate) fn syn(seq: u32) -> Tcp {
    Tcp {
        mss: Some(1460),
        shift: Some(7),
        sack: true,
        ..plain(seq, None, "S")
    }
}

pub(crate) fn ack(seq: u32, ack: u32) -> Tcp {
    plain(seq, Some(ack), "A")
}

pub(crate) fn data(seq: u32, ack: u32, payload: &[u8]) -> Tcp {
    Tcp {
        payload: payload.to_vec(),
        ..plain(seq, Some(ack), "A")
    }
}

pub(crate) fn fin(seq: u32, ack: u32) -> Tcp {
    plain(seq, Some(ack), "FA")
}

pub(crate) fn rst(seq: u32) -> Tcp {
    plain(seq, None, "R")
}

impl Tcp {
    pub(crate) fn window(self, window: u16) -> Self {
        Self {
            window: Some(window),
            ..self
        }
    }

    pub(crate) fn sacks(self, sacks: &[(u32, u32)]) -> Self {
        Self {
            sacks: sacks.to_vec(),
            ..self
        }
    }

    pub(crate) fn gso(self, size: u16) -> Self {
        Self {
            gso: Some(size),
            ..self
        }
    }

    pub(super) fn repr(&self, source: u16, destination: u16) -> TcpRepr<'_> {
        let mut sack_ranges = [None; 3];
        for (range, sack) in sack_ranges.iter_mut().zip(&self.sacks) {
            *range = Some(*sack);
        }
        TcpRepr {
            src_port: source,
            dst_port: destination,
            control: match self.flags {
                "S" | "SA" => TcpControl::Syn,
                "FA" | "F" => TcpControl::Fin,
                "R" | "RA" => TcpControl::Rst,
                _ => TcpControl::None,
            },
            seq_number: TcpSeqNumber(self.seq.cast_signed()),
            ack_number: self.ack.map(|ack| TcpSeqNumber(ack.cast_signed())),
            window_len: self.window.unwrap_or(0xffff),
            window_scale: self.shift,
            max_seg_size: self.mss,
            sack_permitted: self.sack,
            sack_ranges,
            timestamp: None,
            payload: &self.payload,
        }
    }

    /// Reads a segment of the gateway, its checksum verified.
    #[track_caller]
    pub(crate) fn read(frame: &[u8], meta: FrameMeta) -> Self {
        let ethernet = EthernetFrame::new_checked(frame).unwrap();
        let (source, destination, offset): (IpAddress, IpAddress, usize);
        if ethernet.ethertype() == EthernetProtocol::Ipv4 {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            offset = 14 + usize::from(ip.header_len());
        } else {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            (source, destination) = (ip.src_addr().into(), ip.dst_addr().into());
            offset = 14 + ip.header_len();
        }
        let packet = TcpPacket::new_checked(&frame[offset..]).expect("a TCP segment");
        assert!(
            packet.verify_checksum(&source, &destination),
            "TCP checksum"
        );
        let options = packet.options_summary().expect("options");
        let flags = match (packet.syn(), packet.fin(), packet.rst(), packet.ack()) {
            (true, false, false, false) => "S",
            (true, false, false, true) => "SA",
            (false, true, false, true) => "FA",
            (false, false, true, false) => "R",
            (false, false, true, true) => "RA",
            (false, false, false, true) => "A",
            other => panic!("odd flags {other:?}"),
        };
        Self {
            seq: packet.seq_number().0.cast_unsigned(),
            ack: packet.ack().then(|| packet.ack_number().0.cast_unsigned()),
            flags,
            window: Some(packet.window_len()),
            mss: options.max_segment_size,
            shift: options.window_scale,
            sack: options.sack_permitted,
            sacks: options.sack_ranges.into_iter().flatten().collect(),
            payload: packet.payload().to_vec(),
            gso: meta.gso.map(|gso| gso.size),
        }
    }
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (flags, seq, len) = (self.flags, self.seq, self.payload.len());
        write!(f, "{flags} seq {seq} ack {:?} len {len}", self.ack)?;
        write!(f, " window {:?} gso {:?}", self.window, self.gso)?;
        let options = (self.mss, self.shift, self.sack, &self.sacks);
        write!(
            f,
            " options {options:?} {:x?}…",
            &self.payload[..len.min(8)]
        )
    }
}

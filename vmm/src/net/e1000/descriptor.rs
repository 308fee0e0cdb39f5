//! Transmit descriptors: legacy, context and data (SDM 3.3.3, 3.3.6, 3.3.7).
use super::spec;
use crate::net::nic::{Range, Request, Segmentation};
use serde::{Deserialize, Serialize};

/// A context: what data descriptors after it ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Context {
    /// First byte of the IP header.
    pub ipcss: u8,
    /// Where the IP checksum goes.
    pub ipcso: u8,
    /// Last byte of the IP header.
    pub ipcse: u16,
    /// First byte of the TCP or UDP header.
    pub tucss: u8,
    /// Where its checksum goes.
    pub tucso: u8,
    /// Last byte that it covers; 0: to the end.
    pub tucse: u16,
    /// Bytes of all headers.
    pub hdrlen: u8,
    /// Payload of a segment.
    pub mss: u16,
    /// The packet is IPv4.
    pub ipv4: bool,
    /// The packet is TCP.
    pub tcp: bool,
}

impl Context {
    fn ip_checksum(&self) -> Range {
        Range {
            start: self.ipcss.into(),
            field: self.ipcso.into(),
            end: Some(usize::from(self.ipcse) + 1),
        }
    }

    fn transport_checksum(&self) -> Range {
        Range {
            start: self.tucss.into(),
            field: self.tucso.into(),
            end: (self.tucse != 0).then(|| usize::from(self.tucse) + 1),
        }
    }

    /// `None`: it is for UDP, which is not segmented.
    fn segmentation(&self) -> Option<Segmentation> {
        self.tcp.then(|| Segmentation {
            ip: self.ipcss.into(),
            ipv4: self.ipv4,
            tcp: self.tucss.into(),
            field: self.tucso.into(),
            header: self.hdrlen.into(),
            mss: self.mss,
        })
    }
}

/// What a descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A context.
    Context {
        /// The context.
        context: Context,
        /// It is for segmentation.
        tse: bool,
    },
    /// A buffer.
    Data(Data),
}

/// A buffer and what is asked for its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data {
    /// Guest physical address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// The packet ends here.
    pub eop: bool,
    /// Tag to insert.
    pub vlan: Option<u16>,
    /// Segment by the context.
    pub tse: bool,
    /// Insert the IP checksum.
    pub ixsm: bool,
    /// Insert the TCP or UDP checksum.
    pub txsm: bool,
    /// Legacy checksum insertion: start and offset.
    pub legacy: Option<(u8, u8)>,
}

impl Data {
    /// What is asked for the packet that begins here, by the contexts for checksums and for segmentation. `None`: nonsense.
    pub fn request(&self, contexts: &[Context; 2], ethertype: Option<u16>) -> Option<Request> {
        let [plain, segmenting] = contexts;
        let tag = self.vlan.zip(ethertype);
        if self.tse {
            return Some(Request {
                ip: Some(segmenting.ip_checksum()),
                transport: None,
                segmentation: Some(segmenting.segmentation()?),
                tag,
            });
        }
        let legacy = self.legacy.map(|(start, field)| Range {
            start: start.into(),
            field: field.into(),
            end: None,
        });
        let transport = self.txsm.then(|| plain.transport_checksum());
        Some(Request {
            ip: self.ixsm.then(|| plain.ip_checksum()),
            transport: transport.or(legacy),
            segmentation: None,
            tag,
        })
    }
}

/// A descriptor as read once from guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Its command byte.
    pub command: u8,
    /// The rest.
    pub kind: Kind,
}

impl Descriptor {
    /// Decodes.
    pub fn decode(bytes: [u8; 16]) -> Self {
        let [
            a0,
            a1,
            a2,
            a3,
            a4,
            a5,
            a6,
            a7,
            b0,
            b1,
            b2,
            command,
            _,
            d1,
            d2,
            d3,
        ] = bytes;
        let special = u16::from_le_bytes([d2, d3]);
        let has = |bit: u8| command & bit != 0;
        let extended = has(spec::TXD_DEXT);
        if extended && b2 >> 4 == 0 {
            let context = Context {
                ipcss: a0,
                ipcso: a1,
                ipcse: u16::from_le_bytes([a2, a3]),
                tucss: a4,
                tucso: a5,
                tucse: u16::from_le_bytes([a6, a7]),
                hdrlen: d1,
                mss: special,
                ipv4: has(spec::TUCMD_IP),
                tcp: has(spec::TUCMD_TCP),
            };
            let tse = has(spec::TXD_TSE);
            return Self {
                command,
                kind: Kind::Context { context, tse },
            };
        }
        let mut data = Data {
            addr: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            len: u32::from(u16::from_le_bytes([b0, b1])),
            eop: has(spec::TXD_EOP),
            vlan: has(spec::TXD_VLE).then_some(special),
            ..Data::default()
        };
        if extended {
            data.len |= u32::from(b2 & 0xf) << 16;
            data.tse = has(spec::TXD_TSE);
            data.ixsm = d1 & spec::POPTS_IXSM != 0;
            data.txsm = d1 & spec::POPTS_TXSM != 0;
        } else if has(spec::TXD_IC) {
            data.legacy = Some((d1, b2));
        }
        Self {
            command,
            kind: Kind::Data(data),
        }
    }

    /// The guest wants to hear of it.
    pub fn reports(&self) -> bool {
        self.command & spec::TXD_RS != 0
    }
}

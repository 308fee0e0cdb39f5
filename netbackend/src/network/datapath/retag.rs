//! Frames whose VLAN tag is another where they leave: their starts, written anew.
use super::{
    BURST,
    egress::Delivery,
    frame::{Frames, HEAD, Outgoing},
};
use crate::offload::Validated;
use switch::{PortId, Retag, Switch};

/// TPID of a C-tag (IEEE 802.1Q, table 9-1).
const TPID: u16 = 0x8100;
/// Destination and source address: a tag follows them.
const ADDRESSES: usize = 12;
/// Bytes of a tag.
const TAG: usize = 4;

/// What the deliveries of one group begin with, where that differs from what was sent.
#[derive(Debug)]
pub(super) struct Retagged {
    /// By place in the group; empty: all leave as they came.
    list: Vec<Option<Start>>,
}

/// The start of a frame with its tag changed.
#[derive(Debug)]
struct Start {
    validated: Validated,
    /// Bytes of the original start that this stands for.
    taken: usize,
    bytes: [u8; HEAD + TAG],
    len: usize,
}

impl Retagged {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::with_capacity(BURST),
        }
    }

    /// Writes what a group of deliveries from one port needs; nothing, unless the network has VLANs.
    pub(super) fn prepare(
        &mut self,
        switch: &Switch,
        from: PortId,
        group: &[Delivery],
        frames: &Frames,
    ) {
        self.list.clear();
        if !switch.heeds_vlans() {
            return;
        }
        self.list.extend(group.iter().map(|delivery| {
            let frame = frames.list.get(usize::from(delivery.frame()))?;
            let frame = frames.outgoing(frame);
            Start::new(&frame, switch.retag(from, delivery.to().port, frame.head()))
        }));
    }

    /// Whether delivery `index` of the group leaves as it came.
    #[inline]
    pub(super) fn keeps(&self, index: usize) -> bool {
        !matches!(self.list.get(index), Some(Some(_)))
    }

    /// Delivery `index` of the group as it leaves.
    #[inline]
    pub(super) fn apply<'a>(&'a self, index: usize, frame: Outgoing<'a>) -> Option<Outgoing<'a>> {
        match self.list.get(index) {
            Some(Some(start)) => {
                frame.with_head(&start.validated, start.taken, start.bytes.get(..start.len)?)
            }
            _ => Some(frame),
        }
    }
}

impl Start {
    /// `None`: it stays as it is.
    fn new(frame: &Outgoing<'_>, retag: Retag) -> Option<Self> {
        let (old, tci, moved) = match retag {
            Retag::Keep => return None,
            Retag::Strip => (TAG, None, -4),
            Retag::Insert(tci) => (0, Some(tci), 4),
            Retag::Set(tci) => (TAG, Some(tci), 0),
        };
        let head = frame.head();
        let taken = head.len().min(HEAD);
        let mut start = Self {
            validated: frame.validated.moved(moved),
            taken,
            bytes: [0; HEAD + TAG],
            len: 0,
        };
        start.append(head.get(..ADDRESSES)?)?;
        if let Some(tci) = tci {
            start.append(&TPID.to_be_bytes())?;
            start.append(&tci.to_be_bytes())?;
        }
        start.append(head.get(ADDRESSES + old..taken)?)?;
        Some(start)
    }

    fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

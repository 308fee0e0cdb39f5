//! The last frame, remembered for as long as another like it changes nothing and goes the same way.
use std::time::Duration;

use crate::{Egress, PortId};

/// An Ethernet header as numbers, which are compared faster than bytes. They are split where a copy in blocks of 16 bytes, behind a
/// virtio-net header of 12, has split them: a number from two blocks that were just written would wait for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start(u32, u64, u16);

impl Start {
    #[inline]
    fn of(header: &[u8]) -> Option<Self> {
        let (first, rest) = header.split_first_chunk()?;
        let (middle, rest) = rest.split_first_chunk()?;
        let last = rest.first_chunk()?;
        Some(Self(
            u32::from_ne_bytes(*first),
            u64::from_ne_bytes(*middle),
            u16::from_ne_bytes(*last),
        ))
    }
}

/// A decision that holds for like frames of the same moment.
#[derive(Debug)]
pub(crate) struct Repeat {
    now: Duration,
    ingress: PortId,
    start: Start,
    egress: PortId,
}

impl Repeat {
    pub(crate) fn new(
        now: Duration,
        ingress: PortId,
        header: &[u8],
        egress: Egress,
    ) -> Option<Self> {
        let Egress::Port(egress) = egress else {
            return None;
        };
        let start = Start::of(header)?;
        Some(Self {
            now,
            ingress,
            start,
            egress,
        })
    }

    /// Where a frame goes that begins with `header`, if it is like the last.
    #[inline]
    pub(crate) fn egress(&self, now: Duration, ingress: PortId, header: &[u8]) -> Option<Egress> {
        let is_like = Start::of(header)? == self.start;
        (is_like && self.ingress == ingress && self.now == now).then_some(Egress::Port(self.egress))
    }
}

//! The last frame, remembered for as long as another like it changes nothing and goes the same way.
use std::time::Duration;

use crate::{Egress, PortId};

/// An Ethernet header.
type Start = [u8; 14];

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
        let start = *header.first_chunk()?;
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
        let is_like = self.ingress == ingress
            && self.now == now
            && header
                .first_chunk::<14>()
                .is_some_and(|start| *start == self.start);
        is_like.then_some(Egress::Port(self.egress))
    }
}

//! A vhost-user port in the datapath: its rings.
use super::{
    super::{command::PortOffloads, counters::PortShared},
    cell::{Opened, RingCell, SharedRing},
    ring::Ring,
};

/// The rings of a port as one worker sees them.
#[derive(Debug)]
pub(super) struct VhostPort {
    /// By queue pair. Those that this worker serves.
    transmit: Vec<Option<Ring>>,
    /// By queue pair. All workers put frames into them.
    receive: Vec<RingCell>,
    pub(super) offloads: PortOffloads,
    /// Queue pairs whose receive ring carries frames.
    receiving: Vec<u16>,
}

impl VhostPort {
    /// A port of so many rings at most, with the receive rings that its workers share; none: there is one worker.
    pub(super) fn new(rings: u16, shared: &[SharedRing]) -> Self {
        let pairs = usize::from(rings / 2);
        let shared = shared.iter().map(|ring| RingCell::Shared(ring.clone()));
        let own = (0..pairs).map(|_| RingCell::default());
        Self {
            transmit: (0..pairs).map(|_| None).collect(),
            receive: shared.chain(own).take(pairs).collect(),
            offloads: PortOffloads::default(),
            receiving: Vec::with_capacity(pairs),
        }
    }

    /// Rings at most.
    pub(super) fn rings(&self) -> u16 {
        u16::try_from(self.transmit.len() * 2).unwrap_or(u16::MAX)
    }

    /// The place of a ring as vhost-user counts: receive rings even, transmit rings odd.
    pub(super) fn place(&mut self, index: u16) -> Option<Opened<'_>> {
        let queue = index / 2;
        if index.is_multiple_of(2) {
            self.receive(queue)
        } else {
            self.transmit_place(queue).map(Opened::Own)
        }
    }

    /// The transmit ring of a queue pair, if this worker serves it.
    pub(super) fn transmit(&mut self, queue: u16) -> Option<&mut Ring> {
        self.transmit_place(queue)?.as_mut()
    }

    /// Where the transmit ring of a queue pair is while this worker serves it.
    pub(super) fn transmit_place(&mut self, queue: u16) -> Option<&mut Option<Ring>> {
        self.transmit.get_mut(usize::from(queue))
    }

    /// The place of the receive ring of a queue pair; other workers wait while it is open.
    pub(super) fn receive(&mut self, queue: u16) -> Option<Opened<'_>> {
        self.receive.get_mut(usize::from(queue)).map(RingCell::open)
    }

    /// The receive ring of a queue pair, if no other worker feeds it.
    #[inline]
    pub(super) fn own_receive(&mut self, queue: u16) -> Option<&mut Ring> {
        match self.receive.get_mut(usize::from(queue))? {
            RingCell::Own(ring) => ring.as_mut(),
            RingCell::Shared(_) => None,
        }
    }

    /// Queue pair whose receive ring takes a flow; `None`: none carries frames.
    pub(super) fn receive_queue(&self, hash: impl FnOnce() -> u32) -> Option<u16> {
        match self.receiving.as_slice() {
            [] => None,
            [only] => Some(*only),
            several => {
                let index = usize::try_from(hash()).ok()? % several.len();
                several.get(index).copied()
            }
        }
    }

    /// Whether all flows have the same.
    pub(super) fn has_one_receive_queue(&self) -> bool {
        matches!(self.receiving.as_slice(), [_])
    }

    /// Ends the use of all rings of truncated memory until they are set up again; false: there are none.
    pub(super) fn latch_truncated(
        &mut self,
        fault: &dyn std::fmt::Display,
        shared: &PortShared,
    ) -> bool {
        let is_truncated = (0..self.rings()).any(|index| {
            self.place(index)
                .is_some_and(|place| place.as_ref().is_some_and(Ring::memory_is_truncated))
        });
        for index in (0..self.rings()).filter(|_| is_truncated) {
            if let Some(mut place) = self.place(index)
                && let Some(ring) = place.as_mut()
            {
                ring.latch(fault, shared);
            }
        }
        is_truncated
    }

    /// Looks again which receive rings carry frames.
    pub(super) fn refresh(&mut self) {
        self.receiving.clear();
        for (queue, cell) in (0u16..).zip(&mut self.receive) {
            if cell.open().as_ref().is_some_and(Ring::carries) {
                self.receiving.push(queue);
            }
        }
    }
}

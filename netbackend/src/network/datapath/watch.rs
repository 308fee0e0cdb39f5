//! Looking for frames, and ahead of them.
//!
//! Guests that answer each other wait for us with every frame. What keeps them waiting is, above all, cache lines of the other CPU, one
//! after the other: index, entry, descriptor, frame, and the same again at the other end. Those at the other end are asked for as
//! soon as there is a frame, as if it went where the last one went.
use super::{Source, Target, ports::Carrier, worker::Worker};
use std::hint;

/// Looks at nothing but the sources, between two rounds that look at the clock and all else.
const GLANCES: u32 = 8;
/// More sources than this are not looked at so often.
const FEW: usize = 4;

impl Worker {
    /// Whether there may be frames at a source. Where there are, what the next one's target needs is asked for.
    #[inline]
    pub(super) fn anticipate(&mut self, source: Source) -> bool {
        let Some(port) = self.ports.get_mut(source.port) else {
            return false;
        };
        let Carrier::Vhost(vhost) = &mut port.carrier else {
            return true;
        };
        let Some(ring) = vhost.transmit(source.queue) else {
            return false;
        };
        if !ring.is_waiting() {
            // As most looks of a worker that polls.
            return false;
        }
        if let Some(target) = ring.conduct.target
            && let Some(ring) = self.ports.own_receive(target)
        {
            ring.prefetch();
        }
        true
    }

    /// Where the next frame of a source probably goes, from whom this burst was. Who sends many at once waits for none of them, and what a
    /// burst needs is asked for anyhow.
    #[inline]
    pub(super) fn next_target(&self) -> Option<Target> {
        match self.deliveries.as_slice() {
            [only] => Some(only.to()),
            _ => None,
        }
    }

    /// After a round that found nothing: waits a little for a frame; false: there was none.
    pub(super) fn watch(&mut self) -> bool {
        let glances = match self.active.len() {
            0 => 0,
            1..=FEW => GLANCES,
            _ => 1,
        };
        let (ports, active) = (&mut self.ports, &self.active);
        let found = (1..=glances).find(|_| {
            hint::spin_loop();
            active.iter().any(|source| ports.is_waiting(*source))
        });
        self.meter.note_glances(found.unwrap_or(glances));
        found.is_some()
    }
}

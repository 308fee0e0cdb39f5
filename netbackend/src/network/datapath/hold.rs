//! Frames stay where they are while the gateway has no room for them.
//!
//! The gateway's thread always comes back to its ring, but may have to wait for a CPU, and who sends datagrams catches up in one burst
//! after it has waited for one itself. Taps and transmit rings hold more of such a burst than the gateway's ring, and a source that is
//! held costs the others nothing: they are polled as ever. What it has for others itself waits with the rest, for [`LONGEST`] at most.
use super::{Target, ports::Carrier, worker::Worker};
use std::time::Duration;

/// Chains that the gateway's ring must have before the next burst: more than one of ordinary frames, or of a tap's large ones, takes.
const ROOM: u16 = 128;
/// A source is held no longer, as it may have frames for others as well.
pub(super) const LONGEST: Duration = Duration::from_millis(20);

impl Worker {
    /// Whether a source has to wait whose last burst, at `last_work`, had frames for `target`: it has no room for more.
    pub(super) fn is_held(&mut self, target: Target, last_work: Duration, now: Duration) -> bool {
        if now.saturating_sub(last_work) >= LONGEST {
            return false;
        }
        // A ring that several workers share is not looked into.
        let ring = self.ports.own_receive(target);
        let is_held = ring.is_some_and(|ring| !ring.has_room(ROOM));
        // The gateway may need this very CPU.
        self.scratch.starved |= is_held;
        is_held
    }

    /// The receiver that is waited for, if most of this burst's frames went there: who has a frame for it among those for others is not
    /// kept from these.
    #[inline]
    pub(super) fn waited_for(&mut self) -> Option<Target> {
        // In the order of ports, and of frames: it is in the middle if it has most of them.
        let middle = self.deliveries.get(self.deliveries.len() / 2)?;
        let target = middle.to();
        let is_it = match &self.ports.get(target.port)?.carrier {
            Carrier::Vhost(port) => port.offloads.waited_for,
            Carrier::Tap(_) => false,
        };
        is_it.then_some(target)
    }
}

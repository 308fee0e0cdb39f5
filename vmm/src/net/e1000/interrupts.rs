//! Interrupt causes, their mask, and the timers that hold interrupts back (SDM 13.4.17 to 13.4.21).
use super::{pace::Pace, spec};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Unit of ITR.
const ITR_UNIT: Duration = Duration::from_nanos(256);
/// Unit of RDTR, RADV, TIDV and TADV.
const DELAY_UNIT: Duration = Duration::from_nanos(1024);

/// No timer is longer.
const LONGEST: Duration = Duration::from_millis(100);

/// A packet timer that each event restarts, and an absolute one that it does not (13.4.30).
#[derive(Debug, Clone, Copy, Default)]
struct Delay {
    packet: Option<Instant>,
    absolute: Option<Instant>,
}

impl Delay {
    /// True: no delay is wanted.
    fn restart(&mut self, now: Instant, packet: u32, absolute: u32) -> bool {
        let (packet, absolute) = (packet & 0xffff, absolute & 0xffff);
        if packet == 0 {
            *self = Self::default();
            return true;
        }
        self.packet = Some(now + DELAY_UNIT * packet);
        if absolute != 0 && self.absolute.is_none() {
            self.absolute = Some(now + DELAY_UNIT * absolute);
        }
        false
    }

    fn deadline(&self) -> Option<Instant> {
        [self.packet, self.absolute].into_iter().flatten().min()
    }

    /// Whether a timer has run out; then both stop.
    fn expire(&mut self, now: Instant) -> bool {
        let expired = self.deadline().is_some_and(|deadline| deadline <= now);
        if expired {
            *self = Self::default();
        }
        expired
    }
}

/// The interrupt block in a snapshot; times are from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct SavedInterrupts {
    cause: u32,
    mask: u32,
    asserted: bool,
    earliest: Option<Duration>,
    /// Packet and absolute timer.
    receive: [Option<Duration>; 2],
    transmit: [Option<Duration>; 2],
}

/// The interrupt block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interrupts {
    cause: u32,
    mask: u32,
    asserted: bool,
    /// ITR: no assertion before this.
    earliest: Option<Instant>,
    receive: Delay,
    transmit: Delay,
    /// Only small packets are reported by `transmit`: descriptors of them.
    small: Option<u32>,
    pace: Pace,
}

impl Interrupts {
    /// For a snapshot.
    pub(super) fn save(&self, now: Instant) -> SavedInterrupts {
        let left = |at: Instant| at.saturating_duration_since(now);
        let delay = |delay: Delay| [delay.packet.map(left), delay.absolute.map(left)];
        SavedInterrupts {
            cause: self.cause,
            mask: self.mask,
            asserted: self.asserted,
            earliest: self.earliest.map(left),
            receive: delay(self.receive),
            transmit: delay(self.transmit),
        }
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&mut self, saved: &SavedInterrupts, now: Instant) {
        let at = |left: Duration| now + left.min(LONGEST);
        let delay = |[packet, absolute]: [Option<Duration>; 2]| Delay {
            packet: packet.map(at),
            absolute: absolute.map(at),
        };
        *self = Self {
            cause: saved.cause & spec::ICR_MASK,
            mask: saved.mask & spec::ICR_MASK,
            asserted: saved.asserted,
            earliest: saved.earliest.map(at),
            receive: delay(saved.receive),
            transmit: delay(saved.transmit),
            small: None,
            pace: Pace::default(),
        };
    }

    /// Sets causes.
    pub(super) fn raise(&mut self, cause: u32) {
        self.cause |= cause & spec::ICR_MASK;
    }

    /// Reads ICR, which clears it.
    pub(super) fn take(&mut self, now: Instant) -> u32 {
        self.pace.acknowledge(now);
        std::mem::take(&mut self.cause)
    }

    /// Writes ICR: ones clear.
    pub(super) fn clear(&mut self, cause: u32) {
        self.cause &= !cause;
    }

    /// IMS as it reads.
    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    /// Writes IMS.
    pub(super) fn enable(&mut self, causes: u32, now: Instant) {
        if self.mask == 0 {
            self.pace.unmask(now);
        }
        self.mask |= causes & spec::ICR_MASK;
    }

    /// Writes IMC.
    pub(super) fn disable(&mut self, causes: u32) {
        self.mask &= !causes;
    }

    /// A frame was received.
    pub(super) fn received(&mut self, now: Instant, rdtr: u32, radv: u32) {
        if self.receive.restart(now, rdtr, radv) {
            self.raise(spec::ICR_RXT0);
        }
    }

    /// A descriptor was written back that asked for a delayed interrupt.
    pub(super) fn transmitted(&mut self, now: Instant, [tidv, tadv]: [u32; 2]) {
        self.small = None;
        if self.transmit.restart(now, tidv, tadv) {
            self.raise(spec::ICR_TXDW);
        }
    }

    /// The same of small packets only, in so many descriptors. They wait longer, but for no more than `most` of them.
    pub(super) fn transmitted_small(
        &mut self,
        now: Instant,
        delays: [u32; 2],
        count: u32,
        most: u32,
    ) {
        let before = match self.transmit.deadline() {
            None => Some(0),
            Some(_) => self.small,
        };
        self.transmitted(now, delays);
        self.small = before.map(|before| before.saturating_add(count));
        if self.small.is_some_and(|small| small >= most) {
            self.flush_transmit();
        }
    }

    /// When the transmit timers' interrupt is due.
    fn transmit_deadline(&self) -> Option<Instant> {
        let deadline = self.transmit.deadline()?;
        let patience = self.small.and_then(|_| self.pace.patience(self.mask == 0));
        Some(patience.map_or(deadline, |patience| deadline.max(patience)))
    }

    /// RDTR.FPD.
    pub(super) fn flush_receive(&mut self) {
        if self.receive.deadline().is_some() {
            self.receive = Delay::default();
            self.raise(spec::ICR_RXT0);
        }
    }

    /// TIDV.FPD.
    pub(super) fn flush_transmit(&mut self) {
        if self.transmit.deadline().is_some() {
            self.transmit = Delay::default();
            self.raise(spec::ICR_TXDW);
        }
    }

    /// Lets timers run out; returns the level of the pin.
    pub(super) fn level(&mut self, now: Instant, itr: u32) -> bool {
        if self.receive.expire(now) {
            self.raise(spec::ICR_RXT0);
        }
        if self.transmit_deadline().is_some_and(|due| due <= now) {
            self.flush_transmit();
        }
        if self.cause & self.mask == 0 {
            self.asserted = false;
        } else if !self.asserted && self.earliest.is_none_or(|earliest| earliest <= now) {
            self.asserted = true;
            self.pace.assert(now);
            self.earliest = (itr & 0xffff != 0).then(|| now + ITR_UNIT * (itr & 0xffff));
        }
        self.asserted
    }

    /// When [`Interrupts::level`] may change by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let throttled = self.cause & self.mask != 0 && !self.asserted;
        let earliest = self.earliest.filter(|_| throttled);
        [self.receive.deadline(), self.transmit_deadline(), earliest]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_follows_cause_and_mask() {
        let now = Instant::now();
        let mut block = Interrupts::default();
        block.raise(spec::ICR_LSC);
        assert!(!block.level(now, 0));
        block.enable(spec::ICR_LSC | spec::ICR_RXT0, now);
        assert!(block.level(now, 0));
        block.disable(spec::ICR_LSC);
        assert!(!block.level(now, 0));
        block.enable(spec::ICR_LSC, now);
        assert!(block.level(now, 0));
        assert_eq!(block.take(now), spec::ICR_LSC);
        assert!(!block.level(now, 0));
        assert_eq!(block.take(now), 0, "reading clears");
    }

    #[test]
    fn itr_spaces_assertions() {
        let now = Instant::now();
        let mut block = Interrupts::default();
        block.enable(u32::MAX, now);
        block.raise(spec::ICR_RXT0);
        assert!(block.level(now, 1000));
        block.take(now);
        assert!(!block.level(now, 1000));
        block.raise(spec::ICR_RXT0);
        assert!(!block.level(now, 1000));
        let deadline = now + Duration::from_micros(256);
        assert_eq!(block.deadline(), Some(deadline));
        assert!(block.level(deadline, 1000));
        assert_eq!(block.deadline(), None);
    }

    #[test]
    fn reports_of_small_packets_wait_for_the_driver() {
        let now = Instant::now();
        let mut block = Interrupts::default();
        let delays = [8, 32];
        let (us, ms) = (Duration::from_micros(1), Duration::from_millis(1));
        block.enable(u32::MAX, now);
        // Before it is known how long it takes.
        block.transmitted_small(now, delays, 1, 64);
        assert!(!block.level(now, 0));
        assert!(block.level(now + 9 * us, 0));
        // Its answer: one millisecond, masked meanwhile.
        let now = now + 9 * us;
        assert_eq!(block.take(now), spec::ICR_TXDW);
        block.disable(u32::MAX);
        block.transmitted_small(now + 100 * us, delays, 1, 64);
        assert!(!block.level(now + 900 * us, 0));
        block.enable(u32::MAX, now + ms);
        assert_eq!(block.deadline(), Some(now + 5 * ms));
        assert!(!block.level(now + ms, 0));
        for _ in 0..10 {
            block.transmitted_small(now + 2 * ms, delays, 1, 64);
        }
        assert_eq!(block.deadline(), Some(now + 5 * ms));
        assert!(block.level(now + 5 * ms, 0));
        // Received frames do not wait, nor large packets among small ones, nor too many small ones.
        let now = now + 5 * ms;
        block.take(now + ms);
        block.received(now + ms, 0, 0);
        assert!(block.level(now + ms, 0));
        block.take(now + 2 * ms);
        block.transmitted_small(now + 2 * ms, delays, 1, 64);
        block.transmitted(now + 2 * ms, delays);
        block.transmitted_small(now + 2 * ms, delays, 1, 64);
        assert!(block.level(now + 2 * ms + 9 * us, 0));
        block.take(now + 3 * ms);
        block.transmitted_small(now + 3 * ms, delays, 63, 64);
        assert!(!block.level(now + 3 * ms + 9 * us, 0));
        block.transmitted_small(now + 3 * ms + 9 * us, delays, 1, 64);
        assert!(block.level(now + 3 * ms + 9 * us, 0));
        // Who wants no delay gets none.
        block.take(now + 4 * ms);
        block.transmitted_small(now + 4 * ms, [0, 0], 1, 64);
        assert!(block.level(now + 4 * ms, 0));
    }

    #[test]
    fn packets_restart_one_timer_and_not_the_other() {
        let now = Instant::now();
        let mut block = Interrupts::default();
        block.enable(u32::MAX, now);
        let step = Duration::from_nanos(1024);
        block.received(now, 10, 15);
        block.received(now + 8 * step, 10, 15);
        assert_eq!(block.deadline(), Some(now + 15 * step));
        assert!(!block.level(now + 14 * step, 0));
        assert!(block.level(now + 15 * step, 0));
        assert_eq!(block.take(now), spec::ICR_RXT0);
        block.received(now, 10, 15);
        block.flush_receive();
        assert_eq!(block.take(now), spec::ICR_RXT0);
    }
}

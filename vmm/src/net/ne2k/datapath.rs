//! One burst of work: transmits, receives; each within its budget.
use super::{
    device::Device,
    receive::{Arrival, Outcome},
    spec,
    state::State,
};
use crate::net::{
    nic::{Burst, fcs},
    wire::{Outgoing, Wire, complete},
};
use std::time::{Duration, Instant};
use virtqueue::NetHeader;

/// Frames received for one event at most.
const RECEIVE_BUDGET: usize = 32;
/// Frames taken back from the wire for one event at most.
const REAP_BUDGET: usize = 512;
/// How long a frame waits for room before the ring overflows. The far end of a real cable is slow; that of this one is not, and a
/// driver needs a moment to be scheduled and to read the ring.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// What leaves, and the FCS that the driver has put behind it.
fn outgoing(state: &State) -> Option<(&[u8], Option<[u8; 4]>)> {
    let at = u16::from_be_bytes([state.tpsr, 0]);
    let bytes = state.memory.ram(at, usize::from(state.tbcr))?;
    let (frame, fcs) = if state.tcr & spec::TCR_CRC == 0 {
        (bytes, None)
    } else {
        let (frame, fcs) = bytes.split_last_chunk()?;
        (frame, Some(*fcs))
    };
    (14..=spec::MAX_TRANSMIT)
        .contains(&frame.len())
        .then_some((frame, fcs))
}

impl Device {
    /// Does what can be done now, within the budget.
    pub(super) fn move_frames(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        for _ in 0..REAP_BUDGET {
            // What is sent was copied: nobody waits for it.
            if wire.sent().is_none() {
                break;
            }
        }
        let mut busy = self.transmit(wire);
        busy |= self.receive(wire, now);
        wire.flush();
        self.update_pin();
        Burst {
            busy,
            restart: false,
            deadline: self.held,
        }
    }

    /// CR.TXP.
    fn transmit(&mut self, wire: &mut dyn Wire) -> bool {
        if self.state.cr & spec::CR_TXP == 0 {
            return false;
        }
        let status = if self.state.loopback() {
            self.loop_back()
        } else {
            match self.send(wire) {
                Some(status) => status,
                // It wakes us when it has sent something.
                None => return false,
            }
        };
        let state = &mut self.state;
        state.cr &= !spec::CR_TXP;
        state.tsr = status | spec::TSR_FIXED;
        state.isr |= if status & spec::TSR_PTX != 0 {
            spec::ISR_PTX
        } else {
            spec::ISR_TXE
        };
        true
    }

    /// Gives the frame to the wire; returns TSR, `None`: there is no room.
    fn send(&self, wire: &mut dyn Wire) -> Option<u8> {
        let Some((frame, sequence)) = outgoing(&self.state) else {
            return Some(spec::TSR_ABT);
        };
        if !self.state.link {
            return Some(spec::TSR_PTX | spec::TSR_CRS);
        }
        if sequence.is_some_and(|sequence| sequence != fcs::of(frame)) {
            // No receiver takes it.
            return Some(spec::TSR_PTX);
        }
        let outgoing = Outgoing {
            header: &NetHeader::default(),
            head: frame,
            body: &[],
            token: u64::MAX,
        };
        wire.send(&outgoing).then_some(spec::TSR_PTX)
    }

    /// Loopback (D 11.0, "Loopback Diagnostics"); returns TSR.
    fn loop_back(&mut self) -> u8 {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let sequence = outgoing(&self.state).map(|(bytes, sequence)| {
            frame.extend_from_slice(bytes);
            sequence
        });
        let status = match sequence {
            None => spec::TSR_ABT,
            Some(sequence) => {
                let right = fcs::of(&frame);
                let arrival = Arrival {
                    frame: &frame,
                    fcs: sequence.unwrap_or(right),
                    intact: sequence.is_none_or(|sequence| sequence == right),
                };
                if self.state.dcr & spec::DCR_LS == 0 {
                    self.state.diagnose(&arrival, sequence.is_none());
                } else if self.state.started() && self.state.store(&arrival) == Outcome::NoRoom {
                    // There is no cable on which it could wait.
                    self.state.overflow();
                }
                // Carrier and heartbeat are seen by those parts only that the signal passes.
                spec::TSR_PTX
                    | match self.state.tcr & spec::TCR_LB {
                        spec::TCR_LB_INTERNAL => spec::TSR_CRS | spec::TSR_CDH,
                        spec::TCR_LB_ENDEC => spec::TSR_CDH,
                        _ => 0,
                    }
            }
        };
        self.scratch = frame;
        status
    }

    /// The driver is there, and the cable.
    fn listening(&self) -> bool {
        self.state.started() && self.state.link && !self.state.loopback()
    }

    /// After a register was written: whether the thread is to try a frame that waits. If not, the driver is told of it once more: it has
    /// arrived, and the driver may have acknowledged those before it. Linux' reads nine for an interrupt, and would not look at a ring
    /// that was filled again meanwhile.
    pub(super) fn remind(&mut self) -> bool {
        if self.held.is_none() {
            return false;
        }
        let waits = self.listening() && self.state.is_full_for(self.frame.len());
        if waits {
            self.state.isr |= spec::ISR_PRX;
        }
        !waits
    }

    fn receive(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let mut frame = std::mem::take(&mut self.frame);
        let mut busy = false;
        for _ in 0..RECEIVE_BUDGET {
            let waited = self.held.take();
            if waited.is_none() {
                let Some(header) = wire.receive(&mut frame) else {
                    break;
                };
                busy = true;
                if complete(&header, &mut frame).is_none() {
                    continue;
                }
                // Who sends on a real cable pads.
                frame.resize(frame.len().max(spec::MIN_FRAME), 0);
            }
            if !self.listening() {
                // It was for a driver that has gone.
                continue;
            }
            if self.state.store(&Arrival::intact(&frame)) == Outcome::NoRoom {
                let until = waited.unwrap_or(now + PATIENCE);
                if !self.state.overflowed && now < until {
                    self.held = Some(until);
                    self.state.isr |= spec::ISR_PRX;
                    break;
                }
                self.state.overflow();
            }
            busy = true;
        }
        self.frame = frame;
        busy
    }
}

impl State {
    /// What the receiver makes of a frame in loopback mode: nothing reaches memory, the FIFO has length and end of the frame.
    /// `appended`: the CRC logic was busy with sending and could not check.
    fn diagnose(&mut self, arrival: &Arrival<'_>, appended: bool) {
        let [low, high] = u16::try_from(arrival.len()).unwrap_or(0).to_le_bytes();
        let last = arrival.frame.last().copied().unwrap_or(0);
        let [c0, c1, c2, c3] = arrival.fcs;
        self.fifo = ([low, high, high, last, c0, c1, c2, c3], 0);
        self.rsr = match self.accepts(arrival.frame) {
            None => 0,
            Some(group) if appended || !arrival.intact => group | spec::RSR_CRC,
            Some(group) => group | spec::RSR_PRX,
        };
    }
}

//! One burst of work: reports, transmits, receives, timer; each within its budget.
use super::{
    device::Device,
    receive::Outcome,
    ring::{Cable, Step},
    spec,
};
use crate::net::{
    nic::Burst,
    wire::{Outgoing, Wire, complete},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use virtqueue::NetHeader;

/// Packets sent for one event at most.
const TRANSMIT_BUDGET: usize = 64;
/// Frames received for one event at most.
const RECEIVE_BUDGET: usize = 32;

/// What became of a frame of C mode.
enum Sent {
    Good,
    /// There is no carrier; the chip sends all the same (C 5.2, TSD.CRS).
    Nowhere,
    Bad,
    Full,
}

impl Device {
    /// Does what can be done now, within the budget.
    pub(super) fn move_frames(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        let mut busy = false;
        if !self.stale {
            busy |= self.reap(wire);
            if self.bus_master && self.state.cr & spec::CR_TE != 0 {
                busy |= if self.state.plus_transmits() {
                    self.transmit_plus(wire)
                } else {
                    self.transmit_c(wire)
                };
            }
            busy |= self.receive(wire, now);
            wire.flush();
        }
        if self.timer.expire(now) {
            self.raise(spec::ISR_TIMEOUT);
        }
        self.remind(now);
        self.update_pin();
        let deadlines = [
            self.timer.deadline(),
            self.held.deadline(),
            self.reminder.deadline(),
        ];
        Burst {
            busy,
            restart: self.stale,
            deadline: deadlines.into_iter().flatten().min(),
        }
    }

    fn remind(&mut self, now: Instant) {
        let left = self.receiving() && !self.state.plus_receives() && !self.ring_is_empty();
        let capr = self.doorbells.capr.load(Ordering::SeqCst);
        if self.reminder.look(now, capr, left) {
            self.raise(spec::ISR_ROK);
        }
    }

    fn reap(&mut self, wire: &mut dyn Wire) -> bool {
        let reported = self.transmitter.reap(wire, self.state.tnpds, &self.memory);
        for _ in 0..reported.bad {
            self.state.tally.aborted();
        }
        self.state.tally.tx_ok += u64::from(reported.good);
        if reported.good > 0 {
            self.raise(spec::ISR_TOK);
        }
        if reported.bad > 0 {
            self.raise(spec::ISR_TER);
        }
        let any = reported.good + reported.bad > 0;
        if any && !self.transmitter.has_flights() {
            self.raise(spec::ISR_TDU);
        }
        any
    }

    fn transmit_plus(&mut self, wire: &mut dyn Wire) -> bool {
        // Before looking: who rings from now on is heard in the next burst.
        let polled = self.doorbells.poll.swap(false, Ordering::SeqCst);
        if !polled && !self.transmitter.is_waiting() {
            return false;
        }
        self.transmitter.refill();
        let cable = self.cable();
        let mut looped = std::mem::take(&mut self.scratch);
        let mut busy = false;
        let mut again = true;
        for _ in 0..TRANSMIT_BUDGET {
            let step =
                self.transmitter
                    .step(self.state.tnpds, cable, wire, &mut looped, &self.memory);
            match step {
                Step::Idle => {
                    again = false;
                    break;
                }
                Step::Spent | Step::Full => break,
                Step::Done => {}
                Step::Looped => self.loop_back(&mut looped),
            }
            busy = true;
        }
        self.scratch = looped;
        if again {
            self.doorbells.poll.store(true, Ordering::SeqCst);
        }
        // A full wire wakes us when it has sent something.
        busy || again && !self.transmitter.is_waiting()
    }

    /// C mode: four descriptors in turn. Their frames are short and are copied, so that each descriptor is the driver's again at once.
    fn transmit_c(&mut self, wire: &mut dyn Wire) -> bool {
        let doorbells = Arc::clone(&self.doorbells);
        let mut busy = false;
        for _ in 0..TRANSMIT_BUDGET {
            let index = usize::from(self.state.transmit_next & 3);
            let Some(register) = doorbells.status.get(index) else {
                break;
            };
            let status = register.load(Ordering::SeqCst);
            if status & spec::TSD_OWN != 0 {
                break;
            }
            let address = self.state.transmit_addresses.get(index).copied();
            let size = usize::try_from(status & spec::TSD_SIZE).unwrap_or(0);
            let done = match self.send_frame(address.unwrap_or(0), size, wire) {
                Sent::Full => break,
                Sent::Good => {
                    self.state.tally.tx_ok += 1;
                    self.raise(spec::ISR_TOK);
                    spec::TSD_OWN | spec::TSD_TOK
                }
                Sent::Nowhere => {
                    self.state.tally.tx_err += 1;
                    self.raise(spec::ISR_TOK);
                    spec::TSD_OWN | spec::TSD_TOK | spec::TSD_CRS
                }
                Sent::Bad => {
                    self.state.tally.aborted();
                    self.raise(spec::ISR_TER);
                    spec::TSD_OWN | spec::TSD_TABT
                }
            };
            // A driver that has written it again meanwhile has its way.
            let _ = register.compare_exchange(
                status,
                status | done,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            self.state.transmit_next = (self.state.transmit_next + 1) & 3;
            busy = true;
        }
        busy
    }

    fn send_frame(&mut self, address: u32, size: usize, wire: &mut dyn Wire) -> Sent {
        if !(14..=spec::MAX_TRANSMIT).contains(&size) {
            return Sent::Bad;
        }
        let mut frame = std::mem::take(&mut self.scratch);
        frame.resize(size, 0);
        let sent = if self.memory.read(address.into(), &mut frame) {
            match self.cable() {
                Cable::Loopback => {
                    self.loop_back(&mut frame);
                    Sent::Good
                }
                Cable::Missing => Sent::Nowhere,
                Cable::Connected => send_copy(&frame, wire),
            }
        } else {
            Sent::Bad
        };
        self.scratch = frame;
        sent
    }

    fn cable(&self) -> Cable {
        if self.state.loopback() {
            Cable::Loopback
        } else if self.state.mii.link() {
            Cable::Connected
        } else {
            Cable::Missing
        }
    }

    fn receiving(&self) -> bool {
        self.bus_master && self.state.cr & spec::CR_RE != 0
    }

    /// What was sent in loopback mode; without room it is lost, as on a wire.
    fn loop_back(&mut self, frame: &mut Vec<u8>) {
        if self.receiving() && !self.held.is_some() && self.store(frame, false) == Outcome::NoRoom {
            self.miss();
        }
    }

    fn miss(&mut self) {
        self.state.tally.missed();
        self.state.mpc = (self.state.mpc + 1) & 0x00ff_ffff;
        self.raise(spec::ISR_RXOVW);
    }

    /// Frames wait while the driver has no room for them: the packet buffer is on the wire.
    fn receive(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let mut frame = std::mem::take(&mut self.frame);
        let mut busy = false;
        for _ in 0..RECEIVE_BUDGET {
            let held = self.held.take();
            let checked = if let Some(checked) = held {
                checked
            } else {
                let Some(header) = wire.receive(&mut frame) else {
                    break;
                };
                busy = true;
                match complete(&header, &mut frame) {
                    Some(checked) if self.receiving() && self.cable() == Cable::Connected => {
                        checked
                    }
                    _ => continue,
                }
            };
            if !self.receiving() {
                // It was for a driver that has gone.
                continue;
            }
            if self.store(&mut frame, checked) == Outcome::NoRoom {
                self.held.keep(checked, now);
                if held.is_none() {
                    // Said once, however often it is tried.
                    self.raise(spec::ISR_RXOVW);
                }
                break;
            }
            self.held.relieved();
            busy = true;
        }
        self.frame = frame;
        // CAPR wakes us only if somebody waits for it.
        let waiting = self.held.is_some();
        self.doorbells.waiting.store(waiting, Ordering::SeqCst);
        busy
    }
}

/// Nothing of the driver's is read any more: nobody waits for the token.
fn send_copy(frame: &[u8], wire: &mut dyn Wire) -> Sent {
    let outgoing = Outgoing {
        header: &NetHeader::default(),
        head: frame,
        body: &[],
        token: u64::MAX,
    };
    if wire.send(&outgoing) {
        Sent::Good
    } else {
        Sent::Full
    }
}

//! One burst of work: reports, transmits, receives; each within its budget.
use super::{
    device::Device,
    receive::Outcome,
    spec,
    transmit::{Settings, Step},
};
use crate::net::{
    nic::Burst,
    wire::{Wire, complete},
};
use std::{sync::atomic::Ordering, time::Instant};

/// Frames sent for one event at most.
const TRANSMIT_BUDGET: usize = 64;
/// Frames received for one event at most.
const RECEIVE_BUDGET: usize = 32;
/// Bytes of a VLAN tag.
const TAG_LEN: usize = 4;

impl Device {
    /// Does what can be done now, within the budget.
    pub(super) fn move_frames(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        let mut busy = false;
        if !self.stale {
            busy |= self.reap(wire);
            busy |= self.transmit(wire, now);
            busy |= self.receive(wire, now);
            wire.flush();
        }
        self.sync_doorbells();
        self.update_pin();
        let deadlines = [
            self.poll.deadline(),
            self.transmitter.deadline(),
            self.held.deadline().filter(|_| !self.is_suspended()),
        ];
        Burst {
            busy,
            restart: self.stale,
            deadline: deadlines.into_iter().flatten().min(),
        }
    }

    fn reap(&mut self, wire: &mut dyn Wire) -> bool {
        let ring = self.state.transmit_ring();
        let reported = self.transmitter.reap(wire, &ring, &self.memory);
        if reported.interrupt {
            self.raise(spec::CSR0_TINT);
        }
        if reported.errors & spec::T_LCAR != 0 {
            self.raise(spec::CSR0_CERR);
        }
        let goes_on = self.state.has(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
        if reported.errors & spec::T_UFLO != 0 && !goes_on {
            self.state.clear(spec::CSR_STATUS, spec::CSR0_TXON);
        }
        reported.any
    }

    fn settings(&self) -> Settings {
        let state = &self.state;
        Settings {
            ring: state.transmit_ring(),
            loopback: state.loopback(),
            link: state.mii.link(),
            no_fcs: state.mode(spec::MODE_DXMTFCS),
            pads: state.has(spec::CSR_FEATURES, spec::CSR4_APAD_XMT),
            quiet: state.has(spec::CSR_EXTENDED, spec::CSR5_TOKINTD),
            marked: state.has(spec::CSR_EXTENDED, spec::CSR5_LTINTEN),
        }
    }

    fn transmit(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let on = self.status_has(spec::CSR0_TXON);
        if !on {
            self.doorbells.demand.store(false, Ordering::SeqCst);
        }
        if !on || !self.bus_master || self.is_suspended() {
            self.poll.stop();
            self.transmitter.pause();
            return false;
        }
        let polls = !self.state.has(spec::CSR_FEATURES, spec::CSR4_DPOLL);
        // Before looking: who demands from now on is heard in the next burst.
        let demanded = self.doorbells.demand.swap(false, Ordering::SeqCst);
        let pending = self.transmitter.is_waiting() || self.transmitter.deadline().is_some();
        if !polls && !demanded && !pending {
            self.poll.stop();
            return false;
        }
        let (busy, again) = self.send_frames(wire, now);
        if again {
            self.doorbells.demand.store(true, Ordering::SeqCst);
        }
        if polls {
            let interval = self.state.get(spec::CSR_POLLINT);
            let found = busy && !demanded && !pending;
            self.poll.looked(found, interval, now);
        }
        // A full wire wakes us when it has sent something.
        busy || again && !self.transmitter.is_waiting()
    }

    /// Whether something was done, and whether there may be more.
    fn send_frames(&mut self, wire: &mut dyn Wire, now: Instant) -> (bool, bool) {
        let settings = self.settings();
        let mut scratch = std::mem::take(&mut self.scratch);
        self.transmitter.refill();
        let mut busy = false;
        let mut again = true;
        for _ in 0..TRANSMIT_BUDGET {
            match self
                .transmitter
                .step(&settings, &mut scratch, wire, &self.memory, now)
            {
                Step::Idle => {
                    again = false;
                    break;
                }
                Step::Fault => {
                    // A bus error, after which the transmitter is off.
                    self.state.clear(spec::CSR_STATUS, spec::CSR0_TXON);
                    self.raise(spec::CSR0_MERR);
                    again = false;
                    break;
                }
                Step::Spent | Step::Full => break,
                Step::Done => {}
                Step::Sent(len) => self.count_sent(len),
                Step::Looped(len) => {
                    self.count_sent(len);
                    self.loop_back(&mut scratch);
                }
            }
            busy = true;
        }
        self.scratch = scratch;
        (busy, again)
    }

    /// TXSTRT and BABL. A tag's four bytes are no babble: a driver of VLANs would count errors.
    fn count_sent(&mut self, len: usize) {
        self.state.raise(spec::CSR_FEATURES, spec::CSR4_TXSTRT);
        if len > spec::MAX_STANDARD + TAG_LEN {
            self.raise(spec::CSR0_BABL);
        }
    }

    fn receiving(&self) -> bool {
        self.bus_master && self.status_has(spec::CSR0_RXON)
    }

    /// What was sent in loopback mode; without room it is lost, as on a wire.
    fn loop_back(&mut self, frame: &mut Vec<u8>) {
        if self.receiving() && self.store(frame, true, true) == Outcome::NoRoom {
            self.miss();
        }
    }

    /// Frames wait while the driver has no room for them: the packet buffer is on the wire.
    fn receive(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        if self.is_suspended() {
            return false;
        }
        let mut frame = std::mem::take(&mut self.frame);
        let mut busy = false;
        for _ in 0..RECEIVE_BUDGET {
            let held = self.held.take();
            if !held {
                let Some(header) = wire.receive(&mut frame) else {
                    break;
                };
                busy = true;
                let connected = self.state.mii.link() && !self.state.loopback();
                if complete(&header, &mut frame).is_none() || !connected {
                    continue;
                }
            }
            if !self.receiving() {
                // It was for a driver that has gone.
                self.held.relieved();
                continue;
            }
            let last = self.state.missing || self.held.is_over(now);
            match self.store(&mut frame, false, last) {
                Outcome::NoRoom if !last => {
                    self.held.keep(now);
                    break;
                }
                Outcome::NoRoom => {
                    self.state.missing = true;
                    self.miss();
                }
                Outcome::Stored => self.state.missing = false,
                Outcome::Refused => {}
            }
            self.held.relieved();
            busy = true;
        }
        self.frame = frame;
        // A write to CSR0 wakes us only if somebody waits for it.
        let waiting = self.held.is_some();
        self.doorbells.waiting.store(waiting, Ordering::SeqCst);
        busy
    }
}

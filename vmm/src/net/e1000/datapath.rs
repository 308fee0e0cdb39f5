//! One burst of work: reports, transmits, receives, interrupts; each within its budget.
use super::{
    device::Device,
    receive::{self, Outcome, ReceiveRing},
    spec,
    transmit::{Sent, Settings, Step},
};
use crate::net::{
    nic::{Burst, Frames},
    wire::{Wire, complete},
};
use std::{sync::atomic::Ordering, time::Instant};

/// Packets sent for one event at most.
const TRANSMIT_BUDGET: usize = 64;
/// Frames received for one event at most.
const RECEIVE_BUDGET: usize = 32;

impl Device {
    /// Does what can be done now, within the budget.
    pub(super) fn move_frames(&mut self, wire: &mut dyn Wire, now: Instant) -> Burst {
        let mut busy = false;
        if !self.stale {
            busy |= self.reap(wire, now);
            busy |= self.transmit(wire, now);
            busy |= self.receive(wire, now);
            wire.flush();
        }
        self.update_pin(now);
        self.told = self.interrupts.deadline();
        Burst {
            busy,
            restart: self.stale,
            deadline: [self.told, self.retry.due()].into_iter().flatten().min(),
        }
    }

    fn reap(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let ring = self.transmit_ring();
        let reported = self.transmitter.reap(wire, ring, &self.memory);
        let Some(head) = reported.head else {
            return false;
        };
        self.state.set(spec::TDH, head);
        if reported.now {
            self.interrupts.raise(spec::ICR_TXDW);
        }
        let delays = [spec::TIDV, spec::TADV].map(|register| self.state.get(register));
        if reported.delayed {
            self.interrupts.transmitted(now, delays);
        }
        if reported.small > 0 {
            // The driver must not run out of descriptors meanwhile.
            let most = ring.len / 4;
            self.interrupts
                .transmitted_small(now, delays, reported.small, most);
        }
        if head == self.doorbells.transmit.load(Ordering::SeqCst) {
            self.interrupts.raise(spec::ICR_TXQE);
        }
        true
    }

    fn loopback(&self) -> bool {
        self.state.get(spec::RCTL) & spec::RCTL_LBM != 0 || self.state.phy.loopback()
    }

    fn transmit(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        if !self.bus_master || !self.state.has(spec::TCTL, spec::TCTL_EN) {
            return false;
        }
        let [v0, v1, ..] = self.state.get(spec::VET).to_le_bytes();
        let settings = Settings {
            ring: self.transmit_ring(),
            tail: self.doorbells.transmit.load(Ordering::SeqCst),
            tags: self
                .state
                .has(spec::CTRL, spec::CTRL_VME)
                .then_some(u16::from_le_bytes([v0, v1])),
            loopback: self.loopback(),
            link: self.link,
        };
        self.transmitter.refill();
        let mut looped = Vec::new();
        let mut busy = false;
        for _ in 0..TRANSMIT_BUDGET {
            let step = self
                .transmitter
                .step(&settings, wire, &mut looped, &self.memory);
            match step {
                Step::Idle | Step::Full => return busy || self.transmitter.has_more(),
                Step::Dropped => {}
                Step::Sent(sent) => self.count_sent(&sent),
                Step::Looped(sent) => {
                    if self.receiving() && self.held.is_none() {
                        // Without room it is lost, as on a wire.
                        let _ = self.deliver(&mut looped, false, now);
                    }
                    if let Some(sent) = sent {
                        self.count_sent(&sent);
                    }
                }
            }
            busy = true;
        }
        busy
    }

    /// Counts a packet as the frames that it is on the cable (13.7).
    fn count_sent(&mut self, sent: &Sent) {
        let Frames {
            full,
            full_len,
            last_len,
        } = sent.frames;
        self.count_frames(full, full_len, sent.destination);
        self.count_frames(1, last_len, sent.destination);
        if sent.segmented {
            self.state.count(spec::TSCTC, 1);
        }
    }

    fn count_frames(&mut self, frames: u32, len: usize, destination: Option<[u8; 6]>) {
        if frames == 0 {
            return;
        }
        let state = &mut self.state;
        let len = len.max(spec::MIN_FRAME) + spec::FCS_LEN;
        let bytes = u64::from(frames) * len as u64;
        state.count(spec::TPT, frames);
        state.count(spec::GPTC, frames);
        state.count64(spec::GOTCL, bytes);
        state.count64(spec::TOTL, bytes);
        state.count_size(spec::PTC64, len, frames);
        match destination {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => state.count(spec::BPTC, frames),
            Some([first, ..]) if first & 1 != 0 => state.count(spec::MPTC, frames),
            _ => {}
        }
    }

    fn receiving(&self) -> bool {
        self.bus_master && self.state.has(spec::RCTL, spec::RCTL_EN)
    }

    fn receive_position(&self) -> ReceiveRing {
        ReceiveRing {
            ring: self.receive_ring(),
            head: self.state.get(spec::RDH),
            tail: self.doorbells.receive.load(Ordering::SeqCst),
        }
    }

    /// Frames stay on the wire while the driver has no buffers: the packet buffer is there.
    fn receive(&mut self, wire: &mut dyn Wire, now: Instant) -> bool {
        let mut frame = std::mem::take(&mut self.frame);
        let mut busy = false;
        self.doorbells.starving.store(false, Ordering::SeqCst);
        for _ in 0..RECEIVE_BUDGET {
            let held = self.held.take();
            let checked = if let Some(checked) = held {
                if !self.receiving() {
                    // It was for a receiver that is off by now.
                    continue;
                }
                checked
            } else {
                let position = self.receive_position();
                if self.receiving() && position.free() == 0 {
                    if wire.has_received() && self.finds_buffers(position) {
                        busy = true;
                        continue;
                    }
                    break;
                }
                let Some(header) = wire.receive(&mut frame) else {
                    break;
                };
                busy = true;
                let Some(checked) = complete(&header, &mut frame) else {
                    continue;
                };
                if !self.receiving()
                    || self.loopback()
                    || !self.link
                    || !receive::accepts(&mut self.state, &frame)
                {
                    continue;
                }
                checked
            };
            let position = self.receive_position();
            if self.store(&mut frame, checked, now) == Outcome::NoRoom {
                self.held = Some(checked);
                // Counted once, however often it is tried.
                self.state.count(spec::RNBC, u32::from(held.is_none()));
                if self.finds_buffers(position) {
                    busy = true;
                    continue;
                }
                break;
            }
            busy = true;
        }
        self.frame = frame;
        self.look_again(busy, now);
        busy
    }

    /// What waits had no room at `position`. True: RDT has been written meanwhile. False: whoever writes it wakes the thread.
    fn finds_buffers(&self, position: ReceiveRing) -> bool {
        self.doorbells.starving.store(true, Ordering::SeqCst);
        self.receive_position().tail != position.tail
    }

    /// While frames wait for buffers the thread looks for RDT by itself, as KVM may keep it for as long as no vCPU makes another access.
    fn look_again(&mut self, received: bool, now: Instant) {
        let starving = self.doorbells.starving.load(Ordering::SeqCst);
        if received || !starving {
            self.retry.succeeded();
        }
        if starving {
            self.retry.failed(now);
        }
    }

    /// Filters and stores a frame that came back.
    fn deliver(&mut self, frame: &mut Vec<u8>, checked: bool, now: Instant) -> Outcome {
        if receive::accepts(&mut self.state, frame) {
            self.store(frame, checked, now)
        } else {
            Outcome::Refused
        }
    }

    fn store(&mut self, frame: &mut Vec<u8>, checked: bool, now: Instant) -> Outcome {
        let mut position = self.receive_position();
        let outcome = receive::store(&mut self.state, &mut position, frame, checked, &self.memory);
        match outcome {
            Outcome::Stored { low } => {
                self.state.set(spec::RDH, position.head);
                let (rdtr, radv) = (self.state.get(spec::RDTR), self.state.get(spec::RADV));
                self.interrupts.received(now, rdtr, radv);
                if low {
                    self.interrupts.raise(spec::ICR_RXDMT0);
                }
            }
            Outcome::NoRoom | Outcome::Refused => {}
        }
        outcome
    }
}

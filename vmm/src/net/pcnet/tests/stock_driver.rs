//! A driver that does as Linux's does, preempted anywhere: whatever the order of events, nobody waits for ever for the other.
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// CSR3: all of its masks, as the driver sets them while it polls.
const MASKED: u16 = 0x5f00;
/// CSR0: what the driver's handler looks for, and what it does not write back.
const CAUSES: u16 = 0x8f00;
const COMMANDS: u16 = 0x004f;

/// Driver, device thread and wire, each of which moves when told.
struct Machine {
    bench: Bench,
    /// The device's thread has something to look at.
    awake: bool,
    deadline: Option<Instant>,
    /// The handler has scheduled a poll.
    polling: bool,
    /// Positions as the driver has them.
    received: u32,
    reclaimed: u32,
    queued: u32,
    /// Numbers of frames that were brought, and that are yet to arrive.
    brought: VecDeque<u16>,
    next: u16,
    taken: usize,
}

impl Machine {
    fn new() -> Self {
        Self {
            bench: Bench::pci(),
            awake: true,
            deadline: None,
            polling: false,
            received: 0,
            reclaimed: 0,
            queued: 0,
            brought: VecDeque::new(),
            next: 0,
            taken: 0,
        }
    }

    fn write(&mut self, offset: u32, value: u16) {
        let at = Bench::access(offset, Width::Word);
        let device = &mut self.bench.device;
        let rung = device.doorbells().ring(at, value.into());
        self.awake |= rung.unwrap_or_else(|| device.write(at, value.into(), self.bench.now));
    }

    fn set_csr(&mut self, index: u16, value: u16) {
        self.write(spec::WIO_RAP, index);
        self.write(spec::WIO_RDP, value);
    }

    fn csr(&mut self, index: u16) -> u16 {
        self.write(spec::WIO_RAP, index);
        self.bench.read(spec::WIO_RDP, Width::Word) as u16
    }

    /// The thread's turn: until there is nothing more to do it looks, and once more before it sleeps.
    fn thread(&mut self) {
        let due = self.deadline.is_some_and(|at| at <= self.bench.now);
        let mut quiet = if self.awake || due { 0 } else { 2 };
        self.awake = false;
        while quiet < 2 {
            let burst = self
                .bench
                .device
                .burst(&mut self.bench.wire, self.bench.now);
            assert!(!burst.restart);
            quiet = if burst.busy { 0 } else { quiet + 1 };
            self.deadline = burst.deadline;
        }
    }

    fn transmit(&mut self) {
        if self.queued - self.reclaimed == COUNT {
            return;
        }
        let index = u64::from(self.queued % COUNT);
        let addr = DATA + 0x100 * index;
        let mut bytes = frame(100);
        bytes[20..24].copy_from_slice(&self.queued.to_le_bytes());
        self.bench.put(addr, &bytes);
        self.bench.push(addr, 100, WHOLE);
        self.queued += 1;
        self.set_csr(0, spec::CSR0_IENA | spec::CSR0_TDMD);
    }

    fn interrupt(&mut self) {
        for _ in 0..20 {
            let csr0 = self.csr(0);
            if csr0 & CAUSES == 0 {
                break;
            }
            self.set_csr(0, csr0 & !COMMANDS);
            if !std::mem::replace(&mut self.polling, true) {
                let masks = self.csr(3) | MASKED;
                self.set_csr(3, masks);
                break;
            }
        }
    }

    /// `budget` frames at most.
    fn poll(&mut self, budget: usize) {
        if !self.polling {
            return;
        }
        let mut work = 0;
        while work < budget {
            let index = self.received % COUNT;
            if self.bench.flags(RX_RING, index) & spec::D_OWN != 0 {
                break;
            }
            let number = self.bench.bytes(BUFFERS + 0x800 * u64::from(index) + 20, 2);
            let number = u16::from_le_bytes([number[0], number[1]]);
            // Those before it were missed.
            while self.brought.pop_front().expect("a frame that was brought") != number {}
            self.taken += 1;
            self.bench.give_buffer(index, SIZE);
            self.received += 1;
            work += 1;
        }
        while self.reclaimed < self.queued
            && self.bench.flags(TX_RING, self.reclaimed % COUNT) & spec::D_OWN == 0
        {
            self.reclaimed += 1;
        }
        if work < budget {
            self.polling = false;
            let masks = self.csr(3) & 0x00ff;
            self.set_csr(3, masks);
            self.set_csr(0, spec::CSR0_IENA);
        }
    }

    fn bring(&mut self, count: u8) {
        for _ in 0..count {
            let mut bytes = frame(64);
            bytes[20..22].copy_from_slice(&self.next.to_le_bytes());
            self.bench.wire.bring(bytes);
            self.brought.push_back(self.next);
            self.next += 1;
        }
        self.awake |= count > 0;
    }

    fn step(&mut self, event: u8, value: u8) {
        match event {
            0 | 1 => self.thread(),
            2 => self.transmit(),
            3 if self.bench.line.is_high() => self.interrupt(),
            4 => self.poll(usize::from(value % 8 + 1)),
            5 => self.bring(value % 16),
            6 => {
                self.bench.wire.full = value.is_multiple_of(4);
                self.awake |= !self.bench.wire.full;
            }
            7 => {
                self.bench.wire.done = !value.is_multiple_of(4);
                self.awake |= self.bench.wire.done && !self.bench.wire.flying.is_empty();
            }
            8 => self.bench.now += Duration::from_micros(1 << (value % 19)),
            _ => {}
        }
    }

    /// Everybody does what is theirs, in the shortest time, until nobody moves.
    fn rest(&mut self) {
        self.step(6, 1);
        self.step(7, 1);
        for _ in 0..1000 {
            self.thread();
            if self.bench.line.is_high() {
                self.interrupt();
            } else if !self.polling && !self.awake {
                let Some(at) = self.deadline.filter(|_| !self.brought.is_empty()) else {
                    break;
                };
                self.bench.now = self.bench.now.max(at);
            }
            self.poll(64);
        }
        self.thread();
    }
}

proptest! {
    #[test]
    fn nobody_waits_for_ever(events in prop::collection::vec((0..9u8, any::<u8>()), 0..200)) {
        let mut machine = Machine::new();
        for (event, value) in events {
            machine.step(event, value);
        }
        machine.rest();
        prop_assert_eq!(machine.reclaimed, machine.queued, "frames sent and given back");
        let sent = machine.bench.wire.sent.len();
        prop_assert_eq!(sent, usize::try_from(machine.queued).unwrap());
        for (number, index) in (0u32..).zip(0..sent) {
            let bytes = machine.bench.wire.bytes(index, &machine.bench.memory);
            prop_assert_eq!(&bytes[..4], &frame(100)[..4]);
            // Its buffer may have been used again.
            let again = u32::from_le_bytes(bytes[20..24].try_into().unwrap());
            prop_assert_eq!(again % COUNT, number % COUNT);
        }
        let missed = usize::from(machine.csr(spec::CSR_MFC));
        prop_assert_eq!(machine.taken + missed, usize::from(machine.next), "frames received and missed");
        // And it goes on.
        let before = machine.taken;
        machine.bring(3);
        machine.transmit();
        machine.rest();
        prop_assert_eq!(machine.taken, before + 3);
        prop_assert_eq!(machine.reclaimed, machine.queued);
    }
}

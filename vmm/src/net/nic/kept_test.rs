//! Registers whose writes KVM keeps, by the e1000's RDT.
use super::*;
use crate::{interrupt::DoorbellAddress::Mmio, net::e1000};
use e1000::spec as e;
use std::{sync::atomic::Ordering, thread};

const TX_RING: u64 = 0x1000;
const RX_RING: u64 = 0x2000;
const SENT: u64 = 0x4000;
const BUFFERS: u64 = 0x1_0000;
const COUNT: u32 = 8;
const DESCRIPTOR: u64 = 16;

/// A guest that makes no access but TDT's, which KVM does not keep: it sees frames by their descriptors.
struct Guest {
    bench: Bench,
    /// Frames sent, which come back, and received.
    sent: u32,
    received: u32,
}

impl Guest {
    fn new() -> Self {
        let bench = Bench::plug(true, |parts| e1000::Device::new(e::I82540EM, parts));
        bench.master(true);
        let guest = Self {
            bench,
            sent: 0,
            received: 0,
        };
        let ram = &guest.bench.machine.ram.map;
        for index in 0..u64::from(COUNT) {
            let buffer = BUFFERS + index * 0x1000;
            assert!(ram.write(RX_RING + index * DESCRIPTOR, &buffer.to_le_bytes()));
        }
        assert!(ram.write(SENT, &frame(60)));
        for (register, value) in [
            (e::TDBAL, TX_RING),
            (e::TDLEN, u64::from(COUNT) * DESCRIPTOR),
            (e::TCTL, u64::from(e::TCTL_EN)),
            (e::RDBAL, RX_RING),
            (e::RDLEN, u64::from(COUNT) * DESCRIPTOR),
            (e::RCTL, u64::from(e::RCTL_EN)),
        ] {
            guest.write(register, u32::try_from(value).unwrap());
        }
        guest
    }

    /// BAR 0.
    fn registers(&self) -> u64 {
        u64::from(self.bench.machine.config(self.bench.slot, 0x10) & !0xf)
    }

    fn write(&self, register: u32, value: u32) {
        let at = self.registers() + u64::from(register);
        self.bench.machine.write(at, &value.to_le_bytes());
    }

    /// Gives all buffers but one; KVM keeps that.
    fn give(&self) {
        let tail = (self.received + COUNT - 1) % COUNT;
        let at = self.registers() + u64::from(e::RDT);
        let mut writes = self.bench.machine.controller.writes.lock().unwrap();
        writes.push((at, tail.to_le_bytes().to_vec()));
    }

    fn send(&mut self) {
        let ram = &self.bench.machine.ram.map;
        let at = TX_RING + u64::from(self.sent % COUNT) * DESCRIPTOR;
        let command = u64::from(e::TXD_EOP | e::TXD_RS) << 24 | 0x3c;
        assert!(ram.write(at, &SENT.to_le_bytes()));
        assert!(ram.write(at + 8, &command.to_le_bytes()));
        self.sent += 1;
        self.write(e::TDT, self.sent % COUNT);
        eventually("the frame is sent", || {
            let mut status = [0];
            assert!(ram.read(at + 12, &mut status));
            status[0] & e::RXD_DD != 0
        });
    }

    fn has_received(&self) -> bool {
        let at = RX_RING + u64::from(self.received % COUNT) * DESCRIPTOR + 12;
        let mut status = [0];
        assert!(self.bench.machine.ram.map.read(at, &mut status));
        status[0] & e::RXD_DD != 0
    }

    fn take(&mut self) {
        eventually("a frame came back", || self.has_received());
        let at = RX_RING + u64::from(self.received % COUNT) * DESCRIPTOR + 12;
        assert!(self.bench.machine.ram.map.write(at, &[0]));
        self.received += 1;
    }

    /// How often the thread looks for kept writes within `time`.
    fn looks(&self, time: Duration) -> usize {
        let asked = &self.bench.machine.controller.asked;
        let (before, begun) = (asked.load(Ordering::SeqCst), Instant::now());
        while begun.elapsed() < time {
            thread::yield_now();
        }
        asked.load(Ordering::SeqCst) - before
    }
}

#[test]
fn a_guest_that_polls_memory_goes_on_receiving() {
    let mut guest = Guest::new();
    for _ in 0..20 * COUNT {
        guest.give();
        guest.send();
        guest.take();
    }
}

#[test]
fn frames_that_wait_are_received_when_buffers_are_given_without_an_exit() {
    let mut guest = Guest::new();
    guest.give();
    for _ in 0..10 {
        for _ in 0..COUNT + 2 {
            guest.send();
        }
        for _ in 0..COUNT - 1 {
            guest.take();
        }
        assert!(!guest.has_received(), "there is no buffer");
        // The thread has found nothing for so long that it sleeps.
        guest.looks(Duration::from_millis(5));
        guest.give();
        for _ in 0..3 {
            guest.take();
        }
        guest.give();
    }
}

#[test]
fn buffers_that_never_come_are_looked_for_in_long_pauses() {
    let mut guest = Guest::new();
    let time = Duration::from_millis(400);
    let idle = |guest: &Guest| {
        eventually("the thread sleeps", || {
            guest.looks(Duration::from_millis(20)) == 0
        });
        guest.looks(time)
    };
    // No frame waits, though there is no buffer either.
    assert_eq!(idle(&guest), 0);
    guest.send();
    // Thirteen pauses, from 50 µs on, each twice the one before; a few bursts each, until the thread has found that it may sleep.
    let looks = guest.looks(time);
    assert!((1..100).contains(&looks), "{looks} looks");
    guest.give();
    guest.take();
    assert_eq!(idle(&guest), 0);
}

#[test]
fn rdt_is_kept_where_the_bar_is() {
    let guest = Guest::new();
    let machine = &guest.bench.machine;
    let kept = || machine.controller.kept.lock().unwrap().clone();
    let rdt = |bar: u64| vec![(Mmio(bar + u64::from(e::RDT)), 4)];
    assert_eq!(kept(), rdt(guest.registers()));
    let elsewhere = guest.registers() + 0x10_0000;
    let value = u32::try_from(elsewhere).unwrap();
    machine.set_config(guest.bench.slot, 0x10, value);
    assert_eq!((guest.registers(), kept()), (elsewhere, rdt(elsewhere)));
    guest.write(e::CTRL, e::CTRL_RST);
    assert_eq!(kept(), rdt(elsewhere));
    // Memory decoding off, and on again.
    let command = machine.config(guest.bench.slot, 4);
    machine.set_config(guest.bench.slot, 4, command & !2);
    assert_eq!(kept(), []);
    machine.set_config(guest.bench.slot, 4, command);
    assert_eq!(kept(), rdt(elsewhere));
    machine.pci.clear();
    assert_eq!(kept(), []);
}

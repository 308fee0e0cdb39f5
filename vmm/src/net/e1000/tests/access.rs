//! The ways to registers: both BARs, any width; and the chip's other name.
use super::*;
use crate::net::nic::{Access, Doorbells as _, Width};

impl Bench {
    fn access(&mut self, bar: u8, offset: u32, width: Width) -> u32 {
        let value = self.device.read(Access { bar, offset, width }, self.now);
        let bits = 8 * width.bytes();
        (u64::from(value) & ((1 << bits) - 1)) as u32
    }

    /// True: the thread has to act on it.
    fn change(&mut self, bar: u8, offset: u32, width: Width, value: u32) -> bool {
        let at = Access { bar, offset, width };
        self.device.write(at, value, self.now)
    }

    /// By IOADDR and IODATA.
    fn change_by_port(&mut self, register: u32, value: u32) -> bool {
        let selected = self.change(spec::IO_BAR, spec::IOADDR, Width::Dword, register);
        assert!(!selected, "that alone changes nothing");
        self.change(spec::IO_BAR, spec::IODATA, Width::Dword, value)
    }
}

#[test]
fn the_io_bar_leads_to_all_registers() {
    let mut bench = Bench::running();
    assert!(bench.change_by_port(spec::RA, 0x1234_5678));
    assert_eq!(bench.read(spec::RA), 0x1234_5678);
    bench.write(spec::RA, 0x8765_4321);
    let data = bench.access(spec::IO_BAR, spec::IODATA, Width::Dword);
    assert_eq!(data, 0x8765_4321);
    let address = bench.access(spec::IO_BAR, spec::IOADDR, Width::Dword);
    assert_eq!(address, spec::RA);
    // Side effects included.
    bench.write(spec::ICS, spec::ICR_RXT0);
    assert!(!bench.change_by_port(spec::ICR, 0));
    let cause = bench.access(spec::IO_BAR, spec::IODATA, Width::Dword);
    assert_eq!(cause, spec::ICR_RXT0);
    assert_eq!(bench.read(spec::ICR), 0);
    // A doorbell.
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    assert!(bench.change_by_port(spec::TDT, 1));
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1);
    // 13.2.2.1: 17 bits, in double words; nothing is behind IODATA, and narrow writes select nothing.
    bench.change(spec::IO_BAR, spec::IOADDR, Width::Dword, u32::MAX);
    for (width, value) in [(Width::Byte, 0), (Width::Word, 0)] {
        bench.change(spec::IO_BAR, spec::IOADDR, width, value);
    }
    let address = bench.access(spec::IO_BAR, spec::IOADDR, Width::Dword);
    assert_eq!(address, 0x1_fffc);
    assert!(!bench.change(spec::IO_BAR, 8, Width::Dword, 1));
    assert_eq!(bench.access(spec::IO_BAR, 8, Width::Dword), 0);
}

#[test]
fn registers_are_read_in_part_and_written_whole_only() {
    let mut bench = Bench::running();
    bench.write(spec::RA, 0x4433_2211);
    for (offset, width, part) in [
        (0, Width::Byte, 0x11),
        (1, Width::Byte, 0x22),
        (2, Width::Byte, 0x33),
        (3, Width::Byte, 0x44),
        (0, Width::Word, 0x2211),
        (2, Width::Word, 0x4433),
    ] {
        let at = spec::RA + offset;
        assert_eq!(bench.access(spec::MEMORY_BAR, at, width), part);
        assert!(!bench.change(spec::MEMORY_BAR, at, width, 0xff));
    }
    assert_eq!(bench.read(spec::RA), 0x4433_2211);
}

#[test]
fn doorbells_are_whole_registers_of_the_memory_bar() {
    let mut bench = Bench::running();
    let ring = |bench: &Bench, bar, offset, width| {
        let at = Access { bar, offset, width };
        bench.device.doorbells.ring(at, 0x1_0005)
    };
    for register in [spec::TDT, spec::RDT] {
        let before = bench.read(register);
        for (bar, width) in [
            (spec::MEMORY_BAR, Width::Byte),
            (spec::MEMORY_BAR, Width::Word),
            (spec::IO_BAR, Width::Dword),
        ] {
            // What KVM keeps must be a doorbell at each width: all that follows it waits for it.
            let is_kept = register == spec::RDT && bar == spec::MEMORY_BAR;
            let rung = ring(&bench, bar, register, width);
            assert_eq!(rung, is_kept.then_some(false));
        }
        assert_eq!(bench.read(register), before);
        let rung = ring(&bench, spec::MEMORY_BAR, register, Width::Dword);
        // Nothing waits for buffers.
        assert_eq!(rung, Some(register == spec::TDT));
        assert_eq!(bench.read(register), 5, "16 bits");
    }
    let other = ring(&bench, spec::MEMORY_BAR, spec::RA, Width::Dword);
    assert_eq!(other, None);
}

#[test]
fn the_82545em_has_its_own_name_and_the_same_phy() {
    let mut bench = Bench::new();
    let (parts, _) = parts();
    bench.device = Device::new(spec::I82545EM, parts);
    let mut identity = [0; 4];
    bench.device.function().config_read(0, &mut identity);
    assert_eq!(identity, [0x86, 0x80, 0x0f, 0x10]);
    bench.write(spec::EERD, 0x0d << 8 | spec::EERD_START);
    assert_eq!(bench.read(spec::EERD) >> 16, 0x100f);
    let mut sum = 0u16;
    for index in 0..64 {
        bench.write(spec::EERD, index << 8 | spec::EERD_START);
        sum = sum.wrapping_add((bench.read(spec::EERD) >> 16) as u16);
    }
    assert_eq!(sum, 0xbaba);
    let phy = [2, 3].map(|register| bench.mdic(spec::MDIC_OP_READ, register, 0) & 0xffff);
    assert_eq!(phy, [0x0141, 0x0c20]);
}

//! EEPROM, PHY, configuration, timer.
use super::*;
use std::time::Duration;

/// Speaks to the EEPROM by its pins, as Linux does; returns 16 bits of what it answers.
fn eeprom(bench: &mut Bench, command: u32, bits: u32) -> u16 {
    let base = spec::CR9346_PROGRAMMING | spec::CR9346_EECS;
    bench.write8(spec::CR9346, spec::CR9346_PROGRAMMING);
    bench.write8(spec::CR9346, base);
    for bit in (0..bits).rev() {
        let high = command >> bit & 1 != 0;
        let data = if high { spec::CR9346_EEDI } else { 0 };
        bench.write8(spec::CR9346, base | data);
        bench.write8(spec::CR9346, base | data | spec::CR9346_EESK);
    }
    bench.write8(spec::CR9346, base);
    let mut word = 0;
    for _ in 0..16 {
        bench.write8(spec::CR9346, base | spec::CR9346_EESK);
        word = word << 1 | u16::from(bench.read8(spec::CR9346) & spec::CR9346_EEDO);
        bench.write8(spec::CR9346, base);
    }
    bench.write8(spec::CR9346, 0);
    word
}

#[test]
fn the_eeprom_has_the_address_and_takes_another() {
    let mut bench = Bench::new(spec::C_PLUS);
    // Linux finds out about the size of the chip: with two bits too many the mark is not there.
    assert_ne!(eeprom(&mut bench, 0b110 << 8, 11), 0x8129);
    assert_eq!(eeprom(&mut bench, 0b110 << 6, 9), 0x8129);
    let words = [7, 8, 9].map(|index| eeprom(&mut bench, 0b110 << 6 | index, 9));
    assert_eq!(words.map(u16::to_le_bytes).concat(), MAC.0);
    assert_eq!(bench.read32(spec::IDR0).to_le_bytes(), MAC.0[..4]);
    eeprom(&mut bench, 0b1_0011_0000, 9);
    eeprom(&mut bench, (0b101 << 6 | 7) << 16 | 0xbbaa, 25);
    assert_eq!(bench.read8(spec::IDR0), MAC.0[0], "not yet loaded");
    bench.write8(spec::CR9346, spec::CR9346_AUTO_LOAD);
    assert_eq!(bench.read16(spec::IDR0), 0xbbaa);
    assert_eq!(bench.read8(spec::CR9346) & spec::CR9346_EEM, 0);
}

#[test]
fn configuration_is_locked_until_unlocked() {
    let mut bench = Bench::new(spec::C_PLUS);
    for (unlock, expected) in [
        (0, (spec::CONFIG1_FIXED, 0, 0x3100)),
        (
            spec::CR9346_UNLOCK,
            (0x21 | spec::CONFIG1_FIXED, 0x55, 0x0100),
        ),
    ] {
        bench.write8(spec::CR9346, unlock);
        bench.write8(spec::CONFIG1, 0x21);
        bench.write8(spec::CONFIG4, 0x55);
        bench.write16(spec::BMCR, 0x0100);
        let found = (
            bench.read8(spec::CONFIG1),
            bench.read8(spec::CONFIG4),
            bench.read16(spec::BMCR),
        );
        assert_eq!(found, expected);
    }
}

#[test]
fn chips_are_told_apart_and_only_one_has_rings() {
    for (chip, version) in [(spec::C, 0x7400_0000), (spec::C_PLUS, 0x7480_0000)] {
        let mut bench = Bench::new(chip);
        bench.write32(spec::TCR, u32::MAX);
        assert_eq!(bench.read32(spec::TCR) & 0x7cc0_0000, version);
        bench.write16(spec::CPCR, u16::MAX);
        let expected = if chip.plus { spec::CPCR_WRITABLE } else { 0 };
        assert_eq!(bench.read16(spec::CPCR), expected);
    }
}

#[test]
fn the_link_shows_everywhere_and_its_changes_interrupt() {
    let mut bench = Bench::c();
    assert_eq!(bench.read8(spec::MSR) & spec::MSR_LINKB, 0);
    assert_eq!(bench.read16(spec::BMSR) & 0x24, 0x24);
    let now = bench.now;
    bench.device.set_link(false, now);
    bench.device.set_link(false, now);
    assert_ne!(bench.read8(spec::MSR) & spec::MSR_LINKB, 0);
    assert_eq!(bench.read16(spec::BMSR) & 0x24, 0);
    assert_eq!(bench.read16(spec::CSCR), spec::CSCR_LINK_CHANGED);
    assert_eq!(bench.read16(spec::ISR), spec::ISR_PUN);
    assert!(bench.line.is_high());
    bench.write16(spec::CSCR, spec::CSCR_LINK_CHANGED);
    assert_eq!(bench.read16(spec::CSCR), 0);
}

#[test]
fn the_timer_counts_clocks_and_interrupts() {
    let mut bench = Bench::c();
    bench.write32(spec::TCTR, 7);
    bench.now += Duration::from_millis(3);
    assert!((99_990..=100_010).contains(&bench.read32(spec::TCTR)));
    bench.write32(spec::TIMER_INT, 133_333);
    bench.now += Duration::from_micros(990);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert!(burst.deadline.is_some_and(|due| due > bench.now));
    assert!(!bench.line.is_high());
    bench.now += Duration::from_micros(20);
    bench.settle();
    assert_eq!(bench.read16(spec::ISR), spec::ISR_TIMEOUT);
    bench.write16(spec::ISR, spec::ISR_TIMEOUT);
    bench.now += Duration::from_secs(100);
    bench.settle();
    assert!(!bench.line.is_high(), "not before the counter was round");
    bench.write32(spec::TIMER_INT, 0);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!(burst.deadline, None);
}

#[test]
fn narrow_and_wide_accesses_reach_the_same_registers() {
    let mut bench = Bench::new(spec::C_PLUS);
    bench.write16(spec::IMR, 0x1234);
    bench.write8(spec::IMR + 1, 0xe0);
    assert_eq!(bench.read16(spec::IMR), 0xe034);
    bench.write8(spec::TPPOLL, spec::TPPOLL_FSWINT);
    assert_eq!(bench.read32(spec::IMR) >> 16, u32::from(spec::ISR_SWINT));
    bench.write8(spec::ISR, 0xff);
    assert_eq!(bench.read16(spec::ISR), spec::ISR_SWINT, "the other byte");
    bench.write32(spec::IMR, u32::from(spec::ISR_SWINT) << 16 | 7);
    assert_eq!(bench.read32(spec::IMR), 7, "both at once");
    bench.write8(spec::MAR0 + 5, 0xab);
    assert_eq!(bench.read32(spec::MAR4), 0xab00);
    for width in [Width::Byte, Width::Word, Width::Dword] {
        for offset in (0..spec::REGISTERS_LEN).step_by(width.bytes() as usize) {
            bench.write(offset, width, u32::MAX);
            bench.read(offset, width);
            bench.burst();
        }
    }
}

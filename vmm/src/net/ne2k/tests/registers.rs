//! Pages, reset, start and stop, counters, EEPROM and configuration.
use super::*;

#[test]
fn it_is_found_as_drivers_find_it() {
    // Linux: bit pattern of CR, page 1 is not page 0, a counter that is cleared by a read.
    let mut bench = Bench::new();
    assert_eq!(
        bench.read8(spec::CR),
        spec::CR_STP | spec::CR_RD_ABORT,
        "NetBSD asks for just that"
    );
    assert_ne!(bench.read8(spec::ISR) & spec::ISR_RST, 0);
    bench.write8(spec::CR, 0x61);
    bench.write8(spec::MAR0 + 5, 0xff);
    assert_eq!(bench.read8(spec::MAR0 + 5), 0xff);
    bench.write8(spec::CR, spec::CR_RD_ABORT);
    bench.read8(spec::CNTR0);
    assert_eq!(bench.read8(spec::CNTR0), 0);
    assert_eq!([bench.read8(spec::ID0), bench.read8(spec::ID1)], *b"PC");
    let asid = [bench.get(3, spec::ASID0), bench.get(3, spec::ASID1)];
    assert_eq!(u16::from_le_bytes(asid), 0x8029);
    let function = bench.device.function();
    let mut identity = [0; 8];
    function.config().read(0, &mut identity[..4]);
    function.config().read(0x2c, &mut identity[4..]);
    assert_eq!(identity, [0xec, 0x10, 0x29, 0x80, 0xec, 0x10, 0x29, 0x80]);
    let [bar] = function.bars() else {
        panic!("one BAR")
    };
    assert_eq!((bar.index, bar.size), (0, 0x20));
}

#[test]
fn pages_show_their_registers_and_page_2_what_page_0_takes() {
    let mut bench = Bench::running();
    for (register, value) in [
        (spec::TPSR, 0x45),
        (spec::RCR, 0x1f),
        (spec::TCR, 0x19),
        (spec::DCR, 0x59),
        (spec::IMR, 0xff),
    ] {
        bench.write8(register, value);
    }
    let page2 = [
        (spec::PSTART, START),
        (spec::PSTOP, STOP),
        (spec::TPSR, 0x45),
        (spec::RCR, 0x1f | 0xc0),
        (spec::TCR, 0x19 | 0xe0),
        (spec::DCR, 0x59 | 0x80),
        (spec::IMR, 0x7f),
        (spec::TBCR0, 0),
    ];
    for (register, value) in page2 {
        assert_eq!(bench.get(2, register), value, "{register:#x}");
        bench.set(2, register, 0);
        assert_eq!(bench.get(2, register), value, "it takes no writes");
    }
    for register in 1..16 {
        bench.set(1, register, 0x80 + register as u8);
    }
    for register in 1..16 {
        assert_eq!(bench.get(1, register), 0x80 + register as u8);
    }
    assert_eq!(bench.read8(spec::BNRY), START);
    assert_eq!(bench.read8(spec::NCR), 0);
}

#[test]
fn wide_accesses_are_registers_side_by_side() {
    let mut bench = Bench::running();
    bench.write(spec::CR, Width::Dword, 0x7d_4d_00 | u32::from(RUN));
    assert_eq!(bench.get(2, spec::PSTART), 0x4d);
    assert_eq!(bench.get(2, spec::PSTOP), 0x7d);
    assert_eq!(bench.read8(spec::BNRY), 0);
    assert_eq!(bench.read(spec::ID0, Width::Word), 0x4350);
    // Selects page 1 and writes PAR0 of it.
    bench.write(spec::CR, Width::Word, 0x9962);
    assert_eq!(bench.read8(spec::PAR0), 0x99);
}

#[test]
fn start_and_stop_and_neither() {
    let mut bench = Bench::running();
    assert_eq!(bench.read8(spec::ISR), 0);
    let running = spec::CR_STA | spec::CR_RD_ABORT;
    bench.write8(spec::CR, spec::CR_RD_ABORT);
    assert_eq!(bench.read8(spec::CR), running, "it runs on");
    bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RST);
    bench.write8(spec::ISR, 0xff);
    bench.write8(spec::CR, spec::CR_RD_ABORT);
    assert_eq!(
        bench.read8(spec::ISR),
        spec::ISR_RST,
        "not cleared by a write"
    );
    assert!(!bench.line.is_high(), "it does not interrupt");
    assert!(bench.receive([frame(60)]).is_empty());
    bench.write8(spec::CR, running | spec::CR_STP | spec::CR_TXP);
    assert_eq!(bench.read8(spec::CR) & spec::CR_TXP, 0, "not when stopped");
    bench.write8(spec::CR, running);
    assert_eq!(bench.read8(spec::ISR), 0);
    assert_eq!(bench.receive([frame(60)]).len(), 1);
}

#[test]
fn the_reset_port_resets_by_a_read() {
    let mut bench = Bench::running();
    bench.send(&frame(60));
    bench.write(spec::RESET_PORT, Width::Byte, 0);
    assert_eq!(bench.read8(spec::CR), RUN | spec::CR_TXP, "not by a write");
    bench.write8(spec::ISR, 0xff);
    bench.remote(BUFFER, 60, spec::CR_RD_READ | spec::CR_STA);
    bench.read8(0x1f);
    assert_eq!(bench.read8(spec::CR), spec::CR_STP | spec::CR_RD_ABORT);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RST);
    assert_eq!(bench.get(2, spec::IMR), 0);
    assert_eq!(bench.read(spec::DATA_PORT, Width::Dword), u32::MAX);
    bench.settle();
    assert!(bench.wire.sent.is_empty(), "the frame is not sent any more");
    let own: Vec<_> = (1..7).map(|register| bench.get(1, register)).collect();
    assert_eq!(own, MAC.0, "addresses stay");
}

#[test]
fn counters_stop_and_interrupt_and_a_read_clears_them() {
    let mut bench = Bench::running();
    bench.write8(spec::RCR, spec::RCR_MON | spec::RCR_AB);
    bench.receive(vec![frame(60); 127]);
    assert!(!bench.line.is_high());
    bench.receive([frame(60)]);
    assert!(bench.line.is_high());
    assert_eq!(bench.read8(spec::ISR), spec::ISR_CNT);
    bench.receive(vec![frame(60); 200]);
    assert_eq!(bench.read8(spec::CNTR2), 192);
    assert_eq!(bench.read8(spec::CNTR2), 0);
    bench.write8(spec::ISR, spec::ISR_CNT);
    assert!(!bench.line.is_high());
    bench.receive([frame(60)]);
    assert_eq!(bench.read8(spec::CNTR2), 1);
    assert_eq!(bench.read8(spec::ISR), 0);
}

#[test]
fn interrupts_are_masked_and_cleared_one_by_one() {
    let mut bench = Bench::running();
    bench.write8(spec::IMR, 0);
    bench.send(&frame(60));
    bench.wire.bring(frame(60));
    bench.settle();
    assert!(!bench.line.is_high());
    assert_eq!(bench.read8(spec::ISR), spec::ISR_PRX | spec::ISR_PTX);
    bench.write8(spec::IMR, spec::ISR_PTX);
    assert!(bench.line.is_high());
    bench.write8(spec::ISR, spec::ISR_PTX);
    assert!(!bench.line.is_high());
    bench.write8(spec::IMR, spec::ISR_PRX);
    assert!(bench.line.is_high());
    bench.write8(spec::ISR, spec::ISR_PRX);
    assert!(!bench.line.is_high());
}

/// Speaks to the EEPROM by its pins; returns 16 bits of what it answers.
fn eeprom(bench: &mut Bench, command: u32, bits: u32) -> u16 {
    let base = spec::CR9346_PROGRAMMING | spec::CR9346_EECS;
    bench.write8(spec::CR, 3 << 6 | spec::CR_RD_ABORT);
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
    bench.write8(spec::CR, spec::CR_RD_ABORT);
    word
}

#[test]
fn the_eeprom_has_the_address_and_auto_load_brings_another_into_the_prom() {
    let mut bench = Bench::running();
    let words = [1, 2, 3].map(|index| eeprom(&mut bench, 0b110 << 6 | index, 9));
    assert_eq!(words.map(u16::to_le_bytes).concat(), MAC.0);
    eeprom(&mut bench, 0b1_0011_0000, 9);
    eeprom(&mut bench, (0b101 << 6 | 1) << 16 | 0xbbaa, 25);
    assert_eq!(bench.fetch(0, 2), [MAC.0[0]; 2], "not yet loaded");
    bench.set(3, spec::CR9346, spec::CR9346_AUTO_LOAD);
    assert_eq!(bench.fetch(0, 4), [0xaa, 0xaa, 0xbb, 0xbb]);
    assert_eq!(bench.get(3, spec::CR9346) & spec::CR9346_EEM, 0);
}

#[test]
fn configuration_is_locked_until_unlocked() {
    let mut bench = Bench::running();
    bench.set(3, spec::CONFIG3, 0xff);
    bench.set(3, spec::CONFIG2, 0xff);
    assert_eq!(bench.get(3, spec::CONFIG3), spec::CONFIG3_FUDUP);
    assert_eq!(bench.get(3, spec::CONFIG2), 0);
    bench.set(3, spec::CR9346, spec::CR9346_UNLOCK);
    bench.set(3, spec::CONFIG3, 0xff);
    bench.set(3, spec::CONFIG2, 0xff);
    assert_eq!(bench.get(3, spec::CONFIG3), 0x46);
    assert_eq!(bench.get(3, spec::CONFIG2), 0xe0);
}

#[test]
fn a_pulled_cable_is_seen_as_another_medium() {
    let mut bench = Bench::running();
    let now = bench.now;
    assert_eq!(bench.get(3, spec::CONFIG0), 0);
    bench.device.set_link(false, now);
    assert_eq!(bench.get(3, spec::CONFIG0), spec::CONFIG0_BNC);
    bench.set(3, spec::CR9346, spec::CR9346_UNLOCK);
    bench.set(3, spec::CONFIG2, spec::CONFIG2_PL_10BASET);
    assert_eq!(bench.get(3, spec::CONFIG0), 0);
    bench.device.set_link(true, now);
    bench.set(3, spec::CONFIG2, spec::CONFIG2_PL);
    assert_eq!(bench.get(3, spec::CONFIG0), spec::CONFIG0_BNC);
}

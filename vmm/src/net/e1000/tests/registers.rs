//! EEPROM, PHY, registers, resets and interrupts.
use super::*;

#[test]
fn the_eeprom_is_right_by_both_ways() {
    let mut bench = Bench::new();
    let mut sum = 0u16;
    for index in 0..64 {
        bench.write(spec::EERD, index << 8 | spec::EERD_START);
        let answer = bench.read(spec::EERD);
        assert_ne!(answer & spec::EERD_DONE, 0);
        let word = (answer >> 16) as u16;
        sum = sum.wrapping_add(word);
        // Microwire, as Linux does it.
        let pins = spec::EECD_REQ | spec::EECD_CS;
        bench.write(spec::EECD, spec::EECD_REQ);
        assert_ne!(bench.read(spec::EECD) & spec::EECD_GNT, 0);
        for bit in (0..9).rev() {
            let di = if (0b110 << 6 | index) >> bit & 1 != 0 {
                spec::EECD_DI
            } else {
                0
            };
            for sk in [0, spec::EECD_SK, 0] {
                bench.write(spec::EECD, pins | di | sk);
            }
        }
        let mut serial = 0;
        for _ in 0..16 {
            bench.write(spec::EECD, pins | spec::EECD_SK);
            serial = serial << 1 | bench.read(spec::EECD) >> 3 & 1;
            bench.write(spec::EECD, pins);
        }
        assert_eq!(serial as u16, word, "word {index}");
    }
    assert_eq!(sum, 0xbaba);
    bench.write(spec::EERD, 0xff << 8 | spec::EERD_START);
    assert_eq!(bench.read(spec::EERD) >> 16, 0xffff, "beyond the chip");
}

#[test]
fn the_phy_shows_the_link_and_its_changes() {
    let mut bench = Bench::new();
    bench.write(spec::IMS, spec::ICR_LSC);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 2, 0) & 0xffff, 0x0141);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 1, 0) & 0x24, 0x24);
    assert_ne!(bench.read(spec::STATUS) & spec::STATUS_LU, 0);
    let now = bench.now;
    bench.device.set_link(false, now);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 1, 0) & 0x24, 0);
    assert_eq!(bench.read(spec::STATUS) & spec::STATUS_LU, 0);
    assert!(bench.line.is_high());
    assert_eq!(bench.read(spec::ICR), spec::ICR_LSC);
    assert!(!bench.line.is_high());
    // Any register, any address: an answer, and an error where nobody is.
    for register in 0..32 {
        bench.mdic(spec::MDIC_OP_WRITE, register, 0x7fff);
        assert_ne!(
            bench.mdic(spec::MDIC_OP_READ, register, 0) & spec::MDIC_R,
            0
        );
    }
    bench.write(spec::MDIC, 2 << 26 | 7 << 21);
    assert_ne!(bench.read(spec::MDIC) & spec::MDIC_E, 0);
}

#[test]
fn registers_keep_what_the_driver_may_write() {
    let mut bench = Bench::new();
    for (register, mask) in [
        (spec::RDBAL, 0xffff_fff0),
        (spec::RDLEN, 0x000f_ff80),
        (spec::RDH, 0xffff),
        (spec::RDT, 0xffff),
        (spec::TDBAH, 0xffff_ffff),
        (spec::FCRTH, 0xfff8),
        (spec::TIPG, 0x3fff_ffff),
        (spec::RA + 12, 0x8003_ffff),
        (spec::MTA + 4 * 127, 0xffff_ffff),
    ] {
        for pattern in [0x5a5a_5a5a, 0xa5a5_a5a5, 0, u32::MAX] {
            bench.write(register, pattern);
            assert_eq!(bench.read(register), pattern & mask, "{register:#x}");
        }
    }
    let status = bench.read(spec::STATUS);
    bench.write(spec::STATUS, !status);
    assert_eq!(bench.read(spec::STATUS), status, "read-only");
    bench.write(spec::CTRL, spec::CTRL_RST);
    assert_eq!(bench.read(spec::RDBAL), 0);
    assert_eq!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    assert_eq!(bench.read(spec::RA), 0x0100_5452);
    // Every offset, also where nothing is.
    for offset in (0..spec::MEMORY_LEN as u32).step_by(4) {
        bench.write(offset, u32::MAX);
        bench.read(offset);
    }
}

#[test]
fn loopback_returns_what_was_sent_and_nothing_else() {
    let mut bench = Bench::running();
    bench.write(spec::RCTL, spec::RCTL_EN | 1 << 6);
    assert!(bench.memory.write(0x8000, &frame(100)));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.push_legacy(0x8000, 100, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.read(spec::RDH), 1);
    let mut stored = vec![0; 100];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, frame(100));
    // More than the receive ring takes: CVE-2021-3416 was a recursion here.
    for _ in 0..8 {
        for _ in 0..COUNT - 1 {
            bench.push_legacy(0x8000, 100, spec::TXD_EOP);
        }
        bench.ring_doorbell();
        bench.settle();
    }
    assert_eq!(bench.read(spec::RDH), COUNT - 1);
}

#[test]
fn a_reset_with_packets_on_their_way_waits_for_the_wire() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    bench.write(spec::CTRL, spec::CTRL_RST);
    assert_ne!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    bench.write(spec::RDLEN, 0x80);
    // A driver that does not wait for its end, and changes another bit.
    let ctrl = bench.read(spec::CTRL);
    bench.write(spec::CTRL, ctrl | spec::CTRL_SLU);
    assert_eq!(bench.read(spec::RDLEN), 0x80, "it was reset again");
    let late = bench.wire.flying.clone();
    bench.settle();
    assert_eq!(bench.wire.restarts, 1);
    assert_eq!(bench.read(spec::CTRL) & spec::CTRL_RST, 0);
    // A token of the past life changes nothing.
    bench.program();
    bench.wire.flying.extend(late);
    bench.wire.done = true;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.wire.full = true;
    bench.ring_doorbell();
    bench.settle();
    assert_eq!((bench.tx_status(0), bench.read(spec::TDH)), (0, 0));
}

#[test]
fn nothing_moves_without_bus_mastering() {
    let mut bench = Bench::running();
    bench.device.set_bus_master(false);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!((bench.rx(0).1, bench.tx_status(0)), (0, 0));
}

#[test]
fn masking_wakes_the_thread_only_for_a_throttled_interrupt() {
    let mut bench = Bench::running();
    assert!(!bench.device.needs_thread(spec::IMS));
    assert!(bench.device.needs_thread(spec::TCTL));
    bench.write(spec::ITR, 1000);
    for _ in 0..2 {
        bench.write(spec::ICS, spec::ICR_RXT0);
        bench.read(spec::ICR);
    }
    bench.write(spec::ICS, spec::ICR_RXT0);
    assert!(bench.device.needs_thread(spec::IMS));
}

#[test]
fn the_eeprom_is_loaded_again_on_demand() {
    let mut bench = Bench::new();
    let address = (bench.read(spec::RA), bench.read(spec::RA + 4));
    bench.write(spec::RA, 0x1234_5678);
    bench.write(spec::RA + 4, 0);
    bench.write(spec::CTRL_EXT, 0);
    assert_eq!(bench.read(spec::RA), 0x1234_5678);
    bench.write(spec::CTRL_EXT, spec::CTRL_EXT_EE_RST);
    assert_eq!((bench.read(spec::RA), bench.read(spec::RA + 4)), address);
    assert_eq!(bench.read(spec::CTRL_EXT) & spec::CTRL_EXT_EE_RST, 0);
}

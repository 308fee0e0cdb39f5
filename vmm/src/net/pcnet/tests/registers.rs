//! Ports, CSRs and BCRs.
use super::*;
use crate::net::nic::mii;

#[test]
fn the_address_prom_has_address_checksum_and_mark_in_both_modes() {
    let mut bench = Bench::cold(spec::AM79C970A);
    for dwio in [false, true] {
        if dwio {
            bench.go_dwio();
        }
        let mut prom: Vec<u8> = (0..16)
            .map(|at| bench.read(at, Width::Byte) as u8)
            .collect();
        for (at, pair) in (0..).step_by(2).zip(prom.chunks_exact(2)) {
            let word = u16::from_le_bytes(pair.try_into().unwrap());
            assert_eq!(bench.read(at, Width::Word), u32::from(word));
        }
        assert_eq!(prom[..6], MAC.0);
        assert_eq!(prom[14..], *b"WW");
        let sum = u16::from_le_bytes([prom[12], prom[13]]);
        prom.drain(12..14);
        assert_eq!(sum, prom.iter().map(|byte| u16::from(*byte)).sum::<u16>());
    }
    bench.write(0, Width::Byte, 0xaa);
    assert_eq!(bench.read(0, Width::Byte), u32::from(MAC.0[0]));
    bench.set_bcr(spec::BCR_MC, spec::BCR2_APROMWE);
    bench.write(8, Width::Dword, 0x1234_5678);
    assert_eq!(bench.read(8, Width::Dword), 0x1234_5678);
    assert_eq!(bench.read(12, Width::Byte), prom_sum()[0]);
}

fn prom_sum() -> [u32; 2] {
    let sum: u16 = MAC.0.iter().map(|byte| u16::from(*byte)).sum::<u16>() + 0x11 + 0x57 + 0x57;
    sum.to_le_bytes().map(u32::from)
}

#[test]
fn drivers_find_out_which_mode_it_is_in() {
    let mut bench = Bench::cold(spec::AM79C970A);
    // What Linux's probe asks in either mode.
    let narrow = |bench: &mut Bench| {
        bench.read(spec::WIO_RESET, Width::Word);
        bench.write(spec::WIO_RAP, Width::Word, 0);
        let status = bench.read(spec::WIO_RDP, Width::Word);
        bench.write(spec::WIO_RAP, Width::Word, 88);
        (status, bench.read(spec::WIO_RAP, Width::Word))
    };
    let wide = |bench: &mut Bench| {
        bench.read(spec::DWIO_RESET, Width::Dword);
        bench.write(spec::DWIO_RAP, Width::Dword, 0);
        let status = bench.read(spec::DWIO_RDP, Width::Dword);
        bench.write(spec::DWIO_RAP, Width::Dword, 88);
        (status, bench.read(spec::DWIO_RAP, Width::Dword))
    };
    assert_eq!(narrow(&mut bench), (4, 88));
    assert_ne!(wide(&mut bench), (4, 88));
    assert_eq!(bench.bcr(spec::BCR_BSBC) & spec::BCR18_DWIO, 0);
    bench.go_dwio();
    assert_eq!(wide(&mut bench), (4, 88));
    assert_ne!(narrow(&mut bench), (4, 88));
    // A software reset does not lead back, nor does a write to BCR18.
    assert_eq!(wide(&mut bench), (4, 88));
    bench.set_bcr(spec::BCR_BSBC, 0);
    assert_eq!(bench.bcr(spec::BCR_BSBC), spec::BCR18_DWIO);
}

#[test]
fn identity_tells_the_chips_apart() {
    for (chip, id, phy) in [
        (spec::AM79C970A, 0x2621, 0),
        (spec::AM79C973, 0x2625, 0x0022),
    ] {
        let mut bench = Bench::cold(chip);
        let id_read = u32::from(bench.csr(88)) | u32::from(bench.csr(89)) << 16;
        assert_eq!(id_read & 0xfff, 3);
        assert_eq!(id_read >> 12, id);
        bench.set_bcr(33, spec::PHY_ADDRESS << 5 | mii::PHYSID1 as u16);
        assert_eq!(bench.bcr(34), phy);
        let config = bench.device.function();
        assert_eq!(config.bars().len(), 2);
    }
}

#[test]
fn a_read_of_reset_stops_and_keeps_bcrs() {
    for (style, dwio) in SETUPS {
        let mut bench = Bench::with_mode(style, dwio, spec::MODE_PROM);
        bench.set_csr(spec::CSR_FEATURES, 0x0915);
        let (port, width) = if dwio {
            (spec::DWIO_RESET, Width::Dword)
        } else {
            (spec::WIO_RESET, Width::Word)
        };
        bench.read(port, width);
        assert_eq!(bench.csr(0), spec::CSR0_STOP);
        assert_eq!(bench.csr(spec::CSR_FEATURES), spec::CSR4_DEFAULT);
        assert_eq!(bench.csr(spec::CSR_MODE), 0);
        assert_eq!(bench.bcr(spec::BCR_SWS) & 0xff, style);
        let address = [12, 13, 14].map(|index| bench.csr(index));
        assert_eq!(address, MAC.words());
        assert!(!bench.line.is_high());
    }
}

#[test]
fn initialization_interrupts_and_stop_clears_all() {
    let mut bench = Bench::cold(spec::AM79C970A);
    bench.set_up(2, 0);
    assert!(!bench.line.is_high());
    bench.set_csr(0, spec::CSR0_IENA);
    assert!(bench.line.is_high());
    let expected = spec::CSR0_INIT | spec::CSR0_IENA | spec::CSR0_INTR | spec::CSR0_IDON;
    assert_eq!(bench.csr(0), expected);
    bench.set_csr(spec::CSR_MASKS, spec::CSR0_IDON);
    assert!(!bench.line.is_high());
    bench.set_csr(spec::CSR_MASKS, 0);
    bench.set_csr(0, spec::CSR0_IENA | spec::CSR0_IDON | spec::CSR0_STRT);
    assert!(!bench.line.is_high());
    let running = spec::CSR0_INIT | spec::CSR0_STRT | spec::CSR0_TXON | spec::CSR0_RXON;
    assert_eq!(bench.csr(0), running | spec::CSR0_IENA);
    // STOP wins.
    bench.set_csr(0, spec::CSR0_STOP | spec::CSR0_STRT | spec::CSR0_INIT);
    assert_eq!(bench.csr(0), spec::CSR0_STOP);
    // Halves of it stay off if CSR15 says so.
    bench.set_csr(spec::CSR_MODE, spec::MODE_DTX);
    bench.set_csr(0, spec::CSR0_STRT);
    assert_eq!(bench.csr(0), spec::CSR0_STRT | spec::CSR0_RXON);
}

#[test]
fn some_registers_take_writes_only_while_nothing_runs() {
    let mut bench = Bench::pci();
    let guarded = [1, 2, 8, 11, 12, 15, 24, 30, 76, 112];
    let before = guarded.map(|index| bench.csr(index));
    for index in guarded {
        bench.set_csr(index, 0x00f7);
    }
    bench.set_bcr(spec::BCR_SWS, 1);
    assert_eq!(guarded.map(|index| bench.csr(index)), before);
    assert_eq!(bench.bcr(spec::BCR_SWS), 0x0302);
    for quiet in [(spec::CSR_EXTENDED, spec::CSR5_SPND), (0, spec::CSR0_STOP)] {
        bench.set_csr(quiet.0, quiet.1);
        for index in guarded {
            bench.set_csr(index, 0x00f7);
            assert_eq!(bench.csr(index), 0x00f7, "{index}");
            bench.set_csr(index, 0x0001);
        }
        for (style, shown) in [(0, 0x200), (1, 0x101), (2, 0x302), (3, 0x303), (4, 0x204)] {
            bench.set_bcr(spec::BCR_SWS, style);
            assert_eq!(bench.bcr(spec::BCR_SWS), shown);
            assert_eq!(bench.csr(spec::CSR_SWS), shown);
        }
    }
    bench.set_csr(16, 0x1234);
    assert_eq!((bench.csr(1), bench.csr(16)), (0x1234, 0x1234));
    // Identity, computed addresses, what does not exist.
    for index in [5, 88, 89, 28, 60] {
        let old = bench.csr(index);
        bench.set_csr(index, !old & !0xc56f);
        assert_eq!(bench.csr(index), old, "{index}");
    }
}

#[test]
fn flags_of_csr4_are_cleared_by_ones_and_masked() {
    let mut bench = Bench::pci();
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DEFAULT | spec::CSR4_UINTCMD);
    assert!(bench.line.is_high());
    let shown = spec::CSR4_DEFAULT | spec::CSR4_UINT;
    assert_eq!(bench.csr(spec::CSR_FEATURES), shown);
    bench.set_csr(spec::CSR_FEATURES, shown);
    assert!(!bench.line.is_high());
    assert_eq!(bench.csr(spec::CSR_FEATURES), spec::CSR4_DEFAULT);
    // TXSTRT is set by every frame, and interrupts if it may.
    bench.send(&frame(60));
    assert_ne!(bench.csr(spec::CSR_FEATURES) & spec::CSR4_TXSTRT, 0);
    bench.set_csr(0, spec::CSR0_TINT | spec::CSR0_IENA);
    assert!(!bench.line.is_high());
    bench.set_csr(spec::CSR_FEATURES, 0x0111);
    assert!(bench.line.is_high());
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_TXSTRT | 0x0111);
    assert!(!bench.line.is_high());
}

#[test]
fn the_link_shows_in_its_led_and_in_the_phy() {
    let mut bench = Bench::cold(spec::AM79C970A);
    // Linux's driver takes exactly this for no link.
    assert_eq!(bench.bcr(spec::BCR_LNKST), 0x80c0);
    bench.device.set_link(false, bench.now);
    assert_eq!(bench.bcr(spec::BCR_LNKST), 0x00c0);
    bench.device.set_link(true, bench.now);
    bench.set_bcr(spec::BCR_LNKST, 0x0100);
    assert_eq!(bench.bcr(spec::BCR_LNKST), 0x0100);
    bench.set_bcr(spec::BCR_FDC, spec::BCR9_FDEN);
    assert_eq!(bench.bcr(spec::BCR_LNKST), 0x8100);

    let mut bench = Bench::cold(spec::AM79C973);
    bench.set_csr(0, spec::CSR0_IENA);
    let phy = |bench: &mut Bench, address: u16, register: usize| {
        bench.set_bcr(spec::BCR_MIIADDR, address << 5 | register as u16);
        bench.bcr(spec::BCR_MIIMDR)
    };
    for address in 0..32 {
        let there = phy(&mut bench, address, mii::PHYSID1) != 0xffff;
        assert_eq!(there, address == spec::PHY_ADDRESS);
    }
    let status = phy(&mut bench, spec::PHY_ADDRESS, mii::BMSR);
    assert_ne!(status & mii::BMSR_LSTATUS, 0);
    // It watches its PHY, and may interrupt.
    bench.set_bcr(spec::BCR_MIICAS, spec::BCR32_APEP);
    bench.set_csr(spec::CSR_EXTENDED2, spec::CSR7_MAPINT >> 1);
    bench.device.set_link(false, bench.now);
    assert!(bench.line.is_high());
    let status = phy(&mut bench, spec::PHY_ADDRESS, mii::BMSR);
    assert_eq!(status & mii::BMSR_LSTATUS, 0);
    bench.set_csr(spec::CSR_EXTENDED2, spec::CSR7_MAPINT);
    assert!(!bench.line.is_high());
    bench.set_csr(spec::CSR_EXTENDED2, spec::CSR7_MCCINT >> 1);
    bench.set_bcr(spec::BCR_MIIADDR, spec::PHY_ADDRESS << 5);
    bench.set_bcr(spec::BCR_MIIMDR, mii::BMCR_LOOPBACK);
    assert!(bench.line.is_high());
    assert_eq!(bench.bcr(spec::BCR_MIIMDR), mii::BMCR_LOOPBACK);
}

#[test]
fn doorbells_take_what_changes_nothing_but_demand() {
    for dwio in [false, true] {
        let mut bench = Bench::new(2, dwio);
        let doorbells = bench.device.doorbells();
        let (rap, rdp, width) = if dwio {
            (spec::DWIO_RAP, spec::DWIO_RDP, Width::Dword)
        } else {
            (spec::WIO_RAP, spec::WIO_RDP, Width::Word)
        };
        let ring = |offset, value: u16| doorbells.ring(Bench::access(offset, width), value.into());
        assert_eq!(ring(rap, 0), Some(false));
        let demand = spec::CSR0_TDMD | spec::CSR0_IENA;
        assert_eq!(ring(rdp, demand), Some(true));
        assert_ne!(bench.csr(0) & spec::CSR0_TDMD, 0);
        assert_eq!(ring(rdp, spec::CSR0_IENA), Some(false));
        // IENA would change; something is acknowledged, stopped.
        for value in [
            spec::CSR0_TDMD,
            demand | spec::CSR0_TINT,
            demand | spec::CSR0_STOP,
            demand | spec::CSR0_STRT,
        ] {
            assert_eq!(ring(rdp, value), None);
        }
        // Another register, another width.
        assert_eq!(ring(rap, 3), Some(false));
        assert_eq!(ring(rdp, demand), None);
        assert_eq!(ring(rap, 0), Some(false));
        assert_eq!(
            doorbells.ring(Bench::access(rdp, Width::Byte), demand.into()),
            None
        );
        // Without transmitter there is no demand.
        bench.set_csr(0, spec::CSR0_STOP);
        assert_eq!(ring(rdp, demand), None);
        bench.set_csr(0, demand);
        assert_eq!(bench.csr(0) & spec::CSR0_TDMD, 0);
    }
}

#[test]
fn acknowledgements_do_not_wake_the_thread() {
    let mut bench = Bench::pci();
    let rdp = Bench::access(spec::WIO_RDP, Width::Word);
    bench.set_csr(0, 0);
    let status = u32::from(spec::CSR0_RINT | spec::CSR0_TINT);
    assert!(!bench.device.write(rdp, status, bench.now));
    assert!(bench.device.write(rdp, spec::CSR0_TDMD.into(), bench.now));
    bench.csr(spec::CSR_MASKS);
    assert!(!bench.device.write(rdp, 0x5f00, bench.now));
    bench.csr(spec::CSR_EXTENDED);
    assert!(bench.device.write(rdp, 0, bench.now));
}

#[test]
fn writes_to_the_address_port_may_wait_while_it_is_one() {
    let mut bench = Bench::pci();
    let [ports] = <Device as Model>::QUIET_PORTS else {
        panic!("one range")
    };
    assert_eq!(u32::from(ports.start), spec::WIO_RAP);
    assert_eq!(u32::from(ports.end), spec::WIO_RESET);
    assert!(bench.device.quiet());
    bench.go_dwio();
    assert!(!bench.device.quiet());
}

//! Frames that come back.
use super::*;

const INTERNAL: u16 = spec::MODE_LOOP | spec::MODE_INTL;

#[test]
fn frames_come_back_with_their_fcs_and_nothing_else_does() {
    for (style, dwio) in SETUPS {
        for mode in [INTERNAL, spec::MODE_LOOP] {
            let mut bench = Bench::with_mode(style, dwio, mode);
            bench.bring(frame(99));
            // Runts come back as they are.
            for (index, len) in [(0, 60), (1, 1514), (2, 20)] {
                bench.send(&frame(len));
                let (flags, bytes) = bench.received(index);
                assert_eq!(flags & !spec::R_PAM, WHOLE);
                assert_eq!(bytes, with_fcs(&frame(len)));
                assert_eq!(bench.flags(TX_RING, index), WHOLE);
            }
            let both = spec::CSR0_RINT | spec::CSR0_TINT;
            assert_eq!(bench.csr(0) & both, both);
            assert!(bench.wire.sent.is_empty());
        }
    }
}

/// Step by step what `pcnet32_loopback_test` does.
#[test]
fn the_self_test_of_linux_passes() {
    for chip in [spec::AM79C970A, spec::AM79C973] {
        let mut bench = Bench::cold(chip);
        bench.set_up(2, 0);
        bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA);
        bench.set_csr(0, spec::CSR0_STOP);
        let block = [1, 2].map(|index| bench.csr(index));
        bench.read(spec::WIO_RESET, Width::Word);
        assert_eq!([1, 2].map(|index| bench.csr(index)), block);
        bench.set_csr(spec::CSR_FEATURES, 0x0915);
        bench.set_up(2, 0);
        bench.set_csr(0, 0);
        bench.set_csr(0, spec::CSR0_STOP);
        for index in 0..4 {
            let at = DATA + 0x100 * u64::from(index);
            bench.put(at, &frame(75 + index as usize));
            bench.push(at, 75 + index, WHOLE);
        }
        let phy = bench.bcr(spec::BCR_MIICAS);
        bench.set_bcr(spec::BCR_MIICAS, phy | 2);
        let mode = bench.csr(spec::CSR_MODE) & 0xfffc;
        bench.set_csr(spec::CSR_MODE, mode | 0x0044);
        bench.set_csr(0, spec::CSR0_STRT);
        bench.settle();
        for index in 0..4 {
            assert_eq!(bench.flags(RX_RING, index) & spec::D_OWN, 0);
            let (_, bytes) = bench.received(index);
            assert_eq!(bytes, with_fcs(&frame(75 + index as usize)));
        }
        bench.set_csr(0, spec::CSR0_STOP);
        bench.set_csr(spec::CSR_MODE, mode);
        bench.set_bcr(spec::BCR_MIICAS, phy & !2);
        bench.tail = 0;
        bench.set_up(2, 0);
        bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA);
        bench.send(&frame(60));
        assert_eq!(bench.sent(), [frame(60)]);
    }
}

#[test]
fn the_receiver_checks_an_fcs_that_the_driver_made() {
    for style in 0..4 {
        let mut bench = Bench::with_mode(style, false, INTERNAL | spec::MODE_DXMTFCS);
        bench.send(&with_fcs(&frame(100)));
        let (flags, bytes) = bench.received(0);
        assert_eq!(flags & !spec::R_PAM, WHOLE);
        assert_eq!(bytes, with_fcs(&frame(100)));
        bench.send(&frame(100));
        let (flags, bytes) = bench.received(1);
        let bad = WHOLE | spec::D_ERR | spec::R_CRC;
        assert_eq!(flags & !spec::R_PAM, bad, "style {style}");
        assert_eq!(bytes, frame(100));
        if style == 1 {
            continue;
        }
        bench.put(DATA, &frame(100));
        bench.push(DATA, 100, WHOLE | spec::T_ADD_NO_FCS);
        bench.demand();
        assert_eq!(bench.received(2).1, with_fcs(&frame(100)));
    }
}

#[test]
fn pads_are_appended_with_an_fcs() {
    let mut bench = Bench::with_mode(2, false, INTERNAL | spec::MODE_DXMTFCS);
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DEFAULT | spec::CSR4_APAD_XMT);
    bench.send(&frame(20));
    let mut padded = frame(20);
    padded.resize(60, 0);
    assert_eq!(bench.received(0).1, with_fcs(&padded));
}

#[test]
fn filters_hold_in_loopback_too() {
    let mut bench = Bench::with_mode(2, false, INTERNAL);
    bench.send(&frame_to([2; 6], 60));
    assert_eq!(bench.flags(RX_RING, 0), spec::D_OWN);
    bench.send(&frame_to([0xff; 6], 60));
    assert_eq!(bench.flags(RX_RING, 0), WHOLE | spec::R_BAM);
}

#[test]
fn the_phy_loops_where_there_is_one() {
    for (chip, loops) in [(spec::AM79C970A, false), (spec::AM79C973, true)] {
        for (index, value) in [
            (spec::BCR_MIICAS, spec::BCR32_MIIILP),
            (spec::BCR_MIIMDR, crate::net::nic::mii::BMCR_LOOPBACK),
        ] {
            let mut bench = Bench::cold(chip);
            bench.set_up(2, 0);
            bench.set_bcr(spec::BCR_MIIADDR, spec::PHY_ADDRESS << 5);
            bench.set_bcr(index, value);
            bench.set_csr(0, spec::CSR0_STRT);
            bench.send(&frame(60));
            assert_eq!(bench.wire.sent.is_empty(), loops);
            assert_eq!(bench.flags(RX_RING, 0) & spec::D_OWN == 0, loops);
        }
    }
}

//! Both initialization blocks, and rings that are set up without one.
use super::*;

#[test]
fn both_blocks_say_the_same() {
    for style in 0..4 {
        let mut bench = Bench::cold(spec::AM79C970A);
        bench.set_up(style, spec::MODE_DRCVBC);
        bench.set_csr(0, spec::CSR0_STOP);
        let filter = 0x0123_4567_89ab_cdefu64;
        bench.put_block(spec::MODE_PROM, filter);
        bench.set_csr(0, spec::CSR0_INIT);
        let words: Vec<_> = (8..16).map(|index| bench.csr(index)).collect();
        let [m0, m1, m2] = MAC.words();
        let expected = [0xcdef, 0x89ab, 0x4567, 0x0123, m0, m1, m2, spec::MODE_PROM];
        assert_eq!(words, expected, "style {style}");
        assert_eq!(bench.csr(spec::CSR_BADR_LOW), RX_RING as u16);
        assert_eq!(bench.csr(spec::CSR_BADX_LOW), TX_RING as u16);
        let length = (COUNT as u16).wrapping_neg();
        for index in [76, 78, 72, 74] {
            assert_eq!(bench.csr(index), length, "CSR{index}");
        }
        let tables = LOG_COUNT << 12 | LOG_COUNT << 8;
        assert_eq!(bench.csr(spec::CSR_TABLE_LENGTHS), tables);
    }
}

#[test]
fn lengths_stop_at_512() {
    for (code, len) in [
        (0u16, 1u16),
        (1, 2),
        (8, 256),
        (9, 512),
        (10, 512),
        (15, 512),
    ] {
        let mut bench = Bench::cold(spec::AM79C970A);
        bench.set_up(2, 0);
        bench.set_csr(0, spec::CSR0_STOP);
        bench.put(INIT_BLOCK + 2, &(code << 12 | code << 4).to_le_bytes());
        bench.set_csr(0, spec::CSR0_INIT);
        assert_eq!(bench.csr(spec::CSR_RCVRL), len.wrapping_neg());
        assert_eq!(bench.csr(spec::CSR_XMTRL), len.wrapping_neg());
    }
}

#[test]
fn sixteen_bit_addresses_take_their_upper_byte_from_csr2() {
    let mut bench = Bench::cold(spec::AM79C970A);
    bench.set_csr(spec::CSR_IADR_HIGH, 0xab00);
    bench.set_csr(0, spec::CSR0_INIT);
    // Nothing is there.
    assert_ne!(bench.csr(0) & spec::CSR0_MERR, 0);
    assert_eq!(bench.csr(0) & spec::CSR0_IDON, 0);
    bench.set_csr(spec::CSR_IADR_HIGH, 0);
    bench.set_up(0, 0);
    let ring = bench.device.state.receive_ring();
    assert_eq!((ring.base, ring.high), (RX_RING as u32, 0));
    bench.set_csr(0, spec::CSR0_STOP);
    bench.set_csr(spec::CSR_IADR_HIGH, 0xab00);
    assert_eq!(bench.device.state.receive_ring().high, 0xab00_0000);
}

#[test]
fn rings_can_be_set_up_by_registers_alone_and_started_in_the_middle() {
    let mut bench = Bench::cold(spec::AM79C970A);
    bench.style = 3;
    bench.set_bcr(spec::BCR_SWS, 3);
    let length = (COUNT as u16).wrapping_neg();
    for (index, value) in [
        (spec::CSR_BADR_LOW, RX_RING as u16),
        (spec::CSR_BADX_LOW, TX_RING as u16),
        (spec::CSR_RCVRL, length),
        (spec::CSR_XMTRL, length),
        // The last descriptor of each.
        (spec::CSR_RCVRC, u16::MAX),
        (spec::CSR_XMTRC, u16::MAX),
    ] {
        bench.set_csr(index, value);
    }
    assert_eq!(bench.csr(spec::CSR_CRDA_LOW), RX_RING as u16 + 7 * 16);
    assert_eq!(bench.csr(spec::CSR_CXDA_LOW), TX_RING as u16 + 7 * 16);
    bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA);
    bench.tail = 7;
    bench.give_buffer(7, SIZE);
    assert_eq!(bench.send(&frame(100)), 7);
    bench.bring(frame(100));
    assert_eq!(bench.sent(), [frame(100)]);
    assert_eq!(bench.received(7).1, with_fcs(&frame(100)));
    assert_eq!(bench.csr(spec::CSR_RCVRC), length);
    assert_eq!(bench.csr(spec::CSR_XMTRC), length);
}

#[test]
fn without_bus_mastership_nothing_is_read() {
    let mut bench = Bench::cold(spec::AM79C970A);
    bench.device.set_bus_master(false);
    bench.style = 2;
    bench.set_bcr(spec::BCR_SWS, 2);
    bench.put_block(0, 0);
    bench.set_csr(spec::CSR_IADR_LOW, INIT_BLOCK as u16);
    bench.set_csr(0, spec::CSR0_INIT);
    assert_eq!(bench.csr(0) & spec::CSR0_IDON, 0);
    bench.device.set_bus_master(true);
    bench.set_csr(0, spec::CSR0_INIT);
    assert_ne!(bench.csr(0) & spec::CSR0_IDON, 0);
}

//! What a driver may do that no driver should: each line for pcnet of the list of hostile inputs, and those for all legacy NICs.
use super::*;

const INTERNAL: u16 = spec::MODE_LOOP | spec::MODE_INTL;

/// Sets lengths of both rings, two's complement, while the chip is stopped; then starts it.
fn with_lengths(style: u16, receive: u16, transmit: u16) -> Bench {
    let mut bench = Bench::new(style, false);
    bench.set_csr(0, spec::CSR0_STOP);
    bench.set_csr(spec::CSR_RCVRL, receive);
    bench.set_csr(spec::CSR_XMTRL, transmit);
    bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA);
    bench
}

#[test]
fn ring_lengths_of_0_and_512_and_all_others_end() {
    // CVE-2016-7909: a length of 0 was endless. Here 0 is 65536, and all of it belongs to the chip.
    for length in [0u16, 1, 2, 0x8000, 512u16.wrapping_neg(), u16::MAX] {
        let mut bench = with_lengths(2, length, length);
        let whole = u64::from(0x1_0000 - u32::from(length)).min(0xe00);
        for index in 0..whole as u32 {
            let flags = spec::D_OWN | WHOLE;
            let at = bench.descriptor_at(TX_RING, index);
            if at < 0xf000 {
                bench.put_descriptor(TX_RING, index, DATA, 60, flags);
            }
        }
        bench.set_csr(0, spec::CSR0_TDMD);
        bench.burst();
        assert!(bench.wire.sent.len() <= 64, "a burst has a budget");
        bench.settle();
        bench.bring(frame(60));
    }
}

#[test]
fn a_ring_without_any_end_of_packet_ends() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        bench.set_csr(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
        for flags in [spec::D_STP, 0] {
            for index in 0..COUNT {
                bench.put_descriptor(TX_RING, index, DATA, 60, spec::D_OWN | flags);
            }
            bench.demand();
            assert!(bench.wire.sent.is_empty());
            for index in 0..COUNT {
                assert_eq!(bench.flags(TX_RING, index) & spec::D_OWN, 0);
            }
        }
        // The whole ring was one frame, which has failed, and then eight skipped ones.
        assert_eq!(bench.csr(spec::CSR_XMTRC), bench.csr(spec::CSR_XMTRL));
    }
    // Longer than a frame may be.
    let mut bench = with_lengths(2, u16::MAX, 512u16.wrapping_neg());
    bench.set_csr(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
    for index in 0..512 {
        bench.put_descriptor(TX_RING, index, DATA, 1, spec::D_OWN | spec::D_STP);
    }
    bench.demand();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.flags(TX_RING, 511) & spec::D_OWN, 0);
}

#[test]
fn frames_of_any_size_fit_no_buffer_of_ours() {
    // CVE-2015-7504: 4 bytes of FCS behind a full buffer in loopback; CVE-2015-7512: a long frame from the wire.
    for style in 0..4 {
        for (len, comes) in [(4087, true), (4091, true), (4092, false), (4096, false)] {
            let mut bench = Bench::with_mode(style, false, INTERNAL);
            for index in 0..COUNT {
                bench.give_buffer(index, 0x800);
            }
            let bytes: Vec<u8> = frame(len);
            bench.send(&bytes);
            assert_eq!(bench.flags(RX_RING, 0) & spec::D_OWN == 0, comes, "{len}");
            bench.set_csr(0, spec::CSR0_STOP);
            bench.set_csr(spec::CSR_MODE, 0);
            bench.set_csr(0, spec::CSR0_STRT);
            bench.bring(bytes);
            let second = if comes { 2 } else { 0 };
            let taken = bench.flags(RX_RING, second) & spec::D_OWN == 0;
            assert_eq!(taken, comes, "{len}");
        }
        // Many descriptors of 4096 bytes.
        let mut bench = Bench::with_mode(style, false, INTERNAL);
        bench.push(DATA, 4096, spec::D_STP);
        for _ in 0..COUNT - 2 {
            bench.push(DATA, 4096, 0);
        }
        bench.push(DATA, 4096, spec::D_ENP);
        bench.demand();
        assert_eq!(bench.flags(RX_RING, 0), spec::D_OWN);
        assert_eq!(bench.flags(TX_RING, COUNT - 1) & spec::D_OWN, 0);
    }
    let mut bench = Bench::pci();
    for len in [1519, 4091, 4092, 9000, 16 << 10] {
        bench.bring(frame(len));
    }
}

#[test]
fn counts_have_twelve_bits_whatever_lies_above_them() {
    // CVE-2018-17962: a size that was negative.
    for style in 0..4 {
        for (field, len) in [
            (0u16, 4096),
            (0xf000, 4096),
            (0x0fff, 1),
            (0x8fc4, 60),
            (0x7fc4, 60),
            (0xffff, 1),
        ] {
            let mut bench = Bench::new(style, false);
            let ring = bench.device.state.transmit_ring();
            bench.put_descriptor(TX_RING, 0, DATA, 60, spec::D_OWN | WHOLE);
            let at = bench.descriptor_at(TX_RING, 0) + 4;
            bench.put(at, &field.to_le_bytes());
            assert_eq!(ring.read(0, &bench.memory).unwrap().len, len);
            bench.demand();
            assert_eq!(bench.flags(TX_RING, 0) & spec::D_OWN, 0);
            assert_eq!(bench.wire.sent.len(), usize::from(len == 60));
        }
    }
    // Receive buffers of a byte each: the frame is cut, as no more will ever be there.
    let mut bench = Bench::pci();
    for index in 0..COUNT {
        bench.give_buffer(index, 1);
    }
    bench.bring(frame(60));
    let cut = spec::D_ERR | spec::R_BUFF;
    assert_eq!(bench.flags(RX_RING, COUNT - 1), cut);
}

#[test]
fn own_that_flaps_moves_nothing_twice() {
    let mut bench = Bench::pci();
    bench.wire.done = false;
    bench.send(&frame(60));
    // The driver takes it back, changes it and gives it again while it is on its way.
    for flags in [0, spec::D_OWN, spec::D_OWN | WHOLE] {
        bench.put_descriptor(TX_RING, 0, DATA, 4096, flags);
        bench.demand();
        assert_eq!(bench.wire.sent.len(), 1);
    }
    for _ in 0..3 * COUNT {
        bench.push(DATA, 60, WHOLE);
        bench.demand();
    }
    assert_eq!(bench.wire.sent.len(), COUNT as usize, "once around");
    bench.wire.done = true;
    bench.settle();
    // Receive descriptors that are taken back.
    for round in 0..COUNT {
        bench.put_descriptor(RX_RING, round, BUFFERS, SIZE, 0);
        bench.bring(frame(60));
        bench.give_buffer(round, SIZE);
        bench.wait();
    }
    assert_eq!(bench.csr(spec::CSR_MFC), 0);
}

#[test]
fn blocks_rings_and_buffers_outside_of_ram_are_never_touched() {
    for style in 0..4 {
        // The initialization block.
        let mut bench = Bench::new(style, false);
        bench.set_csr(0, spec::CSR0_STOP);
        for (low, high) in [(0u16, 0xfee0u16), (0xfff8, 0xffff), (0xfff0, 0x000f)] {
            bench.set_csr(spec::CSR_IADR_LOW, low);
            bench.set_csr(spec::CSR_IADR_HIGH, high);
            bench.set_csr(0, spec::CSR0_INIT);
            let status = bench.csr(0);
            assert_eq!(
                status & (spec::CSR0_MERR | spec::CSR0_IDON),
                spec::CSR0_MERR
            );
            bench.set_csr(0, spec::CSR0_MERR);
        }
        // Rings: a bus error, after which that half is off.
        for (index, half) in [
            (spec::CSR_BADR_HIGH, spec::CSR0_RXON),
            (spec::CSR_BADX_HIGH, spec::CSR0_TXON),
        ] {
            let mut bench = Bench::new(style, false);
            bench.set_csr(0, spec::CSR0_STOP);
            bench.set_csr(index, 0xfee0);
            bench.set_csr(0, spec::CSR0_STRT);
            bench.bring(frame(60));
            bench.demand();
            assert_eq!(bench.csr(0) & (half | spec::CSR0_MERR), spec::CSR0_MERR);
        }
        // Buffers.
        for addr in [1u64 << 20, (1 << 20) - 10, 0x00fe_e000] {
            let mut bench = Bench::new(style, false);
            bench.set_csr(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
            let index = bench.push(addr, 60, WHOLE);
            bench.put_descriptor(RX_RING, 0, addr, SIZE, spec::D_OWN);
            bench.demand();
            bench.bring(frame(60));
            assert!(bench.wire.sent.is_empty());
            assert_eq!(bench.flags(TX_RING, index), WHOLE | spec::D_ERR);
            assert_eq!(bench.errors(index), spec::T_UFLO);
            let flags = bench.flags(RX_RING, 0) & 0xff00;
            assert_eq!(flags, WHOLE | spec::D_ERR | spec::R_OFLO);
        }
    }
}

#[test]
fn register_numbers_beyond_the_last_are_nothing() {
    let mut bench = Bench::pci();
    let before = bench.device.save(bench.now);
    for index in 128..=0xffffu16 {
        if index & 0xff < 128 {
            continue;
        }
        bench.set_csr(index, 0xffff);
        assert_eq!(bench.csr(index), 0);
        bench.set_bcr(index, 0xffff);
        assert_eq!(bench.bcr(index), 0);
    }
    bench.set_csr(256, 0);
    let mut after = bench.device.save(bench.now);
    // Register 256 is register 0, whose IENA was cleared.
    assert_ne!(after, before);
    bench.set_csr(0, spec::CSR0_IENA);
    after = bench.device.save(bench.now);
    assert_eq!(after, before);
}

#[test]
fn loopback_does_not_recurse_and_ends_when_the_ring_is_full() {
    // CVE-2021-3416, CVE-2021-20255.
    let mut bench = Bench::with_mode(2, false, INTERNAL);
    bench.put(DATA, &frame(1000));
    for _ in 0..5 {
        for _ in 0..COUNT {
            bench.push(DATA, 1000, WHOLE);
        }
        bench.demand();
    }
    assert!(bench.wire.sent.is_empty());
    assert_eq!(u32::from(bench.csr(spec::CSR_MFC)), 4 * COUNT);
    // Both rings are the same memory: what was received is what is sent, in memory only.
    let mut bench = Bench::with_mode(2, false, INTERNAL);
    bench.set_csr(0, spec::CSR0_STOP);
    bench.set_csr(spec::CSR_BADR_LOW, TX_RING as u16);
    bench.set_csr(0, spec::CSR0_STRT);
    for _ in 0..COUNT {
        bench.push(TX_RING, 128, WHOLE);
    }
    bench.demand();
}

#[test]
fn growing_pauses_for_a_frame_without_room() {
    let mut bench = Bench::pci();
    for index in 0..COUNT {
        bench.put_descriptor(RX_RING, index, BUFFERS, SIZE, 0);
    }
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL);
    bench.bring(frame(60));
    let mut last = Duration::ZERO;
    while bench.csr(spec::CSR_MFC) == 0 {
        let burst = bench.device.burst(&mut bench.wire, bench.now);
        let pause = burst.deadline.unwrap().saturating_duration_since(bench.now);
        assert!(!burst.busy && pause >= last);
        last = pause;
        bench.now += pause;
        bench.settle();
    }
    assert_eq!(last, Duration::from_millis(50));
}

proptest::proptest! {
    #[test]
    fn no_register_trace_and_no_memory_makes_it_fail(
        memory in proptest::collection::vec(proptest::num::u8::ANY, 4096),
        trace in proptest::collection::vec((0u16..0x88, proptest::num::u32::ANY), 1..60),
        style in 0u16..4,
        fast in proptest::bool::ANY,
    ) {
        let mut bench = Bench::cold(if fast { spec::AM79C973 } else { spec::AM79C970A });
        bench.set_up(style, 0);
        bench.set_csr(0, spec::CSR0_STRT);
        bench.put(INIT_BLOCK, &memory);
        bench.put(TX_RING, &memory);
        for (register, value) in trace {
            let word = value as u16;
            match value >> 29 {
                0 => bench.set_bcr(register, word),
                1..=3 => bench.set_csr(register, word),
                4 => bench.set_csr(0, word & 0xff),
                5 => bench.write(u32::from(register) & 0x1c, Width::Dword, value),
                6 => {
                    bench.read(u32::from(register) & 0x1e, Width::Word);
                }
                _ => bench.now += Duration::from_micros(u64::from(word) * 8),
            }
            bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_TDMD);
            bench.wire.bring(frame(14 + (value & 0x1fff) as usize));
            bench.burst();
        }
        for (_, _, body) in &bench.wire.sent {
            for buffer in body {
                proptest::prop_assert!(buffer.addr + u64::from(buffer.len) <= 1 << 20);
            }
        }
    }
}

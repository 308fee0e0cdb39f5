//! What a driver may do that no driver should: each line for ne2000 of the list of hostile inputs.
use super::*;

/// A NIC with this ring.
fn with_ring(start: u8, stop: u8, bnry: u8, curr: u8) -> Bench {
    let mut bench = Bench::running();
    bench.write8(spec::PSTART, start);
    bench.write8(spec::PSTOP, stop);
    bench.write8(spec::BNRY, bnry);
    bench.set(1, spec::CURR, curr);
    bench
}

/// Everything that uses the ring's pointers.
fn exercise(bench: &mut Bench) {
    for len in [60, 1000, 1518] {
        bench.wire.bring(frame(len));
    }
    for _ in 0..8 {
        bench.burst();
    }
    for at in [0, 0x1c, 0x3ffe, 0x4000, 0x7ffe, 0xbffe, 0xfffe] {
        bench.remote(at, 600, spec::CR_RD_READ | spec::CR_STA);
        for _ in 0..200 {
            bench.read(spec::DATA_PORT, Width::Dword);
        }
        bench.remote(at, 600, spec::CR_RD_WRITE | spec::CR_STA);
        for _ in 0..200 {
            bench.write(spec::DATA_PORT, Width::Dword, 0x1234_5678);
        }
    }
    bench.write8(spec::DCR, 0x49 | spec::DCR_ARM);
    bench.write8(spec::CR, spec::CR_RD_SEND | spec::CR_STA);
    for _ in 0..1000 {
        bench.read(spec::DATA_PORT, Width::Dword);
    }
    bench.now += Duration::from_secs(1);
    bench.settle();
}

#[test]
fn rings_that_are_none_store_nothing() {
    // CVE-2015-5278, CVE-2015-5279, CVE-2016-2841: endless or out of bounds.
    for (start, stop) in [(0x80, 0x4c), (0x50, 0x50), (0, 0), (0xff, 0)] {
        for curr in [0, 0x4c, 0x50, 0x7f, 0x80, 0xff] {
            let mut bench = with_ring(start, stop, start, curr);
            let before = bench.fetch(0x4000, 0x7ffe);
            bench.wire.bring(frame(1000));
            bench.settle();
            assert_eq!(bench.get(1, spec::CURR), curr);
            assert_eq!(bench.fetch(0x4000, 0x7ffe), before);
            assert_eq!(bench.read8(spec::CNTR2), 1);
            exercise(&mut bench);
        }
    }
}

#[test]
fn a_current_page_outside_of_the_ring_takes_no_frame() {
    // CVE-2018-10839.
    for curr in [0, START - 1, STOP, 0xbf, 0xc0, 0xff] {
        let mut bench = with_ring(START, STOP, START, curr);
        bench.wire.bring(frame(60));
        bench.settle();
        assert_eq!(bench.get(1, spec::CURR), curr);
        assert_eq!(bench.read8(spec::ISR), 0);
        exercise(&mut bench);
    }
}

#[test]
fn rings_beyond_memory_lose_what_is_not_there() {
    for (start, stop) in [
        (0, 0xff),
        (0x00, 0x41),
        (0xb0, 0xd0),
        (0xc0, 0xff),
        (0x20, 0x30),
    ] {
        for curr in [start, stop - 1] {
            let mut bench = with_ring(start, stop, start, curr);
            exercise(&mut bench);
            let prom = bench.fetch(0, 12);
            let twice: Vec<_> = MAC.0.iter().flat_map(|byte| [*byte; 2]).collect();
            assert_eq!(prom, twice, "the PROM is not written");
        }
    }
}

#[test]
fn any_boundary_is_survived() {
    for bnry in 0..=255 {
        let mut bench = with_ring(START, STOP, bnry, START + 1);
        for _ in 0..20 {
            bench.wire.bring(frame(1500));
        }
        for _ in 0..4 {
            bench.burst();
        }
        let curr = bench.get(1, spec::CURR);
        assert!((START..STOP).contains(&curr));
        // What lies beside the ring is not touched.
        assert_eq!(bench.fetch(BUFFER, 0xc00), vec![0; 0xc00]);
        assert_eq!(bench.fetch(u16::from(STOP) << 8, 0x4000), vec![0; 0x4000]);
        exercise(&mut bench);
    }
}

#[test]
fn transfers_longer_than_memory_end() {
    // TBCR and RBCR beyond memory, RSAR behind PSTOP, counts longer than the ring.
    let mut bench = Bench::running();
    bench.transmit(0x4000, 0xffff);
    bench.settle();
    assert_eq!(bench.read8(spec::ISR), spec::ISR_TXE);
    for at in [0, 0x4c00, 0x7fff, 0x8000, 0xffff] {
        bench.write8(spec::ISR, 0xff);
        bench.remote(at, 0xffff, spec::CR_RD_WRITE | spec::CR_STA);
        let mut accesses = 0;
        while bench.read8(spec::ISR) & spec::ISR_RDC == 0 {
            bench.write(spec::DATA_PORT, Width::Dword, u32::MAX);
            accesses += 1;
        }
        assert_eq!(accesses, 0x4000);
    }
    // One page is the ring: it goes round and round.
    let mut bench = with_ring(0x50, 0x51, 0x50, 0x50);
    bench.remote(0x5000, 0xfffe, spec::CR_RD_WRITE | spec::CR_STA);
    for word in 0..0x7fff {
        bench.write(spec::DATA_PORT, Width::Word, word);
    }
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
    assert_eq!(bench.fetch(0x5100, 4), [0; 4]);
    exercise(&mut bench);
}

#[test]
fn reads_over_the_ends_of_prom_and_memory() {
    // CVE-2015-8743.
    let mut bench = Bench::running();
    let across = bench.fetch(0x1e, 4);
    assert_eq!(across, [0x57, 0x57, 0xff, 0xff]);
    bench.store(0xbffe, &[1, 2]);
    assert_eq!(bench.fetch(0xbffe, 4), [1, 2, 0xff, 0xff]);
    assert_eq!(bench.fetch(0x3ffe, 4), [0xff, 0xff, 0, 0]);
    // Addresses end, and begin anew.
    assert_eq!(bench.fetch(0xfffe, 4), [0xff, 0xff, MAC.0[0], MAC.0[0]]);
    bench.write8(spec::DCR, 0x48);
    bench.remote(0x1f, 2, spec::CR_RD_READ | spec::CR_STA);
    assert_eq!(bench.read(spec::DATA_PORT, Width::Word), 0xff57);
}

#[test]
fn ports_that_do_not_exist() {
    let mut bench = Bench::running();
    for bar in [0, 1, 5] {
        for offset in [0x20, 0x24, 0xffff_fffc] {
            let at = Access {
                bar,
                offset,
                width: Width::Dword,
            };
            assert!(!bench.device.write(at, 0, bench.now));
            assert_eq!(bench.device.read(at, bench.now), u32::MAX);
        }
    }
    let other = Access {
        bar: 1,
        offset: spec::RESET_PORT,
        width: Width::Byte,
    };
    bench.device.read(other, bench.now);
    assert_eq!(bench.read8(spec::CR), RUN & !spec::CR_TXP);
}

#[test]
fn a_burst_has_a_budget() {
    let mut bench = Bench::running();
    bench.write8(spec::CR, spec::CR_STP | spec::CR_RD_ABORT);
    for _ in 0..100 {
        bench.wire.bring(frame(60));
    }
    assert!(bench.burst());
    assert_eq!(bench.wire.incoming.len(), 68);
    // A back-end that returns more than it was given.
    bench.wire.flying.extend(vec![0; 1000]);
    bench.burst();
    assert_eq!(bench.wire.flying.len(), 488);
}

proptest::proptest! {
    #[test]
    fn no_register_trace_makes_it_fail(
        trace in proptest::collection::vec((0u32..0x20, proptest::num::u32::ANY), 1..200),
    ) {
        let mut bench = Bench::running();
        for (register, value) in trace {
            let width = [Width::Byte, Width::Word, Width::Dword][value as usize % 3];
            let register = register & !(width.bytes() - 1);
            bench.write(register, width, value >> 2);
            bench.read(register, width);
            bench.wire.bring(frame(60 + (value & 0x7ff) as usize));
            let burst = bench.device.burst(&mut bench.wire, bench.now);
            let latest = bench.now + Duration::from_millis(100);
            proptest::prop_assert!(burst.deadline.is_none_or(|due| bench.now < due && due <= latest));
            bench.now += Duration::from_millis(u64::from(value & 0x3f));
        }
    }
}

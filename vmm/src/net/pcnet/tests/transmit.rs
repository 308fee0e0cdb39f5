//! Frames on their way out.
use super::*;

#[test]
fn frames_leave_uncopied_in_every_style_and_mode() {
    for (style, dwio) in SETUPS {
        let mut bench = Bench::new(style, dwio);
        let mut expected = Vec::new();
        for round in 0..3 * COUNT as usize {
            let bytes = frame(60 + round);
            let index = bench.send(&bytes);
            assert_eq!(bench.flags(TX_RING, index), WHOLE, "given back");
            assert!(bench.wire.sent[round].1.is_empty(), "no bytes were copied");
            assert_eq!(bench.wire.bytes(round, &bench.memory), bytes);
            expected.push(bytes);
            assert!(bench.line.is_high());
            bench.set_csr(0, spec::CSR0_TINT | spec::CSR0_IENA);
            assert!(!bench.line.is_high());
        }
    }
}

#[test]
fn a_frame_may_span_descriptors_and_the_end_of_the_ring() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        bench.put(DATA, &frame(1514));
        for _ in 0..5 {
            let first = bench.push(DATA, 14, spec::D_STP);
            let second = bench.push(DATA + 14, 1000, 0);
            bench.wire.done = false;
            let third = bench.push(DATA + 1014, 500, spec::D_ENP);
            bench.demand();
            assert_ne!(bench.flags(TX_RING, first) & spec::D_OWN, 0);
            assert_eq!(bench.csr(0) & spec::CSR0_TINT, 0);
            bench.wire.done = true;
            bench.settle();
            let flags = [first, second, third].map(|index| bench.flags(TX_RING, index));
            assert_eq!(flags, [spec::D_STP, 0, spec::D_ENP]);
            bench.set_csr(0, spec::CSR0_TINT | spec::CSR0_IENA);
        }
        assert_eq!(bench.sent(), vec![frame(1514); 5]);
    }
}

#[test]
fn descriptors_are_given_back_in_order() {
    let mut bench = Bench::pci();
    bench.wire.done = false;
    for _ in 0..3 {
        bench.send(&frame(60));
    }
    // The second and the third are done.
    let first = bench.wire.flying.pop_front().unwrap();
    bench.wire.done = true;
    bench.settle();
    assert_ne!(bench.flags(TX_RING, 1) & spec::D_OWN, 0);
    bench.wire.flying.push_back(first);
    bench.settle();
    for index in 0..3 {
        assert_eq!(bench.flags(TX_RING, index), WHOLE);
    }
}

#[test]
fn which_frames_interrupt_is_the_drivers_choice() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        let told = |bench: &mut Bench, csr5, flags| {
            bench.set_csr(spec::CSR_EXTENDED, csr5);
            bench.put(DATA, &frame(60));
            let index = bench.push(DATA, 60, WHOLE | flags);
            bench.demand();
            // MORE lies where LTINT does, and would be a collision.
            assert_eq!(bench.flags(TX_RING, index), WHOLE);
            let told = bench.csr(0) & spec::CSR0_TINT != 0;
            bench.set_csr(0, spec::CSR0_TINT | spec::CSR0_IENA);
            told
        };
        assert!(told(&mut bench, 0, 0));
        assert!(!told(&mut bench, spec::CSR5_TOKINTD, 0));
        assert!(!told(&mut bench, spec::CSR5_LTINTEN, 0));
        assert!(told(&mut bench, spec::CSR5_LTINTEN, spec::T_LTINT));
        let both = spec::CSR5_LTINTEN | spec::CSR5_TOKINTD;
        assert!(told(&mut bench, both, spec::T_LTINT));
        assert!(!told(&mut bench, both, 0));
        // An error always does.
        bench.device.set_link(false, bench.now);
        bench.set_csr(spec::CSR_EXTENDED, spec::CSR5_TOKINTD);
        let index = bench.send(&frame(60));
        assert_ne!(bench.csr(0) & spec::CSR0_TINT, 0);
        assert_eq!(bench.flags(TX_RING, index), WHOLE | spec::D_ERR);
        assert_eq!(bench.errors(index), spec::T_LCAR);
        let cerr = spec::CSR0_CERR | spec::CSR0_ERR;
        assert_eq!(bench.csr(0) & cerr, cerr);
    }
}

#[test]
fn a_full_wire_delays_and_loses_nothing() {
    let mut bench = Bench::pci();
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL | spec::CSR4_DEFAULT);
    bench.wire.full = true;
    let index = bench.send(&frame(60));
    assert_ne!(bench.flags(TX_RING, index) & spec::D_OWN, 0);
    bench.wire.full = false;
    bench.settle();
    assert_eq!(bench.sent(), [frame(60)]);
}

#[test]
fn the_chip_looks_by_itself_unless_it_must_not() {
    let mut bench = Bench::pci();
    bench.put(DATA, &frame(60));
    bench.settle();
    let pauses: Vec<_> = (0..20).map(|_| bench.wait()).collect();
    assert!(pauses.is_sorted());
    assert_eq!(pauses[19], Duration::from_millis(100));
    bench.push(DATA, 60, WHOLE);
    bench.wait();
    assert_eq!(bench.wire.sent.len(), 1);
    // Who relies on it does not wait for long.
    bench.push(DATA, 60, WHOLE);
    assert!(bench.wait() < Duration::from_millis(3));
    assert_eq!(bench.wire.sent.len(), 2);
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL | spec::CSR4_DEFAULT);
    bench.push(DATA, 60, WHOLE);
    bench.settle();
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!((burst.deadline, bench.wire.sent.len()), (None, 2));
    bench.demand();
    assert_eq!(bench.wire.sent.len(), 3);
}

#[test]
fn descriptors_without_start_are_skipped_in_silence() {
    let mut bench = Bench::pci();
    bench.put(DATA, &frame(60));
    bench.push(DATA, 60, 0);
    bench.push(DATA, 60, spec::D_ENP);
    bench.demand();
    assert_eq!(bench.csr(0) & spec::CSR0_TINT, 0);
    bench.push(DATA, 60, WHOLE);
    bench.demand();
    assert_eq!(bench.sent(), [frame(60)]);
    for index in 0..3 {
        assert_eq!(bench.flags(TX_RING, index) & spec::D_OWN, 0);
    }
}

#[test]
fn an_end_that_never_comes_is_an_underflow() {
    for (style, goes_on) in [(0, false), (1, true), (2, false), (3, true)] {
        let mut bench = Bench::new(style, false);
        if goes_on {
            bench.set_csr(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
        }
        bench.put(DATA, &frame(120));
        let first = bench.push(DATA, 60, spec::D_STP);
        bench.demand();
        // A driver that is slow, or wrong about the order.
        let second = bench.push(DATA + 60, 60, spec::D_ENP);
        bench.settle();
        assert_eq!(bench.sent(), [frame(120)]);
        assert_eq!(bench.flags(TX_RING, first), spec::D_STP);
        assert_eq!(bench.flags(TX_RING, second), spec::D_ENP);
        let lone = bench.push(DATA, 60, spec::D_STP);
        bench.demand();
        while bench.flags(TX_RING, lone) & spec::D_OWN != 0 {
            bench.wait();
        }
        assert_eq!(bench.flags(TX_RING, lone), spec::D_STP | spec::D_ERR);
        assert_eq!(bench.errors(lone), spec::T_BUFF | spec::T_UFLO);
        assert_eq!(bench.csr(0) & spec::CSR0_TXON != 0, goes_on);
        bench.send(&frame(70));
        assert_eq!(bench.wire.sent.len() == 2, goes_on);
    }
}

#[test]
fn frames_behind_one_that_underflowed_leave_without_another_demand() {
    let mut bench = Bench::pci();
    bench.set_csr(spec::CSR_MASKS, spec::CSR3_DXSUFLO);
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL | spec::CSR4_DEFAULT);
    bench.put(DATA, &frame(60));
    bench.push(0xfee0_0000, 60, WHOLE);
    bench.push(DATA, 60, WHOLE);
    bench.demand();
    assert_eq!(bench.flags(TX_RING, 0), WHOLE | spec::D_ERR);
    assert_eq!(bench.sent(), [frame(60)]);
    assert_eq!(bench.csr(0) & spec::CSR0_TDMD, 0);
}

#[test]
fn while_suspended_nothing_is_due() {
    let mut bench = Bench::pci();
    bench.push(DATA, 60, spec::D_STP);
    for _ in 0..=COUNT {
        bench.bring(frame(60));
    }
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert!(burst.deadline.is_some());
    bench.set_csr(spec::CSR_EXTENDED, spec::CSR5_SPND);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!((burst.busy, burst.deadline), (false, None));
    bench.now += Duration::from_secs(10);
    bench.give_buffer(0, SIZE);
    bench.put(DATA, &frame(120));
    bench.push(DATA + 60, 60, spec::D_ENP);
    bench.set_csr(spec::CSR_EXTENDED, 0);
    bench.settle();
    assert_eq!(bench.sent(), [frame(120)]);
    assert_eq!(bench.flags(RX_RING, 0) & spec::D_OWN, 0);
    assert_eq!(bench.csr(spec::CSR_MFC), 0);
}

#[test]
fn a_driver_may_bring_the_fcs_itself() {
    for style in 0..4 {
        let no_fcs = if style == 1 { spec::T_ADD_NO_FCS } else { 0 };
        let appends = spec::T_ADD_NO_FCS ^ no_fcs;
        let mut bench = Bench::with_mode(style, false, spec::MODE_DXMTFCS);
        bench.put(DATA, &with_fcs(&frame(100)));
        bench.push(DATA, 104, WHOLE | no_fcs);
        bench.demand();
        assert_eq!(bench.sent(), [frame(100)], "style {style}");
        // A wrong one: whoever receives it drops it.
        bench.push(DATA, 103, WHOLE | no_fcs);
        bench.demand();
        assert_eq!(bench.wire.sent.len(), 1);
        assert_eq!(bench.flags(TX_RING, 1) & (spec::D_OWN | spec::D_ERR), 0);
        if style != 1 {
            // ADD_FCS overrules DXMTFCS.
            bench.push(DATA, 100, WHOLE | appends);
            bench.demand();
            assert_eq!(bench.sent()[1], frame(100));
        }
    }
    // NO_FCS of style 1 without DXMTFCS.
    let mut bench = Bench::new(1, false);
    bench.put(DATA, &with_fcs(&frame(100)));
    bench.push(DATA, 104, WHOLE | spec::T_ADD_NO_FCS);
    bench.push(DATA, 100, WHOLE);
    bench.demand();
    assert_eq!(bench.sent(), [frame(100), frame(100)]);
}

#[test]
fn long_frames_are_babble() {
    let mut bench = Bench::pci();
    for (len, babbles) in [(1514, false), (1518, false), (1519, true), (4091, true)] {
        bench.send(&frame(len));
        assert_eq!(bench.csr(0) & spec::CSR0_BABL != 0, babbles, "{len}");
        assert_eq!(bench.csr(0) & spec::CSR0_ERR != 0, babbles);
        bench.set_csr(0, spec::CSR0_BABL | spec::CSR0_IENA);
    }
    assert_eq!(bench.wire.sent.len(), 4);
}

#[test]
fn suspend_waits_for_what_is_on_its_way() {
    let mut bench = Bench::pci();
    bench.wire.done = false;
    bench.send(&frame(60));
    bench.set_csr(spec::CSR_EXTENDED, spec::CSR5_SPND);
    bench.settle();
    assert_eq!(bench.csr(spec::CSR_EXTENDED) & spec::CSR5_SPND, 0);
    bench.wire.done = true;
    bench.settle();
    assert_ne!(bench.csr(spec::CSR_EXTENDED) & spec::CSR5_SPND, 0);
    // Nothing new, in either direction, and nothing lost.
    bench.send(&frame(61));
    bench.bring(frame(62));
    assert_eq!(bench.wire.sent.len(), 1);
    assert_eq!(bench.wire.incoming.len(), 1);
    bench.set_csr(spec::CSR_EXTENDED, 0);
    bench.settle();
    assert_eq!(bench.sent()[1], frame(61));
    assert_eq!(bench.received(0).1, with_fcs(&frame(62)));
}

#[test]
fn stop_takes_frames_from_the_wire() {
    let mut bench = Bench::pci();
    bench.wire.done = false;
    bench.send(&frame(60));
    bench.set_csr(0, spec::CSR0_STOP);
    bench.settle();
    assert_eq!(bench.wire.restarts, 1);
    assert_ne!(bench.flags(TX_RING, 0) & spec::D_OWN, 0, "not given back");
    // After a start without initialization it goes on where it was.
    bench.wire.done = true;
    bench.set_csr(0, spec::CSR0_STRT);
    bench.settle();
    assert_eq!(bench.sent(), [frame(60), frame(60)]);
    assert_eq!(bench.flags(TX_RING, 0), WHOLE);
    assert_eq!(bench.wire.restarts, 1);
}

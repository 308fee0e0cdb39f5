//! What a driver may do that no driver should: each line for e1000 of the list of hostile inputs.
use super::*;

#[test]
fn head_and_tail_beyond_the_ring_and_rings_of_nothing() {
    let mut bench = Bench::running();
    for (len, head, tail) in [
        (0, 0, 5),
        (COUNT * 16, 0, COUNT),
        (COUNT * 16, 0xffff, 3),
        (COUNT * 16, COUNT, COUNT - 1),
        (0xf_ff80, 3, 0xffff),
    ] {
        for (l, h, t) in [
            (spec::TDLEN, spec::TDH, spec::TDT),
            (spec::RDLEN, spec::RDH, spec::RDT),
        ] {
            bench.write(l, len);
            bench.write(h, head);
            bench.write(t, tail);
        }
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
        for _ in 0..200 {
            bench.burst();
        }
    }
    bench.write(spec::CTRL, spec::CTRL_RST);
    bench.settle();
    bench.program();
    bench.wire.sent.clear();
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 1, "it works again");
}

#[test]
fn buffers_and_rings_outside_of_ram_are_never_touched() {
    let mut bench = Bench::running();
    for addr in [
        RAM,
        RAM - 10,
        0xfee0_0000,
        crate::layout::NIC_RINGS_START,
        u64::MAX - 5,
    ] {
        bench.push_legacy(addr, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.read(spec::TDH), 5, "dropped, and reported");
    // Receive: an error of the frame.
    assert!(bench.memory.write(RX_RING, &0xfee0_0000u64.to_le_bytes()));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
    assert_eq!(bench.rx(0).2, 0x80);
    // The rings themselves.
    for register in [spec::TDBAL, spec::RDBAL] {
        bench.write(register, 0xfee0_0000);
    }
    bench.write(spec::TDT, 9);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(60)));
    bench.settle();
}

#[test]
fn null_buffers_take_nothing_and_end() {
    let mut bench = Bench::running();
    for index in 0..u64::from(COUNT) {
        assert!(bench.memory.write(RX_RING + 16 * index, &[0; 16]));
    }
    let before = bench.byte(0);
    for _ in 0..40 {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
    }
    bench.settle();
    assert_eq!(bench.read(spec::RDH), COUNT - 1);
    assert_eq!(bench.byte(0), before);
}

#[test]
fn a_packet_without_end_is_cut_off() {
    let mut bench = Bench::running();
    for _ in 0..100 {
        for _ in 0..COUNT - 1 {
            bench.push_legacy(0x8000, 100, 0);
        }
        bench.ring_doorbell();
        bench.settle();
    }
    assert!(bench.wire.sent.is_empty());
    let reported = bench.read(spec::ICR) & spec::ICR_TXDW;
    assert_ne!(reported, 0, "its descriptors came back");
    // The rest of it ends here; what follows is whole.
    bench.push(0x8000, 100 | u64::from(spec::TXD_EOP) << 24);
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.last().unwrap().2[0].len, 60);
}

#[test]
fn segmentation_by_senseless_contexts_sends_nothing() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    for (mss, hdrlen, len) in [
        (0, 54, 3000),
        (1460, 0, 3000),
        (1460, 255, 3000),
        (1460, 54, 54),
        (1460, 54, 10),
        (1460, 53, 3000),
        (1460, 54, 0),
    ] {
        push_context(&mut bench, mss, hdrlen);
        push_tso_data(&mut bench, 0x8000, len);
        bench.ring_doorbell();
        bench.settle();
        assert!(bench.wire.sent.is_empty(), "{mss} {hdrlen} {len}");
        assert_eq!(bench.read(spec::TDH), bench.tail);
    }
    // 64 KiB and more: IP cannot name it.
    push_context(&mut bench, 1460, 54);
    push_tso_data(&mut bench, 0x8000, 65560);
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
}

#[test]
fn checksums_beyond_the_packet_are_not_asked_for() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    for (css, cso, tucse) in [
        (200u64, 210u64, 0u64),
        (60, 50, 0),
        (0, 255, 0),
        (34, 99, 10),
    ] {
        let context = u64::from(spec::TXD_DEXT) << 24;
        bench.push(css << 32 | cso << 40 | tucse << 48 | 255 << 16, context);
        let command = spec::TXD_DEXT | spec::TXD_EOP | spec::TXD_RS;
        let options = u64::from(spec::POPTS_IXSM | spec::POPTS_TXSM);
        bench.push(
            0x8000,
            100 | 1 << 20 | u64::from(command) << 24 | options << 40,
        );
        bench.ring_doorbell();
        bench.settle();
        let (header, ..) = bench.wire.sent.pop().unwrap();
        assert!(!header.needs_csum, "{css} {cso} {tucse}");
    }
}

#[test]
fn one_burst_has_a_budget() {
    let mut bench = Bench::running();
    bench.write(spec::RDT, COUNT - 1);
    for _ in 0..1000 {
        // Filtered frames cost time too.
        let mut stranger = frame(60);
        stranger[0] = 0x02;
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), stranger));
    }
    assert!(bench.burst().busy);
    assert_eq!(bench.wire.incoming.len(), 1000 - 32);
    // A ring as long as it can be, full of contexts: 4 KiB of them at a time.
    bench.write(spec::TDLEN, 0xf_ff80);
    bench.write(spec::TDBAL, 0);
    bench.write(spec::TDT, 0xfff);
    assert!(bench.burst().busy);
}

proptest::proptest! {
    #[test]
    fn no_register_trace_and_no_memory_makes_it_fail(
        memory in proptest::collection::vec(proptest::num::u8::ANY, 4096),
        trace in proptest::collection::vec((0u32..0x1800, proptest::num::u32::ANY), 1..60),
    ) {
        let mut bench = Bench::running();
        proptest::prop_assert!(bench.memory.write(TX_RING, &memory));
        for (register, value) in trace {
            bench.write(register * 4, value);
            bench.read(register * 4);
            bench.write(spec::TDT, value & 15);
            bench.wire.incoming.push_back((NetHeader::default(), frame(60 + (value & 0x1fff) as usize)));
            bench.burst();
        }
        // Whatever was sent lies in RAM.
        for (_, _, body) in &bench.wire.sent {
            for buffer in body {
                proptest::prop_assert!(buffer.addr + u64::from(buffer.len) <= RAM);
            }
        }
    }
}

//! What a driver may do that no driver should: each line for rtl8139 of the list of hostile inputs.
use super::*;
use std::time::Duration;

#[test]
fn large_send_without_mss_or_of_something_else_is_refused() {
    let mut bench = Bench::plus();
    let changed = |protocol, at: usize, value| {
        let mut bytes = packet(protocol, 3000);
        bytes[at] = value;
        bytes
    };
    for (bytes, mss) in [
        (packet(6, 3000), 0),
        // 16 bytes of IP header; UDP; 4 bytes of TCP header.
        (changed(6, 14, 0x44), 1460),
        (changed(17, 46, 0x50), 1460),
        (changed(6, 46, 0x10), 1460),
        (frame(3000), 1460),
        (packet(6, 0), 1460),
    ] {
        assert!(bench.memory.write(0x8000, &bytes));
        let at = TX_RING + 16 * u64::from(bench.tail);
        let options = WHOLE | spec::TXD_LGSEN | mss << spec::TXD_MSS_SHIFT;
        bench.push(options, 0, 0x8000, bytes.len() as u32);
        bench.poll();
        assert!(bench.wire.sent.is_empty());
        let flags = bench.dword(at) & (spec::D_OWN | spec::TXD_TES);
        assert_eq!(flags, spec::TXD_TES);
    }
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_TER, 0);
}

#[test]
fn headers_that_contradict_the_packet_are_left_alone() {
    // CVE-2015-5165: what was beyond the packet was sent.
    let good = packet(6, 100);
    let mut cases = Vec::new();
    // 4 bytes of header; longer than the packet; version 6; a fragment; shorter than its header.
    for (at, value) in [(14, 0x41u8), (16, 0xff), (14, 0x65), (20, 0x20), (17, 10)] {
        let mut bytes = good.clone();
        bytes[at] = value;
        cases.push(bytes);
    }
    for len in [14, 20, 33, 34, 40, 53] {
        cases.push(good[..len].to_vec());
    }
    for bytes in cases {
        let mut bench = Bench::plus();
        assert!(bench.memory.write(0x8000, &bytes));
        let options = WHOLE | spec::TXD_TCPCS;
        bench.push(options, 0, 0x8000, bytes.len() as u32);
        bench.poll();
        assert!(!bench.wire.sent[0].0.needs_csum);
        assert_eq!(bench.sent(), [bytes]);
    }
}

#[test]
fn a_ring_without_end_ends() {
    // CVE-2016-8910: endless. All 64 descriptors are ours, none is the last of a packet or of the ring.
    let mut bench = Bench::plus();
    for index in 0..64 {
        let options = spec::D_OWN | spec::D_FS | 60;
        bench.descriptor(TX_RING, index, options, 0, 0x8000);
    }
    bench.poll();
    assert!(bench.wire.sent.is_empty());
    for index in 0..64 {
        let flags = bench.dword(TX_RING + 16 * index) & (spec::D_OWN | spec::TXD_TES);
        assert_eq!(flags, spec::TXD_TES);
    }
    // Packets all around: a burst has a budget, and none is sent twice.
    for index in 0..64 {
        bench.descriptor(TX_RING, index, spec::D_OWN | WHOLE | 60, 0, 0x8000);
    }
    bench.write8(spec::TPPOLL, spec::TPPOLL_NPQ);
    assert!(bench.burst());
    assert!(bench.wire.sent.len() <= 64);
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 64);
}

#[test]
fn rings_and_buffers_outside_of_ram_are_never_touched() {
    let mut bench = Bench::plus();
    for addr in [1 << 20, (1 << 20) - 10, 0xfee0_0000, u64::MAX - 5] {
        bench.push(WHOLE, 0, addr, 60);
    }
    bench.poll();
    assert!(bench.wire.sent.is_empty());
    bench.descriptor(RX_RING, 0, spec::D_OWN | 0x600, 0, 0xfee0_0000);
    bench.wire.bring(frame(60));
    bench.settle();
    assert_eq!(bench.dword(RX_RING) & spec::D_OWN, 0);
    // The rings themselves, and the tally counters.
    for register in [spec::TNPDS, spec::RDSAR, spec::DTCCR] {
        bench.write32(register, 0xfee0_0000 | spec::DTCCR_CMD);
        bench.write32(register + 4, u32::MAX);
    }
    bench.wire.bring(frame(60));
    bench.poll();
    assert!(bench.wire.sent.is_empty());
    // C mode.
    let mut bench = Bench::c();
    bench.write32(spec::TSAD0, 0xfee0_0000);
    bench.send(0, 60);
    assert_ne!(bench.read32(spec::TSD0) & spec::TSD_TABT, 0);
    bench.write32(spec::RBSTART, 0xffff_fff0);
    bench.wire.bring(frame(60));
    bench.settle();
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_RER, 0);
    assert!(bench.wire.sent.is_empty());
}

#[test]
fn sizes_at_the_limits_of_their_fields() {
    // CVE-2018-17958: sizes near INT_MAX. Here they have 13 bits, and a frame is no longer than that.
    let mut bench = Bench::c();
    for len in [0, 1, 13, 1793, 0x1fff] {
        let rest = !(spec::TSD_OWN | spec::TSD_SIZE);
        bench.send(0, rest | len);
        assert_ne!(bench.read32(spec::TSD0) & spec::TSD_TABT, 0, "{len}");
        bench.write8(spec::CR, spec::CR_RE);
        bench.write8(spec::CR, spec::CR_RE | spec::CR_TE);
    }
    assert!(bench.wire.sent.is_empty());
    for len in [8188, 9000, 16 << 10] {
        bench.wire.bring(frame(len));
    }
    bench.settle();
    assert_eq!(bench.read16(spec::CBR), 0, "none of them was stored");
    // Longer than the whole ring: dropped, and the next one is stored.
    bench.write32(spec::RCR, spec::RCR_APM);
    bench.wire.bring(frame(8187));
    bench.wire.bring(frame(60));
    bench.settle();
    assert_eq!(bench.read16(spec::CBR), 68);
    // A read pointer anywhere.
    for capr in [0, 1, 15, 0x7fff, 0xffff] {
        bench.write16(spec::CAPR, capr);
        bench.wire.bring(frame(1500));
        bench.burst();
        bench.read8(spec::CR);
    }
}

#[test]
fn loopback_does_not_recurse_and_ends_when_the_ring_is_full() {
    // CVE-2021-3416.
    let mut bench = Bench::plus();
    bench.write32(spec::TCR, spec::TCR_LBK);
    assert!(bench.memory.write(0x8000, &frame(1000)));
    for _ in 0..5 {
        for _ in 0..COUNT {
            bench.push(WHOLE, 0, 0x8000, 1000);
        }
        bench.poll();
    }
    assert!(bench.wire.sent.is_empty());
    for index in 0..u64::from(COUNT) {
        assert_eq!(bench.dword(RX_RING + 16 * index) & spec::D_OWN, 0);
    }
    assert_eq!(bench.read32(spec::MPC), 4 * COUNT);
}

#[test]
fn descriptors_without_room_hold_a_frame_with_growing_pauses() {
    let mut bench = Bench::plus();
    for index in 0..64 {
        bench.descriptor(RX_RING, index, spec::D_OWN, 0, BUFFERS);
    }
    bench.wire.bring(frame(60));
    bench.settle();
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        let burst = bench.device.burst(&mut bench.wire, bench.now);
        let pause = burst.deadline.unwrap() - bench.now;
        assert!(!burst.busy && pause >= last);
        last = pause;
        bench.now += pause;
    }
    assert_eq!(last, Duration::from_millis(50));
}

proptest::proptest! {
    #[test]
    fn no_register_trace_and_no_memory_makes_it_fail(
        memory in proptest::collection::vec(proptest::num::u8::ANY, 4096),
        trace in proptest::collection::vec((0u32..0x100, proptest::num::u32::ANY), 1..60),
        plus in proptest::bool::ANY,
    ) {
        let mut bench = if plus { Bench::plus() } else { Bench::c() };
        proptest::prop_assert!(bench.memory.write(TX_RING, &memory));
        for (register, value) in trace {
            let width = [Width::Byte, Width::Word, Width::Dword][value as usize % 3];
            bench.write(register & !(width.bytes() - 1), width, value);
            bench.write8(spec::TPPOLL, value as u8);
            bench.wire.bring(frame(60 + (value & 0x1fff) as usize));
            bench.burst();
        }
        for (_, _, body) in &bench.wire.sent {
            for buffer in body {
                proptest::prop_assert!(buffer.addr + u64::from(buffer.len) <= 1 << 20);
            }
        }
    }
}

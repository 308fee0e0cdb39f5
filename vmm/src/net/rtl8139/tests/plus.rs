//! Descriptor rings.
use super::*;

#[test]
fn a_packet_leaves_uncopied_and_its_descriptors_come_back_in_order() {
    let mut bench = Bench::plus();
    bench.wire.done = false;
    bench.push(spec::D_FS, 0, 0x8000, 100);
    bench.push(spec::D_LS, 0, 0x9000, 50);
    bench.push(WHOLE, 0, 0xa000, 60);
    bench.poll();
    let parts = |index: usize| -> Vec<_> {
        let body = &bench.wire.sent[index].2;
        body.iter().map(|b| (b.addr, b.len)).collect()
    };
    assert_eq!(parts(0), [(0x8000, 100), (0x9000, 50)]);
    assert_eq!(parts(1), [(0xa000, 60)]);
    assert_ne!(bench.dword(TX_RING) & spec::D_OWN, 0);
    // The second packet is done first.
    bench.wire.done = true;
    let first = bench.wire.flying.pop_front().unwrap();
    bench.settle();
    assert_ne!(bench.dword(TX_RING + 32) & spec::D_OWN, 0);
    bench.wire.flying.push_back(first);
    bench.settle();
    assert_eq!(bench.dword(TX_RING), spec::D_FS | 100);
    assert_eq!(bench.dword(TX_RING + 16), spec::D_LS | 50);
    assert_eq!(bench.dword(TX_RING + 32), WHOLE | 60);
    assert_eq!(bench.read16(spec::ISR), spec::ISR_TOK | spec::ISR_TDU);
    assert_eq!(bench.read8(spec::TPPOLL), 0);
}

#[test]
fn the_ring_goes_round_and_a_full_one_is_not_sent_twice() {
    let mut bench = Bench::plus();
    bench.wire.done = false;
    for index in 0..COUNT {
        bench.push(WHOLE, 0, 0x8000, 60 + index);
    }
    bench.poll();
    bench.poll();
    assert_eq!(bench.wire.sent.len(), COUNT as usize);
    bench.wire.done = true;
    bench.settle();
    let last = TX_RING + 16 * u64::from(COUNT - 1);
    assert_eq!(bench.dword(last), spec::D_EOR | WHOLE | (60 + COUNT - 1));
    bench.push(WHOLE, 0, 0x8000, 99);
    bench.poll();
    assert_eq!(bench.wire.sent.last().unwrap().2[0].len, 99);
}

#[test]
fn large_send_leaves_as_one_frame_and_comes_back_without_its_mss() {
    let mut bench = Bench::plus();
    let bytes = packet(6, 20_000);
    let len = bytes.len() as u32;
    assert!(bench.memory.write(0x2_0000, &bytes));
    let options = WHOLE | spec::TXD_LGSEN | 1460 << spec::TXD_MSS_SHIFT;
    bench.push(options, 0, 0x2_0000, len);
    bench.poll();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(header.gso, virtqueue::GsoType::TcpV4);
    assert_eq!(
        (header.gso_size, header.csum_start, header.csum_offset),
        (1460, 34, 16)
    );
    assert_eq!((head.len(), header.hdr_len), (54, 54));
    assert_eq!((body[0].addr, body[0].len), (0x2_0000 + 54, 20_000));
    let mut whole = bench.wire.bytes(0, &bench.memory);
    assert!(replace_partial(&mut whole, 34, 16));
    assert_eq!(sums(&whole), (0xffff, 0xffff));
    assert_eq!(bench.dword(TX_RING), WHOLE | len);
    // A back-end without offloads gets segments.
    bench.wire.offloads = Offloads::default();
    bench.wire.sent.clear();
    bench.push(options, 0, 0x2_0000, len);
    bench.poll();
    let sent = bench.sent();
    assert_eq!(sent.len(), 14);
    for segment in &sent {
        assert_eq!(sums(segment), (0xffff, 0xffff));
    }
    let payload: Vec<_> = sent.iter().flat_map(|s| s[54..].to_vec()).collect();
    assert_eq!(payload, bytes[54..]);
}

#[test]
fn checksums_are_asked_of_the_back_end_or_computed_and_padding_is_not_covered() {
    for (able, protocol, padding) in [
        (true, 6, 0),
        (true, 17, 9),
        (true, 17, 0),
        (false, 6, 9),
        (false, 17, 0),
    ] {
        let mut bench = Bench::plus();
        if !able {
            bench.wire.offloads = Offloads::default();
        }
        let bytes = packet(protocol, 101);
        assert!(bench.memory.write(0x8000, &bytes));
        assert!(bench.memory.write(0x8000 + bytes.len() as u64, &[0x5a; 9]));
        let flag = if protocol == 6 {
            spec::TXD_TCPCS
        } else {
            spec::TXD_UDPCS
        };
        let len = bytes.len() as u32 + padding;
        bench.push(WHOLE | spec::TXD_IPCS | flag, 0, 0x8000, len);
        bench.poll();
        let header = bench.wire.sent[0].0;
        let mut frame = bench.wire.bytes(0, &bench.memory);
        assert_eq!(header.needs_csum, able && padding == 0);
        if header.needs_csum {
            let offset = header.csum_offset.into();
            assert!(replace_partial(&mut frame, 34, offset));
        }
        assert_eq!(
            sums(&frame),
            (0xffff, 0xffff),
            "{able} {protocol} {padding}"
        );
        assert_eq!(frame[54..bytes.len()], bytes[54..]);
    }
}

#[test]
fn tags_are_inserted_and_taken_out() {
    let mut bench = Bench::plus();
    assert!(bench.memory.write(0x8000, &frame(80)));
    bench.push(WHOLE, spec::TXD_TAGC | 0x2321, 0x8000, 80);
    bench.poll();
    let mut tagged = frame(80);
    tagged.splice(12..12, [0x81, 0x00, 0x21, 0x23]);
    assert_eq!(bench.wire.bytes(0, &bench.memory), tagged);
    let cpcr = bench.read16(spec::CPCR);
    for (index, strip, len, vlan, expected) in [
        (0, 0, 88, 0, tagged.clone()),
        (
            1,
            spec::CPCR_RX_VLAN,
            84,
            spec::RXD_TAVA | 0x2321,
            frame(80),
        ),
    ] {
        bench.write16(spec::CPCR, cpcr | strip);
        bench.wire.bring(tagged.clone());
        bench.settle();
        let options = bench.dword(RX_RING + 16 * index);
        assert_eq!(options & spec::RXD_SIZE, len);
        assert_eq!(bench.dword(RX_RING + 16 * index + 4), vlan);
        let stored = bench.bytes(BUFFERS + 0x800 * index, expected.len());
        assert_eq!(stored, expected);
    }
}

#[test]
fn a_received_frame_says_what_is_known_of_its_checksums() {
    let mut bench = Bench::plus();
    let mut good = packet(6, 10);
    let mut sum = Sum::default();
    sum.add(&good[14..34]);
    let sum = sum.complement();
    good[24..26].copy_from_slice(&sum.to_be_bytes());
    good[..6].copy_from_slice(&MAC.0);
    let mut bad_ip = good.clone();
    bad_ip[24] ^= 0x55;
    let known = NetHeader {
        data_valid: true,
        ..NetHeader::default()
    };
    bench.wire.incoming.push_back((known, good.clone()));
    for other in [good, bad_ip, frame(60)] {
        bench.wire.bring(other);
    }
    bench.settle();
    let status = |index: u64| bench.dword(RX_RING + 16 * index) & (0x3_0000 | 0xe000);
    assert_eq!(status(0), spec::RXD_PID_TCP);
    assert_eq!(status(1), 0, "nobody knows");
    assert_eq!(status(2), spec::RXD_IPF);
    assert_eq!(status(3), 0);
    let flags = spec::D_OWN | WHOLE | spec::RXD_PAM;
    assert_eq!(bench.dword(RX_RING) & flags, WHOLE | spec::RXD_PAM);
}

#[test]
fn a_long_frame_takes_several_descriptors_and_waits_for_them_all() {
    let mut bench = Bench::plus();
    let flags =
        |bench: &Bench, index: u64| bench.dword(RX_RING + 16 * index) & (spec::D_OWN | WHOLE);
    bench.wire.bring(frame(4000));
    bench.settle();
    let found = [0, 1, 2].map(|index| flags(&bench, index));
    assert_eq!(found, [spec::D_FS, 0, spec::D_LS]);
    assert_eq!(flags(&bench, 3), spec::D_OWN);
    // Five are left: 8004 bytes need six.
    bench.wire.bring(frame(8000));
    bench.settle();
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_RXOVW, 0);
    assert_eq!(flags(&bench, 3), spec::D_OWN);
    bench.give_buffer(0, 0x600);
    let imr = Access {
        bar: spec::MEMORY_BAR,
        offset: spec::IMR,
        width: Width::Word,
    };
    assert!(bench.device.write(imr, 0xffff, bench.now), "looks again");
    bench.settle();
    assert_eq!(
        [flags(&bench, 3), flags(&bench, 0)],
        [spec::D_FS, spec::D_LS]
    );
    assert!(!bench.device.write(imr, 0xffff, bench.now), "nobody waits");
}

#[test]
fn tally_counters_are_dumped_and_a_reset_clears_them() {
    let mut bench = Bench::plus();
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    bench.wire.bring(frame(60));
    bench.settle();
    bench.write32(spec::DTCCR_HIGH, 0);
    bench.write32(spec::DTCCR, 0xc000 | spec::DTCCR_CMD);
    assert_eq!(bench.read32(spec::DTCCR), 0xc000, "done");
    assert_eq!(bench.dword(0xc000), 1, "sent");
    assert_eq!(bench.dword(0xc008), 1, "received");
    assert_eq!(bench.dword(0xc028), 1, "of them for us");
    bench.write8(spec::CR, spec::CR_RST);
    bench.write16(spec::CPCR, spec::CPCR_TX);
    bench.write32(spec::DTCCR, 0xc000 | spec::DTCCR_CMD);
    assert_eq!(bench.bytes(0xc000, 64), [0; 64]);
}

#[test]
fn a_reset_with_packets_on_their_way_waits_for_the_wire() {
    let mut bench = Bench::plus();
    bench.wire.done = false;
    bench.push(WHOLE, 0, 0x8000, 60);
    bench.poll();
    bench.write8(spec::CR, spec::CR_RST);
    assert_ne!(bench.read8(spec::CR) & spec::CR_RST, 0);
    bench.settle();
    assert_eq!(bench.wire.restarts, 1);
    assert_eq!(bench.read8(spec::CR), spec::CR_BUFE);
}

#[test]
fn a_large_send_comes_back_in_segments() {
    let mut bench = Bench::plus();
    bench.write32(spec::TCR, spec::TCR_LBK);
    let mut bytes = packet(6, 3000);
    bytes[..6].copy_from_slice(&MAC.0);
    assert!(bench.memory.write(0x2_0000, &bytes));
    let options = WHOLE | spec::TXD_LGSEN | 1400 << spec::TXD_MSS_SHIFT;
    bench.push(options, 0, 0x2_0000, bytes.len() as u32);
    bench.poll();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.dword(TX_RING) & (spec::D_OWN | spec::TXD_TES), 0);
    for (index, payload) in [(0, 1400), (1, 1400), (2, 200)] {
        let status = bench.dword(RX_RING + 16 * index);
        assert_eq!(status & (spec::D_OWN | WHOLE), WHOLE);
        let frame = bench.bytes(BUFFERS + 0x800 * index, 54 + payload);
        assert_eq!(sums(&frame), (0xffff, 0xffff), "segment {index}");
    }
    assert_ne!(bench.dword(RX_RING + 48) & spec::D_OWN, 0);
}

//! Frames on their way in.
use super::*;

#[test]
fn frames_arrive_with_fcs_in_every_style_and_mode() {
    for (style, dwio) in SETUPS {
        let mut bench = Bench::new(style, dwio);
        let seen = if style < 2 { 0 } else { spec::R_PAM };
        for round in 0..3 * COUNT {
            let index = round % COUNT;
            let bytes = frame(60 + 40 * round as usize);
            bench.bring(bytes.clone());
            let (flags, stored) = bench.received(index);
            assert_eq!(flags, WHOLE | seen);
            assert_eq!(stored, with_fcs(&bytes));
            assert!(bench.line.is_high());
            bench.set_csr(0, spec::CSR0_RINT | spec::CSR0_IENA);
            bench.give_buffer(index, SIZE);
        }
        assert_eq!(bench.csr(0) & spec::CSR0_ERR, 0);
    }
}

#[test]
fn a_frame_may_span_descriptors_and_the_end_of_the_ring() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        for index in 0..COUNT {
            bench.give_buffer(index, 500);
        }
        let mut next = 0;
        for _ in 0..5 {
            bench.bring(frame(1300));
            let indices = [0, 1, 2].map(|step| (next + step) % COUNT);
            let flags = indices.map(|index| bench.flags(RX_RING, index) & 0xff00);
            assert_eq!(flags, [spec::D_STP, 0, spec::D_ENP], "style {style}");
            let [.., last] = indices;
            assert_eq!(bench.result(RX_RING, last), 1304, "MCNT is of the frame");
            let mut bytes = Vec::new();
            for (index, len) in indices.into_iter().zip([500, 500, 304]) {
                bytes.extend(bench.bytes(BUFFERS + 0x800 * u64::from(index), len));
                bench.give_buffer(index, 500);
            }
            assert_eq!(bytes, with_fcs(&frame(1300)));
            next = (next + 3) % COUNT;
        }
    }
}

#[test]
fn filters_choose_and_say_why() {
    let group = [0x01, 0x00, 0x5e, 0, 0, 1];
    let other_group = [0x01, 0x00, 0x5e, 0, 0, 2];
    let hash = fcs::hash_lsb_first(group);
    assert_ne!(hash, fcs::hash_lsb_first(other_group));
    let stranger = [0x52, 0x54, 0, 9, 9, 9];
    let frames = [MAC.0, [0xff; 6], group, other_group, stranger];
    let (pam, bam, lafm) = (spec::R_PAM, spec::R_BAM, spec::R_LAFM);
    for (mode, filter, expected) in [
        (0, 0, [Some(pam), Some(bam), None, None, None]),
        (
            0,
            1u64 << hash,
            [Some(pam), Some(bam), Some(lafm), None, None],
        ),
        (spec::MODE_DRCVPA, 0, [None, Some(bam), None, None, None]),
        (spec::MODE_DRCVBC, 0, [Some(pam), None, None, None, None]),
        // A broadcast that is not one is a group like others.
        (
            spec::MODE_DRCVBC,
            u64::MAX,
            [Some(pam), Some(lafm), Some(lafm), Some(lafm), None],
        ),
        (
            spec::MODE_PROM,
            0,
            [Some(pam), Some(bam), Some(0), Some(0), Some(0)],
        ),
    ] {
        let mut bench = Bench::pci();
        bench.set_csr(0, spec::CSR0_STOP);
        bench.put_block(mode, filter);
        bench.set_csr(0, spec::CSR0_INIT | spec::CSR0_STRT);
        let mut next = 0;
        for (destination, wanted) in frames.into_iter().zip(expected) {
            bench.bring(frame_to(destination, 64));
            let flags = bench.flags(RX_RING, next);
            match wanted {
                Some(bits) => {
                    assert_eq!(flags, WHOLE | bits, "{destination:x?} {mode:x} {filter:x}");
                    next += 1;
                }
                None => assert_eq!(flags, spec::D_OWN, "{destination:x?} {mode:x}"),
            }
        }
        assert_eq!(bench.csr(spec::CSR_MFC), 0);
    }
}

#[test]
fn the_filter_is_where_linux_sets_it() {
    let mut bench = Bench::pci();
    let group = [0x33, 0x33, 0, 0, 0, 0xfb];
    // As pcnet32 does: ether_crc_le >> 26, in words of 16 bits.
    let crc = fcs::hash_lsb_first(group) as u16;
    bench.set_csr(spec::CSR_EXTENDED, spec::CSR5_SPND);
    bench.set_csr(spec::CSR_LADRF + (crc >> 4), 1 << (crc & 0xf));
    bench.set_csr(spec::CSR_EXTENDED, 0);
    bench.bring(frame_to(group, 64));
    assert_eq!(bench.received(0).0, WHOLE | spec::R_LAFM);
}

#[test]
fn short_frames_are_padded_and_pads_stripped_on_request() {
    let mut bench = Bench::pci();
    bench.bring(frame(20));
    let mut padded = frame(20);
    padded.resize(60, 0);
    assert_eq!(bench.received(0).1, with_fcs(&padded));
    // A length field of 3: pad and FCS go; a type, or a length without pad: nothing goes.
    let features = spec::CSR4_DEFAULT | spec::CSR4_ASTRP_RCV;
    bench.set_csr(spec::CSR_FEATURES, features);
    for (index, length, stored) in [(1, 3u16, 17), (2, 46, 64), (3, 0, 14), (4, 0x0800, 64)] {
        let mut bytes = frame(60);
        bytes[12..14].copy_from_slice(&length.to_be_bytes());
        bench.bring(bytes.clone());
        let received = bench.received(index).1;
        assert_eq!(received.len(), stored, "length field {length}");
        assert_eq!(received, with_fcs(&bytes)[..stored]);
    }
}

#[test]
fn frames_wait_for_descriptors_and_then_are_missed() {
    let mut bench = Bench::pci();
    for _ in 0..COUNT {
        bench.bring(frame(60));
    }
    bench.bring(frame(100));
    assert_eq!(bench.csr(0) & spec::CSR0_MISS, 0);
    // The driver gives one back and says nothing of it.
    bench.wait();
    bench.give_buffer(0, SIZE);
    bench.wait();
    assert_eq!(bench.received(0).1, with_fcs(&frame(100)));
    // It gives none for long.
    let start = bench.now;
    bench.bring(frame(101));
    while bench.csr(0) & spec::CSR0_MISS == 0 {
        bench.wait();
    }
    assert!(bench.now - start < Duration::from_millis(500));
    assert_eq!(bench.csr(spec::CSR_MFC), 1);
    for _ in 0..5 {
        bench.bring(frame(102));
    }
    assert_eq!(bench.csr(spec::CSR_MFC), 6);
    bench.give_buffer(1, SIZE);
    bench.bring(frame(103));
    assert_eq!(bench.received(1).1, with_fcs(&frame(103)));
    // It waits again.
    bench.bring(frame(104));
    assert_eq!(bench.csr(spec::CSR_MFC), 6);
}

#[test]
fn writes_to_csr0_try_a_waiting_frame_again() {
    let mut bench = Bench::pci();
    for _ in 0..=COUNT {
        bench.bring(frame(60));
    }
    let rdp = Bench::access(spec::WIO_RDP, Width::Word);
    bench.csr(0);
    let value = u32::from(spec::CSR0_IENA);
    assert_eq!(bench.device.doorbells().ring(rdp, value), Some(true));
    assert!(bench.device.write(rdp, 0, bench.now));
}

#[test]
fn the_counter_of_missed_frames_overflows_aloud() {
    let mut bench = Bench::pci();
    bench.set_csr(0, spec::CSR0_STOP);
    bench.set_csr(spec::CSR_MFC, u16::MAX);
    bench.set_csr(spec::CSR_MASKS, spec::CSR0_MISS);
    bench.set_csr(0, spec::CSR0_STRT | spec::CSR0_IENA);
    bench.set_csr(spec::CSR_FEATURES, 0);
    for index in 0..COUNT {
        bench.put_descriptor(RX_RING, index, BUFFERS, SIZE, 0);
    }
    bench.bring(frame(60));
    while bench.csr(spec::CSR_MFC) != 0 {
        assert!(!bench.line.is_high());
        bench.wait();
    }
    assert!(bench.line.is_high());
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_MFCO);
    assert!(!bench.line.is_high());
}

#[test]
fn too_few_descriptors_for_long_cut_a_frame() {
    for style in 0..4 {
        let mut bench = Bench::new(style, false);
        for index in 0..COUNT {
            let flags = if index < 2 { spec::D_OWN } else { 0 };
            let buffer = BUFFERS + 0x800 * u64::from(index);
            bench.put_descriptor(RX_RING, index, buffer, 100, flags);
        }
        bench.bring(frame(300));
        assert_eq!(bench.flags(RX_RING, 0), spec::D_OWN, "it waits");
        while bench.flags(RX_RING, 0) & spec::D_OWN != 0 {
            bench.wait();
        }
        assert_eq!(bench.flags(RX_RING, 0), spec::D_STP);
        let cut = spec::D_ERR | spec::R_BUFF;
        assert_eq!(bench.flags(RX_RING, 1), cut);
        assert_eq!(bench.csr(spec::CSR_MFC), 0);
        assert_eq!(bench.bytes(BUFFERS, 100), frame(300)[..100]);
    }
}

#[test]
fn without_receiver_frames_are_gone() {
    let mut bench = Bench::with_mode(2, false, spec::MODE_DRX);
    bench.bring(frame(60));
    assert!(bench.wire.incoming.is_empty());
    assert_eq!(bench.flags(RX_RING, 0), spec::D_OWN);
    assert_eq!(bench.csr(spec::CSR_MFC), 0);
}

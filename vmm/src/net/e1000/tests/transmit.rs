//! Packets of the guest.
use super::*;

#[test]
fn a_packet_leaves_uncopied_and_is_reported() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    bench.push(0x8000, 100);
    bench.push_legacy(0x9000, 50, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(*header, NetHeader::default());
    assert!(head.is_empty());
    let parts: Vec<_> = body.iter().map(|b| (b.addr, b.len, b.writable)).collect();
    assert_eq!(parts, [(0x8000, 100, false), (0x9000, 50, false)]);
    assert_eq!((bench.tx_status(1), bench.read(spec::TDH)), (0, 0));
    bench.wire.done = true;
    bench.settle();
    assert_eq!((bench.tx_status(0), bench.tx_status(1)), (0, spec::TXD_DD));
    assert_eq!(bench.read(spec::TDH), 2);
    assert!(bench.line.is_high());
    assert_eq!(bench.read(spec::ICR), spec::ICR_TXDW | spec::ICR_TXQE);
    assert_eq!(bench.read(spec::GPTC), 1);
    assert_eq!(bench.read(spec::GPTC), 0, "reading clears");
}

#[test]
fn a_full_wire_delays_and_loses_nothing() {
    let mut bench = Bench::running();
    bench.wire.full = true;
    for index in 0..10 {
        bench.push_legacy(0x8000 + index, 60, spec::TXD_EOP);
    }
    bench.ring_doorbell();
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    bench.wire.full = false;
    bench.settle();
    let addresses: Vec<_> = bench.wire.sent.iter().map(|f| f.2[0].addr).collect();
    assert_eq!(addresses, (0x8000..0x800a).collect::<Vec<_>>());
    assert_eq!(bench.read(spec::TDH), 10);
}

#[test]
fn segmentation_leaves_as_one_frame_with_the_headers_that_linux_would_make() {
    let mut bench = Bench::running();
    assert!(bench.memory.write(0x8000, &tcp_header()));
    push_context(&mut bench, 1460, 54);
    push_tso_data(&mut bench, 0x8000, 54 + 20000);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(header.gso, virtqueue::GsoType::TcpV4);
    assert!(header.needs_csum);
    assert_eq!(
        (header.gso_size, header.csum_start, header.csum_offset),
        (1460, 34, 16)
    );
    assert_eq!(header.hdr_len, 54);
    assert_eq!((body[0].addr, body[0].len), (0x8000 + 54, 20000));
    assert_eq!(head[16..18], 20040u16.to_be_bytes());
    let mut sum = crate::net::wire::Sum::default();
    sum.add(&head[14..34]);
    assert_eq!(sum.fold(), 0xffff, "IP checksum");
    let mut pseudo = crate::net::wire::Sum::default();
    pseudo.add(&head[26..34]);
    pseudo.add(&[0, 6]);
    pseudo.add(&20020u16.to_be_bytes());
    assert_eq!(head[50..52], pseudo.fold().to_be_bytes());
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
    assert_eq!(bench.read(spec::TSCTC), 1);
}

#[test]
fn a_back_end_without_segmentation_gets_segments() {
    for checksum in [true, false] {
        let mut bench = Bench::running();
        bench.wire.offloads = Offloads {
            checksum,
            ..Offloads::default()
        };
        let mut packet = tcp_header();
        packet[38..42].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
        // FIN, PSH, ACK, CWR.
        packet[47] = 0x99;
        packet.extend((0..3500u32).map(|i| i.to_le_bytes()[0]));
        assert!(bench.memory.write(0x8000, &packet));
        push_context(&mut bench, 1460, 54);
        push_tso_data(&mut bench, 0x8000, packet.len() as u64);
        bench.ring_doorbell();
        bench.settle();
        assert_eq!(bench.wire.sent.len(), 3);
        assert_eq!(
            (bench.tx_status(1), bench.read(spec::TDH)),
            (spec::TXD_DD, 2)
        );
        let mut payload = Vec::new();
        for (index, (header, head, body)) in bench.wire.sent.iter().enumerate() {
            let mut frame = head.clone();
            for buffer in body {
                let mut bytes = vec![0; buffer.len as usize];
                assert!(bench.memory.read(buffer.addr, &mut bytes));
                frame.extend(bytes);
            }
            assert_eq!(header.needs_csum, checksum);
            assert_eq!(header.gso, virtqueue::GsoType::None);
            if checksum {
                assert!(crate::net::wire::replace_partial(&mut frame, 34, 16));
            }
            let field = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            let len = if index == 2 { 580 } else { 1460 };
            assert_eq!((field(16), field(18)), (40 + len, index as u16));
            let sequence = u32::from(field(38)) << 16 | u32::from(field(40));
            assert_eq!(sequence, 0xffff_ff00u32.wrapping_add(1460 * index as u32));
            assert_eq!(frame[47], [0x90, 0x10, 0x19][index]);
            let mut ip = crate::net::wire::Sum::default();
            ip.add(&frame[14..34]);
            let mut tcp = crate::net::wire::Sum::default();
            tcp.add(&frame[26..34]);
            tcp.add(&[0, 6]);
            tcp.add(&(20 + len).to_be_bytes());
            tcp.add(&frame[34..]);
            assert_eq!((ip.fold(), tcp.fold()), (0xffff, 0xffff), "checksums");
            payload.extend_from_slice(&frame[54..]);
        }
        assert_eq!(payload, packet[54..]);
    }
}

#[test]
fn without_offloads_checksums_are_computed_here() {
    let mut bench = Bench::running();
    bench.wire.offloads = Offloads::default();
    let mut packet = tcp_header();
    packet.extend((0..101u8).collect::<Vec<_>>());
    let mut expected = packet.clone();
    assert!(crate::net::wire::replace_partial(&mut expected, 34, 16));
    assert!(bench.memory.write(0x8000, &packet));
    let len = packet.len() as u64;
    // Legacy: CSO 50, CSS 34. Two buffers, the first of odd length.
    let command = u64::from(spec::TXD_IC) << 24 | 50 << 16 | 34 << 40;
    bench.push(0x8000, 61 | command);
    let last = u64::from(spec::TXD_EOP | spec::TXD_RS) << 24;
    bench.push(0x8000 + 61, (len - 61) | command | last);
    bench.ring_doorbell();
    bench.settle();
    let (header, head, body) = &bench.wire.sent[0];
    assert_eq!(*header, NetHeader::default());
    assert_eq!(head[..], expected[..52]);
    assert_eq!(body[0].addr, 0x8000 + 52);
}

#[test]
fn tags_are_inserted_and_stripped() {
    let mut bench = Bench::running();
    let ctrl = bench.read(spec::CTRL);
    bench.write(spec::CTRL, ctrl | spec::CTRL_VME);
    let bytes = frame(80);
    assert!(bench.memory.write(0x8000, &bytes));
    let command = spec::TXD_EOP | spec::TXD_VLE | spec::TXD_RS;
    bench.push(0x8000, 80 | u64::from(command) << 24 | 0x2123 << 48);
    bench.ring_doorbell();
    bench.settle();
    let (_, head, body) = &bench.wire.sent[0];
    assert_eq!(head[..12], bytes[..12]);
    assert_eq!(head[12..], [0x81, 0x00, 0x21, 0x23]);
    assert_eq!((body[0].addr, body[0].len), (0x8000 + 12, 68));

    let mut tagged = bytes.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x21, 0x23]);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged.clone()));
    bench.settle();
    let (len, status, errors, special) = bench.rx(0);
    assert_eq!((len, errors, special), (84, 0, 0x2123));
    assert_ne!(status & spec::RXD_VP, 0);
    let mut stored = vec![0; 80];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, bytes);

    // 13.5.4: the filter knows 4096 bits.
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM | spec::RCTL_VFE);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged.clone()));
    bench.settle();
    assert_eq!(bench.rx(1).1, 0, "not in the table");
    bench.write(spec::VFTA + 4 * (0x123 >> 5), 1 << (0x123 & 31));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), tagged));
    bench.settle();
    assert_ne!(bench.rx(1).1 & spec::RXD_DD, 0);
}

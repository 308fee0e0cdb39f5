//! Segmentation in loopback mode: what comes back is what a cable would carry.
use super::*;
use crate::net::wire::Sum;

fn looping(payload: usize, mss: u64) -> Bench {
    let mut bench = Bench::running();
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_LBM);
    let mut packet = tcp_header();
    packet[..6].copy_from_slice(&MAC.0);
    packet.resize(54 + payload, 0x5a);
    assert!(bench.memory.write(0x8000, &packet));
    push_context(&mut bench, mss, 54);
    push_tso_data(&mut bench, 0x8000, packet.len() as u64);
    bench.ring_doorbell();
    bench
}

#[test]
fn segments_come_back_with_their_checksums() {
    let mut bench = looping(3000, 1460);
    bench.settle();
    assert!(bench.wire.sent.is_empty());
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
    assert_eq!(bench.read(spec::RDH), 3);
    for (index, payload) in [(0, 1460), (1, 1460), (2, 80)] {
        let (len, status, _, _) = bench.rx(index);
        assert_eq!(usize::from(len), 54 + payload + spec::FCS_LEN);
        assert_ne!(status & spec::RXD_EOP, 0);
        let mut frame = vec![0; 54 + payload];
        assert!(bench.memory.read(BUFFERS + 0x1000 * index, &mut frame));
        let mut tcp = Sum::default();
        tcp.add(&frame[26..34]);
        tcp.add(&[0, 6]);
        tcp.add(&(20 + payload as u16).to_be_bytes());
        tcp.add(&frame[34..]);
        assert_eq!(tcp.fold(), 0xffff, "TCP checksum");
    }
    assert_eq!((bench.read(spec::GPTC), bench.read(spec::GPRC)), (3, 3));
}

#[test]
fn a_burst_ends_however_many_segments_there_are() {
    let mut bench = looping(3000, 1);
    assert!(bench.burst().busy);
    assert_eq!(bench.tx_status(1), 0, "there are more");
    bench.settle();
    assert_eq!(bench.tx_status(1), spec::TXD_DD);
    assert_eq!(bench.read(spec::GPTC), 3000);
    // The others had no room.
    assert_eq!(bench.read(spec::GPRC), COUNT - 1);
}

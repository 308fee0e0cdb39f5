//! Packets for the guest.
use super::*;
use crate::net::nic;
use std::time::Duration;

#[test]
fn frames_arrive_whole_in_as_many_buffers_as_they_need() {
    let mut bench = Bench::running();
    bench.write(
        spec::RCTL,
        spec::RCTL_EN | spec::RCTL_LPE | 3 << 16 | spec::RCTL_BSEX,
    );
    let long = frame(9014);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), long.clone()));
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(20)));
    bench.settle();
    let mut stored = Vec::new();
    for index in 0..3 {
        let (len, status, errors, _) = bench.rx(index);
        assert_eq!(status & spec::RXD_EOP != 0, index == 2);
        assert_eq!(errors, 0);
        let mut part = vec![0; len.into()];
        assert!(bench.memory.read(BUFFERS + index * 0x1000, &mut part));
        stored.extend(part);
    }
    assert_eq!(stored.len(), 9014 + 4);
    assert_eq!(stored[..9014], long);
    assert_eq!(bench.rx(3).0, 64, "padded, with FCS");
    assert_eq!(bench.read(spec::RDH), 4);
    assert_ne!(bench.read(spec::ICR) & spec::ICR_RXT0, 0);
}

#[test]
fn filters_take_what_the_driver_asked_for() {
    let mut bench = Bench::running();
    let arrives = |bench: &mut Bench, destination: [u8; 6]| {
        bench.program();
        bench.write(spec::MPC, 0);
        let mut bytes = frame(60);
        bytes[..6].copy_from_slice(&destination);
        bench.wire.incoming.push_back((NetHeader::default(), bytes));
        bench.settle();
        bench.read(spec::RDH) == 1
    };
    let group = [0x01, 0, 0x5e, 0, 0, 0x16];
    assert!(arrives(&mut bench, MAC.0));
    assert!(arrives(&mut bench, [0xff; 6]));
    assert!(!arrives(&mut bench, [0x52, 0x54, 0, 9, 9, 9]));
    assert!(!arrives(&mut bench, group));
    // MO 00b: bits 47:36 of the address.
    let hash = u32::from(u16::from_le_bytes([group[4], group[5]])) >> 4 & 0xfff;
    bench.write(spec::MTA + 4 * (hash >> 5), 1 << (hash & 31));
    assert!(arrives(&mut bench, group));
    assert!(!arrives(&mut bench, [0x01, 0, 0x5e, 0, 0, 0x26]));
}

#[test]
fn oversize_frames_are_counted_and_refused() {
    let mut bench = Bench::running();
    for len in [1515, 9014, 16384] {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(len)));
    }
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::ROC)), (0, 3));
    bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_LPE);
    bench
        .wire
        .incoming
        .push_back((NetHeader::default(), frame(16384)));
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::ROC)), (0, 1));
}

#[test]
fn partial_checksums_are_completed_and_known_ones_told() {
    let mut bench = Bench::running();
    let mut packet = tcp_header();
    packet[..6].copy_from_slice(&MAC.0);
    packet.extend([7; 20]);
    let mut expected = packet.clone();
    assert!(crate::net::wire::replace_partial(&mut expected, 34, 16));
    let partial = NetHeader {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 16,
        ..NetHeader::default()
    };
    let senseless = NetHeader {
        csum_start: 60000,
        ..partial
    };
    for header in [senseless, partial, NetHeader::default()] {
        bench.wire.incoming.push_back((header, packet.clone()));
    }
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 2, "the senseless one is gone");
    let mut stored = vec![0; packet.len()];
    assert!(bench.memory.read(BUFFERS, &mut stored));
    assert_eq!(stored, expected);
    assert_ne!(bench.rx(0).1 & spec::RXD_TCPCS, 0);
    assert_eq!(bench.rx(1).1 & spec::RXD_TCPCS, 0);
}

#[test]
fn a_frame_waits_for_buffers() {
    let mut bench = Bench::running();
    bench.write(spec::RDT, 0);
    for _ in 0..3 {
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), frame(60)));
    }
    bench.settle();
    assert_eq!(bench.wire.incoming.len(), 3);
    bench.write(spec::RDT, 2);
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.wire.incoming.len()), (2, 1));
    // A frame that turns out to need more than there is.
    bench.write(spec::RDT, 3);
    bench.write(spec::RCTL, spec::RCTL_EN | 3 << 16);
    bench.wire.incoming[0].1 = frame(600);
    bench.settle();
    assert_eq!((bench.read(spec::RDH), bench.read(spec::RNBC)), (2, 1));
    bench.write(spec::RDT, 8);
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 5);
}

/// RDT by its doorbell; whether that wakes the thread.
fn give(bench: &Bench, tail: u32) -> bool {
    let at = nic::Access {
        bar: spec::MEMORY_BAR,
        offset: spec::RDT,
        width: nic::Width::Dword,
    };
    nic::Doorbells::ring(&*bench.device.doorbells, at, tail).unwrap()
}

#[test]
fn buffers_wake_the_thread_only_while_frames_wait_for_them() {
    let mut bench = Bench::running();
    assert!(!give(&bench, 0));
    bench.settle();
    assert_eq!(bench.burst().deadline, None, "nothing waits");
    for _ in 0..3 {
        bench.wire.bring(frame(60));
    }
    bench.settle();
    assert!(give(&bench, 2));
    bench.settle();
    assert!(give(&bench, 3), "one still waits");
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 3);
    assert!(!give(&bench, 4));
    // One that needs more than there is.
    bench.write(spec::RCTL, spec::RCTL_EN | 3 << 16);
    bench.wire.bring(frame(600));
    bench.settle();
    assert!(bench.burst().deadline.is_some());
    assert!(give(&bench, 8));
    bench.settle();
    assert!(!give(&bench, 9));
    assert_eq!(bench.burst().deadline, None);
}

#[test]
fn buffers_that_nobody_told_of_are_looked_for_ever_later() {
    let mut bench = Bench::running();
    // No cause that is due at some time.
    bench.write(spec::IMC, u32::MAX);
    give(&bench, 0);
    bench.wire.bring(frame(60));
    let mut pauses = Vec::new();
    for _ in 0..18 {
        let due = bench.burst().deadline.unwrap();
        pauses.push(due - bench.now);
        bench.now = due;
    }
    assert!(pauses.is_sorted() && pauses[1] == 2 * pauses[0]);
    assert_eq!(pauses.last(), Some(&Duration::from_secs(1)));
    // A receiver that is off drops them.
    bench.write(spec::RCTL, 0);
    bench.settle();
    assert_eq!(bench.burst().deadline, None);
}

#[test]
fn a_frame_that_waits_goes_with_its_receiver() {
    let mut bench = Bench::running();
    let wait = |bench: &mut Bench, byte| {
        let mut waiting = frame(600);
        waiting[100] = byte;
        let head = bench.read(spec::RDH);
        bench.write(spec::RDT, (head + 1) % COUNT);
        bench.write(spec::RCTL, spec::RCTL_EN | spec::RCTL_BAM | 3 << 16);
        let refused = bench.read(spec::RNBC);
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), waiting));
        bench.settle();
        assert_eq!((refused, bench.wire.incoming.len()), (0, 0));
        assert_eq!(bench.read(spec::RNBC), 1, "it waits in the packet buffer");
    };
    let next = |bench: &mut Bench| {
        bench.program();
        let mut fresh = frame(60);
        fresh[20] = 0xf5;
        bench
            .wire
            .incoming
            .push_back((NetHeader::default(), fresh.clone()));
        bench.settle();
        assert_eq!(bench.read(spec::RDH), 1, "one frame, the fresh one");
        let mut stored = vec![0; fresh.len()];
        assert!(bench.memory.read(BUFFERS, &mut stored));
        assert_eq!(stored, fresh);
    };
    // Off and on again: the driver has new buffers, and wants nothing of what was before (SDM 13.4.22, RCTL.EN).
    wait(&mut bench, 1);
    bench.write(spec::RCTL, 0);
    bench.settle();
    next(&mut bench);
    // A reset.
    wait(&mut bench, 2);
    bench.write(spec::CTRL, spec::CTRL_RST);
    next(&mut bench);
}

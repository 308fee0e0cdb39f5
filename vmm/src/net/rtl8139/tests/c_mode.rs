//! Four transmit buffers and a ring of bytes.
use super::*;
use crate::net::nic::fcs;
use std::time::Duration;

#[test]
fn four_buffers_leave_in_turn_and_are_the_drivers_at_once() {
    let mut bench = Bench::c();
    for round in 0..3 {
        for index in 0..4u32 {
            let bytes = frame(60 + 4 * index as usize + round);
            let at = 0x8000 + 0x800 * u64::from(index);
            assert!(bench.memory.write(at, &bytes));
            bench.write32(spec::TSD0 + 4 * index, bytes.len() as u32);
        }
        assert_eq!(bench.read32(spec::TSD0) & spec::TSD_OWN, 0);
        bench.settle();
    }
    let sent = bench.sent();
    assert_eq!(sent.len(), 12);
    for (index, bytes) in sent.iter().enumerate() {
        assert_eq!(*bytes, frame(60 + 4 * (index % 4) + index / 4));
        assert_eq!(bench.wire.sent[index].0, NetHeader::default());
    }
    for index in 0..4 {
        let status = bench.read32(spec::TSD0 + 4 * index);
        assert_ne!(status & spec::TSD_OWN, 0);
        assert_ne!(status & spec::TSD_TOK, 0);
    }
    assert_eq!(bench.read16(spec::TSAD_ALL), 0xf00f);
    assert!(bench.line.is_high());
    assert_eq!(bench.read16(spec::ISR), spec::ISR_TOK);
    bench.write16(spec::ISR, spec::ISR_TOK);
    assert!(!bench.line.is_high());
}

#[test]
fn a_full_wire_delays_and_loses_nothing() {
    let mut bench = Bench::c();
    bench.wire.full = true;
    bench.send(0, 60);
    assert_eq!(bench.read32(spec::TSD0) & spec::TSD_OWN, 0);
    bench.wire.full = false;
    bench.settle();
    assert_ne!(bench.read32(spec::TSD0) & spec::TSD_TOK, 0);
    assert_eq!(bench.wire.sent.len(), 1);
}

/// What the driver reads at `at`: status and frame, without FCS.
fn stored(bench: &Bench, at: u64) -> (u16, Vec<u8>) {
    let header = bench.dword(RX_BYTES + at);
    let len = (header >> 16) as usize;
    let mut bytes = bench.bytes(RX_BYTES + at + 4, len);
    let sequence = bytes.split_off(len - 4);
    assert_eq!(sequence, fcs::of(&bytes));
    (header as u16, bytes)
}

#[test]
fn frames_follow_each_other_and_run_over_the_end_where_wrap_says_so() {
    let mut bench = Bench::c();
    assert_ne!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
    let mut at = 0;
    for count in 0..100 {
        bench.wire.bring(frame(1500));
        bench.settle();
        assert_eq!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
        let (status, bytes) = stored(&bench, at);
        assert_eq!(status, spec::RX_ROK | spec::RX_PAM, "frame {count}");
        assert_eq!(bytes, frame(1500));
        at = (at + 4 + 1504) % 0x8000;
        assert_eq!(u64::from(bench.read16(spec::CBR)), at);
        bench.write16(spec::CAPR, (at as u16).wrapping_sub(16));
        assert_ne!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
    }
}

#[test]
fn a_frame_that_no_driver_takes_is_refused_and_a_receiver_switched_on_again_starts_anew() {
    let mut bench = Bench::c();
    for len in [spec::MAX_RECEIVE_C - 4, spec::MAX_RECEIVE_C - 3, 8187] {
        bench.wire.bring(frame(len));
        bench.settle();
    }
    let (_, bytes) = stored(&bench, 0);
    assert_eq!(bytes, frame(spec::MAX_RECEIVE_C - 4));
    assert_eq!(
        usize::from(bench.read16(spec::CBR)),
        4 + spec::MAX_RECEIVE_C
    );
    // As Linux's 8139too does after an error.
    let cr = bench.read8(spec::CR);
    bench.write8(spec::CR, cr & !spec::CR_RE);
    bench.write8(spec::CR, cr);
    assert_eq!(bench.read16(spec::CBR), 0);
    assert_ne!(bench.read8(spec::CR) & spec::CR_BUFE, 0);
    bench.wire.bring(frame(100));
    bench.settle();
    assert_eq!(stored(&bench, 0).1, frame(100));
}

#[test]
fn nothing_is_written_behind_what_a_driver_keeps_free() {
    let mut bench = Bench::c();
    // The ring of `Bench::c` has 32 KiB.
    let end = RX_BYTES + 0x8000 + 2048;
    let marker = [0xee; 8192];
    assert!(bench.memory.write(end, &marker));
    let mut before = 0;
    for round in 0..300usize {
        bench.wire.bring(frame(1700 + round % 90));
        bench.settle();
        assert_eq!(bench.bytes(end, marker.len()), marker, "round {round}");
        let at = bench.read16(spec::CBR);
        assert_ne!(at, before, "it did not arrive");
        before = at;
        bench.write16(spec::CAPR, at.wrapping_sub(16));
    }
    // Too long, wherever it would begin.
    bench.wire.bring(frame(8000));
    bench.settle();
    assert_eq!(bench.read16(spec::CBR), before);
    assert_eq!(bench.bytes(end, marker.len()), marker);
}

#[test]
fn without_wrap_a_frame_goes_on_at_the_start() {
    // 8 KiB; 64 KiB never runs over, whatever WRAP says.
    for (length, rcr) in [(0x2000u32, 0), (0x1_0000, 3 << 11 | spec::RCR_WRAP)] {
        let mut bench = Bench::c();
        bench.write32(spec::RCR, spec::RCR_APM | rcr);
        let marker = [0xee; 64];
        let end = RX_BYTES + u64::from(length);
        assert!(bench.memory.write(end, &marker));
        let mut at = 0u32;
        for _ in 0..100 {
            bench.wire.bring(frame(1001));
            bench.settle();
            let mut bytes = bench.bytes(RX_BYTES, length as usize);
            bytes.rotate_left(at as usize);
            assert_eq!(bytes[4..1005], frame(1001));
            at = (at + 1012) % length;
            bench.write16(spec::CAPR, (at as u16).wrapping_sub(16));
        }
        assert_eq!(bench.bytes(end, 64), marker);
    }
}

#[test]
fn a_frame_without_room_waits_until_the_driver_has_read() {
    let mut bench = Bench::c();
    bench.write32(spec::RCR, spec::RCR_APM);
    for _ in 0..6 {
        bench.wire.bring(frame(1500));
    }
    bench.settle();
    assert_eq!(bench.read16(spec::CBR), 5 * 1508);
    assert_ne!(bench.read16(spec::ISR) & spec::ISR_RXOVW, 0);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert!(burst.deadline.is_some(), "KVM may keep CAPR");
    let doorbells = bench.device.doorbells();
    let [(bar, registers)] = Device::KEPT else {
        panic!("one register is kept");
    };
    assert_eq!(*registers, spec::CAPR..spec::CAPR + 2);
    let capr = Access {
        bar: *bar,
        offset: registers.start,
        width: Width::Word,
    };
    assert_eq!(doorbells.ring(capr, 1508 - 16), Some(true), "awaited");
    bench.settle();
    assert_eq!(bench.read16(spec::CBR), 6 * 1508 % 0x2000);
    assert_eq!(doorbells.ring(capr, 2 * 1508 - 16), Some(false));
    // What KVM keeps must be a doorbell at any width: all that follows it waits for it.
    for (offset, byte) in [(spec::CAPR, 0x34), (spec::CAPR_HIGH, 0x12)] {
        let half = Access {
            offset,
            width: Width::Byte,
            ..capr
        };
        assert_eq!(doorbells.ring(half, byte), Some(false));
    }
    assert_eq!(bench.read16(spec::CAPR), 0x1234);
}

/// Linux' 8139too, at the end of its budget of 64 frames: all acknowledged, some left, interrupts wanted.
#[test]
fn a_driver_that_has_acknowledged_frames_and_left_them_is_reminded() {
    let mut bench = Bench::c();
    bench.write32(spec::RCR, spec::RCR_APM);
    // The ring is full, and another frame waits: no further one can raise ROK.
    for _ in 0..6 {
        bench.wire.bring(frame(1500));
    }
    bench.settle();
    bench.write16(spec::CAPR, 1508 - 16);
    bench.settle();
    bench.write16(spec::ISR, spec::ISR_ROK | spec::ISR_RXOVW);
    bench.settle();
    assert_eq!(bench.read16(spec::ISR), 0);
    bench.now += Duration::from_millis(1);
    bench.settle();
    assert_eq!(bench.read16(spec::ISR), spec::ISR_ROK);
    // Who does not care is left alone after a while.
    let mut reminders = 0;
    while let Some(due) = bench.device.burst(&mut bench.wire, bench.now).deadline {
        bench.write16(spec::ISR, spec::ISR_ROK);
        bench.now = bench.now.max(due);
        reminders += 1;
        assert!(reminders < 20, "it is reminded for ever");
    }
    bench.write16(spec::ISR, spec::ISR_ROK);
    // It reads on: once there is nothing left, there is nothing to say.
    bench.write16(spec::CAPR, (6 * 1508 % 0x2000 - 16) as u16);
    bench.write16(spec::ISR, spec::ISR_ROK);
    bench.settle();
    bench.now += Duration::from_secs(1);
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!(burst.deadline, None);
    assert_eq!(bench.read16(spec::ISR), 0);
}

#[test]
fn short_frames_are_padded_and_filters_choose() {
    let mut bench = Bench::c();
    bench.wire.bring(frame(20));
    let group = [0x01, 0x00, 0x5e, 0, 0, 1];
    let mut multicast = frame(60);
    multicast[..6].copy_from_slice(&group);
    let mut broadcast = frame(60);
    broadcast[..6].fill(0xff);
    let mut stranger = frame(60);
    stranger[5] ^= 1;
    for other in [&multicast, &stranger, &broadcast] {
        bench.wire.bring(other.clone());
    }
    bench.settle();
    let (_, bytes) = stored(&bench, 0);
    assert_eq!((bytes.len(), &bytes[..20]), (60, &frame(20)[..]));
    assert_eq!(stored(&bench, 68).0, spec::RX_ROK | spec::RX_BAR);
    assert_eq!(bench.read16(spec::CBR), 2 * 68);
    let hash = fcs::hash_msb_first(group);
    bench.write32(spec::MAR0 + 4 * (hash >> 5), 1 << (hash & 31));
    let rcr = bench.read32(spec::RCR);
    bench.write32(spec::RCR, rcr | spec::RCR_AM | spec::RCR_AAP);
    for other in [multicast, stranger] {
        bench.wire.bring(other);
    }
    bench.settle();
    assert_eq!(stored(&bench, 2 * 68).0, spec::RX_ROK | spec::RX_MAR);
    assert_eq!(stored(&bench, 3 * 68).0, spec::RX_ROK | spec::RX_PAM);
}

#[test]
fn loopback_returns_what_was_sent_and_nothing_else() {
    let mut bench = Bench::c();
    bench.write32(spec::TCR, spec::TCR_LBK);
    assert!(bench.memory.write(0x8000, &frame(100)));
    bench.wire.bring(frame(60));
    bench.send(0, 100);
    assert!(bench.wire.sent.is_empty());
    assert_eq!(stored(&bench, 0).1, frame(100));
    assert_eq!(bench.read16(spec::CBR), 108);
}

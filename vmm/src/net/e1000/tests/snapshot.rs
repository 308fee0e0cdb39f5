//! A device that is saved in the middle of a transfer, and another one that goes on.
use super::*;

impl Bench {
    /// Another device with the same memory, from the snapshot, which travels as text; the wire starts anew.
    fn migrate(&mut self) {
        let saved = serde_json::to_string(&self.device.save(self.now)).unwrap();
        let (mut parts, line) = parts();
        parts.memory = Arc::clone(&self.memory);
        self.device = Device::new(spec::I82540EM, parts);
        self.line = line;
        // The new host's clock tells another time.
        self.now += std::time::Duration::from_secs(1000);
        let saved = serde_json::from_str(&saved).unwrap();
        self.device.restore(saved, self.now);
        self.wire.flying.clear();
    }

    fn sent_bytes(&self) -> Vec<Vec<u8>> {
        (0..self.wire.sent.len())
            .map(|index| self.wire.bytes(index, &self.memory))
            .collect()
    }
}

/// Frames that left, receive descriptors, TDH.
type Played = (Vec<Vec<u8>>, Vec<(u16, u8, u8, u16)>, u32);

/// Plays a trace, saving and restoring after each burst if `migrate`; returns what left and how the rings look then.
fn play(migrate: bool) -> Played {
    let mut bench = Bench::running();
    bench.wire.offloads = Offloads::default();
    let mut packet = tcp_header();
    packet.extend((0..7000u32).map(|i| (i % 253) as u8));
    assert!(bench.memory.write(0x8000, &packet));
    // A context, a packet of two buffers that has six segments, a plain packet whose end comes later.
    push_context(&mut bench, 1200, 54);
    let command = spec::TXD_DEXT | spec::TXD_TSE | spec::TXD_RS;
    let options = u64::from(spec::POPTS_IXSM | spec::POPTS_TXSM);
    bench.push(
        0x8000,
        3000 | 1 << 20 | u64::from(command) << 24 | options << 40,
    );
    push_tso_data(&mut bench, 0x8000 + 3000, packet.len() as u64 - 3000);
    bench.push_legacy(0x8000, 200, 0);
    bench.ring_doorbell();
    for round in 0..40 {
        // The wire takes two frames at a time, and tells in the next burst.
        bench.wire.room = Some(2);
        let now = bench.now;
        if round == 20 {
            bench.push_legacy(0x8000, 90, spec::TXD_EOP);
            bench.ring_doorbell();
        }
        if round % 4 == 0 {
            bench.wire.bring(frame(60 + round));
        }
        let _ = bench.device.burst(&mut bench.wire, now);
        if migrate {
            // It is stopped first: what it has sent is told.
            let _ = bench.device.burst(&mut bench.wire, now);
            bench.wire.room = Some(0);
            bench.migrate();
        }
    }
    let descriptors = (0..10).map(|index| bench.rx(index)).collect();
    (bench.sent_bytes(), descriptors, bench.read(spec::TDH))
}

#[test]
fn a_restored_device_goes_on_with_the_same_bytes() {
    let (expected, ring, head) = play(false);
    assert_eq!(expected.len(), 7, "six segments and a packet");
    assert_eq!(head, 5);
    assert_eq!(
        ring.iter()
            .filter(|done| done.1 & spec::RXD_DD != 0)
            .count(),
        10
    );
    assert_eq!(play(true), (expected, ring, head));
}

#[test]
fn what_the_wire_did_not_report_is_sent_again() {
    let mut bench = Bench::running();
    bench.wire.done = false;
    bench.push_legacy(0x8000, 60, spec::TXD_EOP);
    bench.push_legacy(0x9000, 61, spec::TXD_EOP);
    bench.ring_doorbell();
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 2);
    bench.migrate();
    bench.wire.sent.clear();
    bench.wire.done = true;
    bench.settle();
    let lengths: Vec<_> = bench.wire.sent.iter().map(|frame| frame.2[0].len).collect();
    assert_eq!(lengths, [60, 61]);
    assert_eq!(bench.read(spec::TDH), 2);
}

#[test]
fn registers_timers_and_a_frame_without_room_survive() {
    let mut bench = Bench::running();
    bench.write(spec::IMC, u32::MAX);
    bench.write(spec::IMS, spec::ICR_RXT0);
    bench.write(spec::RDTR, 1000);
    bench.write(spec::VFTA, 0x55aa);
    bench.write(spec::EECD, spec::EECD_REQ);
    bench.mdic(spec::MDIC_OP_WRITE, 4, 0x1e1);
    bench.write(spec::RDT, 2);
    for len in [100, 101, 5000] {
        let rctl = spec::RCTL_EN | spec::RCTL_BAM | spec::RCTL_LPE;
        bench.write(spec::RCTL, rctl);
        bench.wire.bring(frame(len));
    }
    bench.settle();
    assert!(!bench.line.is_high(), "RDTR holds it back");
    bench.migrate();
    assert_eq!(bench.read(spec::VFTA), 0x55aa);
    assert_ne!(bench.read(spec::EECD) & spec::EECD_GNT, 0);
    assert_eq!(bench.mdic(spec::MDIC_OP_READ, 4, 0) & 0xffff, 0x1e1);
    assert!(!bench.line.is_high());
    bench.now += std::time::Duration::from_micros(1030);
    bench.settle();
    assert!(bench.line.is_high());
    bench.write(spec::RDT, COUNT - 1);
    bench.settle();
    assert_eq!(bench.read(spec::RDH), 5, "5000 bytes were kept");
}

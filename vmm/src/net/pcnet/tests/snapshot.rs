//! A device that is saved in the middle of a transfer, and another one that goes on.
use super::*;

impl Bench {
    /// Another device with the same memory, from the snapshot, which travels as text; the wire starts anew.
    fn migrate(&mut self) {
        let saved = serde_json::to_string(&self.device.save(self.now)).unwrap();
        let (mut parts, line) = parts();
        parts.memory = Arc::clone(&self.memory);
        // The new host's clock tells another time.
        self.now += Duration::from_secs(1000);
        self.device = Device::new(spec::AM79C970A, parts);
        self.line = line;
        let saved = serde_json::from_str(&saved).unwrap();
        self.device.restore(saved, self.now);
        self.wire.flying.clear();
    }
}

/// Frames that left, memory of rings and buffers, CSR0, level of the pin.
type Played = (Vec<Vec<u8>>, Vec<u8>, u16, bool);

fn play(style: u16, dwio: bool, migrate: bool) -> Played {
    let mut bench = Bench::new(style, dwio);
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL | spec::CSR4_DEFAULT);
    bench.put(DATA, &frame(2000));
    for round in 0..60u32 {
        // A frame in two descriptors, of which the second comes two rounds later, and one in one.
        match round % 6 {
            0 => {
                bench.push(DATA, 100 + round, spec::D_STP);
            }
            2 => {
                bench.push(DATA + 100 + u64::from(round) - 2, 300, spec::D_ENP);
                bench.push(DATA, 200 + round, WHOLE);
            }
            _ => {}
        }
        bench.set_csr(0, spec::CSR0_TDMD | spec::CSR0_IENA);
        // The wire takes a frame at a time, and tells in the next burst.
        bench.wire.room = Some(usize::from(round % 2 == 0));
        if round % 3 == 0 {
            bench.wire.bring(frame(60 + 20 * round as usize));
        }
        bench.burst();
        if round % 4 == 0 {
            bench.give_buffer(round / 4 % COUNT, SIZE);
        }
        if migrate {
            // It is stopped first: what it has sent is told.
            bench.wire.room = Some(0);
            bench.burst();
            bench.migrate();
        }
        bench.wire.room = Some(0);
        bench.burst();
    }
    let status = bench.csr(0);
    let memory = bench.bytes(TX_RING, 0x1_f000);
    (bench.sent(), memory, status, bench.line.is_high())
}

#[test]
fn a_restored_device_goes_on_with_the_same_bytes() {
    for (style, dwio) in SETUPS {
        let expected = play(style, dwio, false);
        assert!(expected.0.len() > 15, "{}", expected.0.len());
        assert!(expected.3, "interrupts are pending");
        assert!(play(style, dwio, true) == expected, "{style} {dwio}");
    }
}

#[test]
fn what_was_not_reported_as_sent_is_sent_again() {
    let mut bench = Bench::pci();
    bench.set_csr(spec::CSR_FEATURES, spec::CSR4_DPOLL | spec::CSR4_DEFAULT);
    bench.wire.done = false;
    bench.send(&frame(60));
    bench.send(&frame(61));
    bench.migrate();
    bench.wire.done = true;
    bench.settle();
    assert_eq!(bench.wire.sent.len(), 4);
    for index in 0..2 {
        assert_eq!(bench.flags(TX_RING, index), WHOLE);
    }
}

#[test]
fn a_frame_without_room_travels_along() {
    let mut bench = Bench::pci();
    for _ in 0..COUNT {
        bench.bring(frame(60));
    }
    bench.bring(frame(100));
    bench.migrate();
    bench.give_buffer(0, SIZE);
    bench.settle();
    assert_eq!(bench.received(0).1, with_fcs(&frame(100)));
}

//! A device that is saved in the middle of a transfer, and another one that goes on.
use super::*;
use std::time::Duration;

impl Bench {
    /// Another device with the same memory, from the snapshot, which travels as text; the wire starts anew.
    fn migrate(&mut self) {
        let saved = serde_json::to_string(&self.device.save(self.now)).unwrap();
        let (mut parts, line) = parts();
        parts.memory = Arc::clone(&self.memory);
        // The new host's clock tells another time.
        self.now += Duration::from_secs(1000);
        self.device = Device::new(spec::C, parts, self.now);
        self.line = line;
        let saved = serde_json::from_str(&saved).unwrap();
        self.device.restore(saved, self.now);
        self.wire.flying.clear();
    }
}

/// Frames that left, memory of rings and buffers, ISR.
type Played = (Vec<Vec<u8>>, Vec<u8>, u16);

fn play_plus(migrate: bool) -> Played {
    let mut bench = Bench::plus();
    bench.wire.offloads = Offloads::default();
    let bytes = packet(6, 7000);
    assert!(bench.memory.write(0x8000, &bytes));
    let options = spec::TXD_LGSEN | 1200 << spec::TXD_MSS_SHIFT;
    bench.push(spec::D_FS | options, 0, 0x8000, 3000);
    let rest = bytes.len() as u32 - 3000;
    bench.push(spec::D_LS | options, 0, 0x8000 + 3000, rest);
    bench.push(spec::D_FS, 0, 0x8000, 200);
    bench.write8(spec::TPPOLL, spec::TPPOLL_NPQ);
    for round in 0..40 {
        // The wire takes two frames at a time, and tells in the next burst.
        bench.wire.room = Some(2);
        if round == 20 {
            bench.push(spec::D_LS, 0, 0x8000, 90);
            bench.write8(spec::TPPOLL, spec::TPPOLL_NPQ);
        }
        if round % 5 == 0 || round == 36 {
            bench.wire.bring(frame(60 + round));
        }
        bench.burst();
        if migrate {
            // It is stopped first: what it has sent is told.
            bench.wire.room = Some(0);
            bench.burst();
            bench.migrate();
        }
    }
    let memory = bench.bytes(TX_RING, 0x1_f000);
    let isr = bench.read16(spec::ISR);
    (bench.sent(), memory, isr)
}

#[test]
fn a_restored_c_plus_goes_on_with_the_same_bytes() {
    let expected = play_plus(false);
    assert_eq!(expected.0.len(), 7, "six segments and a packet");
    assert_ne!(expected.2 & spec::ISR_RXOVW, 0, "the last frame waits");
    assert!(play_plus(true) == expected);
}

fn play_c(migrate: bool) -> Played {
    let mut bench = Bench::c();
    for round in 0..60u32 {
        let bytes = frame(100 + round as usize);
        let index = round % 4;
        let at = 0x8000 + 0x800 * u64::from(index);
        assert!(bench.memory.write(at, &bytes));
        bench.wire.full = round % 3 == 0;
        bench.write32(spec::TSD0 + 4 * index, 100 + round);
        bench.wire.bring(frame(1000));
        bench.burst();
        if round % 7 == 0 {
            let cbr = bench.read16(spec::CBR);
            bench.write16(spec::CAPR, cbr.wrapping_sub(16));
        }
        if migrate {
            bench.migrate();
        }
        bench.wire.full = false;
        bench.burst();
    }
    let isr = bench.read16(spec::ISR);
    (bench.sent(), bench.bytes(RX_BYTES, 0x9000), isr)
}

#[test]
fn a_restored_c_goes_on_with_the_same_bytes() {
    let expected = play_c(false);
    assert_eq!(expected.0.len(), 60);
    assert!(play_c(true) == expected);
}

#[test]
fn the_timer_keeps_its_time() {
    let mut bench = Bench::c();
    bench.write32(spec::TCTR, 0);
    bench.write32(spec::TIMER_INT, 333_333);
    bench.now += Duration::from_millis(4);
    let count = bench.read32(spec::TCTR);
    bench.migrate();
    assert!(bench.read32(spec::TCTR).abs_diff(count) < 2);
    bench.now += Duration::from_millis(5);
    bench.settle();
    assert!(!bench.line.is_high());
    bench.now += Duration::from_millis(2);
    bench.settle();
    assert!(bench.line.is_high());
}

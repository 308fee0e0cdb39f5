//! A device that is saved in the middle of a transfer, and another one that goes on.
use super::*;
use crate::net::ne2k::datapath::PATIENCE;

impl Bench {
    /// Another device, from the snapshot, which travels as text; the wire starts anew.
    fn migrate(&mut self) {
        let saved = serde_json::to_string(&self.device.save(self.now)).unwrap();
        let (parts, line) = parts();
        // The new host's clock tells another time.
        self.now += Duration::from_secs(1000);
        self.device = Device::new(parts);
        self.line = line;
        let saved = serde_json::from_str(&saved).unwrap();
        self.device.restore(saved, self.now);
        self.wire.flying.clear();
    }
}

/// Frames that left and that came, what registers read, the line.
type Played = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<u8>, bool);

/// Both directions at once, with the snapshot between any two accesses of the data port.
fn play(migrate: bool) -> Played {
    let mut bench = Bench::running();
    let mut received = Vec::new();
    for round in 0..40usize {
        let bytes = frame(100 + round);
        bench.remote(BUFFER, bytes.len() as u16, spec::CR_RD_WRITE | spec::CR_STA);
        for part in bytes.chunks(2) {
            let value = part
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u32::from(*byte));
            bench.write(spec::DATA_PORT, Width::Word, value);
            if migrate && part[0] % 16 == 0 {
                bench.migrate();
            }
        }
        bench.wire.full = round % 3 == 0;
        bench.transmit(BUFFER, bytes.len());
        bench.wire.bring(frame(1000));
        bench.burst();
        if migrate {
            bench.migrate();
        }
        bench.wire.full = false;
        bench.burst();
        if round % 10 == 9 {
            for _ in 0..9 {
                received.extend(bench.next_frame().map(|(_, bytes)| bytes));
            }
        }
    }
    let registers = [
        (0, spec::ISR),
        (0, spec::TSR),
        (0, spec::BNRY),
        (1, spec::CURR),
    ];
    let registers = registers.map(|(page, register)| bench.get(page, register));
    (
        bench.sent(),
        received,
        registers.to_vec(),
        bench.line.is_high(),
    )
}

#[test]
fn a_restored_nic_goes_on_with_the_same_bytes() {
    let expected = play(false);
    assert_eq!(expected.0.len(), 40);
    assert_eq!(expected.1.len(), 36);
    assert!(play(true) == expected);
}

#[test]
fn a_frame_without_room_travels_along_and_keeps_its_patience() {
    let mut bench = Bench::running();
    for i in 0..11 {
        bench.wire.bring(frame(1400 + i));
    }
    bench.settle();
    bench.now += PATIENCE / 2;
    bench.settle();
    bench.migrate();
    let burst = bench.device.burst(&mut bench.wire, bench.now);
    assert_eq!(burst.deadline, Some(bench.now + PATIENCE / 2));
    let received = bench.receive([]);
    assert_eq!(received.len(), 11);
    for ((_, bytes), len) in received.iter().zip(1400..) {
        assert_eq!(*bytes, frame(len));
    }
    assert_eq!(bench.read8(spec::CNTR2), 0);
}

#[test]
fn a_snapshot_of_another_size_does_not_change_the_chips_memory() {
    let mut bench = Bench::running();
    bench.store(BUFFER, &frame(60));
    let mut saved = serde_json::to_value(bench.device.save(bench.now)).unwrap();
    let ram = saved["state"]["memory"]["ram"].as_array_mut().unwrap();
    ram.truncate(60);
    let now = bench.now;
    bench
        .device
        .restore(serde_json::from_value(saved).unwrap(), now);
    assert_eq!(bench.fetch(BUFFER, 64)[..60], frame(60));
    assert_eq!(bench.receive([frame(1500)]).len(), 1);
}

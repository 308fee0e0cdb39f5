//! What is counted of packets that leave (13.7).
use super::*;

const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const STATION: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// GPTC, TPT, GOTC, PTC64, PTC1522, MPTC, BPTC, TSCTC.
fn counters(bench: &mut Bench) -> [u32; 8] {
    [
        spec::GPTC,
        spec::TPT,
        spec::GOTCL,
        spec::PTC64,
        spec::PTC64 + 20,
        spec::MPTC,
        spec::BPTC,
        spec::TSCTC,
    ]
    .map(|register| bench.read(register))
}

#[test]
fn broadcasts_and_multicasts_are_counted_apart() {
    let mut bench = Bench::running();
    for (destination, expected) in [
        (BROADCAST, [1, 1, 64, 1, 0, 0, 1, 0]),
        (GROUP, [1, 1, 64, 1, 0, 1, 0, 0]),
        (STATION, [1, 1, 64, 1, 0, 0, 0, 0]),
    ] {
        let mut bytes = frame(60);
        bytes[..6].copy_from_slice(&destination);
        assert!(bench.memory.write(0x8000, &bytes));
        // Also with the address in a buffer of its own.
        for split in [0, 6] {
            if split > 0 {
                bench.push(0x8000, split);
            }
            bench.push_legacy(0x8000 + split, 60 - split, spec::TXD_EOP);
            bench.ring_doorbell();
            bench.settle();
            assert_eq!(counters(&mut bench), expected, "{destination:x?}");
        }
    }
}

#[test]
fn segments_are_counted_one_by_one_whoever_makes_them() {
    for able in [true, false] {
        let mut bench = Bench::running();
        if !able {
            bench.wire.offloads = Offloads::default();
        }
        let mut header = tcp_header();
        header[..6].copy_from_slice(&GROUP);
        assert!(bench.memory.write(0x8000, &header));
        push_context(&mut bench, 1460, 54);
        push_tso_data(&mut bench, 0x8000, 54 + 3 * 1460 + 4);
        bench.ring_doorbell();
        bench.settle();
        assert_eq!(bench.wire.sent.len(), if able { 1 } else { 4 });
        let bytes = 3 * (1514 + 4) + 64;
        assert_eq!(counters(&mut bench), [4, 4, bytes, 1, 3, 4, 0, 1]);
        // A context for a packet that is one segment.
        push_context(&mut bench, 1460, 54);
        push_tso_data(&mut bench, 0x8000, 54 + 6);
        bench.ring_doorbell();
        bench.settle();
        assert_eq!(counters(&mut bench), [1, 1, 64, 1, 0, 1, 0, 1]);
    }
}

//! The data port.
use super::*;

const READ: u8 = spec::CR_RD_READ | spec::CR_STA;
const WRITE: u8 = spec::CR_RD_WRITE | spec::CR_STA;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 253) as u8).collect()
}

#[test]
fn the_prom_is_read_by_bytes_words_and_double_words() {
    let mut doubled: Vec<u8> = MAC.0.iter().flat_map(|byte| [*byte, *byte]).collect();
    doubled.resize(28, 0);
    doubled.extend([0x57; 4]);
    let mut bench = Bench::running();
    assert_eq!(bench.fetch(0, 32), doubled);
    // Linux: single bytes of a word-wide channel.
    bench.remote(0, 32, READ);
    let bytes: Vec<_> = (0..16).map(|_| bench.read8(spec::DATA_PORT)).collect();
    assert_eq!(bytes[..6], MAC.0);
    assert_eq!(bytes[14..], [0x57; 2]);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
    // A byte-wide channel: what older drivers recognize a word-wide board by.
    bench.write8(spec::DCR, 0x48);
    bench.remote(0, 32, READ);
    let bytes: Vec<_> = (0..32).map(|_| bench.read8(spec::DATA_PORT)).collect();
    assert_eq!(bytes, doubled);
    bench.store(0, &[1, 2, 3, 4]);
    assert_eq!(bench.fetch(0, 32), doubled, "it takes no writes");
}

#[test]
fn every_width_moves_the_same_bytes_in_both_directions() {
    let expected = pattern(64);
    for word_wide in [false, true] {
        for width in [Width::Byte, Width::Word, Width::Dword] {
            if word_wide && width == Width::Byte {
                continue;
            }
            let mut bench = Bench::running();
            bench.write8(spec::DCR, 0x48 | u8::from(word_wide));
            bench.remote(0x5010, 64, WRITE);
            for part in expected.chunks(width.bytes() as usize) {
                assert_eq!(bench.read8(spec::ISR), 0);
                let mut dword = [0; 4];
                dword[..part.len()].copy_from_slice(part);
                let value = u32::from_le_bytes(dword);
                bench.write(spec::DATA_PORT, width, value);
            }
            assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
            bench.write8(spec::ISR, spec::ISR_RDC);
            bench.remote(0x5010, 64, READ);
            let mut bytes: Vec<u8> = Vec::new();
            while bytes.len() < 64 {
                assert_eq!(bench.read8(spec::ISR), 0);
                let value = bench.read(spec::DATA_PORT, width);
                bytes.extend(&value.to_le_bytes()[..width.bytes() as usize]);
            }
            assert_eq!(bytes, expected, "{width:?}");
            assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
            assert_eq!(bench.read8(spec::CRDA0), 0x50);
            assert_eq!(bench.read8(spec::CRDA1), 0x50);
        }
    }
}

#[test]
fn a_word_wide_channel_moves_words_for_bytes_and_from_even_addresses() {
    let mut bench = Bench::running();
    bench.store(0x5000, &[1, 2, 3, 4]);
    bench.remote(0x5001, 4, READ);
    assert_eq!(bench.read8(spec::DATA_PORT), 1);
    assert_eq!(bench.read8(spec::DATA_PORT), 3);
    assert_ne!(bench.read8(spec::ISR) & spec::ISR_RDC, 0);
    bench.remote(0x5000, 4, WRITE);
    bench.write8(spec::DATA_PORT, 9);
    bench.write8(spec::DATA_PORT, 8);
    assert_eq!(bench.fetch(0x5000, 4), [9, 0, 8, 0]);
}

#[test]
fn the_data_port_is_eight_ports_wide() {
    let mut bench = Bench::running();
    bench.store(0x5000, &pattern(24));
    bench.remote(0x5000, 24, READ);
    let mut bytes = Vec::new();
    for port in [0x10, 0x14] {
        bytes.extend(bench.read(port, Width::Dword).to_le_bytes());
    }
    for port in [0x10, 0x12, 0x14, 0x16] {
        let value = bench.read(port, Width::Word) as u16;
        bytes.extend(value.to_le_bytes());
    }
    assert_eq!(bytes, pattern(16));
    bench.write8(spec::DCR, 0x48);
    let bytes: Vec<_> = (0x10..0x18).map(|port| bench.read8(port)).collect();
    assert_eq!(bytes, pattern(24)[16..]);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
}

#[test]
fn an_interrupt_tells_when_it_is_complete() {
    let mut bench = Bench::running();
    bench.write8(spec::IMR, spec::ISR_RDC);
    bench.remote(BUFFER, 6, WRITE);
    bench.write(spec::DATA_PORT, Width::Dword, 1);
    assert!(!bench.line.is_high());
    bench.write(spec::DATA_PORT, Width::Word, 1);
    assert!(bench.line.is_high());
    bench.write8(spec::ISR, spec::ISR_RDC);
    assert!(!bench.line.is_high());
    // Nothing to move: complete at once.
    bench.remote(BUFFER, 0, READ);
    assert!(bench.line.is_high());
}

#[test]
fn odd_lengths_end_with_the_access_that_reaches_their_end() {
    let mut bench = Bench::running();
    bench.store(0x5000, &pattern(8));
    bench.remote(0x5000, 7, READ);
    assert_eq!(
        bench.read(spec::DATA_PORT, Width::Dword).to_le_bytes(),
        pattern(4)[..]
    );
    assert_eq!(bench.read(spec::DATA_PORT, Width::Word), 0x231c);
    assert_eq!(bench.read8(spec::ISR), 0);
    assert_eq!(bench.read8(spec::DATA_PORT), pattern(8)[6]);
    assert_eq!(bench.read8(spec::ISR), spec::ISR_RDC);
    assert_eq!(bench.read8(spec::DATA_PORT), 0xff);
}

#[test]
fn both_directions_run_over_the_end_of_the_ring() {
    let mut bench = Bench::running();
    let end = u16::from(STOP) << 8;
    bench.store(end - 10, &pattern(20));
    assert_eq!(bench.fetch(end - 10, 20), pattern(20));
    assert_eq!(bench.fetch(u16::from(START) << 8, 10), pattern(20)[10..]);
    // An access that lies on both sides.
    bench.remote(end - 2, 4, READ);
    assert_eq!(
        bench.read(spec::DATA_PORT, Width::Dword).to_le_bytes(),
        pattern(20)[8..12]
    );
    // Behind the ring memory goes on.
    bench.store(end, &pattern(32));
    assert_eq!(bench.fetch(end, 32), pattern(32));
}

#[test]
fn an_abort_ends_it_and_the_other_direction_is_refused() {
    let mut bench = Bench::running();
    bench.store(BUFFER, &pattern(8));
    bench.remote(BUFFER, 8, READ);
    bench.write(spec::DATA_PORT, Width::Dword, 0);
    assert_eq!(
        bench.read(spec::DATA_PORT, Width::Dword).to_le_bytes(),
        pattern(4)[..]
    );
    bench.write8(spec::CR, RUN);
    assert_eq!(bench.read(spec::DATA_PORT, Width::Dword), u32::MAX);
    assert_eq!(bench.read8(spec::ISR), 0);
    bench.remote(BUFFER, 8, WRITE);
    assert_eq!(bench.read(spec::DATA_PORT, Width::Dword), u32::MAX);
    // A write without a command lets it go on.
    bench.write8(spec::CR, spec::CR_STA);
    bench.write(spec::DATA_PORT, Width::Dword, 0);
    bench.write(spec::DATA_PORT, Width::Dword, 0);
    assert_eq!(bench.fetch(BUFFER, 8), [0; 8]);
}

#[test]
fn send_packet_reads_the_frame_behind_the_boundary_and_moves_it() {
    let mut bench = Bench::running();
    // This driver's boundary is the page that it reads next.
    bench.write8(spec::BNRY, START + 1);
    bench.wire.bring(frame(300));
    bench.settle();
    bench.write8(spec::ISR, 0xff);
    bench.write8(spec::CR, spec::CR_RD_SEND | spec::CR_STA);
    assert_eq!(
        bench.read(spec::DATA_PORT, Width::Dword),
        u32::MAX,
        "no ARM"
    );
    bench.write8(spec::DCR, 0x49 | spec::DCR_ARM);
    bench.write8(spec::CR, spec::CR_RD_SEND | spec::CR_STA);
    let mut bytes = Vec::new();
    while bench.read8(spec::ISR) & spec::ISR_RDC == 0 {
        bytes.extend(bench.read(spec::DATA_PORT, Width::Word).to_le_bytes()[..2].to_vec());
    }
    assert_eq!(bytes.len(), 304);
    assert_eq!(bytes[4..], frame(300));
    assert_eq!(bench.read8(spec::BNRY), START + 3);
}

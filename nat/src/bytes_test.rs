use super::*;
use proptest::prelude::*;

/// RFC 1071, 4.1, word by word.
fn reference(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

#[test]
fn the_sum_of_the_rfcs_example() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::default().bytes(&bytes).folded(), [0xdd, 0xf2]);
}

#[test]
fn fields_behind_the_end_are_none_and_are_not_written() {
    let mut bytes = [1, 2, 3];
    assert_eq!(get_u16(&bytes, 1), Some(0x0203));
    assert_eq!(get_u16(&bytes, 2), None);
    assert_eq!(get_u32(&bytes, usize::MAX), None);
    set(&mut bytes, 2, &[9, 9]);
    set(&mut bytes, usize::MAX, &[9]);
    assert_eq!(bytes, [1, 2, 3]);
    let mut writer = Writer::new(&mut bytes);
    writer.put(&[7, 7]);
    assert_eq!(writer.take(9), [3]);
}

proptest! {
    #[test]
    fn a_sum_is_that_of_its_words(bytes: Vec<u8>, cut: usize) {
        let cut = (cut % (bytes.len() + 1)) & !1;
        let (a, b) = bytes.split_at(cut);
        let sum = Sum::default().bytes(a).bytes(b).checksum();
        let expected = reference(&bytes);
        // 0 and 0xffff are the same number in one's complement.
        let same = u16::from_be_bytes(sum) % 0xffff == expected % 0xffff;
        prop_assert!(same, "{sum:x?} is not {expected:x}");
    }
}

#[test]
fn copies_are_whole_however_the_places_lie() {
    for len in [0, 1, PART - 1, PART, PART + 1, 65_535] {
        let bytes: Vec<u8> = (1..=251).cycle().take(len).collect();
        // All places within a page, so those just behind the source, too.
        for behind in 0..80 {
            let mut buffer = vec![0; len + 2 * 4096];
            let page = buffer.as_ptr().align_offset(4096);
            let start = page + (bytes.as_ptr().addr() + behind) % 4096;
            copy(&mut buffer[start..start + len], &bytes);
            assert_eq!(buffer[start..start + len], bytes, "{len} {behind}");
        }
    }
    let mut short = [0; 2];
    copy(&mut short, b"abc");
    assert_eq!(&short, b"ab", "as many as there is room for");
}

use super::*;

/// Longer than what is copied in place.
const MOST: usize = 2 * SHORT;

fn pattern() -> Vec<u8> {
    (1..=251).cycle().take(MOST).collect()
}

fn pointer(bytes: &mut [u8], at: usize) -> NonNull<u8> {
    NonNull::new(bytes[at..].as_mut_ptr()).unwrap()
}

#[test]
fn every_length_is_copied_and_not_a_byte_more() {
    let source = pattern();
    for len in 0..=MOST {
        let mut guest = vec![0; MOST + 2];
        // SAFETY: `len` bytes follow index 1.
        unsafe { copy_to_guest(&source[..len], pointer(&mut guest, 1)) };
        assert_eq!(guest[1..=len], source[..len], "to a guest, {len}");
        assert!(guest[0] == 0 && guest[len + 1..].iter().all(|byte| *byte == 0));

        let mut other = vec![0; MOST + 2];
        let (from, to) = (pointer(&mut guest, 1), pointer(&mut other, 1));
        // SAFETY: `len` bytes follow index 1 in both.
        unsafe { copy_guest_to_guest(from, to, len) };
        assert_eq!(other, guest, "between guests, {len}");

        let mut private = vec![0; len];
        // SAFETY: `len` bytes follow index 1.
        unsafe { copy_from_guest(pointer(&mut other, 1), &mut private) };
        assert_eq!(private, source[..len], "from a guest, {len}");
    }
}

#[test]
fn long_copies_are_whole_however_the_places_lie() {
    for len in [LONG - 1, LONG, LONG + 1, LONG + LINE, 65_549] {
        let source: Vec<u8> = (1..=251).cycle().take(len).collect();
        for (here, there) in [(1, 1), (1, 2), (2, 1), (0, 13)] {
            let mut guest = vec![0; len + LINE];
            // SAFETY: `len` bytes follow index `here`.
            unsafe { copy_to_guest(&source, pointer(&mut guest, here)) };
            assert_eq!(guest[here..here + len], source, "{len}");
            let mut other = vec![0; len + LINE];
            let (from, to) = (pointer(&mut guest, here), pointer(&mut other, there));
            // SAFETY: `len` bytes follow both.
            unsafe { copy_guest_to_guest(from, to, len) };
            assert_eq!(other[there..there + len], source, "{len}");
            let mut around = other[..there].iter().chain(&other[there + len..]);
            assert!(around.all(|byte| *byte == 0), "{len}");
        }
    }
}

#[test]
fn a_destination_chases_its_source_within_a_cache_line_and_any_page() {
    let at = |address: usize| std::ptr::without_provenance_mut::<u8>(address);
    for (from, to, slow) in [
        (0x10000, 0x20000, false),
        (0x10000, 0x20001, true),
        (0x10fff, 0x2000b, true),
        (0x10000, 0x2003f, true),
        (0x10000, 0x20040, false),
        (0x2000c, 0x10000, false),
        (0x20000, 0x1000c, true),
    ] {
        assert_eq!(chases(at(from), at(to)), slow, "{from:x} {to:x}");
    }
}

#[test]
fn overlapping_buffers_of_guests_write_nothing_outside() {
    for len in 0..=SHORT {
        for shift in [1, 7, 16, 33] {
            let mut memory = pattern();
            let whole = memory.clone();
            let base = pointer(&mut memory, 0);
            // SAFETY: `shift + len` bytes follow the start: both ranges lie in `memory`, one allocation.
            unsafe { copy_guest_to_guest(base, base.add(shift), len) };
            assert_eq!(memory[..shift], whole[..shift], "before, {len} {shift}");
            assert_eq!(
                memory[shift + len..],
                whole[shift + len..],
                "behind, {len} {shift}"
            );
        }
    }
}

#[test]
fn a_prefetch_of_any_address_does_nothing() {
    for place in [1, 4096, usize::MAX] {
        let place = NonNull::new(std::ptr::without_provenance_mut(place)).unwrap();
        prefetch(place, 100);
        prefetch_for_write(place, 100);
    }
}

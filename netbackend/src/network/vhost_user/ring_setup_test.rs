use super::{RingSetup, SetupError};

#[test]
fn sizes_are_powers_of_two_up_to_32768() {
    let mut ring = RingSetup::default();
    for size in [1, 2, 256, 32_768] {
        ring.set_size(size).unwrap();
    }
    for size in [0, 3, 255, 32_767, 65_536, 65_537, u32::MAX] {
        assert_eq!(ring.set_size(size), Err(SetupError::Size(size)));
    }
}

#[test]
fn base_is_one_16_bit_index() {
    let mut ring = RingSetup::default();
    ring.set_base(65_535).unwrap();
    assert_eq!(ring.position.next_avail, 65_535);
    assert_eq!(ring.position.next_used, 65_535);
    // The packed ring's second index and wrap counters.
    assert_eq!(ring.set_base(0x1_0000), Err(SetupError::Base(0x1_0000)));
}

#[test]
fn enabled_by_default_only_without_protocol_features() {
    let mut ring = RingSetup::default();
    assert!(ring.is_enabled(false));
    assert!(!ring.is_enabled(true));
    ring.set_enabled(true);
    assert!(ring.is_enabled(true));
    ring.set_enabled(false);
    assert!(!ring.is_enabled(false));
}

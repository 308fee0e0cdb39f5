use super::*;

const SPLIT: RingFeatures = RingFeatures {
    event_idx: false,
    indirect: false,
    in_order: false,
    packed: false,
};
const PACKED: RingFeatures = RingFeatures {
    packed: true,
    ..SPLIT
};

#[test]
fn sizes_are_powers_of_two_up_to_32768() {
    let mut ring = RingSetup::default();
    for size in [1, 2, 256, 32_768] {
        ring.set_size(size, false).unwrap();
    }
    for size in [0, 3, 255, 32_767, 65_536, 65_537, u32::MAX] {
        assert_eq!(ring.set_size(size, false), Err(SetupError::Size(size)));
    }
}

#[test]
fn sizes_of_packed_rings_are_any_up_to_32768() {
    let mut ring = RingSetup::default();
    for size in [1, 3, 255, 32_767, 32_768] {
        ring.set_size(size, true).unwrap();
    }
    for size in [0, 32_769, 65_535, 65_536, 65_537, u32::MAX] {
        assert_eq!(ring.set_size(size, true), Err(SetupError::Size(size)));
    }
}

#[test]
fn base_of_a_split_ring_is_one_16_bit_index() {
    let mut ring = RingSetup::default();
    assert_eq!(ring.position(SPLIT), RingPosition::default());
    ring.set_base(65_535, false).unwrap();
    let position = ring.position(SPLIT);
    assert_eq!((position.next_avail, position.next_used), (65_535, 65_535));
    assert_eq!(base(position, false), 65_535);
    assert_eq!(
        ring.set_base(0x1_0000, false),
        Err(SetupError::Base(0x1_0000))
    );
}

#[test]
fn base_of_a_packed_ring_has_two_indices_with_wrap_counters() {
    let mut ring = RingSetup::default();
    assert_eq!(base(ring.position(PACKED), true), 0x8000_8000, "its start");
    // QEMU says both halves, DPDK only the lower one.
    for said in [0x8007_8007, 0x0000_8007] {
        ring.set_base(said, true).unwrap();
        assert_eq!(base(ring.position(PACKED), true), 0x8007_8007);
    }
    ring.set_position(RingPosition {
        next_avail: 9,
        next_used: 0x8003,
    });
    assert_eq!(base(ring.position(PACKED), true), 0x8003_0009);
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

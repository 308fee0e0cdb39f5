use super::*;
use crate::testing::memory;

#[test]
fn maps_of_queues_that_take_turns_are_held_until_they_are_released() {
    let mut burst = Burst::new();
    let maps: Vec<_> = (0..MAPS + 2).map(|_| memory(4096)).collect();
    let held = |maps: &[Arc<MemoryMap>]| -> Vec<bool> {
        maps.iter().map(|map| Arc::strong_count(map) > 1).collect()
    };
    for map in maps.iter().take(2).cycle().take(10) {
        assert!(burst.hold(map));
        assert!(
            burst
                .map()
                .is_some_and(|it| std::ptr::eq(it, &raw const **map))
        );
    }
    assert_eq!(held(&maps), [true, true, false, false, false, false]);
    assert!(maps.iter().take(2).all(|map| Arc::strong_count(map) == 2));
    // More than it holds: the first ones make room.
    assert!(maps.iter().all(|map| burst.hold(map)));
    assert_eq!(held(&maps), [false, false, true, true, true, true]);
    burst.release();
    assert_eq!(held(&maps), [false; MAPS + 2]);
}

#[test]
fn chains_of_one_map_are_not_mixed_with_those_of_another() {
    let mut burst = Burst::new();
    let [one, other] = [memory(4096), memory(4096)];
    assert!(burst.hold(&one) && burst.hold(&other));
    burst.chains.push(ChainMeta {
        head: Head::default(),
        only: Segment::NONE,
        first: 0,
        pieces: 0,
        readable: 0,
        readable_len: 0,
        writable_len: 0,
    });
    assert!(burst.hold(&other));
    assert!(!burst.hold(&one));
    burst.clear();
    assert!(burst.hold(&one));
}

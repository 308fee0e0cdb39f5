//! The table alone: what readers see while a writer changes it.
use super::*;
use std::sync::atomic::AtomicBool;

fn value(port: u16, seen: u64) -> Value {
    Value::new(PortId(port), EntryKind::Learned, seen)
}

#[test]
fn a_value_keeps_its_parts() {
    for kind in [EntryKind::Fixed, EntryKind::Static, EntryKind::Learned] {
        for (port, seen) in [(0, 0), (u16::MAX, Value::LATEST), (7, 300_000)] {
            let value = Value::new(PortId(port), kind, seen);
            assert_ne!(value, Value::VACANT);
            assert_eq!(
                (value.port(), value.kind(), value.seen()),
                (PortId(port), kind, seen)
            );
        }
    }
    assert_eq!(value(1, u64::MAX).seen(), Value::LATEST);
}

#[test]
fn a_bucket_is_a_cache_line() {
    assert_eq!(size_of::<Bucket>(), 64);
    assert_eq!(align_of::<Bucket>(), 64);
}

#[test]
fn growing_keeps_everything_and_wastes_little() {
    let mut slots = Slots::new();
    for key in 1..=100_000 {
        while !slots.insert(Key(key), value(1, key)) {
            slots = slots.grown(usize::try_from(key).unwrap()).unwrap();
        }
    }
    for key in 1..=100_000 {
        assert_eq!(slots.find(Key(key)).unwrap().1, value(1, key));
    }
    assert_eq!(slots.entries().count(), 100_000);
    assert_eq!(slots.find(Key(100_001)), None);
    assert!(slots.len() <= 1 << 18, "{} slots", slots.len());
}

#[test]
fn an_empty_table_does_not_grow() {
    assert!(Slots::new().grown(0).is_none());
}

/// A slot changes hands between two addresses; a reader never sees the value of one under the name of the other.
#[test]
fn a_reader_never_takes_a_value_for_another_addresss() {
    let slot = Slot::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut hits = 0;
            while !done.load(Ordering::Relaxed) || hits == 0 {
                for key in [1, 2] {
                    if let Some(read) = slot.read(Key(key)) {
                        assert_eq!(u64::from(read.port().0), key);
                        hits += 1;
                    }
                }
            }
        });
        for seen in 0..200_000 {
            slot.fill(Key(1), value(1, seen));
            slot.clear();
            slot.fill(Key(2), value(2, seen));
            slot.clear();
        }
        slot.fill(Key(2), value(2, 0));
        done.store(true, Ordering::Relaxed);
    });
}

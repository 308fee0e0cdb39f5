use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

#[test]
fn an_empty_ring_holds_nothing_and_takes_nothing() {
    let mut ring = Ring::default();
    ring.write(0, b"abc");
    ring.consume(5);
    assert_eq!(ring.slices(0, 3), (&[][..], &[][..]));
    assert_eq!(ring.capacity(), 0);
}

#[test]
fn storage_goes_back_and_is_used_again() {
    let mut pool = Pool::default();
    let mut ring = Ring::default();
    ring.reserve(&mut pool, 0, 1);
    assert_eq!(ring.capacity(), MIN);
    ring.release(&mut pool);
    assert_eq!((ring.capacity(), pool.kept), (0, MIN));
    ring.reserve(&mut pool, 0, MIN + 1);
    assert_eq!((ring.capacity(), pool.kept), (2 * MIN, MIN));
    ring.reserve(&mut pool, 0, usize::MAX);
    assert_eq!(ring.capacity(), MAX_RING);
}

#[test]
fn the_pool_keeps_no_more_than_it_may() {
    let mut pool = Pool::default();
    let mut rings: Vec<Ring> = (0..5).map(|_| Ring::default()).collect();
    for ring in &mut rings {
        ring.reserve(&mut pool, 0, MAX_RING);
    }
    for ring in &mut rings {
        ring.release(&mut pool);
    }
    assert_eq!(pool.kept, KEEP);
}

proptest! {
    #[test]
    fn a_ring_holds_what_a_queue_would(steps: Vec<(u8, u16)>) {
        let (mut pool, mut ring) = (Pool::default(), Ring::default());
        let mut model = VecDeque::new();
        let mut next = 0_u8;
        for (what, len) in steps {
            let len = usize::from(len) % 20_000;
            if what % 2 == 0 {
                let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                ring.reserve(&mut pool, model.len(), model.len() + len);
                let room = ring.capacity() - model.len();
                ring.write(model.len(), &bytes);
                model.extend(&bytes[..len.min(room)]);
            } else {
                let len = len.min(model.len());
                let (a, b) = ring.slices(0, len);
                let expected: Vec<u8> = model.drain(..len).collect();
                prop_assert_eq!([a, b].concat(), expected);
                ring.consume(len);
            }
        }
    }
}

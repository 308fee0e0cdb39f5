//! The table alone: stale hints, sweep and accounting of shares.
use super::*;

const AGEING: Duration = Duration::from_secs(10);
const P: PortId = PortId(0);
const Q: PortId = PortId(1);

fn fdb(capacity: usize) -> Fdb {
    let mut fdb = Fdb::new(AGEING, capacity);
    fdb.add_port(P);
    fdb.add_port(Q);
    fdb
}

impl Fdb {
    /// Entries in the table, all that the book says.
    fn used(&self) -> usize {
        let book = self.shared.lock();
        assert_eq!(book.slots.entries().count(), book.used);
        book.used
    }

    fn learned(&self) -> Vec<usize> {
        self.shared.lock().learned.clone()
    }
}

fn learn(fdb: &mut Fdb, key: u64, port: PortId, now: Duration) -> Learning {
    fdb.learn(Key(key), port, now, &mut Hint::default())
}

#[test]
fn a_stale_hint_is_not_believed() {
    let mut fdb = fdb(10_000);
    let mut hint = Hint::default();
    learn(&mut fdb, 1, P, Duration::ZERO);
    assert_eq!(fdb.lookup(Key(1), Duration::ZERO, &mut hint), Some(P));
    // Growth rehashes: the bucket of the hint holds another key, or none.
    for key in 2..5000 {
        learn(&mut fdb, key, Q, Duration::ZERO);
    }
    assert_eq!(fdb.lookup(Key(1), Duration::ZERO, &mut hint), Some(P));
    assert_eq!(fdb.lookup(Key(2), Duration::ZERO, &mut hint), Some(Q));
    fdb.flush(P);
    assert_eq!(fdb.lookup(Key(1), Duration::ZERO, &mut hint), None);
    assert_eq!(
        fdb.lookup(Key(1), Duration::ZERO, &mut Hint(Place::BEYOND)),
        None
    );
}

#[test]
fn the_sweep_empties_a_table_within_one_more_ageing_time() {
    let mut fdb = fdb(10_000);
    for key in 1..=5000 {
        learn(&mut fdb, key, P, Duration::ZERO);
    }
    fdb.pin(Key(9999), Q, EntryKind::Static);
    let mut now = AGEING;
    while now < 2 * AGEING {
        fdb.sweep(now);
        now += Duration::from_millis(10);
    }
    assert_eq!(fdb.used(), 1);
    assert_eq!(fdb.learned(), [0, 0]);
}

#[test]
fn one_step_of_the_sweep_is_bounded() {
    let mut fdb = fdb(10_000);
    for key in 1..=5000 {
        learn(&mut fdb, key, P, Duration::ZERO);
    }
    fdb.sweep(AGEING);
    assert!(fdb.used() >= 5000 - SWEEP_SLOTS);
    assert_eq!(fdb.learned()[0], fdb.used());
}

#[test]
fn an_expired_entry_of_another_port_is_taken_over_without_a_move() {
    let mut fdb = fdb(1);
    assert_eq!(learn(&mut fdb, 1, P, Duration::ZERO), Learning::Known);
    assert_eq!(learn(&mut fdb, 1, Q, AGEING), Learning::Known);
    assert_eq!(fdb.learned(), [0, 1]);
    assert_eq!(learn(&mut fdb, 1, P, AGEING), Learning::Moved);
    assert_eq!(fdb.learned(), [1, 0]);
}

#[test]
fn a_full_port_takes_nothing_over() {
    let mut fdb = fdb(1);
    learn(&mut fdb, 1, P, Duration::ZERO);
    learn(&mut fdb, 2, Q, Duration::ZERO);
    assert_eq!(learn(&mut fdb, 2, P, Duration::ZERO), Learning::Full);
    assert_eq!(
        fdb.lookup(Key(2), Duration::ZERO, &mut Hint::default()),
        Some(Q)
    );
    assert_eq!(fdb.learned(), [1, 1]);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let mut fdb = Fdb::new(Duration::MAX, 4);
    fdb.add_port(P);
    fdb.sweep(Duration::MAX);
    assert_eq!(learn(&mut fdb, 1, P, Duration::MAX), Learning::Known);
    fdb.sweep(Duration::ZERO);
    assert_eq!(
        fdb.lookup(Key(1), Duration::ZERO, &mut Hint::default()),
        Some(P)
    );
}

#[test]
fn what_one_learns_or_forgets_the_other_sees() {
    let mut one = fdb(10_000);
    let mut other = one.share();
    let mut now = Duration::ZERO;
    let mut look = |fdb: &mut Fdb, key| {
        // What has grown is taken over with the next round.
        now += Duration::from_nanos(1);
        fdb.sweep(now);
        fdb.lookup(Key(key), Duration::ZERO, &mut Hint::default())
    };
    for key in 1..5000 {
        learn(&mut one, key, P, Duration::ZERO);
        assert_eq!(look(&mut other, key), Some(P), "{key}");
    }
    assert_eq!(learn(&mut other, 17, Q, Duration::ZERO), Learning::Moved);
    assert_eq!(look(&mut one, 17), Some(Q));
    one.flush(P);
    assert_eq!(look(&mut other, 18), None);
    assert_eq!(look(&mut other, 17), Some(Q));
    assert_eq!((one.used(), one.learned()), (1, vec![0, 1]));
    other.pin(Key(18), Q, EntryKind::Fixed);
    assert_eq!(one.pinned(Key(18)), Some(Q));
    assert_eq!(learn(&mut one, 18, P, Duration::ZERO), Learning::Pinned);
}

#[test]
fn a_source_that_goes_on_sending_never_ages() {
    let mut fdb = fdb(8);
    let mut hint = Hint::default();
    let mut now = Duration::ZERO;
    while now < 3 * AGEING {
        fdb.sweep(now);
        assert_eq!(fdb.learn(Key(1), P, now, &mut hint), Learning::Known);
        assert_eq!(fdb.used(), 1);
        now += Duration::from_millis(7);
    }
    // The last frame counts, but for the step in which entries are refreshed.
    let step = AGEING / u32::try_from(REFRESHES_PER_AGEING).unwrap();
    let late = now + AGEING.saturating_sub(step + Duration::from_millis(8));
    assert_eq!(fdb.lookup(Key(1), late, &mut hint), Some(P));
    assert_eq!(fdb.lookup(Key(1), now + AGEING, &mut hint), None);
}

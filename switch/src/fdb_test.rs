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
        fdb.lookup(Key(1), Duration::ZERO, &mut Hint(usize::MAX)),
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
    assert_eq!(fdb.table.len(), 1);
    assert_eq!(fdb.learned, [0, 0]);
}

#[test]
fn one_step_of_the_sweep_is_bounded() {
    let mut fdb = fdb(10_000);
    for key in 1..=5000 {
        learn(&mut fdb, key, P, Duration::ZERO);
    }
    fdb.sweep(AGEING);
    assert!(fdb.table.len() >= 5000 - SWEEP_BUCKETS);
    assert_eq!(fdb.learned[0], fdb.table.len());
}

#[test]
fn an_expired_entry_of_another_port_is_taken_over_without_a_move() {
    let mut fdb = fdb(1);
    assert_eq!(learn(&mut fdb, 1, P, Duration::ZERO), Learning::Known);
    assert_eq!(learn(&mut fdb, 1, Q, AGEING), Learning::Known);
    assert_eq!(fdb.learned, [0, 1]);
    assert_eq!(learn(&mut fdb, 1, P, AGEING), Learning::Moved);
    assert_eq!(fdb.learned, [1, 0]);
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
    assert_eq!(fdb.learned, [1, 1]);
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

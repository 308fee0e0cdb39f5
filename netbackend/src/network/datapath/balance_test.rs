//! Which source moves.
use super::*;
use switch::PortId;

const fn source(port: u16) -> Source {
    Source {
        port: PortId(port),
        queue: 0,
    }
}

#[test]
fn one_of_two_equal_sources_moves_to_an_idle_worker() {
    let bursts = [(source(1), 500, false), (source(2), 500, false)];
    assert!(choose(&bursts, 1000, 0).is_some());
}

#[test]
fn an_only_source_stays() {
    assert_eq!(choose(&[(source(1), 500, false)], 1000, 0), None);
    assert_eq!(choose(&[], 1000, 0), None);
}

#[test]
fn the_move_that_levels_best_is_chosen() {
    let bursts = [
        (source(1), 700, false),
        (source(2), 200, false),
        (source(3), 100, false),
    ];
    assert_eq!(choose(&bursts, 1000, 600), Some(source(2)));
    assert_eq!(choose(&bursts, 1000, 0), Some(source(1)));
}

#[test]
fn what_must_stay_stays() {
    let bursts = [(source(1), 500, true), (source(2), 400, true)];
    assert_eq!(choose(&bursts, 1000, 0), None);
    let bursts = [(source(1), 500, true), (source(2), 400, false)];
    assert_eq!(choose(&bursts, 1000, 0), Some(source(2)));
}

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn all(ranges: &Ranges) -> Vec<(u32, u32)> {
    ranges.iter().map(|(a, b)| (a.0, b.0)).collect()
}

#[test]
fn what_touches_becomes_one() {
    let mut ranges = Ranges::default();
    for (start, end) in [(10, 20), (30, 40), (50, 60)] {
        assert!(ranges.insert(Seq(start), Seq(end)));
    }
    assert!(ranges.insert(Seq(20), Seq(30)));
    assert_eq!(all(&ranges), [(10, 40), (50, 60)]);
    assert_eq!(ranges.gap(Seq(5)), (Seq(5), Some(Seq(10))));
    assert_eq!(ranges.gap(Seq(15)), (Seq(40), Some(Seq(50))));
    assert_eq!(ranges.gap(Seq(55)), (Seq(60), None));
    assert_eq!(ranges.advance(Seq(10)), Seq(40));
    assert_eq!(ranges.total(), 10);
}

#[test]
fn there_are_no_more_than_there_may_be() {
    let mut ranges = Ranges::default();
    for n in 0..40 {
        assert_eq!(ranges.insert(Seq(n * 10), Seq(n * 10 + 5)), n < 32);
    }
    assert!(
        ranges.insert(Seq(5), Seq(10)),
        "one that touches is no new one"
    );
}

proptest! {
    #[test]
    fn ranges_hold_what_a_set_would(origin: u32, steps in prop::collection::vec((0..60_u32, 0..20_u32), 0..40)) {
        let mut ranges = Ranges::default();
        let mut model = BTreeSet::new();
        for (start, len) in steps {
            let at = |n: u32| Seq(origin.wrapping_add(n));
            prop_assert!(ranges.insert(at(start), at(start + len)));
            model.extend(start..start + len);
            let held: BTreeSet<u32> = ranges
                .iter()
                .flat_map(|(a, b)| a.0.wrapping_sub(origin)..b.0.wrapping_sub(origin))
                .collect();
            prop_assert_eq!(&held, &model);
            prop_assert_eq!(ranges.total(), model.len());
        }
        let to = origin.wrapping_add(30);
        let end = ranges.advance(Seq(to)).0.wrapping_sub(origin);
        let expected = (30..200).find(|n| !model.contains(n)).unwrap();
        prop_assert_eq!(end, expected);
        prop_assert!(ranges.iter().all(|(start, _)| start.since(Seq(to)) > 0));
    }
}

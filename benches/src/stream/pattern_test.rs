use super::*;

#[test]
fn bytes_are_known_across_the_end_of_a_period_and_a_wrong_one_is_found() {
    let pattern = Pattern::new();
    let (head, tail) = (&pattern.bytes()[..100], pattern.bytes().len() - 50);
    let mut across = pattern.bytes()[tail..].to_vec();
    across.extend(head);
    let place = 3 * Pattern::PERIOD - 50;
    assert!(pattern.matches(place, &across));
    assert!(!pattern.matches(place + 1, &across), "a byte is missing");
    for at in [0, 49, 50, across.len() - 1] {
        let mut wrong = across.clone();
        wrong[at] ^= 1;
        assert!(!pattern.matches(place, &wrong), "byte {at}");
    }
    assert!(pattern.matches(u64::MAX, &[]));
}

use super::*;

#[test]
fn the_median_is_the_middle_value_whatever_the_order() {
    let expected = Summary {
        median: 5.0,
        min: 1.0,
        max: 9.0,
    };
    assert_eq!(summarize([5.0, 1.0, 9.0]), Some(expected));
}

#[test]
fn of_an_even_number_it_lies_between_the_two_in_the_middle() {
    let expected = Summary {
        median: 3.0,
        min: 1.0,
        max: 100.0,
    };
    assert_eq!(summarize([4.0, 1.0, 2.0, 100.0]), Some(expected));
}

#[test]
fn nothing_has_no_median() {
    assert_eq!(summarize([]), None);
}

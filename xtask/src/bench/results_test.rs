use super::*;

#[test]
fn a_new_section_goes_to_the_end_and_is_replaced_in_place_later() {
    let first = replace("# Results\nWords.\n", "peers", "old");
    assert!(first.starts_with("# Results\nWords.\n\n<!-- begin peers"));
    let both = replace(&first, "idle", "other");
    let again = replace(&both, "peers", "new\n");
    assert_eq!(again, both.replace("old", "new"));
    assert!(again.contains("other"));
}

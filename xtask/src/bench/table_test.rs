use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
    let heading: Vec<String> = cells(&["bytes", "Mpps"]);
    let rows = [cells(&["64", "14.90"]), cells(&["1518", "6.7"])];
    let expected = "\
| bytes |  Mpps |
| ----- | ----: |
| 64    | 14.90 |
| 1518  |   6.7 |";
    assert_eq!(markdown(&heading, &rows), expected);
}

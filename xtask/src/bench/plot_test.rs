use super::*;

#[test]
fn every_bar_that_there_is_is_drawn_with_its_name_and_value() {
    let one = Summary {
        median: 1.25,
        min: 1.0,
        max: 1.5,
    };
    let bars = Bars {
        title: "fast & slow".to_owned(),
        series: vec!["ours".to_owned(), "theirs".to_owned()],
        groups: vec![
            ("64".to_owned(), vec![Some(one), None]),
            ("1518".to_owned(), vec![Some(one), Some(one)]),
        ],
    };
    let drawn = svg(&bars);
    assert_eq!(drawn.matches(">1.25<").count(), 3);
    // Background, two of the legend, three bars.
    assert_eq!(drawn.matches("<rect").count(), 6);
    for words in ["fast &amp; slow", "ours", "theirs", ">64<", ">1518<"] {
        assert!(drawn.contains(words), "{words} is missing");
    }
    assert!(drawn.ends_with("</svg>\n"));
}

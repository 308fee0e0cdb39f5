use super::*;

#[test]
fn every_group_of_all_runs_without_arguments() {
    for group in ALL {
        let line = Line::try_parse_from(["bench", group]);
        assert!(line.is_ok(), "{group} is no group, or wants arguments");
    }
}

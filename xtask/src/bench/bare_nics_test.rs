use super::*;

fn options(workloads: &[&str]) -> BareNicOptions {
    BareNicOptions {
        rounds: 1,
        seconds: 1,
        workloads: workloads.iter().map(|word| (*word).to_owned()).collect(),
        dry: true,
    }
}

#[test]
fn a_row_has_the_medians_and_what_they_are_of_qemus() {
    let mut figures = Figures::new();
    for index in 0..WORKLOADS.len() {
        figures.insert((index, System::Ours), vec![30.0, 10.0, 20.0]);
        figures.insert((index, System::Sleeping), vec![40.0]);
        figures.insert((index, System::Qemu), vec![10.0]);
    }
    let rows = rows(&options(&["el", "em"]), &figures).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0][1..],
        [
            "20.0 (10.0–30.0)",
            "40.0 (40.0–40.0)",
            "10.0 (10.0–10.0)",
            "2.00",
            "4.00"
        ]
    );
}

#[test]
fn what_was_not_measured_is_said() {
    let error = rows(&options(&["es"]), &Figures::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no figures of QEMU"), "{error}");
}

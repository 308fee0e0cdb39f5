use super::guest::Moved;
use super::*;
use std::time::Duration;

fn options(workloads: &[&str]) -> BareNicOptions {
    BareNicOptions {
        rounds: 1,
        seconds: 1,
        workloads: workloads.iter().map(|word| (*word).to_owned()).collect(),
        dry: true,
    }
}

fn samples(rates: &[f64]) -> Vec<Sample> {
    let sample = |rate: &f64| Sample {
        rate: *rate,
        exits: Some(2.0 * rate),
    };
    rates.iter().map(sample).collect()
}

#[test]
fn a_row_has_the_medians_and_what_they_are_of_qemus() {
    let mut figures = Figures::new();
    for index in 0..WORKLOADS.len() {
        figures.insert((index, System::Ours), samples(&[30.0, 10.0, 20.0]));
        figures.insert((index, System::Sleeping), samples(&[40.0]));
        figures.insert((index, System::Qemu), samples(&[10.0]));
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
            "4.00",
            "40 / 80 / 20"
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

#[test]
fn a_figure_counts_what_its_workload_is_about() {
    let moved = Moved {
        time: Duration::from_secs(2),
        bytes: 3_028_000,
        frames: 2000,
        taken: 4000,
        exits: Some(757.0),
    };
    let sample = |unit: Unit| unit.sample(moved);
    let unit_of = |name| {
        let mut workloads = WORKLOADS.iter();
        workloads.find(|it| it.name == name).unwrap().unit
    };
    let figures = |rate, exits| Sample {
        rate,
        exits: Some(exits),
    };
    assert_eq!(sample(Unit::Frames), figures(1.0, 500.0));
    assert_eq!(sample(unit_of("er")), figures(2.0, 250.0));
    let of_tcp = sample(unit_of("e-tcp"));
    assert!((of_tcp.exits.unwrap() - 757.0 / 3.004).abs() < 1e-9);
    // 1460 bytes of each.
    assert_eq!(sample(Unit::Payload), figures(11.68, 500.0));
}

use super::*;

#[test]
fn figures_of_the_scenario_become_a_row_without_the_first_round() {
    let mut lines = vec!["ok a line of another kind".to_owned()];
    for (ours, qemu) in [
        (9_000, 9_000),
        (4_000, 1_000),
        (6_000, 2_000),
        (5_000, 3_000),
    ] {
        for (workload, _) in WORKLOADS {
            lines.push(format!("figure {workload} netbackend {ours} 100 2.000"));
            lines.push(format!("figure {workload} qemu {qemu} 1000 4.000"));
        }
    }
    let rows = table_rows("e1000", &samples(&lines).unwrap()).unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[0],
        [
            "e1000: TCP from the guest, Mb/s",
            "5.00 (4.00–6.00)",
            "2.00 (1.00–3.00)",
            "2.50",
            "50 (50–50)",
            "250 (250–250)",
            "0.20"
        ]
    );
}

#[test]
fn what_is_missing_or_cut_off_is_said() {
    let error = table_rows("pcnet", &Samples::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("pcnet: no figures of tx"), "{error}");
    let cut = ["figure tx qemu 1000 5".to_owned()];
    assert!(samples(&cut).unwrap_err().to_string().contains("figure tx"));
}

#[test]
fn tests_that_came_to_no_end_are_said() {
    let lines = [
        "note tx qemu segments-sent-again=0",
        "note udp netbackend stood still: 12 bytes in 36 s; KVM since: exits 7",
        "figure udp netbackend 0 7 0.000",
    ];
    let stalls = stood_still("pcnet", &lines.map(str::to_owned));
    assert_eq!(stalls, ["pcnet udp (netbackend)"]);
}

//! Scenarios with `vmm` guests on real KVM: in a nested host, or directly where the machine has svm or vmx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tests::programs;
use xtask::{
    lab::{self, Options, Scenario},
    ui::Ui,
};

fn passes(name: &str) {
    let _turn = programs::take_turns();
    let scenario = Scenario::load(name).unwrap();
    let options = Options::new(programs::all().unwrap());
    let verdict = lab::run(Ui::new(), &scenario, &options).unwrap();
    for line in &verdict.results {
        println!("{name}: {line}");
    }
    let console = std::fs::read_to_string(&verdict.console).unwrap_or_default();
    assert!(
        verdict.passed(),
        "{name} failed with {}; console:\n{console}",
        verdict.code
    );
}

#[test]
fn two_guests_talk_at_mtu_1500_and_9000() {
    passes("two-guests");
}

#[test]
fn two_guests_with_two_vcpus_and_two_queue_pairs_each() {
    passes("two-guests-multiqueue");
}

#[test]
fn two_guests_over_a_back_end_of_stock_crates() {
    passes("two-guests-stock-backend");
}

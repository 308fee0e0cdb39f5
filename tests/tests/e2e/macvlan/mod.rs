//! The kernel as oracle: the same frames through macvlan devices and through netbackend.
mod deliberate;
mod frames;
mod matrix;
mod world;

use deliberate::{Deliberate, expected};
use frames::Frame;
use matrix::Matrix;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tests::{heavy, needs_root, say};
use world::{Scenario, Way, World};

/// The kernel queues received frames by CPU: frames that are sent on one keep their order.
fn stay_on_one_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.unwrap()).unwrap();
    sched_setaffinity(this, &one).unwrap();
}

#[test]
fn forwarding_matrix_equals_macvlan() {
    if needs_root("forwarding_matrix_equals_macvlan") {
        equals_macvlan(Way::Tap);
    }
}

#[test]
fn forwarding_matrix_on_a_nic_equals_macvlan() {
    if needs_root("forwarding_matrix_on_a_nic_equals_macvlan") {
        equals_macvlan(Way::Nic);
    }
}

#[test]
fn forwarding_matrix_beside_a_host_equals_macvlan() {
    if needs_root("forwarding_matrix_beside_a_host_equals_macvlan") {
        equals_macvlan(Way::Packet);
    }
}

#[test]
fn forwarding_matrix_of_guests_with_macvtaps_equals_macvlan() {
    if needs_root("forwarding_matrix_of_guests_with_macvtaps_equals_macvlan") {
        equals_macvlan(Way::Attach);
    }
}

/// All modes, the relay's hairpin off and on.
fn equals_macvlan(way: Way) {
    let _turn = heavy();
    stay_on_one_cpu();
    let mut differences = String::new();
    let mut reasons = BTreeSet::new();
    for mode in way.modes() {
        for hairpin in [false, true] {
            let scenario = Scenario { way, mode, hairpin };
            let script = frames::script(&scenario.stations());
            let kernel = World::of_the_kernel(scenario).play(&script);
            let ours = World::of_netbackend(scenario).play(&script);
            differences += &compare(scenario, &script, &kernel, &ours, &mut reasons);
        }
    }
    for reason in &reasons {
        say(&format!("on purpose: {reason}"));
    }
    assert!(
        differences.is_empty(),
        "netbackend differs from macvlan:\n{differences}"
    );
    let listed = Deliberate::of(way);
    let stale: Vec<_> = listed
        .iter()
        .filter(|reason| !reasons.contains(reason))
        .collect();
    assert!(stale.is_empty(), "the kernel does the same now: {stale:?}");
}

/// The differences, readably; empty if there are none but deliberate ones.
fn compare(
    scenario: Scenario,
    script: &[Frame],
    kernel: &Matrix,
    ours: &Matrix,
    reasons: &mut BTreeSet<Deliberate>,
) -> String {
    let hairpin = if scenario.hairpin { "on" } else { "off" };
    let name = format!("{:?}, {}, hairpin {hairpin}", scenario.way, scenario.mode);
    let mut differences = String::new();
    let mut deliberate = 0;
    for (step, frame) in script.iter().enumerate() {
        let (wanted, reason) = expected(scenario, script, step, kernel);
        deliberate += usize::from(reason.is_some());
        reasons.extend(reason);
        let found = &ours.rows[step];
        if *found != wanted {
            let on_purpose = reason.map_or(String::new(), |_| format!("; wanted: {wanted}"));
            writeln!(
                differences,
                "  {name}: {} {}\n    macvlan: {}{on_purpose}\n    netbackend: {found}",
                frame.sender, frame.what, kernel.rows[step]
            )
            .unwrap();
        }
    }
    say(&format!(
        "{name}: {} frames sent; {} arrived through macvlan, {} through netbackend; {deliberate} differ on purpose",
        script.len(),
        kernel.arrivals(),
        ours.arrivals()
    ));
    differences
}

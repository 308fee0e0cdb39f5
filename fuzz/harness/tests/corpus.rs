//! Replays the inputs that are kept, without a fuzzer. What once was a finding stays here as its regression test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fuzz_harness::TARGETS;
use std::{fs, path::Path};

/// Runs every kept input of a target; returns how many there are.
#[track_caller]
fn replay(target: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        // The test's output names the input, should it panic.
        println!("{}", path.display());
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", directory.display());
    run(b"");
    run(&[0xff; 300]);
}

#[test]
fn config() {
    replay("config");
}

#[test]
fn device_queue() {
    replay("device_queue");
}

#[test]
fn dhcp4() {
    replay("dhcp4");
}

#[test]
fn dhcp6() {
    replay("dhcp6");
}

#[test]
fn dns() {
    replay("dns");
}

#[test]
fn e1000() {
    replay("e1000");
}

#[test]
fn nat_gateway() {
    replay("nat_gateway");
}

#[test]
fn ne2k() {
    replay("ne2k");
}

#[test]
fn offload() {
    replay("offload");
}

#[test]
fn pcnet() {
    replay("pcnet");
}

#[test]
fn rtl8139() {
    replay("rtl8139");
}

#[test]
fn switch() {
    replay("switch");
}

#[test]
fn tftp() {
    replay("tftp");
}

#[test]
fn vhost_session() {
    replay("vhost_session");
}

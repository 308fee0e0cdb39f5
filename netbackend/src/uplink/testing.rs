//! For tests: interfaces in a network namespace of the calling thread's own; for root only.
use crate::netns;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use std::process::Command;

pub(crate) fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A NIC `near` that is plugged into `far`; false: not root.
pub(crate) fn plugged_nic() -> bool {
    if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("skipped: not root");
        return false;
    }
    netns::mount_sysfs().unwrap();
    plug("near");
    true
}

/// Makes a NIC, up and plugged into `far`.
pub(crate) fn plug(nic: &str) {
    ip(&format!("link add {nic} type veth peer name far"));
    ip(&format!("link set {nic} up"));
    ip("link set far up");
}

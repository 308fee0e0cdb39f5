//! Giving up what a worker does not need.
//!
//! A worker is handed all its descriptors: it opens nothing, so it needs no capability at all.
//! A system call filter (seccomp) is not in place yet.
use caps::{CapSet, Capability};
use nix::sys::prctl;

/// No new privileges, no capabilities, for this thread and those it will start.
pub(super) fn enter() -> anyhow::Result<()> {
    prctl::set_no_new_privs()?;
    // Dropping from the bounding set takes a capability itself, so it comes first; without it there
    // is nothing in the set that no_new_privs would let anybody gain.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    for set in [
        CapSet::Ambient,
        CapSet::Effective,
        CapSet::Permitted,
        CapSet::Inheritable,
    ] {
        caps::clear(None, set)?;
    }
    Ok(())
}

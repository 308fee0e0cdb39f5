//! Who runs where: the generator and the back-end must not share a core.

use std::fs;

use anyhow::Context;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Pins the calling thread to `cpu`.
pub fn pin_thread(cpu: usize) -> anyhow::Result<()> {
    set(Pid::from_raw(0), cpu).with_context(|| format!("pinning vu-gen to CPU {cpu}"))
}

/// Pins every thread of process `pid` and of its children to `cpu`: a daemon's datapath may be in a process of its own.
pub fn pin_process(pid: u32, cpu: usize) -> anyhow::Result<()> {
    let tasks = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&tasks).with_context(|| format!("there is no process {pid}"))?;
    for thread in threads.flatten() {
        let Ok(id) = thread.file_name().to_string_lossy().parse() else {
            continue;
        };
        set(Pid::from_raw(id), cpu)
            .with_context(|| format!("pinning thread {id} of process {pid} to CPU {cpu}"))?;
        // Of the thread that started them.
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            pin_process(child, cpu)?;
        }
    }
    Ok(())
}

fn set(thread: Pid, cpu: usize) -> nix::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    sched_setaffinity(thread, &cpus)
}

//! On what, with what and when something was measured.
use crate::exec;
use anyhow::{Result, bail};
use std::fs;
use std::process::Command;

/// Today (UTC), year first.
pub(super) fn date() -> String {
    let date = exec::stdout(Command::new("date").args(["--utc", "+%F"]));
    date.map_or_else(|_| "unknown".to_owned(), |date| date.trim().to_owned())
}

/// The machine in general words.
pub(super) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
    };
    let flags = field("flags");
    let has = |flag: &str| flags.split(' ').any(|word| word == flag);
    let kind = if has("hypervisor") {
        "virtual machine"
    } else {
        "machine"
    };
    let simd = if has("avx512f") { ", AVX-512" } else { "" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = kernel.trim().split(['-', '+']).next().unwrap_or_default();
    format!(
        "{kind} with {} CPUs ({}{simd}), Linux {release}",
        cpus().len(),
        field("model name"),
    )
}

/// The CPUs that we may run on.
pub(super) fn cpus() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0");
    parse_cpus(list.trim())
}

fn parse_cpus(list: &str) -> Vec<usize> {
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// One CPU for the generator, another for what is measured.
pub(super) fn two_cpus() -> Result<(usize, usize)> {
    match cpus().as_slice() {
        // Interrupts and the system's own work prefer the first CPU: the generator has that one.
        [generator, backend, ..] => Ok((*generator, *backend)),
        _ => bail!("measuring needs two CPUs: one for the generator, one for the back-end"),
    }
}

/// The version of a Debian package.
pub(super) fn package_version(package: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let version = exec::stdout(query.args(["-W", "-f=${Version}", package])).ok()?;
    (!version.is_empty()).then_some(version)
}

#[cfg(test)]
#[path = "machine_report_test.rs"]
mod tests;

//! How often a guest leaves KVM for the program it belongs to, as the kernel counts it.
use crate::exec;
use std::process::Command;
use std::time::Duration;

/// Each return of `KVM_RUN`. What KVM does by itself, emulated instructions and the writes that it keeps, is not among them.
const EVENT: &str = "kvm:kvm_userspace_exit";

/// Exits of `process` per second, within `time`, during which this waits. `None`: there is no perf, or no tracepoint for it.
pub(super) fn count(process: u32, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", EVENT, "-p", &process.to_string()]);
    command.args(["--", "sleep", &seconds.to_string()]);
    let output = exec::run(&mut command).ok()?;
    let count = parse(&String::from_utf8_lossy(&output.stderr))?;
    Some(f64::from(count) / seconds)
}

/// The line of the event: its count first.
fn parse(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_was_not_counted_is_no_zero() {
        let line = |count: &str| {
            format!("# started on a day\n\n{count},,kvm:kvm_userspace_exit,2000,100.00,,\n")
        };
        assert_eq!(parse(&line("1234")), Some(1234));
        assert_eq!(parse(&line("<not counted>")), None);
        assert_eq!(parse("event syntax error"), None);
    }
}

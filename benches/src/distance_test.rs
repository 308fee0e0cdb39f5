use super::*;
use nix::{sched::sched_getaffinity, unistd::Pid};

#[test]
fn lines_take_some_time_and_not_long() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("our own CPUs");
    let ours = (0..1024).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let [first, second, ..] = ours.collect::<Vec<_>>()[..] else {
        eprintln!("NOT TESTED: this needs two CPUs");
        return;
    };
    let took = distance([first, second]).expect("both CPUs are ours");
    assert!(took > Duration::ZERO, "lines take {took:?}");
    // The best quarter of runs is hardly ever disturbed; between sockets it is less than 1 µs.
    assert!(took < Duration::from_micros(50), "lines take {took:?}");
}

#[test]
fn a_cpu_that_is_not_there_is_an_error_and_no_wait() {
    assert!(distance([0, 1000]).is_err(), "CPU 1000 answered");
    assert!(distance([1000, 0]).is_err(), "CPU 1000 asked");
}

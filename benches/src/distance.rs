//! How far two CPUs are apart: what a cache line takes from one to the other.
//!
//! The CPUs of a virtual machine are threads of its host, which moves them about. While they share a cache a line takes some 50 ns;
//! while they do not, several times that, and then this, and no back-end, is what a rate between them shows.

use std::{
    hint,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::pin_thread;

/// Runs, of which the better ones count: in others a CPU did something else.
const RUNS: u32 = 64;
/// There and back, in each run.
const TURNS: u32 = 200;
/// Ends the other side.
const END: u32 = u32::MAX;

/// A cache line of its own, and the one that CPUs fetch along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU32);

/// How long a line takes from one of `cpus` to the other: of [`RUNS`] runs the one at the lower quartile.
pub fn distance(cpus: [usize; 2]) -> anyhow::Result<Duration> {
    let [there, back] = &[Line::default(), Line::default()];
    let [asked, answered] = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runs = pin_thread(cpus[0]).map(|()| ask(&there.0, &back.0));
            there.0.store(END, Ordering::Release);
            runs
        });
        let answering = scope.spawn(|| {
            let pinned = pin_thread(cpus[1]).map(|()| answer(&there.0, &back.0));
            back.0.store(END, Ordering::Release);
            pinned.map(|()| Vec::new())
        });
        [asking.join(), answering.join()]
    });
    let ended = |_| anyhow::anyhow!("a thread that measures the distance ended");
    answered.map_err(ended)??;
    let mut runs = asked.map_err(ended)??;
    runs.sort_unstable();
    runs.get(runs.len() / 4)
        .copied()
        .context("the other CPU does not answer")
}

/// Says again what is asked, until the end.
fn answer(there: &AtomicU32, back: &AtomicU32) {
    let mut last = 0;
    while last != END {
        let asked = there.load(Ordering::Acquire);
        if asked != last {
            last = asked;
            back.store(asked, Ordering::Release);
        }
        hint::spin_loop();
    }
}

/// The time that one way took in each run, as long as somebody answers.
fn ask(there: &AtomicU32, back: &AtomicU32) -> Vec<Duration> {
    let mut number = 0;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..TURNS {
            number += 1;
            there.store(number, Ordering::Release);
            loop {
                match back.load(Ordering::Acquire) {
                    answer if answer == number => break,
                    END => return runs,
                    _ => hint::spin_loop(),
                }
            }
        }
        runs.push(start.elapsed() / (2 * TURNS));
    }
    runs
}

#[cfg(test)]
#[path = "distance_test.rs"]
mod tests;

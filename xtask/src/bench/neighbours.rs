//! Measuring only while the two CPUs are neighbours.
//!
//! The host of a virtual machine moves its CPUs about, every few seconds or minutes: to cores that share a cache, and to cores
//! that do not. In the second case whatever is passed from one to the other waits for that, and all back-ends look alike. Nobody who
//! wants speed would pin a guest and its switch to such a pair, so what is measured on one is measured again.
use crate::exec;
use anyhow::{Context, Result};
use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Nanoseconds that a cache line takes at most between cores that share a cache: 20 to 60 there, from 100 to 250 elsewhere.
const NEAR_NS: u32 = 90;
/// How long one measurement may wait and be repeated. On some machines no two CPUs share a cache.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Two CPUs, and what became of measurements on them.
#[derive(Debug)]
pub(super) struct Neighbours {
    generator: PathBuf,
    cpus: [usize; 2],
    measured: Cell<u32>,
    repeated: Cell<u32>,
    /// Of all that were measured, those that nobody would wait for any longer.
    apart: Cell<u32>,
}

impl Neighbours {
    pub(super) fn new(generator: PathBuf, cpus: [usize; 2]) -> Self {
        Self {
            generator,
            cpus,
            measured: Cell::default(),
            repeated: Cell::default(),
            apart: Cell::default(),
        }
    }

    /// What `measure` says of a time in which the CPUs were neighbours, before and after it.
    pub(super) fn measure<T>(&self, mut measure: impl FnMut() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let is_patient = || start.elapsed() < PATIENCE;
        loop {
            while !self.are_near()? && is_patient() {
                thread::sleep(PAUSE);
            }
            let value = measure()?;
            let near = self.are_near()?;
            if near || !is_patient() {
                bump(&self.measured);
                if !near {
                    bump(&self.apart);
                }
                return Ok(value);
            }
            bump(&self.repeated);
        }
    }

    /// For the head of a section of the results.
    pub(super) fn note(&self) -> String {
        let Self {
            measured,
            repeated,
            apart,
            ..
        } = self;
        let apart = match apart.get() {
            0 => String::new(),
            count => format!(" {count} count although it was never so, in spite of waiting."),
        };
        format!(
            "* Neighbours: of a machine whose CPUs the host moves about, a run counts while a cache line takes at most {NEAR_NS} ns from \
             one CPU to the other, before and after it; {} runs, {} repeated.{apart}",
            measured.get(),
            repeated.get(),
        )
    }

    fn are_near(&self) -> Result<bool> {
        let mut command = Command::new(&self.generator);
        command
            .arg("distance")
            .args(self.cpus.map(|cpu| cpu.to_string()));
        let said = exec::stdout(&mut command)?;
        let ns: u32 = said
            .trim()
            .parse()
            .with_context(|| format!("vu-gen printed {said:?}"))?;
        Ok(ns <= NEAR_NS)
    }
}

fn bump(counter: &Cell<u32>) {
    counter.set(counter.get() + 1);
}

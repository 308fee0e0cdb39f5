//! What an exchange and a frame cost when many flows of many guests are busy.
use super::super::statistics::summarize;
use super::super::{Programs, idle, namespace::Namespace, process::Process};
use super::scale::wait_for;
use super::world::{self, OPEN, SERVER, World};
use crate::exec;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Guests that talk at once, and busy flows of each. The second tells whether it is the guests that cost, or the flows.
const CASES: [(usize, u32); 3] = [(1, 100), (1, 5000), (50, 100)];
/// KiB of a question, and of its answer: one frame, or several segments of a stream.
const SIZES: [u32; 2] = [1, 16];
const NETWORK: &str = "many";

/// Medians of a case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) guests: usize,
    /// Of each guest.
    pub(super) flows: u32,
    /// KiB.
    pub(super) size: u32,
    /// Microseconds of the daemon's CPU time.
    pub(super) per_exchange: f64,
    pub(super) per_frame: f64,
    /// Of them, in the kernel.
    pub(super) kernel: f64,
    /// Both ways, as the gateway counts them; one that holds several segments is one.
    pub(super) frames: f64,
    pub(super) exchanges_per_second: f64,
}

/// What was counted while guests talked.
#[derive(Debug, Clone, Copy)]
struct Counted {
    exchanges: f64,
    exchanges_per_second: f64,
    frames: f64,
    /// Microseconds.
    cpu: f64,
    /// Of them, the kernel's share.
    kernel: f64,
}

/// A network whose guests all talk.
struct Many<'a> {
    world: &'a World,
    program: &'a Path,
    daemon: Process,
    guests: Vec<Namespace>,
}

/// Cases in turns, over several rounds.
pub(super) fn guests(
    world: &World,
    programs: &Programs,
    (rounds, seconds): (u32, u32),
) -> Result<Vec<Cost>> {
    let many = Many::new(world, programs)?;
    let mut counted: [[Vec<Counted>; CASES.len()]; SIZES.len()] = Default::default();
    for _ in 0..rounds {
        for (size, counted) in SIZES.into_iter().zip(&mut counted) {
            for (case, counted) in CASES.into_iter().zip(counted) {
                let talk = || many.talk(case, size, seconds);
                counted.push(world.neighbours.measure(talk)?);
            }
        }
    }
    let costs = SIZES.into_iter().zip(&counted).flat_map(|(size, counted)| {
        let costs = CASES.into_iter().zip(counted);
        costs.map(move |(case, counted)| cost(case, size, counted))
    });
    Ok(costs.collect())
}

fn cost((guests, flows): (usize, u32), size: u32, counted: &[Counted]) -> Cost {
    let median = |of: fn(&Counted) -> f64| {
        let summary = summarize(counted.iter().map(of));
        summary.map_or(0.0, |summary| summary.median)
    };
    Cost {
        guests,
        flows,
        size,
        per_exchange: median(|it| it.cpu / it.exchanges),
        per_frame: median(|it| it.cpu / it.frames),
        kernel: median(|it| it.cpu * it.kernel / it.frames),
        frames: median(|it| it.frames / it.exchanges),
        exchanges_per_second: median(|it| it.exchanges_per_second),
    }
}

impl<'a> Many<'a> {
    fn new(world: &'a World, programs: &'a Programs) -> Result<Self> {
        let most = CASES.into_iter().map(|(guests, _)| guests).max();
        let guests = (0..most.unwrap_or(1))
            .map(|number| Namespace::new(&format!("{NETWORK}-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let mut config = format!("[networks.{NETWORK}]\nmode = \"nat\"\n{OPEN}\n");
        for (number, guest) in guests.iter().enumerate() {
            guest.widen_ports()?;
            config += &world::port(NETWORK, number, guest);
        }
        let directory = world.directory.join(NETWORK);
        let daemon = world::daemon(&programs.netbackend, &directory, &world.host, &config)?;
        for (last, guest) in (15..).zip(&guests) {
            world::join(guest, last)?;
        }
        Ok(Self {
            world,
            program: &programs.netbackend,
            daemon,
            guests,
        })
    }

    fn talk(&self, (guests, flows): (usize, u32), size: u32, seconds: u32) -> Result<Counted> {
        let pids = idle::with_children(self.daemon.id());
        let program = self.world.sockets.display();
        let size = size * 1024;
        let line =
            format!("{program} talk {SERVER} --flows {flows} --size {size} --seconds {seconds}");
        let mut talkers = Vec::new();
        for (number, guest) in self.guests.iter().take(guests).enumerate() {
            let directory = self.world.directory.join(format!("talk-{number}"));
            fs::create_dir_all(&directory)?;
            let mut command = guest.command(&line);
            talkers.push(Process::start("talk", &directory, &mut command)?);
        }
        for talker in &mut talkers {
            wait_for(talker, "open")?;
        }
        // What answering costs the daemon is outside of what is measured.
        let frames = self.frames()?;
        let (cpu, ticks) = (cpu_time(&pids)?, idle::ticks(&pids)?);
        for talker in &mut talkers {
            talker.tell("go")?;
        }
        let (mut exchanges, mut rate) = (0.0, 0.0);
        for talker in talkers {
            let output = talker.finish()?;
            let figures = output.lines().last().and_then(|line| line.split_once('\t'));
            let (count, time) = figures.with_context(|| format!("sock-load printed {output}"))?;
            let count: f64 = count.parse()?;
            exchanges += count;
            rate += count / time.parse::<f64>()?;
        }
        let cpu = cpu_time(&pids)? - cpu;
        let kernel = idle::ticks(&pids)?.kernel_share_since(ticks);
        Ok(Counted {
            exchanges,
            exchanges_per_second: rate,
            frames: self.frames()? - frames,
            cpu,
            kernel,
        })
    }

    /// Frames that the gateway has taken and sent.
    fn frames(&self) -> Result<f64> {
        let socket = self.world.directory.join(NETWORK).join("run/control.sock");
        let mut command = Command::new(self.program);
        command.args(["status", "--json", "--control-socket"]);
        let status: Value = serde_json::from_str(&exec::stdout(command.arg(socket))?)?;
        let count = |key: &str| {
            let value = status.pointer(&format!("/networks/0/nat/counters/{key}"));
            let value = value.and_then(Value::as_f64);
            value.with_context(|| format!("netbackend's status has no {key}"))
        };
        Ok(count("frames_in")? + count("frames_out")?)
    }
}

/// Microseconds that all threads of these processes have run (`/proc/PID/task/TID/schedstat`).
fn cpu_time(pids: &[u32]) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for pid in pids {
        for task in fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let run = text
                .split_whitespace()
                .next()
                .and_then(|text| text.parse::<f64>().ok());
            nanoseconds += run.context("schedstat has no run time")?;
        }
    }
    Ok(nanoseconds / 1000.0)
}

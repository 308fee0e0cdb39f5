//! `netbackend health`: for monitoring.
use super::{Failure, print_json};
use control::{Client, Health};
use std::io::{self, Write};

pub(super) fn run(client: &Client, json: bool) -> Result<(), Failure> {
    let health = client.health().map_err(Failure::at_run_time)?;
    let mut out = io::stdout().lock();
    if json {
        print_json(&mut out, &health)?;
    } else {
        show(&mut out, &health)?;
    }
    if health.healthy {
        return Ok(());
    }
    Err(Failure::told(1))
}

fn show(out: &mut impl Write, health: &Health) -> io::Result<()> {
    let Health {
        networks,
        networks_running,
        ports,
        ports_running,
        worker_restarts,
        faulty_queues,
        ..
    } = health;
    let word = if health.healthy {
        "healthy"
    } else {
        "unhealthy"
    };
    writeln!(
        out,
        "{word}: {networks_running} of {networks} networks and {ports_running} of {ports} ports run, \
         {worker_restarts} restarts of workers, {faulty_queues} faulty queues"
    )?;
    for problem in &health.problems {
        writeln!(out, "problem: {problem}")?;
    }
    for note in &health.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

//! Large frames over vhost-user: a guest that is all sender, so that what is measured is the way behind it, beside a guest in a
//! namespace with Linux's TCP/IP and a tap, to the same server. That throws away what comes (`sock-load serve`).
use super::world::{SERVER, Way, World};
use super::{Figure, Figures};
use crate::exec;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// What sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guest {
    /// `vu-gen stream`
    VhostUser,
    /// `sock-load send`
    Tap,
}

/// Where figures are kept of what has one way only.
pub(super) const WAY: Way = Way::Nat(1500);

/// Guest to server from both guests, one after the other.
pub(super) fn stream(world: &World, seconds: u32, figures: &mut Figures) -> Result<()> {
    let (rate, again) = vhost_user(world, seconds)?;
    for (figure, value) in [
        (Figure::Stream(Guest::VhostUser), rate),
        (Figure::Again, again),
        (Figure::Stream(Guest::Tap), tap(world, seconds)?),
    ] {
        figures.entry((figure, WAY)).or_default().push(value);
    }
    Ok(())
}

/// Gb/s, and how many percent of the frames were sent once more.
fn vhost_user(world: &World, seconds: u32) -> Result<(f64, f64)> {
    let once = || {
        let mut command = Command::new(&world.generator);
        command.args(["stream", "--format=tsv"]);
        command.arg("--port").arg(world.socket());
        command.arg(format!("--seconds={seconds}"));
        exec::stdout(command.arg(World::sink()))
    };
    let text = world.neighbours.measure(once)?;
    let [bytes, time, frames, again] = numbers(&text)?[..] else {
        bail!("vu-gen printed {text}");
    };
    Ok((bytes * 8.0 / time / 1e9, again / frames.max(1.0) * 100.0))
}

/// Gb/s.
fn tap(world: &World, seconds: u32) -> Result<f64> {
    let program = world.sockets.display();
    let line = format!("{program} send {SERVER} --seconds {seconds}");
    let once = || exec::stdout(&mut world.near(WAY)?.command(&line));
    let text = world.neighbours.measure(once)?;
    let [bytes, time] = numbers(&text)?[..] else {
        bail!("sock-load printed {text}");
    };
    Ok(bytes * 8.0 / time / 1e9)
}

fn numbers(text: &str) -> Result<Vec<f64>> {
    let fields = text.split_whitespace().map(str::parse::<f64>);
    fields
        .collect::<Result<_, _>>()
        .with_context(|| format!("no figures: {text}"))
}

//! Running `vu-gen` and reading its figures.
use crate::exec;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The generator and where it runs.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    pub(super) program: PathBuf,
    /// `None`: wherever the scheduler puts it.
    pub(super) cpu: Option<usize>,
}

/// The figures of one throughput run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) mpps: f64,
    /// Frame bytes, FCS and gaps not counted.
    pub(super) gbps: f64,
    /// Share of the time in which the generator had something to do.
    pub(super) busy: f64,
    /// Frames sent, before and after the measurement too.
    pub(super) sent: f64,
    /// Share of all sent frames that never came out.
    pub(super) dropped: f64,
}

/// The figures of one latency run, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

impl Generator {
    /// Frames between the sockets, pair by pair, as `arguments` say.
    pub(super) fn throughput<S: AsRef<Path>>(
        &self,
        sockets: &[S],
        listen: bool,
        arguments: &[String],
    ) -> Result<Sample> {
        let mut command = self.command("throughput", sockets, listen);
        parse_throughput(&line(command.arg("--huge-pages").args(arguments))?)
    }

    /// Frames that wait for each other between two sockets.
    pub(super) fn latency<S: AsRef<Path>>(
        &self,
        sockets: &[S],
        listen: bool,
        arguments: &[String],
    ) -> Result<Times> {
        let mut command = self.command("latency", sockets, listen);
        parse_latency(&line(command.arg("--huge-pages").args(arguments))?)
    }

    /// The bytes of frames copied between two guests' memories on `cpu`.
    pub(super) fn copying(&self, cpu: usize, arguments: &[String]) -> Result<Sample> {
        let mut command = Command::new(&self.program);
        command.args(["copying", "--format=tsv", "--huge-pages"]);
        command.arg(format!("--cpu={cpu}"));
        parse_throughput(&line(command.args(arguments))?)
    }

    fn command<S: AsRef<Path>>(&self, what: &str, sockets: &[S], listen: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.args([what, "--format=tsv"]);
        for (socket, option) in sockets.iter().zip(["--from", "--to"].into_iter().cycle()) {
            command.arg(option).arg(socket.as_ref());
        }
        if let Some(cpu) = self.cpu {
            command.arg(format!("--cpu={cpu}"));
        }
        if listen {
            command.arg("--listen");
        }
        command
    }
}

/// The one line that a run prints.
fn line(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", exec::describe(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let first = errors.lines().next().unwrap_or("no message");
        bail!("{first}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One line of `vu-gen throughput --format tsv`, or of `copying`.
fn parse_throughput(line: &str) -> Result<Sample> {
    let [frames, bytes, seconds, busy, sent, dropped] = numbers(line)?;
    Ok(Sample {
        mpps: frames / seconds / 1e6,
        gbps: bytes * 8.0 / seconds / 1e9,
        busy: busy / seconds,
        sent,
        dropped: dropped / sent.max(1.0),
    })
}

/// One line of `vu-gen latency --format tsv`.
pub(super) fn parse_latency(line: &str) -> Result<Times> {
    let [_count, _least, p50, p99, p999, _most] = numbers(line)?;
    Ok(Times {
        p50: p50 / 1e3,
        p99: p99 / 1e3,
        p999: p999 / 1e3,
    })
}

/// What follows the size.
fn numbers(line: &str) -> Result<[f64; 6]> {
    let fields = line.split('\t').skip(1);
    let numbers: Vec<f64> = fields
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("vu-gen printed {line:?}"))?;
    let count = numbers.len();
    numbers.try_into().map_err(|_| {
        anyhow::anyhow!("vu-gen printed {line:?}: six numbers were expected, not {count}")
    })
}

#[cfg(test)]
#[path = "generator_test.rs"]
mod tests;

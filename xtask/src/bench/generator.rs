//! Running `vu-gen` and reading its figures.
use crate::exec;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How it sends.
#[derive(Debug, Clone)]
pub(super) struct Generator {
    pub(super) program: PathBuf,
    pub(super) cpu: usize,
    pub(super) seconds: f64,
    pub(super) burst: u16,
}

/// The figures of one size in one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) size: String,
    pub(super) mpps: f64,
    /// Frame bytes, FCS and gaps not counted.
    pub(super) gbps: f64,
    /// Share of the time in which the generator had something to do.
    pub(super) busy: f64,
    /// Share of all sent frames that never came out.
    pub(super) dropped: f64,
}

impl Generator {
    /// Sends frames of each of `sizes` between the sockets. Sizes that fail are left out, with a note why.
    pub(super) fn run(
        &self,
        sockets: [&Path; 2],
        listen: bool,
        sizes: &[String],
    ) -> Result<(Vec<Sample>, Option<String>)> {
        let mut command = Command::new(&self.program);
        command.args(["one-way", "--format=tsv", "--huge-pages"]);
        command.arg("--from").arg(sockets[0]);
        command.arg("--to").arg(sockets[1]);
        command.arg(format!("--cpu={}", self.cpu));
        command.arg(format!("--seconds={}", self.seconds));
        command.arg(format!("--burst={}", self.burst));
        command.args(sizes.iter().map(|size| format!("--size={size}")));
        if listen {
            command.arg("--listen");
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", exec::describe(&command)))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let lines = String::from_utf8_lossy(&output.stdout);
        let samples: Vec<Sample> = lines.lines().map(parse).collect::<Result<_>>()?;
        if samples.is_empty() {
            bail!("vu-gen has no figures: {}", errors.trim());
        }
        let note = (!output.status.success()).then(|| errors.trim().to_owned());
        Ok((samples, note))
    }
}

/// One line of `vu-gen --format tsv`.
fn parse(line: &str) -> Result<Sample> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [size, numbers @ ..] = fields.as_slice() else {
        bail!("vu-gen printed an empty line");
    };
    let numbers: Vec<f64> = numbers
        .iter()
        .map(|number| number.parse())
        .collect::<Result<_, _>>()
        .with_context(|| format!("vu-gen printed {line:?}"))?;
    let [frames, bytes, seconds, busy, sent, dropped] = numbers.as_slice() else {
        bail!("vu-gen printed {line:?}: six numbers were expected");
    };
    Ok(Sample {
        size: (*size).to_owned(),
        mpps: frames / seconds / 1e6,
        gbps: bytes * 8.0 / seconds / 1e9,
        busy: busy / seconds,
        dropped: dropped / sent.max(1.0),
    })
}

#[cfg(test)]
#[path = "generator_test.rs"]
mod tests;

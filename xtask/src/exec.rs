//! Running external programs with errors a person can act on.
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How many lines of a failed program's output are worth showing.
const TAIL_LINES: usize = 30;

/// The path of `program` in `PATH` or the system directories.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps administration tools out of an ordinary user's PATH.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The command line as one would type it.
pub fn describe(command: &Command) -> String {
    // `cargo`, not where rustup keeps it.
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn spawn_error(command: &Command) -> String {
    format!("cannot start `{}`", describe(command))
}

/// Runs `command` silently; its output appears only in the error.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| spawn_error(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({})\n{}",
            describe(command),
            output.status,
            tail(&output)
        );
    }
    Ok(output)
}

/// Standard output of `command`, as text.
pub fn stdout(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&run(command)?.stdout).into_owned())
}

/// Runs `command` on our own terminal; returns whether it succeeded.
pub fn run_visible(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| spawn_error(command))?;
    Ok(status.success())
}

/// As [`run_visible`], and shows `watch` each line of standard output.
pub fn run_watched(command: &mut Command, mut watch: impl FnMut(&str)) -> Result<bool> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| spawn_error(command))?;
    let lines = child.stdout.take().map(BufReader::new);
    let mut terminal = std::io::stdout().lock();
    for line in lines.into_iter().flat_map(|lines| lines.split(b'\n')) {
        let line = line.context("cannot read what the tests print")?;
        terminal.write_all(&line)?;
        terminal.write_all(b"\n")?;
        watch(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait()?.success())
}

/// The last lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(count);
    lines
        .iter()
        .skip(skip)
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

fn tail(output: &Output) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    last_lines(&text, TAIL_LINES)
}

//! A program that runs beside us, ended by its pid.
use crate::exec;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take until it does what is waited for.
const START: Duration = Duration::from_mins(1);
/// How long it may take to end in order.
const END: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// How much of a log is worth showing.
const LOG_LINES: usize = 20;

/// Ended when dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to a file in `directory`.
    pub(super) fn start(
        name: &'static str,
        directory: &Path,
        command: &mut Command,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{}`", exec::describe(command)))?;
        Ok(Self { name, child, log })
    }

    /// Waits until `condition` holds.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        mut condition: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + START;
        while !condition() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}); its log:\n{}", self.name, self.log());
            }
            if Instant::now() > deadline {
                bail!("{}: no {what} yet; its log:\n{}", self.name, self.log());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub(super) fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        exec::last_lines(&String::from_utf8_lossy(&text), LOG_LINES)
    }

    /// The file that it writes to.
    pub(super) fn path(&self) -> &Path {
        &self.log
    }

    /// All that it wrote.
    pub(super) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Gives it a line to read.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut();
        let input = input.with_context(|| format!("{} reads nothing", self.name))?;
        writeln!(input, "{line}").with_context(|| format!("cannot write to {}", self.name))
    }

    /// Waits until it has ended by itself, well.
    pub(super) fn finish(mut self) -> Result<String> {
        let deadline = Instant::now() + START;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(self.output()),
                Some(status) => bail!("{} failed ({status}); its log:\n{}", self.name, self.log()),
                None if Instant::now() > deadline => bail!("{} does not end", self.name),
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// Stops it where it is, or lets it go on: a program that polls takes all of a CPU while others are measured.
    pub(super) fn pause(&self, paused: bool) -> Result<()> {
        self.signal(if paused { "-STOP" } else { "-CONT" })
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        exec::run(Command::new("kill").args([signal, &pid])).map(drop)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM, so that its own children go with it and its sockets are removed.
        let told = self.signal("-TERM").is_ok();
        // Paused, it would not end. It may have ended.
        let _ = self.pause(false);
        if !told || !self.ends_within(END) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

//! A program that runs beside a test.
use crate::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Lines of output that tell why a program has ended.
const LAST_WORDS: usize = 5;

/// Ended when dropped; its output is in a file, and shown when the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `NAME.log` in `directory`.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file can be created");
        let errors = file.try_clone().expect("a file can be duplicated");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits into i32");
        // Gone already is as good.
        let _ = kill(Pid::from_raw(pid), signal);
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Fails with its last words if it has ended.
    #[track_caller]
    pub fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LAST_WORDS);
            let words = lines.get(last..).unwrap_or_default().join("\n");
            panic!(
                "{} has ended ({status}), and said last:\n{words}",
                self.name
            );
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, patience, || self.ended())
    }

    /// Waits until it has printed `text`; fails at once if it ends before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, patience: Duration) {
        let what = format!("`{text}` from {}", self.name);
        wait_until(&what, patience, || {
            // The end first: what it printed before its end counts.
            let ended = self.ended();
            let found = self.log().contains(text);
            assert!(
                found || ended.is_none(),
                "{} ended ({ended:?}) before `{text}`",
                self.name
            );
            found.then_some(())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}

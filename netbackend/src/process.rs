//! Processes, each told from a later one with its id.
use serde::{Deserialize, Serialize};
use std::{fmt, fs, str::FromStr};

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// When it was started, in clock ticks since boot.
    started: u64,
}

impl Process {
    /// The process with that id; `None`: it has ended.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc(5): "pid (comm) state ..."; starttime is field 22, state is field 3.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        // A zombie has ended.
        let state = fields.next().filter(|state| *state != "Z");
        let started = fields.nth(18)?.parse().ok()?;
        state.map(|_| Self { pid, started })
    }

    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id().try_into().ok()?)
    }

    /// Whether it lives.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for Process {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.split_once('-').ok_or(())?;
        Ok(Self {
            pid: pid.parse().map_err(drop)?,
            started: started.parse().map_err(drop)?,
        })
    }
}

//! Network namespaces: guests and hosts with Linux's own TCP/IP.
use crate::exec;
use anyhow::Result;
use std::process::Command;

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub(super) struct Namespace(String);

impl Namespace {
    /// Makes one; `part` tells it from the others of this run.
    pub(super) fn new(part: &str) -> Result<Self> {
        let name = format!("nb-bench-{}-{part}", std::process::id());
        exec::run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self(name);
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// A command line in it, cut at spaces.
    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]);
        command.args(line.split_whitespace());
        command
    }

    /// Gives its programs more ports, and those of connections that have ended after a second instead of a minute.
    pub(super) fn widen_ports(&self) -> Result<()> {
        let mut command = self.command("sysctl -q -w net.ipv4.tcp_tw_reuse=1");
        exec::run(command.arg("net.ipv4.ip_local_port_range=2000 65000")).map(drop)
    }

    /// Runs a command line in it.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        exec::run(&mut self.command(line)).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The processes inside have ended before.
        let _ = exec::run(Command::new("ip").args(["netns", "del", &self.0]));
    }
}

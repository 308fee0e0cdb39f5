//! Network namespaces as guests.

use std::{
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};

/// A network namespace of a test's own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, with its loopback up.
    pub fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nbe2e-{}-{number}", std::process::id());
        let output = Command::new("ip")
            .args(["netns", "add", &name])
            .output()
            .context("running ip")?;
        ensure!(
            output.status.success(),
            "ip netns add: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let namespace = Self { name };
        namespace.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, for the daemon's configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }

    /// Runs a command inside that must succeed.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(words).output()?;
        ensure!(
            output.status.success(),
            "{words:?} in a namespace: {output:?}"
        );
        Ok(output)
    }

    /// Starts a command inside; its standard output is kept.
    pub fn start(&self, words: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Ok(command.spawn()?)
    }

    /// Gives an interface an address and switches it on.
    pub fn address(&self, interface: &str, address: &str) -> anyhow::Result<()> {
        self.run(&["ip", "addr", "add", address, "dev", interface])?;
        self.run(&["ip", "link", "set", interface, "up"])?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

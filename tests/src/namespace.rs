//! A network namespace: a guest with Linux's own TCP/IP at native speed.
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Deleted when dropped, with every process still in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with `lo` up.
    #[track_caller]
    pub fn new(purpose: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}-{purpose}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.run("ip link set lo up");
        namespace
    }

    /// A new namespace in which the kernel sends nothing of its own: without IPv6.
    #[track_caller]
    pub fn quiet(purpose: &str) -> Self {
        let namespace = Self::new(purpose);
        namespace
            .script("for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $file; done");
        namespace
    }

    /// Its name, as in `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs inside; `program` is looked up in `PATH`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a line of words inside; it must succeed.
    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        run(self.command(program).args(words))
    }

    /// Runs the lines of a shell script inside, up to the first that fails; all must succeed.
    #[track_caller]
    pub fn script(&self, lines: &str) -> Output {
        run(self.command("sh").args(["-ec", lines]))
    }

    /// What `act` gives when it is done inside: sockets that it opens stay there.
    #[track_caller]
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = Path::new("/run/netns").join(&self.name);
        // A namespace is entered by a thread, which is of no further use.
        let entered = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(&path).expect("the namespace is there");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                act()
            });
            thread.join()
        });
        entered.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Gives `interface` an address and takes it up.
    #[track_caller]
    pub fn configure(&self, interface: &str, address: &str) {
        self.run(&format!("ip addr add {address} dev {interface}"));
        self.run(&format!("ip link set {interface} up"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let pids = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        let text = pids.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&text).lines() {
            if let Ok(pid) = pid.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .output();
    }
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().expect("ip starts (package iproute2)");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

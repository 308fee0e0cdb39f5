//! What people get wrong: each mistake is answered with a message that names it and says what to do,
//! and with a non-zero exit code. (Every key and value of the configuration: see the tests of netbackend.)
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tests::{Daemon, Process, heavy, needs_root, programs, say};
use xtask::setup::kernels::{self, Flavour};
use xtask::ui::Ui;

const PATIENCE: Duration = Duration::from_mins(1);

/// Exit code of a wrong command line or configuration.
const USAGE: i32 = 2;
/// Exit code of everything else that went wrong.
const FAILED: i32 = 1;

struct Bench {
    directory: TempDir,
    kernel: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let kernel = kernels::kernel(Ui::new(), Flavour::Cloud).expect("a stock kernel");
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            kernel: kernel.image,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a temporary file");
        path
    }

    /// `vmm run` with a good kernel.
    fn vmm(&self) -> Command {
        Self::vmm_with_kernel(&self.kernel)
    }

    fn vmm_with_kernel(kernel: &Path) -> Command {
        let mut command = Command::new(programs::vmm());
        command
            .args(["run", "--serial", "null", "--kernel"])
            .arg(kernel);
        command
    }

    /// The command must end with `code` and say all of `words`; nothing may crash.
    #[track_caller]
    fn refused(&self, command: &mut Command, code: i32, words: &[&str]) {
        let mut process = Process::start("refused", self.directory.path(), command);
        let status = process.wait(PATIENCE);
        let log = process.log();
        assert_eq!(status.code(), Some(code), "{command:?}: {log}");
        for word in words {
            assert!(log.contains(word), "no `{word}` in: {log}");
        }
        assert!(!log.contains("panicked"), "{log}");
        say(log
            .lines()
            .find(|line| line.contains(':'))
            .unwrap_or_default());
    }
}

fn netbackend(arguments: &[&str]) -> Command {
    let mut command = Command::new(programs::netbackend());
    command.args(arguments);
    command
}

#[test]
fn bad_command_lines() {
    let bench = Bench::new();
    let vmm = |arguments: &[&str]| {
        let mut command = bench.vmm();
        command.args(arguments);
        command
    };
    bench.refused(
        Command::new(programs::vmm()).arg("run"),
        USAGE,
        &["--kernel"],
    );
    bench.refused(&mut vmm(&["--bogus"]), USAGE, &["--bogus"]);
    bench.refused(&mut vmm(&["--cpus", "0"]), USAGE, &["--cpus", "1..="]);
    bench.refused(&mut vmm(&["--memory", "512X"]), USAGE, &["512X", "512M"]);
    bench.refused(&mut vmm(&["--memory", "0"]), FAILED, &["memory", "2 MiB"]);
    bench.refused(&mut vmm(&["--disk", "size=1"]), USAGE, &["`size`", "path"]);
    bench.refused(&mut vmm(&["--net", "mac=1"]), USAGE, &["mac=1", "52:54:00"]);
    bench.refused(
        &mut vmm(&["--net", "network=a,socket=/b"]),
        USAGE,
        &["network=NAME, socket=PATH"],
    );
    bench.refused(
        &mut vmm(&["--net", "network=a,model=tulip"]),
        USAGE,
        &["tulip", "use one of virtio"],
    );
    let socket = "socket=/nowhere";
    let many: Vec<&str> = std::iter::repeat_n(["--net", socket], 40)
        .flatten()
        .collect();
    bench.refused(&mut vmm(&many), USAGE, &["31 slots"]);
    bench.refused(&mut netbackend(&["--bogus"]), USAGE, &["--bogus"]);
    bench.refused(&mut netbackend(&["port", "add"]), USAGE, &["NETWORK"]);
}

#[test]
fn bad_configurations() {
    let bench = Bench::new();
    for (text, words) in [
        ("hello", &[":1:", "TOML"][..]),
        ("[networks.lan]\nmood = 1\n", &[":2:", "mood"]),
        (
            "[networks.lan]\nmode = \"hub\"\n",
            &[":2:", "hub", "bridge"],
        ),
        (
            "[networks.lan]\nmode = \"nat\"\nforwards = [\"tcp:0=web\"]\n",
            &[":3:", "forwards", "port from 1 to 65535"],
        ),
        ("[networks.lan]\nmtu = 7\n", &[":2:", "mtu", "68"]),
        ("[networks.lan.ports.x]\nkind = \"tap\"\n", &["interface"]),
        (
            "[networks.lan.ports.x]\nmac = \"ff:ff:ff:ff:ff:ff\"\n",
            &[":2:", "mac"],
        ),
    ] {
        let file = bench.file("bad.toml", text.as_bytes());
        let mut command = netbackend(&["--runtime-dir"]);
        command.arg(bench.path("run")).arg("--config").arg(&file);
        bench.refused(&mut command, USAGE, words);
        let mut check = netbackend(&["check-config"]);
        bench.refused(check.arg(&file), USAGE, words);
        assert!(!bench.path("run").exists(), "nothing was opened");
    }
    let mut command = netbackend(&["--config", "/nonexistent/netbackend.toml"]);
    bench.refused(&mut command, USAGE, &["/nonexistent/netbackend.toml"]);
}

#[test]
fn bad_kernels_and_initramfs() {
    let bench = Bench::new();
    let missing = bench.path("missing");
    bench.refused(
        &mut Bench::vmm_with_kernel(&missing),
        FAILED,
        &["missing", "No such file"],
    );
    let text = bench.file("text", b"#!/bin/sh\n");
    bench.refused(
        &mut Bench::vmm_with_kernel(&text),
        FAILED,
        &["text", "bzImage"],
    );
    let image = fs::read(&bench.kernel).expect("the stock kernel");
    let cut = bench.file("cut", &image[..image.len() / 2]);
    bench.refused(&mut Bench::vmm_with_kernel(&cut), FAILED, &["cut off"]);
    let mut elf = b"\x7fELF\x02\x01\x01\0".to_vec();
    elf.resize(4096, 0xff);
    let elf = bench.file("garbage.elf", &elf);
    bench.refused(&mut Bench::vmm_with_kernel(&elf), FAILED, &["garbage.elf"]);
    bench.refused(
        bench.vmm().arg("--initrd").arg(&missing),
        FAILED,
        &["initrd", "missing"],
    );
}

#[test]
fn bad_disk_images() {
    let bench = Bench::new();
    let disk = |path: &Path| {
        let mut command = bench.vmm();
        command
            .arg("--disk")
            .arg(format!("path={}", path.display()));
        command
    };
    bench.refused(
        &mut disk(&bench.path("gone.img")),
        FAILED,
        &["gone.img", "does not exist"],
    );
    bench.refused(
        &mut disk(bench.directory.path()),
        FAILED,
        &["disk image", "irectory"],
    );
    let short = bench.file("short.img", b"x");
    bench.refused(&mut disk(&short), FAILED, &["short.img", "sector"]);
    if !needs_root("bad_disk_images, read-only image") {
        return;
    }
    // Root may write to any file, except on a file system that is mounted read-only.
    let image = bench.file("ro.img", &[0; 4096]);
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec {1} run --kernel {2} --disk path={0}",
        image.display(),
        programs::vmm().display(),
        bench.kernel.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    bench.refused(
        &mut command,
        FAILED,
        &["ro.img", "not writable", "readonly=on"],
    );
}

#[test]
fn missing_kvm() {
    if !needs_root("missing_kvm") {
        return;
    }
    let bench = Bench::new();
    let script = format!(
        "mount -t tmpfs none /dev && exec {} \"$@\"",
        programs::vmm().display()
    );
    let vmm_without_dev = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script, "sh"])
            .args(arguments);
        command
    };
    let kernel = bench.kernel.display().to_string();
    let run = ["run", "--kernel", &kernel];
    bench.refused(&mut vmm_without_dev(&run), FAILED, &["/dev/kvm"]);
    bench.refused(
        &mut vmm_without_dev(&["check"]),
        FAILED,
        &["/dev/kvm", "cannot run"],
    );
}

#[test]
fn busy_stale_and_missing_sockets() {
    let _turn = heavy();
    let bench = Bench::new();
    let net = |source: &str| {
        let mut command = bench.vmm();
        command.args(["--net", source]);
        command
    };
    let missing = bench.path("missing.sock");
    let missing = format!("socket={}", missing.display());
    bench.refused(
        &mut net(&missing),
        FAILED,
        &["missing.sock", "no vhost-user socket"],
    );
    // A stale socket: its listener is gone, the file is not.
    let stale = bench.path("stale.sock");
    drop(UnixListener::bind(&stale).expect("a socket"));
    let stale_net = format!("socket={}", stale.display());
    bench.refused(
        &mut net(&stale_net),
        FAILED,
        &["stale.sock", "nobody listens"],
    );
    let mut status = netbackend(&["status", "--control-socket"]);
    bench.refused(
        status.arg(&stale),
        FAILED,
        &["stale.sock", "no netbackend is running"],
    );

    let daemon = Daemon::start("[networks.lan.ports.a]\n");
    let socket = daemon.socket("lan", "a");
    // A front-end has the port already: another one is told so instead of waiting for ever.
    let _first = UnixStream::connect(&socket).expect("the port listens");
    let busy = format!("socket={}", socket.display());
    bench.refused(&mut net(&busy), FAILED, &["a.sock"]);
    // A second daemon on the same sockets leaves the first alone.
    let mut second = netbackend(&["--runtime-dir"]);
    second.arg(daemon.directory().join("run"));
    bench.refused(
        &mut second,
        FAILED,
        &["another netbackend", "--runtime-dir"],
    );
    assert!(socket.exists());
    assert_eq!(daemon.network("lan").ports.len(), 1);
    // What is not there.
    let control = daemon.directory().join("run/control.sock");
    let mut unknown = net("network=dmz");
    unknown.arg("--control-socket").arg(&control);
    bench.refused(&mut unknown, FAILED, &["dmz"]);
    assert!(daemon.stop().success());
}

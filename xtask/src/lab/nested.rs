//! The nested host: QEMU emulating a CPU with SVM, our initramfs as its system.
use super::{Files, Options, RunDirectory, Scenario};
use crate::exec;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Until the host's init runs: 5 s on an idle machine, much more on a busy one.
const BOOT_TIME: Duration = Duration::from_mins(2);
/// Everything that QEMU can emulate, SVM with nested paging above all. Without 5-level paging: a
/// nested page walk then takes 24 steps instead of 35. Without fast short strings (ERMS, FSRM): kernels then copy eight
/// bytes a step, where `rep movsb` is emulated byte by byte (TCP to an e1000: 98 and 167 Mb/s).
pub(crate) const CPU_MODEL: &str = "max,la57=off,erms=off,fsrm=off";
/// A scenario reports each thing it does; none takes this long.
const STALL: Duration = Duration::from_mins(4);
/// What `vmm` says of it.
const TRIPLE_FAULT: &str = "triple fault";
/// Size of the disk that carries the logs home.
const LOG_DISK_BYTES: u64 = 64 << 20;

/// The emulated machine failed, not what ran on it.
///
/// QEMU's emulation of SVM delivers, rarely, an interrupt to the host between #VMEXIT and the VMLOAD that
/// brings back the host's GS base, though GIF is clear then (`RIP: __svm_vcpu_run`, vector 0xFD): the host's
/// kernel runs out of stack in page faults. What else is seen at the same rate, with `vmm` and with
/// other back-ends than ours alike, are guests that end in a triple fault and hosts that stand still.
#[derive(Debug)]
pub(super) enum EmulatorFault {
    HostPanic(String),
    TripleFault,
    Stall(Duration),
}

impl std::fmt::Display for EmulatorFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HostPanic(line) => write!(f, "the lab host's kernel panicked: {line}"),
            Self::TripleFault => f.write_str("a guest ended in a triple fault"),
            Self::Stall(time) => write!(f, "the lab host was silent for {} s", time.as_secs()),
        }
    }
}

impl std::error::Error for EmulatorFault {}

/// Kills QEMU when we leave early.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn run(
    scenario: &Scenario,
    options: &Options,
    files: &Files,
    directory: &RunDirectory,
    sink: &mut dyn FnMut(&str),
) -> Result<i32> {
    let disk = directory.root.join("logs.img");
    File::create(&disk)?.set_len(LOG_DISK_BYTES)?;
    let mut parameters = format!(
        "quiet loglevel=3 scenario={} timeout_s={}",
        scenario.name,
        scenario.timeout.as_secs()
    );
    if options.patience > 1 {
        write!(parameters, " patience={}", options.patience)?;
    }
    // The kernel hands words that it does not know to init, as environment.
    for (key, value) in &options.settings {
        write!(parameters, " {key}={value}")?;
    }
    let mut command = qemu(options, files, &parameters)?;
    command
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(directory.root.join("qemu.log"))?);
    let mut qemu = Qemu(command.spawn().context("cannot start qemu-system-x86_64")?);
    let stdout = qemu
        .0
        .stdout
        .take()
        .context("QEMU has no standard output")?;
    let lines = read_lines(stdout);
    let mut console = File::create(&directory.console)?;
    let deadline = Instant::now() + BOOT_TIME + scenario.timeout;
    let stall = STALL * options.patience;
    let mut last_words = Vec::new();
    let mut verdict = None;
    let mut triple_fault = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left.min(stall)) {
            Ok(line) => {
                writeln!(console, "{line}")?;
                if let Some(code) = line.strip_prefix("LAB-VERDICT ") {
                    verdict = code.trim().parse().ok();
                } else if line.contains("Kernel panic") {
                    return Err(EmulatorFault::HostPanic(line).into());
                }
                triple_fault |= line.contains(TRIPLE_FAULT);
                sink(&line);
                last_words.push(line);
            }
            Err(RecvTimeoutError::Timeout) if left > stall => {
                return Err(EmulatorFault::Stall(stall).into());
            }
            Err(RecvTimeoutError::Timeout) => bail!(
                "no verdict within {} s; the last it said:\n{}",
                (BOOT_TIME + scenario.timeout).as_secs(),
                tail(&last_words)
            ),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    extract(&disk, directory);
    if triple_fault && verdict != Some(0) {
        return Err(EmulatorFault::TripleFault.into());
    }
    verdict.with_context(|| {
        let qemu_log = fs::read_to_string(directory.root.join("qemu.log")).unwrap_or_default();
        format!(
            "the lab host stopped without a verdict; the last it said:\n{}\n{qemu_log}",
            tail(&last_words)
        )
    })
}

pub(super) fn shell(options: &Options, files: &Files) -> Result<()> {
    let mut command = qemu(options, files, "quiet scenario=shell timeout_s=0")?;
    command.args(["-display", "none", "-serial", "mon:stdio"]);
    exec::run_visible(&mut command)?;
    Ok(())
}

fn qemu(options: &Options, files: &Files, parameters: &str) -> Result<Command> {
    let initrd = files
        .host_initrd
        .as_ref()
        .context("the lab host's image was not built")?;
    let emulator = files
        .emulator
        .as_ref()
        .context("there is no emulator for the lab host")?;
    let mut command = emulator.command();
    command
        .args(["-nodefaults", "-no-reboot", "-cpu", &options.cpu_model])
        .args(["-machine", "q35,accel=tcg"])
        .args(["-smp", &options.cpus.to_string()])
        .args(["-m", &options.memory_mib.to_string()])
        .arg("-kernel")
        .arg(&files.host_kernel)
        .arg("-initrd")
        .arg(initrd)
        .arg("-append")
        // Mitigations guard nothing here and cost half of the emulated CPU's time. The emulator has one time stamp counter for all CPUs,
        // but a kernel that tests this while they wait for each other may find otherwise, and its guests' timers then go by one that it
        // keeps setting.
        .arg(format!(
            "console=ttyS0 panic=-1 mitigations=off tsc=reliable {parameters}"
        ));
    Ok(command)
}

fn read_lines(stdout: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        // Serial consoles are not always UTF-8 (a guest's first bytes are noise).
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']).trim_start_matches('\r');
            if sender.send(text.to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn extract(disk: &std::path::Path, directory: &RunDirectory) {
    // A host that died early left an empty disk: then the console is all there is.
    let _ = exec::run(
        Command::new("tar")
            .args(["--extract", "--ignore-zeros", "--no-same-owner", "--file"])
            .arg(disk)
            .arg("-C")
            .arg(&directory.logs),
    );
    let _ = fs::remove_file(disk);
}

fn tail(lines: &[String]) -> String {
    exec::last_lines(&lines.join("\n"), 15)
}

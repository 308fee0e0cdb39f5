//! Hand-made guests of a few instructions, and running them.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

/// Where the code is loaded and entered, in 64-bit mode.
const ENTRY: u64 = 0x10_0000;

/// An ELF executable with one segment.
pub(crate) fn elf(code: &[u8]) -> Vec<u8> {
    let size = code.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2u16, 62] {
        image.extend(half.to_le_bytes()); // executable, x86-64
    }
    image.extend(1u32.to_le_bytes());
    for word in [ENTRY, 64, 0] {
        image.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    image.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    image.extend(1u32.to_le_bytes()); // PT_LOAD
    image.extend(7u32.to_le_bytes());
    for word in [120, ENTRY, ENTRY, size, size, 0x1000] {
        image.extend(word.to_le_bytes()); // file offset, addresses, sizes, alignment
    }
    image.extend(code);
    image
}

/// Prints the text behind the code to COM1.
const PRINT: [u8; 20] = [
    0xBA, 0xF8, 0x03, 0, 0, // mov edx, 0x3f8
    0x48, 0x8D, 0x35, 0, 0, 0, 0,    // lea rsi, [rip + text], patched below
    0xAC, // lodsb
    0x84, 0xC0, // test al, al
    0x74, 0x03, // jz behind the loop
    0xEE, // out dx, al
    0xEB, 0xF8, // jmp lodsb
];

/// Prints `text`, then runs `end`.
pub(crate) fn printing(text: &str, end: &[u8]) -> Vec<u8> {
    let mut code = PRINT.to_vec();
    let behind_lea = 12;
    let distance = u32::try_from(PRINT.len() + end.len() - behind_lea).unwrap();
    code[8..12].copy_from_slice(&distance.to_le_bytes());
    code.extend(end);
    code.extend(text.as_bytes());
    code.push(0);
    code
}

/// mov dx, port; mov ax, value; out dx, ax; hlt; jmp hlt
fn out16(port: u16, value: u16) -> Vec<u8> {
    let [p0, p1] = port.to_le_bytes();
    let [v0, v1] = value.to_le_bytes();
    vec![
        0x66, 0xBA, p0, p1, 0x66, 0xB8, v0, v1, 0x66, 0xEF, 0xF4, 0xEB, 0xFD,
    ]
}

/// mov dx, port; mov al, value; out dx, al; hlt; jmp hlt
pub(crate) fn out8(port: u16, value: u8) -> Vec<u8> {
    let [p0, p1] = port.to_le_bytes();
    vec![0x66, 0xBA, p0, p1, 0xB0, value, 0xEE, 0xF4, 0xEB, 0xFD]
}

/// SLP_TYP 5 and SLP_EN into PM1a_CNT.
pub(crate) fn power_off() -> Vec<u8> {
    out16(0x604, 0x3400)
}

/// A guest in a directory of its own.
pub(crate) struct Guest {
    dir: TempDir,
}

impl Guest {
    pub(crate) fn new(code: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kernel"), elf(code)).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `vmm run` of this guest.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmm"));
        command
            .args(["run", "--memory", "64M", "--kernel"])
            .arg(self.path("kernel"))
            .args(args);
        command
    }

    /// Runs it to its end, without input.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }
}

/// Runs only where KVM is; says so where it is not (past the capture of test output).
pub(crate) fn kvm() -> bool {
    let there = Path::new("/dev/kvm").exists();
    if !there {
        let _ = writeln!(io::stderr(), "NOT RUN: this machine has no /dev/kvm");
    }
    there
}

/// Waits until `done` holds.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        thread::yield_now();
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A `vmm` that is killed if the test panics.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    }

    /// The exit code, once it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        wait_until("vmm ends", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap().code()
    }
}

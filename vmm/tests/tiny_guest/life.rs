//! Hand-made guests of a few instructions on the KVM of this machine: they need neither svm nor vmx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Where the code is loaded and entered, in 64-bit mode.
const ENTRY: u64 = 0x10_0000;

/// An ELF executable with one segment.
fn elf(code: &[u8]) -> Vec<u8> {
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
fn printing(text: &str, end: &[u8]) -> Vec<u8> {
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
fn out8(port: u16, value: u8) -> Vec<u8> {
    let [p0, p1] = port.to_le_bytes();
    vec![0x66, 0xBA, p0, p1, 0xB0, value, 0xEE, 0xF4, 0xEB, 0xFD]
}

/// SLP_TYP 5 and SLP_EN into PM1a_CNT.
fn power_off() -> Vec<u8> {
    out16(0x604, 0x3400)
}

struct Guest {
    dir: TempDir,
}

impl Guest {
    fn new(code: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kernel"), elf(code)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vmm"))
            .args(["run", "--memory", "64M", "--kernel"])
            .arg(self.path("kernel"))
            .args(args)
            .output()
            .unwrap()
    }
}

/// Runs only where KVM is; says so where it is not.
fn kvm() -> bool {
    let there = Path::new("/dev/kvm").exists();
    if !there {
        println!("NOT RUN: this machine has no /dev/kvm");
    }
    there
}

/// Waits until the console log holds exactly `text`.
fn wait_for(log: &Path, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(log).unwrap_or_default() != text {
        assert!(
            Instant::now() < deadline,
            "the guest did not print {text:?}"
        );
        thread::yield_now();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_guest_prints_and_switches_off() {
    if !kvm() {
        return;
    }
    let output = Guest::new(&printing("hello from the guest", &power_off())).run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "hello from the guest");
}

#[test]
fn the_serial_console_can_be_a_file() {
    if !kvm() {
        return;
    }
    let guest = Guest::new(&printing("into a file", &power_off()));
    let log = guest.path("console.log");
    let output = guest.run(&["--serial", &format!("file={}", log.display())]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(fs::read_to_string(log).unwrap(), "into a file");
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_triple_fault_is_a_crash_with_its_own_exit_code() {
    if !kvm() {
        return;
    }
    let output = Guest::new(&[0x0F, 0x0B]).run(&[]); // ud2 without an IDT
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("triple fault"),
        "{output:?}"
    );
}

#[test]
fn reset_ends_the_run_when_asked_to_and_boots_again_otherwise() {
    if !kvm() {
        return;
    }
    for reset in [out8(0x606, 6), out8(0x64, 0xFE)] {
        let output = Guest::new(&printing("once", &reset)).run(&["--no-reboot"]);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(0), "once")
        );
    }
    // The first kernel resets for ever; once it was seen, another takes its place, which only a boot after a reset can show.
    let guest = Guest::new(&printing("first,", &out8(0x606, 6)));
    let log = guest.path("console.log");
    let mut vmm = Command::new(env!("CARGO_BIN_EXE_vmm"))
        .args(["run", "--memory", "64M", "--kernel"])
        .arg(guest.path("kernel"))
        .arg("--serial")
        .arg(format!("file={}", log.display()))
        .spawn()
        .unwrap();
    wait_for(&log, "first,");
    let next = guest.path("next");
    fs::write(&next, elf(&printing("second", &power_off()))).unwrap();
    fs::rename(&next, guest.path("kernel")).unwrap();
    assert_eq!(vmm.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(log).unwrap(), "second");
}

#[test]
fn sigterm_stops_a_running_guest_in_order() {
    if !kvm() {
        return;
    }
    let guest = Guest::new(&printing("up", &[0xF4, 0xEB, 0xFD])); // hlt for ever
    let log = guest.path("console.log");
    let mut vmm = Command::new(env!("CARGO_BIN_EXE_vmm"))
        .args(["run", "--memory", "64M", "--cpus", "2", "--kernel"])
        .arg(guest.path("kernel"))
        .arg("--serial")
        .arg(format!("file={}", log.display()))
        .spawn()
        .unwrap();
    wait_for(&log, "up");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(vmm.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(vmm.wait().unwrap().code(), Some(0));
}

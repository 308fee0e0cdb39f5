//! What a person gets wrong: each mistake has an error that names the thing and an exit code that is not zero.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Runs `vmm` and returns its exit code and standard error.
fn vmm(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vmm"))
        .args(args)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn refused(args: &[&str], code: i32, says: &[&str]) {
    let (status, error) = vmm(args);
    assert_eq!(status, Some(code), "{args:?}: {error}");
    for text in says {
        assert!(
            error.contains(text),
            "{args:?} should say {text:?}, says: {error}"
        );
    }
}

/// A kernel that is good enough to come to the checks behind it: an ELF file with one byte of code at 1 MiB.
fn kernel(dir: &TempDir) -> PathBuf {
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0x10_0000u64, 64, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend([
        0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0,
    ]);
    for word in [120u64, 0x10_0000, 0x10_0000, 1, 1, 0x1000] {
        image.extend(word.to_le_bytes());
    }
    image.push(0xF4);
    write(dir, "kernel", &image)
}

fn write(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn command_lines() {
    for (args, says) in [
        (&["run"][..], "--kernel"),
        (&["walk"], "walk"),
        (&["run", "--kernel", "k", "--cpus", "0"], "--cpus"),
        (&["run", "--kernel", "k", "--cpus", "65"], "--cpus"),
        (&["run", "--kernel", "k", "--memory", "much"], "much"),
        (
            &["run", "--kernel", "k", "--net", "network=a,model=i82557b"],
            "model",
        ),
        (&["run", "--kernel", "k", "--net", "speed=9"], "speed"),
        (&["run", "--kernel", "k", "--disk", "readonly=on"], "path"),
        (&["run", "--kernel", "k", "--serial", "tcp"], "tcp"),
    ] {
        refused(args, 2, &[says]);
    }
}

#[test]
fn more_devices_than_slots() {
    let mut args = vec!["run", "--kernel", "k"];
    for _ in 0..32 {
        args.extend(["--net", "socket=/nowhere"]);
    }
    refused(&args, 2, &["33", "31", "32 --net"]);
}

#[test]
fn kernels() {
    let dir = tempfile::tempdir().unwrap();
    let mut bzimage = vec![0; 4096];
    bzimage[0x1F1] = 4;
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    let truncated_elf = fs::read(kernel(&dir)).unwrap()[..100].to_vec();
    let mut cut_off = bzimage.clone();
    cut_off[0x211] = 1; // loadflags: loaded high
    cut_off[0x236] = 1; // xloadflags: 64-bit entry
    cut_off[0x1F4..0x1F8].copy_from_slice(&1000u32.to_le_bytes()); // syssize, in 16 bytes
    let mut huge = cut_off.clone();
    huge.resize(32 << 10, 0);
    huge[0x260..0x264].copy_from_slice(&(600u32 << 20).to_le_bytes()); // init_size
    let mut arm = fs::read(kernel(&dir)).unwrap();
    arm[18] = 183;
    for (name, bytes, says) in [
        ("empty", &[][..], "not a bootable"),
        ("text", b"#!/bin/sh\necho no kernel\n", "not a bootable"),
        ("headless", &bzimage, "not a bootable"),
        ("truncated", &truncated_elf, "not a bootable"),
        ("cut-off", &cut_off, "1536 of 16000 bytes"),
        ("huge", &huge, "needs 601 MiB of guest memory"),
        ("arm", &arm, "another processor"),
        ("noise", &vec![0x55; 100_000], "not a bootable"),
    ] {
        let path = write(&dir, name, bytes);
        refused(&["run", "--kernel", text(&path)], 1, &[says, name]);
    }
    refused(
        &["run", "--kernel", "/nonexistent/bzImage"],
        1,
        &["/nonexistent/bzImage", "No such file"],
    );
    refused(&["run", "--kernel", "/"], 1, &["kernel", "directory"]);
    refused(
        &["run", "--kernel", "/dev/null"],
        1,
        &["/dev/null", "not a regular file"],
    );
}

#[test]
fn initrds_and_command_lines_of_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = kernel(&dir);
    let run = ["run", "--memory", "64M", "--kernel", text(&kernel)];
    let with = |more: &[&str], says: &[&str]| refused(&[&run[..], more].concat(), 1, says);
    with(
        &["--initrd", "/nonexistent/initrd"],
        &["initrd", "/nonexistent/initrd"],
    );
    let big = dir.path().join("big");
    File::create(&big).unwrap().set_len(65 << 20).unwrap();
    with(&["--initrd", text(&big)], &["does not fit", "--memory"]);
    with(&["--cmdline", &"x".repeat(4000)], &["4000", "longer"]);
}

#[test]
fn memory_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = kernel(&dir);
    for size in ["1M", "33M", "1000G"] {
        refused(
            &["run", "--kernel", text(&kernel), "--memory", size],
            1,
            &["multiple of 2 MiB"],
        );
    }
}

#[test]
fn disks() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = kernel(&dir);
    let missing = format!("path={}/no.img", dir.path().display());
    let disk = |arg: &str| {
        [
            "run",
            "--memory",
            "64M",
            "--kernel",
            text(&kernel),
            "--disk",
            arg,
        ]
        .map(str::to_owned)
    };
    let refused =
        |args: [String; 7], says: &[&str]| refused(&args.each_ref().map(String::as_str), 1, says);
    refused(disk(&missing), &["no.img", "does not exist"]);
    let tiny = write(&dir, "tiny.img", &[0; 100]);
    refused(
        disk(&format!("path={}", tiny.display())),
        &["tiny.img", "smaller than one sector"],
    );
}

#[test]
fn networks_that_nobody_serves() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = kernel(&dir);
    let nowhere = dir.path().join("no.sock");
    let socket = format!("socket={}", nowhere.display());
    let run = [
        "run",
        "--memory",
        "64M",
        "--kernel",
        text(&kernel),
        "--control-socket",
        text(&nowhere),
    ];
    refused(&[&run[..], &["--net", &socket]].concat(), 1, &["no.sock"]);
    refused(
        &[&run[..], &["--net", "network=lan"]].concat(),
        1,
        &["lan", "no.sock", "netbackend"],
    );
}

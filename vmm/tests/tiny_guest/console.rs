//! The serial console on standard streams: a terminal, its escape keys, and readers that stall.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Stdio},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    pty::openpty,
    sys::termios::{LocalFlags, Termios, tcgetattr},
};

use crate::support::{Guest, Running, kvm, printing, stdout, wait_until};

/// hlt for ever
const SLEEP: [u8; 3] = [0xF4, 0xEB, 0xFD];

/// Echoes four bytes from COM1 and switches off.
fn echo() -> Vec<u8> {
    let mut code = vec![0xB9, 4, 0, 0, 0]; // mov ecx, 4
    code.extend([
        0x66, 0xBA, 0xFD, 0x03, // mov dx, 0x3fd (line status)
        0xEC, 0xA8, 0x01, 0x74, 0xFB, // in al, dx; test al, 1; jz in
        0x66, 0xBA, 0xF8, 0x03, // mov dx, 0x3f8
        0xEC, 0xEE, // in al, dx; out dx, al
        0xFF, 0xC9, 0x75, 0xED, // dec ecx; jnz line status
    ]);
    code.extend([0x66, 0xBA, 0x04, 0x06, 0x66, 0xB8, 0x00, 0x34, 0x66, 0xEF]); // power off
    code.extend(SLEEP);
    code
}

/// A guest whose standard input is a terminal; the person's end of it.
fn at_a_terminal(guest: &Guest) -> (Running, File, OwnedFd) {
    let pty = openpty(None, None).unwrap();
    let vmm = guest
        .command(&[])
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (Running(vmm), File::from(pty.master), pty.slave)
}

fn is_raw(terminal: &OwnedFd) -> bool {
    let settings = tcgetattr(terminal).unwrap();
    !settings
        .local_flags
        .intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
}

/// What of the settings a person would miss.
fn visible(settings: &Termios) -> String {
    let Termios {
        input_flags,
        output_flags,
        local_flags,
        control_chars,
        ..
    } = settings;
    format!("{input_flags:?} {output_flags:?} {local_flags:?} {control_chars:?}")
}

#[test]
fn what_a_person_types_reaches_the_guest() {
    if !kvm() {
        return;
    }
    let guest = Guest::new(&echo());
    let mut vmm = guest
        .command(&[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    vmm.stdin.take().unwrap().write_all(b"abcd").unwrap();
    let output = vmm.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "abcd");
}

#[test]
fn the_terminal_is_raw_while_the_guest_runs_and_restored_after_each_kind_of_end() {
    if !kvm() {
        return;
    }
    let crash = [0x0F, 0x0B]; // ud2 without an IDT
    let until_key = {
        // Waits for a key, then goes on behind.
        let mut code = vec![0x66, 0xBA, 0xFD, 0x03, 0xEC, 0xA8, 0x01, 0x74, 0xFB];
        code.extend(crash);
        code
    };
    for (code, keys, expected) in [
        (&SLEEP[..], Some(&b"\x01x"[..]), 0),
        (&SLEEP[..], None, 0), // SIGTERM
        (&until_key[..], Some(b"k"), 3),
    ] {
        let guest = Guest::new(code);
        let (mut vmm, mut keyboard, terminal) = at_a_terminal(&guest);
        let before = visible(&tcgetattr(&terminal).unwrap());
        wait_until("the terminal is raw", || is_raw(&terminal));
        match keys {
            Some(keys) => keyboard.write_all(keys).unwrap(),
            None => vmm.terminate(),
        }
        assert_eq!(vmm.ended(), Some(expected));
        assert_eq!(visible(&tcgetattr(&terminal).unwrap()), before);
    }
}

#[test]
fn the_quit_key_works_though_the_guest_reads_nothing() {
    if !kvm() {
        return;
    }
    let guest = Guest::new(&SLEEP);
    let (mut vmm, mut keyboard, terminal) = at_a_terminal(&guest);
    wait_until("the terminal is raw", || is_raw(&terminal));
    // More than the FIFO of a 16550 takes.
    keyboard.write_all(&[b'k'; 300]).unwrap();
    keyboard.write_all(b"\x01h\x01x").unwrap();
    assert_eq!(vmm.ended(), Some(0));
    let mut help = String::new();
    vmm.0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut help)
        .unwrap();
    assert!(help.contains("Ctrl-A x"), "{help}");
}

#[test]
fn sigterm_works_while_nobody_takes_the_output() {
    if !kvm() {
        return;
    }
    // mov edx, 0x3f8; mov al, '.'; out dx, al; jmp out
    let guest = Guest::new(&[0xBA, 0xF8, 0x03, 0, 0, 0xB0, b'.', 0xEE, 0xEB, 0xFD]);
    let vmm = guest
        .command(&["--cpus", "2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut vmm = Running(vmm);
    let pipe = vmm.0.stdout.take().unwrap();
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    wait_until("the vCPU is stuck in write(2)", || {
        is_writing_to_a_pipe(&vmm.0)
    });
    vmm.terminate();
    assert_eq!(vmm.ended(), Some(0));
}

/// Whether a thread sleeps in write(2) to a pipe: system call 1 (proc(5), /proc/pid/syscall).
fn is_writing_to_a_pipe(vmm: &Child) -> bool {
    let process = Path::new("/proc").join(vmm.id().to_string());
    let Ok(tasks) = fs::read_dir(process.join("task")) else {
        return false;
    };
    tasks.flatten().any(|task| {
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let fd = call
            .strip_prefix("1 0x")
            .and_then(|arguments| arguments.split(' ').next())
            .and_then(|fd| u32::from_str_radix(fd, 16).ok());
        let Some(fd) = fd else { return false };
        fs::read_link(process.join("fd").join(fd.to_string()))
            .is_ok_and(|file| file.to_string_lossy().starts_with("pipe:"))
    })
}

#[test]
fn a_serial_log_that_cannot_be_written_is_named() {
    let guest = Guest::new(&printing("x", &SLEEP));
    let output = guest.run(&["--serial", "file=/nonexistent/console.log"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("/nonexistent/console.log"), "{error}");
}

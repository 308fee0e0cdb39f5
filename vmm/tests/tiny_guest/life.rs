//! A guest's life: it prints, switches off, resets, crashes or is stopped.

use std::fs;

use crate::support::{Guest, Running, elf, kvm, out8, power_off, printing, stdout, wait_until};

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
    let vmm = guest
        .command(&["--serial", &format!("file={}", log.display())])
        .spawn()
        .unwrap();
    let mut vmm = Running(vmm);
    let printed = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("the first kernel boots twice", || {
        printed().starts_with("first,first,")
    });
    let next = guest.path("next");
    fs::write(&next, elf(&printing("second", &power_off()))).unwrap();
    fs::rename(&next, guest.path("kernel")).unwrap();
    assert_eq!(vmm.ended(), Some(0));
    let all = printed();
    let boots = all.strip_suffix("second").unwrap();
    assert_eq!(boots.replace("first,", ""), "", "{all}");
}

#[test]
fn sigterm_stops_a_running_guest_in_order() {
    if !kvm() {
        return;
    }
    let guest = Guest::new(&printing("up", &[0xF4, 0xEB, 0xFD])); // hlt for ever
    let log = guest.path("console.log");
    let vmm = guest
        .command(&[
            "--cpus",
            "2",
            "--serial",
            &format!("file={}", log.display()),
        ])
        .spawn()
        .unwrap();
    let mut vmm = Running(vmm);
    wait_until("the guest prints", || {
        fs::read_to_string(&log).unwrap_or_default() == "up"
    });
    vmm.terminate();
    assert_eq!(vmm.ended(), Some(0));
}

#[test]
fn sigterm_ends_a_guest_that_resets_for_ever() {
    if !kvm() {
        return;
    }
    // Whatever the machine is doing (being built, running, being torn down), the signal is not forgotten.
    for boots in 1..8 {
        let guest = Guest::new(&printing("x", &out8(0x606, 6)));
        let log = guest.path("console.log");
        let vmm = guest
            .command(&["--serial", &format!("file={}", log.display())])
            .spawn()
            .unwrap();
        let mut vmm = Running(vmm);
        wait_until("the guest boots", || {
            fs::metadata(&log).is_ok_and(|log| log.len() >= boots)
        });
        vmm.terminate();
        assert_eq!(vmm.ended(), Some(0));
    }
}

#[test]
fn string_output_reaches_the_device_byte_by_byte() {
    if !kvm() {
        return;
    }
    let end = power_off();
    let text = b"one rep outsb";
    // mov edx, 0x3f8; lea rsi, [rip + text]; mov ecx, length; rep outsb
    let mut code = vec![0xBA, 0xF8, 0x03, 0, 0, 0x48, 0x8D, 0x35];
    code.extend(u32::try_from(7 + end.len()).unwrap().to_le_bytes());
    code.push(0xB9);
    code.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    code.extend([0xF3, 0x6E]);
    code.extend(end);
    code.extend(text);
    let output = Guest::new(&code).run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "one rep outsb");
}

#[test]
fn string_input_reads_every_element() {
    if !kvm() {
        return;
    }
    // COM1 in loopback mode receives what it sends: "abcd", read back by one instruction. Then the copies are printed.
    let mut code = vec![
        0x66, 0xBA, 0xFC, 0x03, 0xB0, 0x10,
        0xEE, // mov dx, 0x3fc; mov al, 0x10 (loopback); out dx, al
        0x66, 0xBA, 0xF8, 0x03, // mov dx, 0x3f8
    ];
    for byte in *b"abcd" {
        code.extend([0xB0, byte, 0xEE]); // mov al, byte; out dx, al
    }
    code.extend([
        0xBF, 0, 0, 0x20, 0, 0xB9, 4, 0, 0, 0, // mov edi, 0x200000; mov ecx, 4
        0xF3, 0x6C, // rep insb
        0x66, 0xBA, 0xFC, 0x03, 0xB0, 0x00, 0xEE, // mov dx, 0x3fc; mov al, 0; out dx, al
        0xBE, 0, 0, 0x20, 0, 0xB9, 4, 0, 0, 0, // mov esi, 0x200000; mov ecx, 4
        0x66, 0xBA, 0xF8, 0x03, 0xF3, 0x6E, // mov dx, 0x3f8; rep outsb
    ]);
    code.extend(power_off());
    let output = Guest::new(&code).run(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), "abcd");
}

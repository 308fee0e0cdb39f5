//! The archive as the tool everybody has reads it.
use super::Writer;
use std::io::Write;
use std::process::{Command, Stdio};

fn sample() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.directory("bin").unwrap();
    writer.file("bin/tool", 0o755, 5, &b"12345"[..]).unwrap();
    writer.symlink("init", "bin/tool").unwrap();
    writer.finish().unwrap()
}

#[test]
fn every_member_starts_on_a_multiple_of_four() {
    let archive = sample();
    let starts: Vec<usize> = archive
        .windows(6)
        .enumerate()
        .filter(|(_, bytes)| bytes == b"070701")
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(starts.len(), 4, "three members and the trailer");
    assert!(starts.iter().all(|start| start % 4 == 0), "{starts:?}");
    assert_eq!(archive.len() % 4, 0);
}

#[test]
fn a_file_shorter_than_announced_is_an_error() {
    let mut writer = Writer::new(Vec::new());
    let error = writer.file("f", 0o644, 6, &b"12345"[..]).unwrap_err();
    assert!(
        error.to_string().contains("5 bytes instead of 6"),
        "{error}"
    );
}

#[test]
fn busybox_lists_and_extracts_the_archive() {
    let mut busybox = match Command::new("busybox")
        .args(["cpio", "-itv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIP: no busybox on this machine ({error})");
            return;
        }
    };
    busybox.stdin.take().unwrap().write_all(&sample()).unwrap();
    let output = busybox.wait_with_output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    assert!(listing.contains("drwxr-xr-x"), "{listing}");
    assert!(listing.contains("bin/tool"), "{listing}");
    assert!(listing.contains("init -> bin/tool"), "{listing}");
}

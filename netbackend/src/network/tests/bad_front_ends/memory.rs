//! Guest memory and dirty logs that cannot be.
use super::{
    Witnesses,
    raw::{ADD_MEM_REG, REM_MEM_REG, Raw, SET_LOG_BASE, SET_MEM_TABLE, words},
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{fs::File, os::fd::AsRawFd};

const PAGE: u64 = 4096;
const FILE: u64 = 16 * PAGE;

fn memory() -> File {
    let file = File::from(memfd_create(c"memory", MFdFlags::empty()).unwrap());
    file.set_len(FILE).unwrap();
    file
}

/// Guest address, size, front-end's address, offset in the file.
type Region = [u64; 4];

fn table(regions: &[Region]) -> Vec<u8> {
    let mut payload = words(&[regions.len() as u64]);
    for region in regions {
        payload.extend(words(region));
    }
    payload
}

#[test]
fn table_that_cannot_be() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let file = memory();
    let top = u64::MAX - PAGE + 1;
    let tables: [(&str, &[Region]); 13] = [
        ("empty", &[[0, 0, 0, 0]]),
        ("guest address wraps", &[[top, 2 * PAGE, 0, 0]]),
        ("user address wraps", &[[0, 2 * PAGE, top, 0]]),
        ("offset wraps", &[[0, 2 * PAGE, 0, top]]),
        ("all the bits", &[[u64::MAX; 4]]),
        ("guest address unaligned", &[[1, PAGE, 0, 0]]),
        ("size unaligned", &[[0, PAGE + 1, 0, 0]]),
        ("offset unaligned", &[[0, PAGE, 0, 1]]),
        ("longer than its file", &[[0, FILE + PAGE, 0, 0]]),
        ("behind its file", &[[0, PAGE, 0, FILE]]),
        ("the size of a world", &[[0, 1 << 62, 0, 0]]),
        (
            "overlap for the guest",
            &[[0, 2 * PAGE, 0, 0], [PAGE, PAGE, 1 << 30, 0]],
        ),
        (
            "overlap for the front-end",
            &[[0, 2 * PAGE, 0, 0], [1 << 30, PAGE, PAGE, 0]],
        ),
    ];
    for (what, regions) in tables {
        let fds = vec![file.as_raw_fd(); regions.len()];
        let mut raw = Raw::negotiate(&path);
        let refused = raw.tell(SET_MEM_TABLE, &table(regions), &fds);
        assert_ne!(refused, Some(0), "{what}");
        let [guest, size, user, offset] = regions[regions.len() - 1];
        let mut raw = Raw::negotiate(&path);
        if regions.len() > 1 {
            assert_eq!(
                raw.tell(SET_MEM_TABLE, &table(&regions[..1]), &fds[..1]),
                Some(0)
            );
        }
        let refused = raw.tell(
            ADD_MEM_REG,
            &words(&[0, guest, size, user, offset]),
            &fds[..1],
        );
        assert_ne!(refused, Some(0), "{what}, added");
    }
    witnesses.go_on();
}

#[test]
fn files_that_cannot_be_mapped() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let (read, _write) = nix::unistd::pipe().unwrap();
    let directory = File::open("/").unwrap();
    let null = File::open("/dev/null").unwrap();
    let own = tempfile::NamedTempFile::new().unwrap();
    own.as_file().set_len(FILE).unwrap();
    let read_only = File::open(own.path()).unwrap();
    for fd in [
        read.as_raw_fd(),
        directory.as_raw_fd(),
        null.as_raw_fd(),
        read_only.as_raw_fd(),
    ] {
        let mut raw = Raw::negotiate(&path);
        let refused = raw.tell(SET_MEM_TABLE, &table(&[[0, FILE, 0, 0]]), &[fd]);
        assert_ne!(refused, Some(0));
    }
    witnesses.go_on();
}

#[test]
fn regions_up_to_the_limit() {
    const LIMIT: u64 = 509;
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let file = memory();
    let fds = [file.as_raw_fd()];
    let region = |slot: u64| [slot * 2 * PAGE, PAGE, slot * 2 * PAGE, slot % 16 * PAGE];
    // A table has 8 by the specification; crate `vhost` takes 32.
    let regions: Vec<Region> = (0..33).map(region).collect();
    let mut raw = Raw::negotiate(&path);
    assert_eq!(
        raw.tell(SET_MEM_TABLE, &table(&regions[..32]), &[fds[0]; 32]),
        Some(0)
    );
    assert_ne!(
        raw.tell(SET_MEM_TABLE, &table(&regions), &[fds[0]; 33]),
        Some(0)
    );
    let mut raw = Raw::negotiate(&path);
    let one = |slot: u64| [&words(&[0])[..], &words(&region(slot))].concat();
    for slot in 0..LIMIT {
        assert_eq!(
            raw.tell(ADD_MEM_REG, &one(slot), &fds),
            Some(0),
            "region {slot}"
        );
    }
    // One comes when one has gone, and not before.
    assert_eq!(raw.tell(REM_MEM_REG, &one(7), &[]), Some(0));
    assert_eq!(raw.tell(ADD_MEM_REG, &one(LIMIT), &fds), Some(0));
    assert_ne!(raw.tell(ADD_MEM_REG, &one(LIMIT + 1), &fds), Some(0));
    witnesses.go_on();
}

#[test]
fn removal_of_what_is_not_there() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let file = memory();
    let fds = [file.as_raw_fd()];
    let there = [0, 0, PAGE, 0, 0];
    let mut raw = Raw::negotiate(&path);
    assert_ne!(
        raw.tell(REM_MEM_REG, &words(&there), &[]),
        Some(0),
        "no memory at all"
    );
    for part in [
        [0, 0, 2 * PAGE, 0, 0],
        [0, 0, PAGE, PAGE, 0],
        [0, PAGE, PAGE, 0, 0],
        [0, u64::MAX, u64::MAX, 0, 0],
    ] {
        let mut raw = Raw::negotiate(&path);
        assert_eq!(raw.tell(ADD_MEM_REG, &words(&there), &fds), Some(0));
        assert_ne!(
            raw.tell(REM_MEM_REG, &words(&part), &[]),
            Some(0),
            "{part:?}"
        );
    }
    witnesses.go_on();
}

/// As QEMU 7.2.22 announces them for each queue pair.
#[test]
fn regions_announced_and_removed_again() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("twice", 2);
    let (file, other) = (memory(), memory());
    let fds = [file.as_raw_fd()];
    let mut raw = Raw::negotiate(&path);
    let [low, high] = [0, 4 * PAGE].map(|at| words(&[0, at, PAGE, at, 0]));
    // Each that comes changes nothing the second time, nor does each that goes, if it was the last one, too.
    for (message, region, fds) in [
        (ADD_MEM_REG, &low, &fds[..]),
        (ADD_MEM_REG, &high, &fds),
        (REM_MEM_REG, &low, &[]),
        (REM_MEM_REG, &high, &[]),
        (ADD_MEM_REG, &low, &fds),
    ] {
        for time in 0..2 {
            assert_eq!(raw.tell(message, region, fds), Some(0), "{message}, {time}");
        }
    }
    // The same place in another file is another region, and one may not lie upon the other.
    assert_ne!(raw.tell(ADD_MEM_REG, &low, &[other.as_raw_fd()]), Some(0));
    witnesses.go_on();
}

#[test]
fn dirty_log_that_cannot_be() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let file = memory();
    for (size, offset) in [
        (0, 0),
        (FILE + 1, 0),
        (FILE, PAGE),
        (u64::MAX, 1),
        (PAGE, u64::MAX - PAGE + 1),
        (u64::MAX, u64::MAX),
    ] {
        let mut raw = Raw::negotiate(&path);
        let refused = raw.tell(SET_LOG_BASE, &words(&[size, offset]), &[file.as_raw_fd()]);
        assert_ne!(refused, Some(0), "{size:#x} at {offset:#x}");
    }
    witnesses.go_on();
}

//! The dirty log: what a live migration must not miss.
use super::{
    Net, frame,
    guest::{ALL, Connected, GUEST_BASE, GuestSpec, MEMORY, RING_PACKED, wait_for},
    introduce, mac,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
};
use vhost::{VhostBackend, VhostUserDirtyLogRegion};
use virtqueue::LOG_PAGE;

const LOG_ALL: u64 = 1 << 26;
/// A bit for every page up to the end of the guest's memory.
const LOG_SIZE: u64 = (GUEST_BASE + MEMORY) / LOG_PAGE / 8;

fn log_file(size: u64) -> File {
    let file = File::from(memfd_create(c"log", MFdFlags::empty()).unwrap());
    file.set_len(size).unwrap();
    file
}

fn region(file: &File, size: u64) -> VhostUserDirtyLogRegion {
    VhostUserDirtyLogRegion {
        mmap_size: size,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    }
}

/// Marked pages of the guest's memory, counted from its start; takes them out of the log.
fn take(log: &File) -> Vec<bool> {
    let first = GUEST_BASE / LOG_PAGE / 8;
    let mut bytes = vec![0; usize::try_from(MEMORY / LOG_PAGE / 8).unwrap()];
    log.read_exact_at(&mut bytes, first).unwrap();
    log.write_all_at(&vec![0; bytes.len()], first).unwrap();
    let bit = |byte: u8, n: u8| byte >> n & 1 != 0;
    bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |n| bit(*byte, n)))
        .collect()
}

fn contents(guest: &Connected) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(MEMORY).unwrap()];
    assert!(guest.guest.memory.map.read(GUEST_BASE, &mut bytes));
    bytes
}

/// Pages that differ, without those that only the guest writes to when it takes a frame: none, as
/// nobody takes frames in between.
fn changed(before: &[u8], after: &[u8]) -> Vec<bool> {
    let page = usize::try_from(LOG_PAGE).unwrap();
    before
        .chunks(page)
        .zip(after.chunks(page))
        .map(|(old, new)| old != new)
        .collect()
}

#[test]
fn every_page_that_the_back_end_changes_is_logged_while_the_log_is_on() {
    for features in [
        ALL,
        ALL & !(1 << 29),
        ALL & !(1 << 15),
        ALL | RING_PACKED,
        (ALL & !(1 << 29)) | RING_PACKED,
    ] {
        let net = Net::new();
        let spec = GuestSpec {
            features,
            ..GuestSpec::default()
        };
        let mut a = net.guest("a", GuestSpec::default());
        let mut b = net.guest("b", spec);
        introduce(&mut [&mut a.guest, &mut b.guest]);
        let log = log_file(LOG_SIZE);
        b.frontend
            .set_log_base(0, Some(region(&log, LOG_SIZE)))
            .unwrap();

        for round in 0..6u8 {
            let on = round % 2 == 0;
            let now = if on { features | LOG_ALL } else { features };
            b.frontend.set_features(now).unwrap();
            b.frontend.get_features().unwrap();
            take(&log);
            let before = contents(&b);
            let received = net.status("b").counters.rx_frames;
            for n in 0..20 {
                a.guest
                    .send(&frame(mac(1), mac(0), 100 + 70 * usize::from(n), round ^ n));
            }
            net.wait_for_status("b", "frames", |b| b.counters.rx_frames >= received + 20);
            // The answer says that what the datapath had staged is published and logged.
            b.frontend.get_features().unwrap();
            let after = contents(&b);
            let pages = changed(&before, &after);
            assert!(
                pages.iter().any(|changed| *changed),
                "nothing was delivered"
            );
            let marked = take(&log);
            if on {
                for (page, _) in pages.iter().enumerate().filter(|(_, changed)| **changed) {
                    assert!(marked[page], "round {round}: page {page} changed unmarked");
                }
            } else {
                assert!(
                    marked.iter().all(|marked| !marked),
                    "round {round}: off, but marked"
                );
            }
            while b.guest.poll(0).is_some() {}
        }
    }
}

#[test]
fn completions_of_sent_frames_are_logged() {
    let net = Net::new();
    let mut a = net.guest("a", GuestSpec::default());
    let log = log_file(LOG_SIZE);
    a.frontend
        .set_log_base(0, Some(region(&log, LOG_SIZE)))
        .unwrap();
    a.frontend.set_features(ALL | LOG_ALL).unwrap();
    a.frontend.get_features().unwrap();
    take(&log);
    a.guest.send(&frame(mac(9), mac(0), 60, 1));
    let used = (a.guest.rings[1].config.used - GUEST_BASE) / LOG_PAGE;
    wait_for("the used ring's page", || {
        take(&log)[usize::try_from(used).unwrap()]
    });
}

#[test]
fn a_log_that_is_too_small_ends_that_connection_only() {
    let net = Net::new();
    let a = net.guest("a", GuestSpec::default());
    let b = net.guest("b", GuestSpec::default());
    let mut c = net.guest("c", GuestSpec::default());
    let small = log_file(LOG_PAGE);
    a.frontend.set_features(ALL | LOG_ALL).unwrap();
    assert!(
        a.frontend
            .set_log_base(0, Some(region(&small, LOG_PAGE)))
            .is_err()
    );
    // Longer than its file.
    assert!(
        b.frontend
            .set_log_base(0, Some(region(&small, LOG_SIZE)))
            .is_err()
    );
    drop((a, b));
    let mut d = net.guest("d", GuestSpec::default());
    introduce(&mut [&mut c.guest, &mut d.guest]);
}

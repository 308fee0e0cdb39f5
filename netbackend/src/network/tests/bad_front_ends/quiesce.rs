//! After the reply to GET_VRING_BASE, SET_MEM_TABLE or REM_MEM_REG the datapath touches nothing old.
//!
//! The old memory is taken away while frames pour in: whoever still reads or writes it is found out, because pages that
//! are not there any more are a fault that is told ("its guest memory was truncated"), and bytes that come back are seen.
use super::{
    super::guest::{Connected, Guest, GuestSpec, Memory},
    Witnesses, frame, mac,
};
use std::{
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use vhost::{
    VhostBackend,
    vhost_user::{Frontend, VhostUserFrontend},
};

const ROUNDS: usize = 15;

/// Frames pour into a guest while `quiesce` is called; afterwards its memory must be nobody's.
#[track_caller]
fn untouched_after(quiesce: impl Fn(&mut Frontend, &Guest)) {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("old", 1);
    for round in 0..ROUNDS {
        let Connected {
            guest,
            mut frontend,
        } = Guest::new(GuestSpec::default()).connect(&path);
        let stop = AtomicBool::new(false);
        let (sender, net) = (&mut witnesses.first.guest, &witnesses.net);
        thread::scope(|scope| {
            scope.spawn(|| {
                // To nobody known: everybody gets them.
                let flood = frame(mac(9), mac(0), 1000, 1);
                while !stop.load(Ordering::Acquire) {
                    sender.send(&flood);
                    sender.reap();
                }
            });
            let before = net.status("old").counters.rx_frames;
            net.wait_for_status("old", "frames", |old| {
                old.counters.rx_frames > before + 20 || old.counters.rx_dropped > 0
            });
            quiesce(&mut frontend, &guest);
            let poison = vec![0xa5; 1 << 16];
            guest.memory.file.write_all_at(&poison, 0).unwrap();
            let more = net.status("first").counters.tx_frames + 100;
            net.wait_for_status("first", "more frames", |first| {
                first.counters.tx_frames > more
            });
            let mut found = vec![0; poison.len()];
            guest.memory.file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == poison, "round {round}: written to");
            guest.memory.file.set_len(0).unwrap();
            let more = net.status("first").counters.tx_frames + 100;
            net.wait_for_status("first", "more frames", |first| {
                first.counters.tx_frames > more
            });
            let told = net.status("old").last_fault.map(|fault| fault.message);
            let touched = told.as_ref().is_some_and(|told| told.contains("truncated"));
            assert!(!touched, "round {round}: {told:?}");
            stop.store(true, Ordering::Release);
        });
        drop(frontend);
    }
    witnesses.go_on();
}

#[test]
fn get_vring_base() {
    untouched_after(|frontend, _| {
        for ring in 0..2 {
            frontend.get_vring_base(ring).unwrap();
        }
    });
}

#[test]
fn set_mem_table() {
    // Another file at the same addresses: the rings go on in there, whatever they find.
    let other = Memory::new();
    untouched_after(|frontend, _| {
        frontend.set_mem_table(&[other.region()]).unwrap();
        frontend.get_features().unwrap();
    });
}

#[test]
fn rem_mem_reg() {
    let other = Memory::new();
    untouched_after(|frontend, guest| {
        let mut more = other.region();
        more.guest_phys_addr = 1 << 40;
        more.userspace_addr = 1 << 40;
        frontend.add_mem_region(&more).unwrap();
        frontend.remove_mem_region(&guest.memory.region()).unwrap();
    });
}

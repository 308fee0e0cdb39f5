//! A front-end that keeps an inflight region, and back-ends that come and go (vhost-user.rst, "Inflight I/O tracking").
use super::{
    Net, frame,
    guest::{Connected, Guest, GuestSpec, connect, wait_for},
    introduce, mac,
};
use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::Path,
};
use vhost::{
    VhostBackend,
    vhost_user::{Frontend, VhostUserFrontend, message::VhostUserInflight},
};

/// No more than the guest has places for at a time.
const FRAMES: u32 = 60;

/// Goes on with a guest, and the region that is kept for it, at a back-end that knows neither: as QEMU does after a
/// reconnect, each ring from what its used ring shows.
fn take_over(path: &Path, guest: Guest, region: &VhostUserInflight, file: &File) -> Connected {
    let mut frontend = connect(path, 2);
    negotiate(&mut frontend, &guest);
    frontend.set_inflight_fd(region, file.as_raw_fd()).unwrap();
    // First, as QEMU does: frames of a ring that runs disabled are discarded.
    for index in 0..guest.rings.len() {
        frontend.set_vring_enable(index, true).unwrap();
    }
    for index in 0..guest.rings.len() {
        let mut used = [0; 2];
        assert!(
            guest
                .memory
                .map
                .read(guest.rings[index].config.used + 2, &mut used)
        );
        guest.start_ring(&mut frontend, index, u16::from_le_bytes(used));
    }
    frontend.get_features().unwrap();
    Connected { guest, frontend }
}

fn negotiate(frontend: &mut Frontend, guest: &Guest) {
    frontend.set_owner().unwrap();
    frontend.get_features().unwrap();
    let protocol = frontend.get_protocol_features().unwrap();
    frontend.set_protocol_features(protocol).unwrap();
    frontend.set_features(guest.spec.features).unwrap();
    frontend.set_mem_table(&[guest.memory.region()]).unwrap();
}

/// The number that a frame of the test carries.
fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame[14..].first_chunk().unwrap())
}

#[test]
fn a_successor_goes_on_where_the_last_back_end_was_cut_off() {
    let net = Net::new();
    let mut receiver = net.guest("receiver", GuestSpec::default());
    let path = net.port("sender", 1);
    let mut sender = Guest::new(GuestSpec::default()).connect(&path);
    let asked = VhostUserInflight::new(0, 0, 2, sender.guest.spec.queue_size);
    let (region, file) = sender.frontend.get_inflight_fd(&asked).unwrap();
    sender
        .frontend
        .set_inflight_fd(&region, file.as_raw_fd())
        .unwrap();
    introduce(&mut [&mut receiver.guest, &mut sender.guest]);

    let mut expected = 0;
    for round in 0..40 {
        let first = round * FRAMES;
        for index in first..first + FRAMES {
            let mut next = frame(mac(0), mac(1), 100, 0);
            next[14..18].copy_from_slice(&index.to_be_bytes());
            sender.guest.send(&next);
        }
        // Cut off wherever the datapath is now.
        let Connected { guest, frontend } = sender;
        drop(frontend);
        sender = take_over(&path, guest, &region, &file);
        wait_for("every frame", || {
            while let Some(got) = receiver.guest.poll(0) {
                assert_eq!(
                    number(&got.frame),
                    expected,
                    "lost, repeated or out of order"
                );
                expected += 1;
            }
            expected == first + FRAMES
        });
        sender.guest.reap();
    }
    assert!(receiver.guest.poll(0).is_none());
}

#[test]
fn a_region_that_nobody_can_go_on_with_ends_the_connection_only() {
    let net = Net::new();
    let path = net.port("a", 1);
    let guest = Guest::new(GuestSpec::default());
    let asked = VhostUserInflight::new(0, 0, 2, guest.spec.queue_size);
    let mut frontend = connect(&path, 2);
    negotiate(&mut frontend, &guest);
    let (region, file) = frontend.get_inflight_fd(&asked).unwrap();
    file.write_all_at(&[1], 16).unwrap();
    // Without REPLY_ACK asked for, the end of the connection is the answer.
    frontend.set_inflight_fd(&region, file.as_raw_fd()).unwrap();
    assert!(frontend.get_features().is_err());

    let mut many = VhostUserInflight::new(0, 0, 3, 256);
    let mut frontend = connect(&path, 2);
    negotiate(&mut frontend, &guest);
    assert!(frontend.get_inflight_fd(&many).is_err());
    many.num_queues = 2;
    let mut frontend = connect(&path, 2);
    negotiate(&mut frontend, &guest);
    assert!(frontend.get_inflight_fd(&many).is_ok());
}

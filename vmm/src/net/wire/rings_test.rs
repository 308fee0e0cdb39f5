use super::*;
use crate::{
    net::testing::{EchoBackend, Traits},
    virtio::testing::eventually,
};

fn connect(backend_path: &std::path::Path, ram: &GuestRam) -> RingWire {
    let attachment = Attachment {
        target: crate::net::Target::Socket(backend_path.into()),
        mtu: None,
        cable: true,
        filter: None,
        lease: None,
    };
    RingWire::connect(&attachment, ram).unwrap()
}

#[test]
fn frames_go_round_restart_and_reconnect_included() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut backend = EchoBackend::start(&path, Traits::default());
    let ram = GuestRam::new(32 << 20, false).unwrap();
    let mut wire = connect(&path, &ram);
    assert!(wire.offloads().checksum);
    assert!(!wire.offloads().tso4);
    let mut frame = Vec::new();
    for round in 0..600u64 {
        let body: Vec<u8> = (0..100).map(|i| (i + round).to_le_bytes()[0]).collect();
        assert!(ram.map.write(0x10_0000, &body));
        let buffers = [DriverBuffer {
            addr: 0x10_0000,
            len: 100,
            writable: false,
        }];
        let outgoing = Outgoing {
            header: &NetHeader::default(),
            head: b"head",
            body: &buffers,
            token: round,
        };
        assert!(wire.send(&outgoing));
        wire.flush();
        eventually("the frame comes back", || {
            wire.receive(&mut frame).is_some()
        });
        assert_eq!(&frame[..4], b"head");
        assert_eq!(frame[4..], body);
        let mut sent = None;
        eventually("it is sent", || {
            sent = wire.sent();
            sent.is_some()
        });
        assert_eq!(sent, Some(round));
        wire.flush();
        match round {
            200 => wire.restart(),
            400 => {
                drop(backend);
                backend = EchoBackend::start(&path, Traits::default());
            }
            _ => {}
        }
    }
    assert!(backend.asked("SET_MEM_TABLE 2"));
}

#[test]
fn a_full_ring_refuses_and_a_long_head_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let backend = EchoBackend::start(&path, Traits::default());
    let ram = GuestRam::new(32 << 20, false).unwrap();
    let mut wire = connect(&path, &ram);
    drop(backend);
    let outgoing = Outgoing {
        header: &NetHeader::default(),
        head: b"head",
        body: &[],
        token: 0,
    };
    let mut count = 0;
    while wire.send(&outgoing) {
        count += 1;
    }
    assert_eq!(count, TX_SLOTS);
    wire.restart();
    assert!(wire.send(&outgoing));
    let long = [0; MAX_HEAD + 1];
    assert!(!wire.send(&Outgoing {
        head: &long,
        ..outgoing
    }));
}

#[test]
fn rings_that_the_back_end_broke_are_mended_and_their_frames_count_as_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _backend = EchoBackend::start(&path, Traits::default());
    let ram = GuestRam::new(32 << 20, false).unwrap();
    let mut wire = connect(&path, &ram);
    for token in 0..3 {
        // Not made known: nobody answers.
        assert!(wire.send(&Outgoing {
            header: &NetHeader::default(),
            head: b"head",
            body: &[],
            token,
        }));
    }
    assert!(wire.memory.map.write(wire.arena.tx.used + 2, &[0xff, 0x7f]));
    assert_eq!(wire.sent(), None);
    assert!(wire.is_broken());
    wire.mend();
    assert!(!wire.is_broken());
    let mut lost: Vec<_> = std::iter::from_fn(|| wire.sent()).collect();
    lost.sort_unstable();
    assert_eq!(lost, [0, 1, 2]);
    assert!(wire.send(&Outgoing {
        header: &NetHeader::default(),
        head: b"again",
        body: &[],
        token: 9,
    }));
    wire.flush();
    let mut frame = Vec::new();
    eventually("it comes back", || wire.receive(&mut frame).is_some());
    assert_eq!(frame, b"again");
}

#[test]
fn who_looks_by_himself_gets_no_signals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // Ring features with and without the event index.
    for features in [Traits::default().features, 1 << 30 | 1 << 32] {
        let traits = Traits {
            features,
            ..Traits::default()
        };
        let _backend = EchoBackend::start(&path, traits);
        let ram = GuestRam::new(32 << 20, false).unwrap();
        let mut wire = connect(&path, &ram);
        let mut frame = Vec::new();
        let mut round = |wire: &mut RingWire| {
            assert!(wire.send(&Outgoing {
                header: &NetHeader::default(),
                head: b"head",
                body: &[],
                token: 7,
            }));
            wire.flush();
            eventually("the frame comes back", || wire.waiting() == [true; 2]);
            assert!(wire.receive(&mut frame).is_some());
            assert_eq!(wire.sent(), Some(7));
            assert_eq!(wire.waiting(), [false; 2]);
        };
        let called = |event: &EventFd| event.read().is_ok();
        round(&mut wire);
        for event in wire.events() {
            // The back-end calls after it has said what is used.
            eventually("a new ring calls", || called(&event));
        }
        assert!(!wire.arm());
        wire.disarm();
        round(&mut wire);
        round(&mut wire);
        assert_eq!(wire.events().map(|event| called(&event)), [false; 2]);
        assert!(!wire.arm());
        wire.disarm();
        assert!(wire.send(&Outgoing {
            header: &NetHeader::default(),
            head: b"head",
            body: &[],
            token: 8,
        }));
        wire.flush();
        eventually("the frame comes back", || wire.waiting() == [true; 2]);
        assert!(wire.arm(), "nobody would tell that it was sent");
    }
}

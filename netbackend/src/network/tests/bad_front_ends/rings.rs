//! Rings where none can be.
use super::{
    super::guest::{Connected, GUEST_BASE, Guest, GuestSpec, MEMORY, USER_BASE},
    Witnesses, frame, introduce, mac,
    raw::{
        GET_VRING_BASE, Raw, SET_MEM_TABLE, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_CALL,
        SET_VRING_ENABLE, SET_VRING_ERR, SET_VRING_KICK, SET_VRING_NUM, vring, words,
    },
};
use std::os::fd::AsRawFd;
use vhost::{VhostBackend, vhost_user::VhostUserFrontend};

#[test]
fn index_beyond_the_rings() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    // Two rings; 256, 65536 and 2^24 have zero in what a cut would leave.
    for index in [2u32, 3, 255, 256, 65_536, 1 << 24, u32::MAX] {
        for request in [
            SET_VRING_NUM,
            SET_VRING_BASE,
            GET_VRING_BASE,
            SET_VRING_ENABLE,
        ] {
            let mut raw = Raw::negotiate(&path);
            raw.send(request, &vring(index, 1), &[]);
            raw.expect_end_or_refusal();
        }
        let mut raw = Raw::negotiate(&path);
        let address = words(&[index.into(), USER_BASE, USER_BASE, USER_BASE, 0]);
        assert_ne!(raw.tell(SET_VRING_ADDR, &address, &[]), Some(0), "{index}");
        for request in [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR] {
            let mut raw = Raw::negotiate(&path);
            // Without an fd, so that only the index is wrong; 256 is what says so.
            let index = words(&[(u64::from(index) | 0x100) + 0x100 * u64::from(index == 256)]);
            assert_ne!(raw.tell(request, &index, &[]), Some(0), "{index:?}");
        }
    }
    witnesses.go_on();
}

#[test]
fn size_that_cannot_be() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    for size in [
        0,
        3,
        255,
        257,
        32_767,
        32_769,
        65_536,
        65_536 + 256,
        u32::MAX,
    ] {
        let mut raw = Raw::negotiate(&path);
        assert_ne!(
            raw.tell(SET_VRING_NUM, &vring(0, size), &[]),
            Some(0),
            "{size}"
        );
    }
    witnesses.go_on();
}

/// Descriptor table, used ring, available ring, as SET_VRING_ADDR has them.
type Addresses = [u64; 3];

/// A ring of 256 entries that wants to start with `addresses`.
fn start(raw: &mut Raw, guest: &Guest, addresses: Addresses) -> bool {
    let [desc, used, avail] = addresses;
    let kick = guest.rings[0].kick.as_raw_fd();
    let messages = [
        (SET_VRING_NUM, vring(0, 256), None),
        (SET_VRING_BASE, vring(0, 0), None),
        (SET_VRING_ADDR, words(&[0, desc, used, avail, 0]), None),
        (SET_VRING_KICK, words(&[0]), Some(kick)),
        (SET_VRING_ENABLE, vring(0, 1), None),
    ];
    messages.into_iter().all(|(request, payload, fd)| {
        let fds: Vec<_> = fd.into_iter().collect();
        raw.tell(request, &payload, &fds) == Some(0)
    })
}

fn good(guest: &Guest) -> Addresses {
    let config = &guest.rings[0].config;
    [config.desc, config.used, config.avail].map(|at| at - GUEST_BASE + USER_BASE)
}

fn table(guest: &Guest, regions: &[[u64; 4]]) -> (Vec<u8>, Vec<i32>) {
    let mut payload = words(&[regions.len() as u64]);
    for region in regions {
        payload.extend(words(region));
    }
    (payload, vec![guest.memory.file.as_raw_fd(); regions.len()])
}

#[test]
fn addresses_that_cannot_be() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let guest = Guest::new(GuestSpec::default());
    let end = USER_BASE + MEMORY;
    // Half of the memory, a hole of a page, the rest.
    let half = MEMORY / 2;
    let hole = [
        [GUEST_BASE, half, USER_BASE, 0],
        [
            GUEST_BASE + half + 4096,
            half - 4096,
            USER_BASE + half + 4096,
            half + 4096,
        ],
    ];
    let whole = [[GUEST_BASE, MEMORY, USER_BASE, 0]];
    let [desc, used, avail] = good(&guest);
    let cases: [(&str, &[[u64; 4]], Addresses); 14] = [
        ("zero", &whole, [0, used, avail]),
        ("used zero", &whole, [desc, 0, avail]),
        ("before memory", &whole, [USER_BASE - 4096, used, avail]),
        ("behind memory", &whole, [end, used, avail]),
        ("table over the end", &whole, [end - 4096 + 16, used, avail]),
        ("used over the end", &whole, [desc, end - 8, avail]),
        ("available over the end", &whole, [desc, used, end - 8]),
        ("wrapping", &whole, [u64::MAX - 15, used, avail]),
        (
            "guest addresses",
            &whole,
            [GUEST_BASE, GUEST_BASE, GUEST_BASE],
        ),
        ("table misaligned", &whole, [desc + 8, used, avail]),
        ("used misaligned", &whole, [desc, used + 2, avail]),
        ("available misaligned", &whole, [desc, used, avail + 1]),
        (
            "table over a hole",
            &hole,
            [USER_BASE + half - 16, used, avail],
        ),
        (
            "used over a hole",
            &hole,
            [desc, USER_BASE + half - 8, avail],
        ),
    ];
    for (what, regions, addresses) in cases {
        let mut raw = Raw::negotiate(&path);
        let (payload, fds) = table(&guest, regions);
        assert_eq!(raw.tell(SET_MEM_TABLE, &payload, &fds), Some(0));
        assert!(!start(&mut raw, &guest, addresses), "{what}");
    }
    // The same with nothing wrong.
    let mut raw = Raw::negotiate(&path);
    let (payload, fds) = table(&guest, &whole);
    assert_eq!(raw.tell(SET_MEM_TABLE, &payload, &fds), Some(0));
    assert!(start(&mut raw, &guest, good(&guest)));
    witnesses.go_on();
}

#[test]
fn addresses_changed_while_running() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let mut offender = Guest::new(GuestSpec::default()).connect(&path);
    let ring = offender.guest.rings[0].vring();
    for _ in 0..50 {
        // To where it is already: nothing happens to its frames.
        offender.frontend.set_vring_addr(0, &ring).unwrap();
        let sent = frame(mac(7), mac(0), 100, 1);
        witnesses.first.guest.send(&sent);
        assert_eq!(offender.guest.receive().frame, sent);
        while witnesses.second.guest.poll(0).is_some() {}
        witnesses.first.guest.reap();
    }
    let mut beyond = ring;
    beyond.used_ring_addr = USER_BASE + MEMORY;
    offender.frontend.set_vring_addr(0, &beyond).unwrap_err();
    let mut again = Guest::new(GuestSpec::default()).connect(&path);
    introduce(&mut [
        &mut witnesses.first.guest,
        &mut witnesses.second.guest,
        &mut again.guest,
    ]);
    witnesses.go_on();
}

#[test]
fn enable_storm() {
    let mut witnesses = Witnesses::new();
    let path = witnesses.net.port("offender", 1);
    let Connected {
        guest,
        mut frontend,
    } = Guest::new(GuestSpec::default()).connect(&path);
    for round in 0..5000u32 {
        for ring in 0..2 {
            frontend.set_vring_enable(ring, round % 2 == 1).unwrap();
        }
        if round % 500 == 0 {
            witnesses.go_on();
        }
    }
    frontend.get_features().unwrap();
    let mut offender = Connected { guest, frontend };
    introduce(&mut [
        &mut witnesses.first.guest,
        &mut witnesses.second.guest,
        &mut offender.guest,
    ]);
    witnesses.go_on();
}

//! Target `dhcp4`: clients of any kind, and what they send, against the DHCPv4 server.
use crate::input::Input;
use crate::nat_services::{World, station};
use std::net::SocketAddr;
use std::time::Duration;

/// Plays the input as messages of four stations to one server.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let small = input.u8();
    let mut world = World::new(|config| {
        if small & 1 != 0 {
            config.services.pool4 = Some("10.0.2.1".parse().unwrap()..="10.0.2.6".parse().unwrap());
        }
        config.services.rapid_commit = small & 2 != 0;
    });
    while !input.is_empty() {
        let event = input.u8();
        let message = match event % 8 {
            0 => {
                world.pass(Duration::from_secs(u64::from(input.u16())));
                continue;
            }
            1 => raw(&mut input),
            _ => well_formed(&mut input),
        };
        let from = SocketAddr::from(([0, 0, 0, 0], 68));
        let to = SocketAddr::from(([255, 255, 255, 255], 67));
        world.datagram(station(event >> 4), from, to, &message);
        assert!(world.wire.frames.len() <= 1, "one answer at most");
        for frame in &world.wire.frames {
            check(&frame[42..]);
        }
        world.check_leases();
    }
}

fn raw(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.u16() % 700);
    input.take(len).to_vec()
}

/// A message whose options are mostly such, with fields that are mostly empty.
fn well_formed(input: &mut Input<'_>) -> Vec<u8> {
    let flags = input.u8();
    let mut message = vec![1, 1, 6, 0, 1, 2, 3, 4, 0, 0, flags & 0x80, 0];
    message.extend([10, 0, 2, input.u8() % 40].map(|octet| if flags & 1 == 0 { 0 } else { octet }));
    message.resize(24, 0);
    message.extend([10, 0, 2, 77].map(|octet| if flags & 2 == 0 { 0 } else { octet }));
    message.extend(station(flags >> 2).0);
    message.resize(44, 0);
    if flags & 0x40 != 0 {
        let fields = input.take(192);
        message.extend(fields);
    }
    message.resize(236, 0);
    message.extend([99, 130, 83, 99, 53, 1, input.u8() % 10]);
    for _ in 0..input.u8() % 6 {
        let code = [50, 54, 61, 12, 81, 55, 57, 80, 82, 52][usize::from(input.u8() % 10)];
        let len = match code {
            50 | 54 => 4,
            52 => 1,
            57 => 2,
            _ => input.u8() % 40,
        };
        message.extend([code, len]);
        match (code, input.u8()) {
            (50, last) if last < 0xf0 => message.extend([10, 0, 2, last % 40]),
            (54, last) if last < 0xf0 => message.extend([10, 0, 2, 2]),
            _ => message.extend(input.take(len.into())),
        }
    }
    message.push(255);
    message
}

/// An answer is a whole BOOTP message whose options end where they say.
fn check(reply: &[u8]) {
    assert!(reply.len() >= 300);
    assert_eq!(reply[236..240], [99, 130, 83, 99]);
    let mut rest = &reply[240..];
    loop {
        match rest {
            [255, pads @ ..] => {
                assert!(pads.iter().all(|octet| *octet == 0));
                break;
            }
            [code, len, tail @ ..] => {
                assert_ne!(*code, 0);
                rest = &tail[usize::from(*len)..];
            }
            _ => panic!("no end mark"),
        }
    }
}

//! Target `dhcp6`: clients of any kind, and what they send, against the DHCPv6 server, and NDP and router solicitations.
use crate::input::Input;
use crate::nat_services::{World, station};
use nat::services::Dhcp6;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Plays the input as messages of four stations to one server.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mode = input.u8();
    let mut world = World::new(|config| {
        config.services.dhcp6 = if mode & 1 == 0 {
            Dhcp6::Stateful
        } else {
            Dhcp6::Stateless
        };
        if mode & 2 != 0 {
            config.services.pool6 = Some("fd00::1".parse().unwrap()..="fd00::6".parse().unwrap());
        }
    });
    while !input.is_empty() {
        let event = input.u8();
        let message = match event % 8 {
            0 => {
                world.pass(Duration::from_secs(u64::from(input.u16())));
                continue;
            }
            1 => {
                let len = usize::from(input.u16() % 700);
                input.take(len).to_vec()
            }
            2 => {
                let len = usize::from(input.u8());
                solicit(&mut world, event, input.take(len));
                continue;
            }
            _ => well_formed(&mut input),
        };
        let from = SocketAddr::new("fe80::1".parse().unwrap(), 546);
        let to = if event & 0x80 == 0 {
            "ff02::1:2"
        } else {
            "fd00::2"
        };
        let to = SocketAddr::new(to.parse().unwrap(), 547);
        world.datagram(station(event >> 4), from, to, &message);
        assert!(world.wire.frames.len() <= 1, "one answer at most");
        for frame in &world.wire.frames {
            check_options(&frame[62 + 4..]);
        }
        world.check_leases();
    }
}

fn solicit(world: &mut World, event: u8, message: &[u8]) {
    let unspecified = event & 0x80 != 0;
    world.ndp(&nat::frame::Ndp {
        mac: station(event >> 4),
        source: if unspecified {
            Ipv6Addr::UNSPECIFIED
        } else {
            "fe80::1".parse().unwrap()
        },
        destination: "ff02::1:ff00:2".parse().unwrap(),
        message,
    });
    assert!(world.wire.frames.len() <= 1, "one answer at most");
}

/// A message whose options are mostly such.
fn well_formed(input: &mut Input<'_>) -> Vec<u8> {
    let mut message = vec![input.u8() % 14, 1, 2, 3];
    for _ in 0..input.u8() % 6 {
        let choice = input.u8();
        match choice % 8 {
            0 | 1 => put(&mut message, 1, &[0, 3, 0, 1, 2, 3, 4, choice >> 6]),
            2 => put(&mut message, 2, &[0, 3, 0, 1, 0x52, 0x55, 10, 0, 2, 2]),
            3 | 4 => {
                let mut association = vec![0, 0, 0, choice >> 4];
                association.resize(12, 0);
                for _ in 0..input.u8() % 3 {
                    let mut address = vec![0xfd];
                    address.resize(14, 0);
                    address.extend([input.u8() & 0x10, input.u8() % 16]);
                    address.resize(24, 0);
                    put(&mut association, 5, &address);
                }
                put(&mut message, 3, &association);
            }
            5 => put(&mut message, 14, &[]),
            _ => {
                let code = u16::from(input.u8() % 60);
                let len = usize::from(input.u8() % 60);
                put(&mut message, code, input.take(len));
            }
        }
    }
    message
}

fn put(message: &mut Vec<u8>, code: u16, value: &[u8]) {
    message.extend(code.to_be_bytes());
    message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    message.extend(value);
}

/// Options end where they say, those within associations too.
fn check_options(mut rest: &[u8]) {
    while !rest.is_empty() {
        let code = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (value, tail) = rest[4..].split_at(len);
        if code == 3 || code == 25 {
            check_options(&value[12..]);
        }
        rest = tail;
    }
}

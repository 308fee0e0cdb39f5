//! Target `dns`: guests that ask anything over UDP and TCP, and servers that answer anything, against the DNS forwarder.
use crate::input::Input;
use crate::nat_services::{World, port_of, station};
use nat::Token;
use nat::services::{Station, StreamId};
use std::net::SocketAddr;
use std::time::Duration;

/// Plays the input as events at one forwarder.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut world = World::new(|config| {
        config.services.dns.upstreams = vec![
            "192.0.2.1:53".parse().unwrap(),
            "192.0.2.2:53".parse().unwrap(),
        ];
        config.services.dns.cache.entries = 4;
        config.services.dns.cache.bytes = 600;
    });
    while !input.is_empty() {
        let event = input.u8();
        match event % 8 {
            0 => world.pass(Duration::from_millis(u64::from(input.u16()))),
            1 | 2 => ask(&mut world, event, &mut input),
            3..=5 => answer(&mut world, &mut input),
            6 => stream(&mut world, &mut input),
            _ => {
                world.host.refuse = event & 0x80 != 0;
                let bits = input.u64();
                world.event(Token::from_bits(bits));
            }
        }
        for frame in &world.wire.frames {
            assert!(frame.len() >= 14 + 20 + 8 + 12, "less than a header");
            assert!(frame.len() <= 14 + 40 + 8 + 1232, "more than anybody takes");
        }
    }
    // All questions come to an end by themselves.
    world.host.refuse = false;
    for _ in 0..12 {
        world.pass(Duration::from_secs(5));
    }
    assert!(world.host.sockets.is_empty(), "a question that never ends");
}

/// A question, mostly well-formed: one of a few names, so that some are in the cache.
fn question(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.u8();
    if shape.is_multiple_of(16) {
        let len = usize::from(input.u8());
        return input.take(len).to_vec();
    }
    let edns = shape & 1;
    let mut message = vec![0, shape, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns];
    let names: [&[u8]; 4] = [
        b"\x01a\0",
        b"\x01B\x07example\0",
        b"\x03web\x08internal\0",
        b"\0",
    ];
    message.extend(names[usize::from(shape >> 6)]);
    message.extend([0, [1, 28, 12, 255][usize::from(shape >> 4 & 3)], 0, 1]);
    if edns == 1 {
        message.extend([0, 0, 41]);
        message.extend(input.u16().to_be_bytes());
        message.extend([0, 0, shape & 0x80, 0, 0, 0]);
    }
    message
}

fn ask(world: &mut World, event: u8, input: &mut Input<'_>) {
    let from = SocketAddr::from(([10, 0, 2, 15], 5000));
    let to = SocketAddr::from(([10, 0, 2, 3], 53));
    let message = question(input);
    world.datagram(station(event >> 4), from, to, &message);
    assert!(world.wire.frames.len() <= 1, "one answer at most");
}

/// Something arrives at a socket of ours: mostly an answer to what was asked there.
fn answer(world: &mut World, input: &mut Input<'_>) {
    let choice = usize::from(input.u8());
    let count = world.host.sockets.len();
    let Some(socket) = choice
        .checked_rem(count)
        .and_then(|index| world.host.sockets.values_mut().nth(index))
    else {
        return;
    };
    let shape = input.u8();
    let over_tcp = socket.sent.first_chunk() == Some(&[0, 0]) || socket.sent.len() < 12;
    let asked = if over_tcp {
        socket.sent.get(2..).unwrap_or_default()
    } else {
        &socket.sent
    };
    let mut message = asked.to_vec();
    if let Some(flags) = message.get_mut(2..4) {
        flags.copy_from_slice(&[0x81 | shape & 2, 0x80 | shape >> 6]);
    }
    // Our own OPT record goes, records of the server's making come. What is asked over TCP may have been written in part only.
    if let Some(len) = message.len().checked_sub(11).filter(|&len| len >= 12) {
        message.truncate(len);
        message[7] = shape & 3;
        message[9] = shape >> 2 & 1;
        message[11] = 0;
    }
    let len = usize::from(input.u8());
    if shape & 8 == 0 {
        for _ in 0..(shape & 3) + (shape >> 2 & 1) {
            message.extend([
                0xc0,
                0x0c,
                0,
                if shape & 4 == 0 { 1 } else { 6 },
                0,
                1,
                0,
                0,
                0,
            ]);
            message.push(input.u8());
            message.extend([0, 4, 1, 2, 3, 4]);
        }
    } else {
        message.extend(input.take(len));
    }
    let from = socket
        .peer
        .unwrap_or_else(|| "192.0.2.9:53".parse().unwrap());
    socket
        .inbox
        .extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    socket.inbox.extend(&message);
    socket.ended = shape & 16 != 0;
    socket.arrived.push_back((from, message));
    let token = socket.token;
    world.event(token);
}

/// A connection of a guest is opened, used, read or closed.
fn stream(world: &mut World, input: &mut Input<'_>) {
    let choice = input.u8();
    let id = StreamId(u64::from(choice % 3));
    // Its guest may have moved.
    let port = port_of(station(choice / 3 % 2 * 2));
    match input.u8() % 4 {
        0 => {
            // The gateway has closed it before it uses its number again.
            world.services.stream_closed(id);
            let by = Station {
                port,
                mac: station(1),
            };
            world.services.stream_open(world.now, id, by);
        }
        1 => {
            let message = question(input);
            let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(message);
            world.stream_input((id, port), &bytes);
        }
        2 => {
            let mut buffer = vec![0; usize::from(input.u8())];
            let read = world.services.stream_output(id, &mut buffer);
            assert!(read.is_none_or(|read| read <= buffer.len()));
            while world.services.next_ready_stream().is_some() {}
        }
        _ => {
            let len = usize::from(input.u8());
            world.stream_input((id, port), input.take(len));
        }
    }
}

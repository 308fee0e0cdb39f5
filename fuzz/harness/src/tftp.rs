//! Target `tftp`: clients that ask for anything and acknowledge anything, against the TFTP server.
use crate::input::Input;
use crate::nat_services::{World, station};
use nat::services::tftp::{Directory, File, OpenError};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Files by the length of their names: as many octets as this says.
const SIZES: [u64; 5] = [0, 1, 512, 5000, 40_000_000];

#[derive(Debug)]
struct Tree;

#[derive(Debug)]
struct Endless {
    len: u64,
    /// where reading fails
    broken: u64,
}

impl Directory for Tree {
    fn open(&mut self, path: &str) -> Result<Box<dyn File>, OpenError> {
        assert!(!path.starts_with('/') && !path.is_empty(), "{path:?}");
        let mut parts = path.split('/');
        assert!(
            parts.all(|part| !matches!(part, "" | "." | "..")),
            "{path:?}"
        );
        match SIZES.get(path.len() % 8) {
            Some(len) => Ok(Box::new(Endless {
                len: *len,
                broken: if path.starts_with('b') {
                    3000
                } else {
                    u64::MAX
                },
            })),
            None if path.len() % 8 == 5 => Err(OpenError::NotFound),
            None => Err(OpenError::Denied),
        }
    }
}

impl File for Endless {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        assert!(
            offset + into.len() as u64 <= self.len,
            "read behind the end"
        );
        if offset >= self.broken {
            return Err(io::ErrorKind::Other.into());
        }
        Ok(into.len())
    }
}

/// Plays the input as packets to one server.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut world = World::new(|config| config.services.router_advertisements = false);
    world.services.serve_directory(Box::new(Tree));
    // Where the last packet came from: the transfer that is acknowledged.
    let mut transfer = 69;
    while !input.is_empty() {
        let event = input.u8();
        let (port, packet) = match event % 8 {
            0 => {
                world.pass(Duration::from_millis(u64::from(input.u16())));
                continue;
            }
            1 => {
                let len = usize::from(input.u8());
                (
                    if event & 8 == 0 { 69 } else { transfer },
                    input.take(len).to_vec(),
                )
            }
            2 | 3 => (69, request(&mut input)),
            _ => {
                let number = input.u8();
                (
                    transfer,
                    vec![0, 4, if event & 0x40 == 0 { 0 } else { input.u8() }, number],
                )
            }
        };
        let from = SocketAddr::from(([10, 0, 2, 15], 4000 + u16::from(event >> 4 & 3)));
        let to = SocketAddr::from(([10, 0, 2, 2], port));
        world.datagram(station(event >> 6), from, to, &packet);
        for frame in &world.wire.frames {
            assert!(
                matches!(frame[42..44], [0, 3 | 5 | 6]),
                "data, an error or options"
            );
            transfer = u16::from_be_bytes([frame[34], frame[35]]);
        }
    }
    // All transfers come to an end by themselves.
    for _ in 0..8 {
        world.pass(Duration::from_secs(256));
    }
    assert!(world.wire.frames.is_empty(), "a transfer that never ends");
}

/// A request to read, with some options.
fn request(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.u8();
    let mut packet = vec![0, 1];
    packet.extend(
        b"b/file/../x\\."[usize::from(shape & 1)..]
            .iter()
            .take(usize::from(shape >> 4)),
    );
    packet.extend(b"\0octet\0");
    for _ in 0..shape & 3 {
        let options = ["blksize", "windowsize", "timeout", "tsize"];
        let option = options[usize::from(input.u8() & 3)];
        packet.extend(format!("{option}\0{}\0", input.u16()).bytes());
    }
    packet
}

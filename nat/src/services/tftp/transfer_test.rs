use super::*;
use std::io;

/// A file in memory, which may lose its end while it is open.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    pub(crate) len: u64,
}

impl File for Memory {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = self
            .bytes
            .get(usize::try_from(offset).unwrap()..)
            .unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from(at * 7 % 251).unwrap())
        .collect()
}

struct World {
    transfer: Transfer,
    packets: Vec<Vec<u8>>,
    now: Duration,
}

impl World {
    fn new(len: usize, options: Options) -> Self {
        let mut packets = Vec::new();
        let file = Memory {
            bytes: pattern(len),
            len: len as u64,
        };
        let now = Duration::from_secs(9);
        let (transfer, fate) = Transfer::start(now, Box::new(file), options, 1468, &mut |packet| {
            packets.push(packet);
        });
        assert_eq!(fate, Fate::Continues);
        Self {
            transfer,
            packets,
            now,
        }
    }

    fn ack(&mut self, number: u16) -> Fate {
        self.packets.clear();
        let packets = &mut self.packets;
        self.transfer
            .acknowledge(self.now, number, &mut |packet| packets.push(packet))
    }

    fn wait(&mut self, time: Duration) -> Fate {
        self.packets.clear();
        self.now += time;
        let packets = &mut self.packets;
        self.transfer
            .poll(self.now, &mut |packet| packets.push(packet))
    }

    fn numbers(&self) -> Vec<u16> {
        let number = |packet: &Vec<u8>| u16::from_be_bytes([packet[2], packet[3]]);
        self.packets.iter().map(number).collect()
    }
}

fn window(window: u16) -> Options {
    Options {
        window: Some(window),
        ..Options::default()
    }
}

/// Receives the whole file as a client does that acknowledges each window.
fn receive(len: usize, options: Options) -> Vec<u8> {
    let mut world = World::new(len, options);
    let block = options.block.unwrap_or(512).min(1468);
    if !options.is_empty() {
        assert_eq!(world.packets[0][..2], [0, 6]);
        assert_eq!(world.ack(0), Fate::Continues);
    }
    let mut received = Vec::new();
    let mut expected = 1u16;
    loop {
        for packet in &world.packets {
            assert_eq!(packet[..4], [&[0, 3][..], &expected.to_be_bytes()].concat());
            received.extend(&packet[4..]);
            expected = expected.wrapping_add(1);
        }
        let last = world.packets.last().unwrap().len() - 4 < block;
        if world.ack(expected.wrapping_sub(1)) == Fate::Ended {
            assert!(last);
            return received;
        }
        assert!(!last);
    }
}

#[test]
fn files_of_all_sizes_arrive_whole() {
    for len in [0, 1, 511, 512, 513, 1024, 5000] {
        assert!(receive(len, Options::default()) == pattern(len), "{len}");
        assert!(receive(len, window(4)) == pattern(len), "{len} in windows");
    }
}

#[test]
fn block_numbers_go_round() {
    let options = Options {
        block: Some(8),
        window: Some(64),
        ..Options::default()
    };
    let len = 8 * 70_000 + 3;
    assert!(receive(len, options) == pattern(len));
}

#[test]
fn options_are_agreed_on_before_anything_is_sent() {
    let options = Options {
        block: Some(9000),
        window: Some(4),
        timeout: Some(3),
        size: Some(0),
    };
    let mut world = World::new(5000, options);
    let expected = b"\0\x06blksize\x001468\0windowsize\x004\0timeout\x003\0tsize\x005000\0";
    assert_eq!(
        world.packets,
        [expected.to_vec()],
        "no block is larger than a packet"
    );
    assert_eq!(world.ack(7), Fate::Continues);
    assert!(world.packets.is_empty());
    assert_eq!(world.ack(0), Fate::Continues);
    assert_eq!(world.numbers(), [1, 2, 3, 4]);
    assert_eq!(world.wait(Duration::from_millis(2999)), Fate::Continues);
    assert!(world.packets.is_empty());
    world.wait(Duration::from_millis(1));
    assert_eq!(world.numbers(), [1, 2, 3, 4]);
}

#[test]
fn what_is_lost_is_repeated_and_a_client_that_is_gone_is_given_up() {
    let mut world = World::new(2000, Options::default());
    world.ack(1);
    for _ in 0..5 {
        assert_eq!(world.wait(Duration::from_secs(1)), Fate::Continues);
        assert_eq!(world.numbers(), [2]);
    }
    assert_eq!(world.wait(Duration::from_secs(1)), Fate::Ended);
}

#[test]
fn a_repeated_acknowledgement_repeats_nothing() {
    let mut world = World::new(5000, Options::default());
    world.ack(1);
    assert_eq!(world.ack(1), Fate::Continues);
    assert!(
        world.packets.is_empty(),
        "the sorcerer's apprentice (RFC 1123, 4.2.3.1)"
    );
    world.ack(2);
    assert_eq!(world.numbers(), [3]);
}

#[test]
fn a_window_goes_on_behind_the_last_block_that_arrived() {
    let mut world = World::new(20_000, window(4));
    world.ack(0);
    world.ack(2);
    assert_eq!(world.numbers(), [3, 4, 5, 6]);
    world.ack(2);
    assert_eq!(
        world.numbers(),
        [3, 4, 5, 6],
        "the first of the window is missing"
    );
    world.ack(2);
    assert!(world.packets.is_empty(), "once");
    world.ack(6);
    assert_eq!(world.numbers(), [7, 8, 9, 10]);
}

#[test]
fn acknowledgements_of_what_was_never_sent_are_ignored() {
    let mut world = World::new(5000, window(4));
    world.ack(0);
    for number in [5, 6, 1000, u16::MAX] {
        assert_eq!(world.ack(number), Fate::Continues, "{number}");
        assert!(world.packets.is_empty());
    }
}

#[test]
fn a_file_that_got_shorter_is_an_error_not_an_end() {
    let file = Memory {
        bytes: pattern(700),
        len: 2000,
    };
    let mut packets = Vec::new();
    let mut send = |packet| packets.push(packet);
    let start = Duration::ZERO;
    let (mut transfer, _) =
        Transfer::start(start, Box::new(file), Options::default(), 1468, &mut send);
    assert_eq!(transfer.acknowledge(start, 1, &mut send), Fate::Ended);
    assert_eq!(packets[1][..4], [0, 5, 0, 0]);
}

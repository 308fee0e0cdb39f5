use super::{receiver::BUFFER, *};
use crate::{Burst, DeviceQueue, NET_HEADER_LEN, NetHeader};

fn device(ring: &LocalRing) -> DeviceQueue {
    DeviceQueue::new(Arc::clone(&ring.memory), &ring.config).unwrap()
}

/// Puts a frame into the next chains of a receive ring, as the datapath does.
fn deliver(device: &mut DeviceQueue, frame: &[u8]) -> bool {
    let total = NET_HEADER_LEN + frame.len();
    let count = total.div_ceil(BUFFER);
    let mut burst = Burst::new();
    // What it knows of comes first, and only then a look for more.
    while let missing @ 1.. = count - burst.len()
        && device.pop_burst(&mut burst, missing).unwrap() > 0
    {}
    if burst.len() < count {
        device.unpop(&mut burst, 0);
        return false;
    }
    let header = NetHeader {
        num_buffers: u16::try_from(count).unwrap(),
        ..NetHeader::default()
    };
    let bytes = [&header.encode()[..], frame].concat();
    for (index, part) in bytes.chunks(BUFFER).enumerate() {
        let chain = burst.chain(index).unwrap();
        assert_eq!(chain.writable().write_at(0, part), part.len());
        device.complete(chain.head(), u32::try_from(part.len()).unwrap());
    }
    let _ = device.publish();
    true
}

/// `len` bytes that differ from those of another `seed`.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + seed) % 251).unwrap())
        .collect()
}

#[test]
fn frames_of_any_length_come_in_whole_and_in_order() {
    let mut receiver = LocalReceiver::new(64).unwrap();
    let mut device = device(&receiver.ring());
    // 64 buffers of 4 KiB: the long ones go round the end again and again.
    for round in 0..200 {
        let longest = LocalReceiver::LONGEST_FRAME;
        for len in [14, 60, 1514, 4084, 4085, 9014, 65549, longest] {
            let frame = pattern(round, len);
            assert!(deliver(&mut device, &frame), "round {round}, {len} bytes");
            let (header, received) = receiver.receive().unwrap().expect("it was delivered");
            assert_eq!(usize::from(header.num_buffers), (len + 12).div_ceil(BUFFER));
            assert_eq!(received, frame, "round {round}, {len} bytes");
            assert!(receiver.receive().unwrap().is_none());
            let _ = receiver.publish();
        }
    }
}

#[test]
fn a_receiver_that_gives_nothing_back_runs_out_of_buffers_and_recovers() {
    let mut receiver = LocalReceiver::new(16).unwrap();
    let mut device = device(&receiver.ring());
    for count in 0..16 {
        assert!(deliver(&mut device, &pattern(count, 100)));
    }
    assert!(!deliver(&mut device, &pattern(16, 100)));
    for count in 0..16 {
        assert_eq!(receiver.receive().unwrap().unwrap().1, pattern(count, 100));
    }
    let _ = receiver.publish();
    assert!(deliver(&mut device, &pattern(17, 100)));
    assert_eq!(receiver.receive().unwrap().unwrap().1, pattern(17, 100));
}

#[test]
fn a_device_that_lies_about_lengths_ends_the_ring() {
    let mut receiver = LocalReceiver::new(16).unwrap();
    let mut device = device(&receiver.ring());
    let mut burst = Burst::new();
    device.pop_burst(&mut burst, 1).unwrap();
    device.complete(burst.chain(0).unwrap().head(), 1 << 20);
    let _ = device.publish();
    assert!(receiver.receive().is_err());
}

/// Of a frame by its number: short ones and long ones, among them such as differ by some bytes only.
fn size(number: usize) -> usize {
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    [60, 1514, 65_500, 9000, 1490, 3000, 30_000, 600][hash % 8] + hash / 8 % 50
}

#[test]
fn sent_frames_are_written_in_place_and_block_when_there_is_no_room() {
    let mut sender = LocalSender::new(64, 256 << 10).unwrap();
    let mut device = device(&sender.ring());
    let mut burst = Burst::new();
    let (mut sent, mut taken) = (0, 0);
    for round in 0..3000 {
        // Fills the ring up, then lets the device take a few: heads and tails meet at every place.
        let promised = sent + sender.room_for(65549);
        loop {
            let len = size(sent);
            let frame = pattern(sent, len);
            let header = NetHeader {
                gso_size: u16::try_from(sent % 1000).unwrap(),
                ..NetHeader::default()
            };
            if !sender.send(&header, len, &mut |bytes| bytes.copy_from_slice(&frame)) {
                assert!(!sender.has_room(len));
                assert!(sent >= promised, "round {round}");
                break;
            }
            sent += 1;
        }
        let _ = sender.publish();
        burst.clear();
        let popped = device.pop_burst(&mut burst, 1 + round % 5).unwrap();
        assert!(popped > 0, "round {round}");
        for index in 0..popped {
            let chain = burst.chain(index).unwrap();
            let len = size(taken);
            let mut bytes = vec![0; 12 + len];
            assert_eq!(chain.readable().read_at(0, &mut bytes), 12 + len);
            assert_eq!(&bytes[12..], pattern(taken, len), "frame {taken}");
            assert_eq!(
                bytes[4..6],
                u16::try_from(taken % 1000).unwrap().to_le_bytes()
            );
            device.complete(chain.head(), 0);
            taken += 1;
        }
        let _ = device.publish();
        assert!(sender.reclaim().unwrap());
        assert!(!sender.reclaim().unwrap());
    }
    assert!(taken > 5000);
}

#[test]
fn a_frame_that_ends_just_before_the_oldest_one_leaves_it_alone() {
    let mut sender = LocalSender::new(16, 64 << 10).unwrap();
    let mut device = device(&sender.ring());
    let mut burst = Burst::new();
    let header = NetHeader::default();
    assert!(sender.send(&header, 1514, &mut |bytes| bytes.fill(1)));
    assert!(sender.send(&header, 63_000, &mut |bytes| bytes.fill(2)));
    let _ = sender.publish();
    device.pop_burst(&mut burst, 1).unwrap();
    device.complete(burst.chain(0).unwrap().head(), 0);
    let _ = device.publish();
    assert!(sender.reclaim().unwrap());
    // Less than the first one had, and in the same cache line it ends.
    assert!(!sender.send(&header, 1488, &mut |bytes| bytes.fill(3)));
    assert!(sender.send(&header, 1400, &mut |bytes| bytes.fill(3)));
    assert!(!sender.send(&header, 100, &mut |bytes| bytes.fill(4)));
    burst.clear();
    let _ = sender.publish();
    while burst.len() < 2 {
        assert_ne!(device.pop_burst(&mut burst, 1).unwrap(), 0);
    }
    for (index, (len, byte)) in [(63_000, 2), (1400, 3)].into_iter().enumerate() {
        let mut bytes = vec![0; 12 + len];
        let chain = burst.chain(index).unwrap();
        assert_eq!(chain.readable().read_at(0, &mut bytes), 12 + len);
        assert!(bytes[12..].iter().all(|is| *is == byte), "frame {index}");
    }
}

#[test]
fn a_ring_that_was_empty_does_not_write_over_its_oldest_frame() {
    let mut sender = LocalSender::new(16, 64 << 10).unwrap();
    let mut device = device(&sender.ring());
    let mut burst = Burst::new();
    let header = NetHeader::default();
    assert!(sender.send(&header, 5000, &mut |bytes| bytes.fill(1)));
    let _ = sender.publish();
    device.pop_burst(&mut burst, 1).unwrap();
    device.complete(burst.chain(0).unwrap().head(), 0);
    let _ = device.publish();
    assert!(sender.reclaim().unwrap());
    assert_eq!(sender.room_for(65_000), 1);
    // This one begins where that one was, and fills the rest.
    assert!(sender.send(&header, 65_000, &mut |bytes| bytes.fill(2)));
    assert_eq!(sender.room_for(1000), 0);
    assert!(!sender.send(&header, 1000, &mut |bytes| bytes.fill(3)));
}

#[test]
fn a_frame_longer_than_the_memory_finds_no_room_ever() {
    let mut sender = LocalSender::new(8, 4096).unwrap();
    assert!(!sender.has_room(4096));
    assert!(!sender.send(&NetHeader::default(), 4096, &mut |_| panic!(
        "there is no room"
    )));
    assert!(sender.has_room(4084));
}

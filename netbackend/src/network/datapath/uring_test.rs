use super::*;
use std::{
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};
use virtqueue::Burst;

/// Two ends that carry packets, as files that do not block.
fn packets() -> (File, File) {
    let (one, other) = UnixDatagram::pair().unwrap();
    let [one, other] = [one, other].map(|socket| {
        socket.set_nonblocking(true).unwrap();
        File::from(OwnedFd::from(socket))
    });
    (one, other)
}

/// `None`: this kernel lets nobody have a ring, which is said.
fn ring() -> Option<Uring> {
    let ring = Uring::new();
    if let Err(error) = &ring {
        eprintln!("SKIPPED: no io_uring here: {error}");
    }
    ring.ok()
}

fn read(ring: &mut Uring, file: &File, count: usize) -> (Results, Vec<[u8; 16]>) {
    let mut buffers = vec![[0; 16]; count];
    let results = ring.read(file, buffers.iter_mut().map(|buffer| &mut buffer[..]));
    (results.unwrap(), buffers)
}

#[test]
fn packets_come_in_order_and_the_rest_is_told() {
    let Some(mut ring) = ring() else { return };
    let (near, far) = packets();
    let (results, _) = read(&mut ring, &far, BURST);
    assert_eq!(results.len(), BURST);
    for result in results {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    for number in 0..5u8 {
        (&near).write_all(&[number; 7]).unwrap();
    }
    let (results, buffers) = read(&mut ring, &far, 8);
    for (number, (result, buffer)) in (0..5u8).zip(results.iter().zip(&buffers)) {
        assert_eq!(*result.as_ref().unwrap(), 7);
        assert_eq!(buffer[..7], [number; 7]);
    }
    assert!(results[5..].iter().all(Result::is_err));
}

#[test]
fn packets_of_several_pieces_are_written_in_order() {
    let Some(mut ring) = ring() else { return };
    let (near, far) = packets();
    let pieces: Vec<[u8; 3]> = (0..20).map(|number| [number; 3]).collect();
    let mut vecs = IoVecs::default();
    for piece in &pieces {
        vecs.push(piece);
    }
    let ranges: Vec<_> = (0..10).map(|packet| packet * 2..packet * 2 + 2).collect();
    let results = ring.write(&near, &vecs, &ranges, &Burst::new()).unwrap();
    assert!(results.iter().all(|result| *result.as_ref().unwrap() == 6));
    let (results, buffers) = read(&mut ring, &far, 10);
    for (packet, buffer) in (0..10u8).zip(&buffers) {
        let (first, second) = (packet * 2, packet * 2 + 1);
        assert_eq!(buffer[..6], [first, first, first, second, second, second]);
    }
    assert!(results.iter().all(|result| *result.as_ref().unwrap() == 6));
}

#[test]
fn a_packet_that_is_refused_costs_the_others_nothing() {
    let Some(mut ring) = ring() else { return };
    let (near, far) = packets();
    drop(far);
    let piece = [7; 3];
    let mut vecs = IoVecs::default();
    vecs.push(&piece);
    let results = ring
        .write(&near, &vecs, &[0..1, 0..1], &Burst::new())
        .unwrap();
    assert!(results.iter().all(Result::is_err));
    // The ring works on.
    let (near, _far) = packets();
    let results = ring
        .write(&near, &vecs, std::slice::from_ref(&(0..1)), &Burst::new())
        .unwrap();
    assert_eq!(*results[0].as_ref().unwrap(), 3);
}

use super::*;
use std::{
    fs::File,
    io::{Read, Seek, Write},
    os::fd::AsFd,
};

#[test]
fn message_carries_descriptors() {
    let (a, b) = pair().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"hello").unwrap();
    send(&a, &("file", 1), &[file.as_fd(), b.as_fd()]).unwrap();
    let (message, mut fds) = receive::<(String, u8)>(&b).unwrap().unwrap();
    assert_eq!(message, ("file".into(), 1));
    assert_eq!(fds.len(), 2);
    let mut received = File::from(fds.remove(0));
    received.rewind().unwrap();
    let mut text = String::new();
    received.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn most_descriptors_and_largest_message_pass() {
    let (a, b) = pair().unwrap();
    let fds = vec![a.as_fd(); MAX_FDS];
    let text = "x".repeat(MAX_MESSAGE - 2);
    send(&a, &text, &fds).unwrap();
    let (received, received_fds) = receive::<String>(&b).unwrap().unwrap();
    assert_eq!(received, text);
    assert_eq!(received_fds.len(), MAX_FDS);
}

#[test]
fn too_large_is_refused_before_it_is_sent() {
    let (a, b) = pair().unwrap();
    let error = send(&a, &"x".repeat(MAX_MESSAGE), &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let error = send(&a, &0, &vec![a.as_fd(); MAX_FDS + 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    drop(a);
    assert!(receive::<u8>(&b).unwrap().is_none());
}

#[test]
fn closed_peer_is_an_end_for_the_reader_and_an_error_for_the_writer() {
    let (a, b) = pair().unwrap();
    drop(b);
    assert!(receive::<u8>(&a).unwrap().is_none());
    assert_eq!(
        send(&a, &0, &[]).unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[test]
fn other_json_is_an_error() {
    let (a, b) = pair().unwrap();
    send(&a, &"text", &[]).unwrap();
    assert!(receive::<u8>(&b).is_err());
}

use super::*;
use std::{
    io::{Read, Write},
    net::Shutdown,
};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("vu-gen-{}-{name}.sock", std::process::id()))
}

#[test]
fn either_side_may_listen_and_sessions_follow_each_other() {
    let path = path("meet");
    let listening = Endpoint::open(&path, Role::Listen).expect("a new socket");
    let connecting = Endpoint::open(&path, Role::Connect).expect("nothing to open yet");
    for round in [1, 2] {
        let mut ours = connecting.meet().expect("the other side listens");
        let mut theirs = listening.meet().expect("the other side has connected");
        ours.write_all(&[round]).expect("a connected socket");
        ours.shutdown(Shutdown::Write).expect("a connected socket");
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).expect("a connected socket");
        assert_eq!(read, [round]);
    }
    drop(listening);
    assert!(!path.exists(), "the socket was left behind");
}

#[test]
fn a_socket_left_behind_is_replaced_and_any_other_file_is_not() {
    let path = path("left");
    drop(UnixListener::bind(&path).expect("a new socket"));
    let endpoint = Endpoint::open(&path, Role::Listen).expect("the old socket is in nobody's way");
    drop(endpoint);
    fs::write(&path, "precious").expect("a temporary file");
    let refused = Endpoint::open(&path, Role::Listen);
    assert!(refused.is_err(), "it listens in place of a file");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    fs::remove_file(&path).expect("still there");
}

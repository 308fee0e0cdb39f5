use super::*;
use crate::{NetworkState, PortKind, PortState};
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

/// Serves one connection with `answer`; returns the request's bytes.
fn peer(answer: &'static str) -> (tempfile::TempDir, Client, thread::JoinHandle<String>) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        request
    });
    (dir, Client::new(socket), served)
}

fn read_request(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")
                        .map(str::to_owned)
                })
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = [0; 1024];
        let n = stream.read(&mut chunk).unwrap();
        assert_ne!(n, 0, "the client hung up");
        bytes.extend(&chunk[..n]);
    }
}

#[test]
fn add_port_sends_json_and_reads_the_port() {
    let (_dir, client, served) = peer(concat!(
        "HTTP/1.1 201 Created\r\ncontent-length: 74\r\n\r\n",
        r#"{"name":"p0","kind":"vhost-user","socket":"/run/p0", "state":"listening" }"#
    ));
    let request = PortRequest {
        lease: true,
        ..PortRequest::default()
    };
    let port = client.add_port("a/b", &request).unwrap();
    assert_eq!(port.name, "p0");
    assert_eq!(port.state, PortState::Listening);
    let socket = PathBuf::from("/run/p0");
    assert_eq!(
        port.kind,
        PortKind::VhostUser {
            socket,
            client: false
        }
    );
    let request = served.join().unwrap();
    assert!(
        request.starts_with("POST /v1/networks/a%2Fb/ports HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains(r#""lease":true"#), "{request}");
}

#[test]
fn set_filter_sends_a_whole_filter() {
    let (_dir, client, served) = peer("HTTP/1.1 204 No Content\r\n\r\n");
    let filter = PortFilter {
        groups: Some(["01:00:5e:00:00:01".to_owned()].into()),
        ..PortFilter::default()
    };
    client.set_filter("lan", "p0", &filter).unwrap();
    let request = served.join().unwrap();
    let start = "PUT /v1/networks/lan/ports/p0/filter HTTP/1.1\r\n";
    assert!(request.starts_with(start), "{request}");
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        r#"{"groups":["01:00:5e:00:00:01"],"promiscuous":false}"#
    );
    assert_eq!(serde_json::from_str::<PortFilter>(body).unwrap(), filter);
    assert!(serde_json::from_str::<PortFilter>(r#"{"group":[]}"#).is_err());
}

#[test]
fn network_reads_its_state() {
    let (_dir, client, served) = peer(concat!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        r#"{"name":"lan","mode":"private","mtu":9000,"state":"failed","worker_pid":null,"restarts":3,"ports":[]}"#
    ));
    let network = client.network("lan").unwrap();
    assert_eq!(network.state, NetworkState::Failed);
    assert_eq!(network.restarts, 3);
    assert!(
        served
            .join()
            .unwrap()
            .starts_with("GET /v1/networks/lan HTTP/1.1")
    );
}

#[test]
fn api_error_keeps_its_remedy() {
    let (_dir, client, served) = peer(concat!(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 71\r\n\r\n",
        r#"{"code":"no-such-network","message":"no network lan","remedy":"add it"}"#
    ));
    let error = client.remove_port("lan", "p0").unwrap_err();
    assert_eq!(error.to_string(), "no network lan (add it)");
    assert!(
        served
            .join()
            .unwrap()
            .starts_with("DELETE /v1/networks/lan/ports/p0 ")
    );
}

#[test]
fn other_servers_are_told_apart() {
    for answer in [
        "SSH-2.0-OpenSSH_10.0\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nno!\n",
        "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (_dir, client, served) = peer(answer);
        let error = client.status().unwrap_err();
        assert!(
            matches!(error, ClientError::Protocol { .. }),
            "{answer}: {error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("is not a netbackend control socket")
        );
        served.join().unwrap();
    }
}

#[test]
fn absent_daemon_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    // Once without a file, once with a stale one.
    for _ in 0..2 {
        let error = Client::new(&socket).status().unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&socket.display().to_string()), "{text}");
        assert!(text.contains("start it with `netbackend`"), "{text}");
        drop(UnixListener::bind(&socket));
    }
}

#[test]
fn silent_daemon_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let client = Client::new(&socket).with_timeout(Duration::from_millis(50));
    let error = client.status().unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

//! The control API, spoken by hand: what clients get wrong.
use crate::common::Daemon;
use control::ApiError;
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
};

/// Status code and body of the answer to one request.
#[track_caller]
fn exchange(daemon: &Daemon, request: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(daemon.client.socket()).unwrap();
    // The daemon answers a body that is too large without reading it all: then writing may fail,
    // and the answer is followed by a reset.
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, body.to_owned())
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn wrong_requests_get_an_error_with_a_remedy() {
    let daemon = Daemon::start("[networks.default.ports.web]");
    let ports = "/v1/networks/default/ports";
    let filter = format!("{ports}/web/filter");
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(100_000));
    let cases = [
        ("GET", "/", "", 404, "not-found"),
        ("GET", "/v2/status", "", 404, "not-found"),
        ("DELETE", "/v1/status", "", 405, "method-not-allowed"),
        ("GET", "/v1/networks/x", "", 404, "no-such-network"),
        ("POST", "/v1/networks/x/ports", "{}", 404, "no-such-network"),
        (
            "DELETE",
            "/v1/networks/default/ports/x",
            "",
            404,
            "no-such-port",
        ),
        ("POST", ports, "{", 400, "bad-request"),
        ("POST", ports, "[1]", 400, "bad-request"),
        ("POST", ports, "{\"nmae\":\"x\"}", 400, "bad-request"),
        ("POST", ports, "{\"queue_pairs\":-1}", 400, "bad-request"),
        (
            "POST",
            ports,
            "{\"mac\":\"ff:ff:ff:ff:ff:ff\"}",
            400,
            "bad-request",
        ),
        ("POST", ports, &large, 400, "bad-request"),
        ("POST", &filter, "{}", 405, "method-not-allowed"),
        ("PUT", &filter, "", 400, "bad-request"),
        ("PUT", &filter, "{\"group\":[]}", 400, "bad-request"),
        (
            "PUT",
            &filter,
            "{\"address\":\"01:00:5e:00:00:01\"}",
            400,
            "bad-request",
        ),
        (
            "PUT",
            &filter,
            "{\"groups\":[\"52:54:00:00:00:01\"]}",
            400,
            "bad-request",
        ),
        ("PUT", &filter, "{}", 409, "conflict"),
        (
            "PUT",
            "/v1/networks/default/ports/x/filter",
            "{}",
            404,
            "no-such-port",
        ),
        (
            "PUT",
            "/v1/networks/x/ports/web/filter",
            "{}",
            404,
            "no-such-network",
        ),
    ];
    for (method, path, body, code, word) in cases {
        let (found, answer) = exchange(&daemon, &request(method, path, body));
        let error: ApiError = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(
            (found, error.code.as_str()),
            (code, word),
            "{method} {path}: {error}"
        );
        assert!(error.remedy.is_some(), "{error}");
    }
    let (_, answer) = exchange(&daemon, &request("POST", ports, "{\"nmae\":\"x\"}"));
    assert!(
        answer.contains("nmae") && answer.contains("queue_pairs"),
        "{answer}"
    );
}

#[test]
fn port_without_a_body_has_all_defaults() {
    let daemon = Daemon::start("");
    let (code, answer) = exchange(&daemon, &request("POST", "/v1/networks/default/ports", ""));
    assert_eq!(code, 201, "{answer}");
    assert!(answer.contains("\"name\":\"p0\""), "{answer}");
    let path = "/v1/networks/default/ports/p0";
    assert_eq!(
        exchange(&daemon, &request("DELETE", path, "")),
        (204, String::new())
    );
}

#[test]
fn nonsense_and_silent_clients_do_not_hold_up_others() {
    let daemon = Daemon::start("");
    let (code, _) = exchange(&daemon, "EHLO there\r\n\r\n");
    assert_eq!(code, 400);
    let mut open = Vec::new();
    for head in [
        "",
        "GET /v1/st",
        "POST /v1/networks/default/ports HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{",
    ] {
        let mut stream = UnixStream::connect(daemon.client.socket()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        open.push(stream);
    }
    daemon.client.status().unwrap();
}

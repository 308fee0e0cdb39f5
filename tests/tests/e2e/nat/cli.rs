//! What the commands for networks in mode `nat` print.
use super::world::{PATIENCE, World, output};
use std::net::UdpSocket;
use std::process::Command;
use tests::{needs_root, programs};

/// Runs the program beside the daemon; what it printed, line by line.
#[track_caller]
fn netbackend(world: &World, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(programs::netbackend());
    command
        .arg("--runtime-dir")
        .arg(world.path("run"))
        .args(arguments);
    output(&mut command).lines().map(String::from).collect()
}

/// A row without what is between its columns.
fn words(row: &str) -> Vec<&str> {
    row.split_whitespace().collect()
}

#[test]
fn nat_commands_show_flows_and_change_forwards() {
    if !needs_root("nat_commands_show_flows_and_change_forwards") {
        return;
    }
    let world = World::leased("forwards = [\"udp:5353=:53\"]");
    let added = netbackend(&world, &["forward", "add", "-t 8080:80", "--network", "n"]);
    assert_eq!(added, ["tcp:8080=:80"]);
    let list = || netbackend(&world, &["forward", "list", "--network", "n"]);
    let rows = list();
    assert_eq!(words(&rows[0]), ["FORWARD", "FAULT"]);
    assert_eq!(words(&rows[1]), ["udp:5353=:53", "-"]);
    assert_eq!(words(&rows[2]), ["tcp:8080=:80", "-"]);
    let removed = [
        "forward",
        "remove",
        "hostfwd=tcp::8080-:80",
        "--network",
        "n",
    ];
    assert!(netbackend(&world, &removed).is_empty());
    assert_eq!(list().len(), 2);

    let bind = |namespace: &tests::Namespace, at: &str| {
        let socket = namespace.enter(|| UdpSocket::bind(at)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let outside = bind(&world.server, "192.0.2.2:7000");
    let inside = bind(&world.guest, "10.0.2.15:6000");
    inside
        .send_to(b"hello", outside.local_addr().unwrap())
        .unwrap();
    let mut bytes = [0; 16];
    let (length, from) = outside.recv_from(&mut bytes).unwrap();
    assert_eq!(length, 5);
    outside.send_to(b"hi", from).unwrap();
    assert_eq!(inside.recv_from(&mut bytes).unwrap().0, 2);
    let rows = netbackend(&world, &["flows", "n"]);
    assert!(rows[0].starts_with("PROTOCOL"), "{rows:?}");
    let row = rows.iter().find(|row| row.contains(":6000"));
    let row = words(row.expect("the flow"));
    assert_eq!(row[..4], ["udp", "10.0.2.15:6000", "->", "192.0.2.2:7000"]);
    // What was there before the first look is no rate.
    assert_eq!(row[5..11], ["5", "B", "2", "B", "0", "bit/s"], "{row:?}");
}

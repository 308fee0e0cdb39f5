//! What a guest does first: lease, ping, names, downloads, with stock programs.
use super::world::{PATIENCE, World, output};
use std::fs;
use tests::{Process, needs_root, wait_until};

/// A web server of the server namespace, at both families.
fn serve(world: &World) -> Process {
    let root = world.path("www");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("index.html"), "downloaded").unwrap();
    let mut command = world.server.command("busybox");
    command
        .args(["httpd", "-f", "-p", "[::]:80", "-h"])
        .arg(&root);
    let httpd = Process::start("httpd", world.daemon.directory(), &mut command);
    wait_until("the web server", PATIENCE, || {
        let found = world.server.run("ss -ltn sport = :80");
        String::from_utf8_lossy(&found.stdout)
            .contains(":80")
            .then_some(())
    });
    httpd
}

#[test]
fn nat_guest_gets_its_lease_and_reaches_the_world() {
    if !needs_root("nat_guest_gets_its_lease_and_reaches_the_world") {
        return;
    }
    let world = World::new(
        "mtu = 1500\nsearch = [\"example.org\"]\nrecords = { \"www.example.org\" = \"192.0.2.2\" }",
    );
    let told = world.lease();
    for line in [
        "ip=10.0.2.15",
        "router=10.0.2.2",
        "dns=10.0.2.3",
        "mtu=1500",
    ] {
        assert!(told.contains(line), "no {line} in {told}");
    }
    assert!(told.contains("example.org"), "{told}");
    let leases = world.daemon.client().leases("n").unwrap();
    assert_eq!(leases[0].hostname.as_deref(), Some("web"));
    assert_eq!(leases[0].mac.as_deref(), Some("52:54:00:00:00:01"));
    // The gateway, and the server through it.
    for address in ["10.0.2.2", "192.0.2.2"] {
        world
            .guest
            .run(&format!("ping -c 3 -i 0.2 -W 20 {address}"));
    }
    let answer =
        output(
            world
                .guest
                .command("busybox")
                .args(["nslookup", "www.example.org", "10.0.2.3"]),
        );
    assert!(answer.contains("192.0.2.2"), "{answer}");
    let answer = output(
        world
            .guest
            .command("busybox")
            .args(["nslookup", "web", "10.0.2.3"]),
    );
    assert!(
        answer.contains("10.0.2.15"),
        "a guest by its name: {answer}"
    );
    let _httpd = serve(&world);
    let page = output(
        world
            .guest
            .command("curl")
            .args(["-sS", "-m", "60", "http://192.0.2.2/"]),
    );
    assert_eq!(page, "downloaded");
}

#[test]
fn nat_guest_reaches_the_world_by_ipv6() {
    if !needs_root("nat_guest_reaches_the_world_by_ipv6") {
        return;
    }
    let world = World::new("");
    world.wait_ipv6();
    for address in ["fd00::2", "fd99::2"] {
        world
            .guest
            .run(&format!("ping -6 -c 3 -i 0.2 -W 20 {address}"));
    }
    let _httpd = serve(&world);
    let page = output(
        world
            .guest
            .command("curl")
            .args(["-sS", "-m", "60", "http://[fd99::2]/"]),
    );
    assert_eq!(page, "downloaded");
}

#[test]
fn nat_guest_sees_the_path_and_its_end() {
    if !needs_root("nat_guest_sees_the_path_and_its_end") {
        return;
    }
    let world = World::leased("");
    // The host may have "ping" sockets here; elsewhere it has not.
    world
        .host
        .script("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range");
    world.guest.run("ping -c 2 -i 0.2 -W 20 192.0.2.2");
    let path = output(world.guest.command("busybox").args([
        "traceroute",
        "-n",
        "-I",
        "-q",
        "1",
        "-m",
        "5",
        "-w",
        "20",
        "192.0.2.2",
    ]));
    let hops: Vec<&str> = path
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(hops.first(), Some(&"10.0.2.2"), "{path}");
    assert_eq!(hops.last(), Some(&"192.0.2.2"), "{path}");
}

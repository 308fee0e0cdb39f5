//! Leases as a second client wants them: ISC's dhclient, over both families.
use super::world::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::needs_root;

/// What it asks for.
const WISHES: &str = "\
request subnet-mask, routers, domain-name-servers, domain-name, domain-search, interface-mtu;
also request dhcp6.name-servers, dhcp6.domain-search;
";
/// Its script takes no part in the test: what counts is the lease file.
const SCRIPT: &str = "#!/bin/sh\nexit 0\n";

/// The lease file after a single attempt.
#[track_caller]
fn lease(world: &World, family: &str) -> String {
    let directory = world.daemon.directory();
    let place = |name: &str| directory.join(format!("dhclient{family}.{name}"));
    fs::write(place("conf"), WISHES).unwrap();
    fs::write(place("script"), SCRIPT).unwrap();
    fs::set_permissions(place("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = world.guest.command("dhclient");
    command.args([family, "-1", "-v"]);
    for (option, name) in [
        ("-cf", "conf"),
        ("-lf", "leases"),
        ("-pf", "pid"),
        ("-sf", "script"),
    ] {
        command.arg(option).arg(place(name));
    }
    // It stays in the background, and ends with its namespace.
    let output = command.arg("eth0").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "dhclient {family}: {errors}");
    fs::read_to_string(place("leases")).unwrap()
}

#[track_caller]
fn assert_told(lease: &str, lines: &[&str]) {
    for line in lines {
        assert!(lease.contains(line), "no `{line}` in {lease}");
    }
}

#[test]
fn nat_leases_are_what_a_second_client_wants() {
    if !needs_root("nat_leases_are_what_a_second_client_wants") {
        return;
    }
    let world = World::new("search = [\"example.org\"]");
    assert_told(
        &lease(&world, "-4"),
        &[
            "fixed-address 10.0.2.15;",
            "option subnet-mask 255.255.255.0;",
            "option routers 10.0.2.2;",
            "option domain-name-servers 10.0.2.3;",
            "option interface-mtu 1500;",
            "option domain-name \"internal\";",
            "option domain-search \"internal.\", \"example.org.\";",
            "option dhcp-server-identifier 10.0.2.2;",
        ],
    );
    // DHCPv6 goes from a link-local address, which is there once it is known to be nobody else's.
    world.wait_ipv6();
    assert_told(
        &lease(&world, "-6"),
        &[
            "iaaddr fd00::",
            "option dhcp6.name-servers fd00::3;",
            "option dhcp6.domain-search \"internal.\", \"example.org.\";",
        ],
    );
    let leases = world.daemon.client().leases("n").unwrap();
    let of_guest =
        |lease: &&control::LeaseStatus| lease.mac.as_deref() == Some("52:54:00:00:00:01");
    assert_eq!(leases.iter().filter(of_guest).count(), 2, "{leases:?}");
}

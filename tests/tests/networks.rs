//! Several networks at once: no frame crosses, and the death of one worker costs the others nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fmt::Write as _,
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{Daemon, Namespace, programs, until};

/// A network of two namespaces. All networks use the same addresses, so that a frame that crosses would be taken for real.
struct Pair {
    near: Namespace,
    far: Namespace,
    /// Byte that fills the payload of this network's pings.
    pattern: &'static str,
}

const NETWORKS: [(&str, &str); 3] = [("red", "a1"), ("green", "b2"), ("blue", "c3")];

fn set_up() -> (Daemon, Vec<Pair>) {
    let mut config = String::new();
    let mut pairs = Vec::new();
    for (name, pattern) in NETWORKS {
        let (near, far) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        writeln!(config, "[networks.{name}]\nmode = \"bridge\"").unwrap();
        for (port, namespace) in [("near", &near), ("far", &far)] {
            writeln!(
                config,
                "[networks.{name}.ports.{port}]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"",
                namespace.name()
            )
            .unwrap();
        }
        pairs.push(Pair { near, far, pattern });
    }
    let daemon = Daemon::start(&config).unwrap();
    for pair in &pairs {
        pair.near
            .run(&["ip", "link", "set", "eth0", "address", "52:54:00:00:00:01"])
            .unwrap();
        pair.far
            .run(&["ip", "link", "set", "eth0", "address", "52:54:00:00:00:02"])
            .unwrap();
        pair.near.address("eth0", "10.9.0.1/24").unwrap();
        pair.far.address("eth0", "10.9.0.2/24").unwrap();
    }
    for pair in &pairs {
        let reached = until(Duration::from_secs(20), || {
            pair.near.run(&["ping", "-c1", "-W1", "10.9.0.2"]).is_ok()
        });
        assert!(
            reached,
            "the namespaces of a network do not reach each other"
        );
    }
    (daemon, pairs)
}

fn stream(pair: &Pair, count: u32) -> Child {
    let count = count.to_string();
    let words = [
        "ping",
        "-q",
        "-i",
        "0.01",
        "-c",
        &count,
        "-s",
        "64",
        "-p",
        pair.pattern,
        "10.9.0.2",
    ];
    pair.near.start(&words).unwrap()
}

/// Pings sent and answered.
fn outcome(child: Child) -> (u32, u32) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("transmitted"))
        .unwrap();
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn no_frame_crosses_between_networks() {
    let _turn = programs::take_turns();
    let (daemon, pairs) = set_up();
    let captures: Vec<(Child, String)> = pairs
        .iter()
        .map(|pair| {
            let file = daemon
                .dir()
                .join(format!("{}.pcap", pair.pattern))
                .display()
                .to_string();
            let tcpdump = pair.far.start(&[
                "tcpdump",
                "-U",
                "-Z",
                "root",
                "-i",
                "eth0",
                "-w",
                &file,
                "icmp[icmptype]=icmp-echo",
            ]);
            assert!(until(Duration::from_secs(20), || std::path::Path::new(
                &file
            )
            .exists()));
            (tcpdump.unwrap(), file)
        })
        .collect();
    let streams: Vec<_> = pairs.iter().map(|pair| stream(pair, 300)).collect();
    for child in streams {
        assert_eq!(outcome(child), (300, 300));
    }
    for ((mut tcpdump, file), pair) in captures.into_iter().zip(&pairs) {
        let own = pair.pattern.repeat(8);
        let seen = || {
            let output = Command::new("tcpdump")
                .args(["-nn", "-x", "-r", &file])
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).replace([' ', '\n', '\t'], "")
        };
        assert!(
            until(Duration::from_secs(20), || seen().matches(&own).count()
                >= 300),
            "captures its own"
        );
        let dump = seen();
        for (_, other) in NETWORKS.iter().filter(|(_, other)| *other != pair.pattern) {
            assert!(
                !dump.contains(&other.repeat(8)),
                "a frame of another network was seen"
            );
        }
        tcpdump.kill().unwrap();
        tcpdump.wait().unwrap();
    }
}

#[test]
fn a_killed_worker_costs_other_networks_no_packet_and_comes_back() {
    let _turn = programs::take_turns();
    let (daemon, pairs) = set_up();
    let worker = |network: &str| {
        let status = daemon.status().unwrap();
        let found = status.networks.iter().find(|n| n.name == network).unwrap();
        (found.worker_pid, found.restarts)
    };
    let (victim, _) = worker("red");
    let others = [worker("green"), worker("blue")];
    let mut streams = pairs
        .iter()
        .map(|pair| stream(pair, 600))
        .collect::<Vec<_>>()
        .into_iter();
    let frames = || {
        let status = daemon.status().unwrap();
        let green = status.networks.iter().find(|n| n.name == "green").unwrap();
        green
            .ports
            .iter()
            .map(|port| port.counters.tx_frames)
            .sum::<u64>()
    };
    let before = frames();
    assert!(
        until(Duration::from_secs(20), || frames() > before + 100),
        "the streams flow"
    );
    kill(
        Pid::from_raw(i32::try_from(victim.unwrap()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    let replaced = until(Duration::from_secs(10), || {
        let (pid, restarts) = worker("red");
        restarts == 1 && pid.is_some() && pid != victim
    });
    assert!(replaced, "the worker is replaced");
    let (sent, answered) = outcome(streams.next().unwrap());
    println!("red, whose worker was killed: {answered} of {sent} pings answered");
    assert!(answered > 300, "the network resumes: {answered} of {sent}");
    for child in streams {
        assert_eq!(outcome(child), (600, 600), "the others lose nothing");
    }
    assert_eq!(
        [worker("green"), worker("blue")],
        others,
        "the others were not touched"
    );
}

//! Networks share nothing: no frame crosses, and the death of one is not noticed by the others.
use control::NetworkState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;
use tests::{Daemon, Namespace, Process, heavy, needs_root, say, wait_until};

const PATIENCE: Duration = Duration::from_mins(1);

/// A network with a namespace on each of its two taps. All networks use the same addresses: nothing
/// but the daemon keeps them apart.
struct Network {
    name: &'static str,
    /// Payload of its pings, as `ping -p` takes it.
    pattern: &'static str,
    left: Namespace,
    right: Namespace,
}

fn networks() -> Vec<Network> {
    [
        ("red", "e1a51e0d"),
        ("green", "9ee17a57"),
        ("blue", "b10ec0de"),
    ]
    .into_iter()
    .map(|(name, pattern)| Network {
        name,
        pattern,
        left: Namespace::new(name),
        right: Namespace::new(name),
    })
    .collect()
}

fn start(networks: &[Network]) -> Daemon {
    let mut config = String::new();
    for network in networks {
        for (port, namespace) in [("left", &network.left), ("right", &network.right)] {
            writeln!(
                config,
                "[networks.{}.ports.{port}]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"",
                network.name,
                namespace.name()
            )
            .unwrap();
        }
    }
    let daemon = Daemon::start(&config);
    for network in networks {
        for (namespace, last) in [(&network.left, 1), (&network.right, 2)] {
            // The same addresses everywhere, hardware addresses too.
            namespace.run(&format!("ip link set eth0 address 52:54:00:00:00:0{last}"));
            namespace.configure("eth0", &format!("10.9.0.{last}/24"));
        }
    }
    daemon
}

impl Network {
    fn ping(&self, directory: &std::path::Path, options: &[&str]) -> Process {
        let mut command: Command = self.left.command("ping");
        command.args(["-q", "-p", self.pattern, "-W", "5"]);
        command.args(options).arg("10.9.0.2");
        Process::start(&format!("ping-{}", self.name), directory, &mut command)
    }

    fn wait_connected(&self, directory: &std::path::Path) {
        wait_until(&format!("a ping across {}", self.name), PATIENCE, || {
            let mut ping = self.ping(directory, &["-c", "1"]);
            ping.wait(PATIENCE).success().then_some(())
        });
    }
}

/// The line of ping's summary that counts.
fn transmitted(log: &str) -> &str {
    log.lines()
        .find(|line| line.contains("transmitted"))
        .unwrap_or_default()
}

/// At how many places of `data` four repetitions of `pattern` (hexadecimal) begin: several in each ping.
fn count(data: &[u8], pattern: &str) -> usize {
    let bytes: Vec<u8> = (0..pattern.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&pattern[at..at + 2], 16).unwrap())
        .collect();
    let needle = bytes.repeat(4);
    data.windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

#[test]
fn three_networks_no_frame_crosses() {
    if !needs_root("three_networks_no_frame_crosses") {
        return;
    }
    let _turn = heavy();
    let networks = networks();
    let daemon = start(&networks);
    let directory = daemon.directory();
    let mut captures: Vec<(&Network, std::path::PathBuf, Process)> = Vec::new();
    for network in &networks {
        network.wait_connected(directory);
        let file = directory.join(format!("{}.pcap", network.name));
        let mut command = network.right.command("tcpdump");
        // -U and --immediate-mode: a frame is in the file as soon as it was seen. -Z: root may write there.
        command
            .args(["-i", "eth0", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&file);
        let name = format!("tcpdump-{}", network.name);
        let mut tcpdump = Process::start(&name, directory, &mut command);
        tcpdump.wait_for("listening on", PATIENCE);
        captures.push((network, file, tcpdump));
    }
    // All at once: unicast, and broadcast, which a switch hands to every port it has.
    let mut pings = Vec::new();
    for network in &networks {
        pings.push(network.ping(directory, &["-c", "200", "-i", "0.01"]));
        let mut broadcast = network.left.command("ping");
        broadcast.args([
            "-q",
            "-b",
            "-c",
            "50",
            "-i",
            "0.02",
            "-p",
            network.pattern,
            "10.9.0.255",
        ]);
        let name = format!("broadcast-{}", network.name);
        pings.push(Process::start(&name, directory, &mut broadcast));
    }
    for mut ping in pings {
        ping.wait(PATIENCE);
    }
    for (network, file, mut tcpdump) in captures {
        tcpdump.signal(Signal::SIGTERM);
        tcpdump.wait(PATIENCE);
        let capture = fs::read(&file).unwrap();
        for other in &networks {
            let seen = count(&capture, other.pattern);
            say(&format!(
                "{} saw {seen} payloads of {}",
                network.name, other.name
            ));
            if other.name == network.name {
                assert!(seen > 200, "{}: only {seen} of its own", network.name);
            } else {
                assert_eq!(seen, 0, "{} saw frames of {}", network.name, other.name);
            }
        }
    }
    assert!(daemon.stop().success());
}

#[test]
fn a_killed_worker_costs_the_other_networks_no_packet() {
    if !needs_root("a_killed_worker_costs_the_other_networks_no_packet") {
        return;
    }
    let _turn = heavy();
    let networks = networks();
    let daemon = start(&networks);
    let directory = daemon.directory();
    for network in &networks {
        network.wait_connected(directory);
    }
    let [victim, others @ ..] = &networks[..] else {
        panic!("three networks");
    };
    let first = daemon.network(victim.name).worker_pid.expect("a worker");
    // Numbered and continuous: three seconds, far longer than a restart.
    let stream = |network: &Network| network.ping(directory, &["-c", "600", "-i", "0.005"]);
    let mut interrupted = stream(victim);
    let mut streams: Vec<(&Network, Process)> = others
        .iter()
        .map(|network| (network, stream(network)))
        .collect();
    let before = daemon.network(others[0].name).ports[0].counters.tx_frames;
    wait_until("the streams", PATIENCE, || {
        let now = daemon.network(others[0].name).ports[0].counters.tx_frames;
        (now > before + 20).then_some(())
    });
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).unwrap();
    let restarted = wait_until("another worker", PATIENCE, || {
        let network = daemon.network(victim.name);
        network
            .worker_pid
            .filter(|pid| *pid != first)
            .map(|_| network)
    });
    assert_eq!(restarted.restarts, 1);
    let outlasted = streams
        .iter_mut()
        .all(|(_, stream)| stream.ended().is_none());
    assert!(outlasted, "the streams flow before, during and after");
    for (network, stream) in &mut streams {
        stream.wait(PATIENCE);
        let log = stream.log();
        let line = transmitted(&log);
        say(&format!("{}: {line}", network.name));
        assert!(line.contains("600 received"), "{log}");
        assert_eq!(daemon.network(network.name).restarts, 0);
    }
    interrupted.wait(PATIENCE);
    let log = interrupted.log();
    let line = transmitted(&log);
    let answered: u32 = line
        .split([' ', ','])
        .zip(line.split([' ', ',']).skip(1))
        .find_map(|(number, word)| (word == "received").then(|| number.parse().ok())?)
        .unwrap_or_default();
    assert!(answered > 300, "{} resumes: {line}", victim.name);
    say(&format!("{}, whose worker was killed: {line}", victim.name));
    say(&format!(
        "{}: worker {first} killed, {:?} took over",
        victim.name, restarted.worker_pid
    ));
    assert!(daemon.stop().success());
}

/// The nice values of a process' threads by name (proc_pid_stat(5), field 19).
fn nice_of(pid: u32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // Threads may end meanwhile.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let threads = stats.map(|stat| {
        let (head, rest) = stat.rsplit_once(") ").unwrap();
        let (_, name) = head.split_once('(').unwrap();
        // "rest" begins with field 3.
        let nice = rest.split(' ').nth(16).unwrap().parse().unwrap();
        (name.to_owned(), nice)
    });
    threads.collect()
}

#[test]
fn who_carries_frames_for_a_gateway_comes_behind_its_ends() {
    let daemon = Daemon::start("[networks.lan]\n[networks.world]\nmode = \"nat\"\n");
    let worker = |name: &str| {
        wait_until("a worker", PATIENCE, || {
            let network = daemon.network(name);
            network
                .worker_pid
                .filter(|_| network.state == NetworkState::Running)
        })
    };
    let (_, own) = nice_of(std::process::id()).remove(0);
    for (network, nice) in [("lan", own), ("world", (own + 1).min(19))] {
        let threads = nice_of(worker(network));
        let serving = threads
            .iter()
            .filter(|(name, _)| name.starts_with("dp-") || name.starts_with("gw-"));
        let serving: Vec<_> = serving.collect();
        assert!(!serving.is_empty(), "{network}: {threads:?}");
        assert!(
            serving.iter().all(|(_, is)| *is == nice),
            "{network}: {threads:?}, not {nice}"
        );
    }
    assert!(daemon.stop().success());
}

//! Deaths under load: connections live on, nothing leaks.
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};
use tests::{
    Daemon, Hugepages, Machine, Memory, Namespace, Nic, Process, QemuGuest, assert_checks, heavy,
    needs_root, say, wait_until,
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Seconds of iperf3 while its network's worker dies again and again.
const SECONDS: &str = "20";
/// Another length for SECONDS, for a long run by hand.
const SECONDS_VARIABLE: &str = "E2E_KILL_SECONDS";
/// A network is back within this time.
const RESUMES: f64 = 1.0;
/// A worker that dies younger was not well: the supervisor lets the next one wait.
const WELL: Duration = Duration::from_secs(1);
/// Frames that show that a worker works.
const WORKS: u64 = 100;

/// Descriptors and memory of a process.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    descriptors: usize,
    resident_kib: u64,
}

impl Footprint {
    /// Of a process that is at rest: descriptors of connections that just ended do not count.
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Self {
            descriptors: (0..10)
                .map(|_| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
                .min()
                .unwrap(),
            resident_kib: kib.unwrap().parse().unwrap(),
        }
    }
}

/// Two namespaces on one network, with iperf3 and ping between them.
struct Lab {
    daemon: Daemon,
    left: Namespace,
    right: Namespace,
}

impl Lab {
    fn start() -> Self {
        let left = Namespace::new("left");
        let right = Namespace::new("right");
        let port = |name: &str, namespace: &Namespace| {
            format!(
                "[networks.lan.ports.{name}]\nkind = \"tap\"\ninterface = \"eth0\"\nnetns = \"{}\"\n",
                namespace.name()
            )
        };
        let daemon = Daemon::start(&(port("left", &left) + &port("right", &right)));
        left.configure("eth0", "10.5.0.1/24");
        right.configure("eth0", "10.5.0.2/24");
        Self {
            daemon,
            left,
            right,
        }
    }

    fn start_in(&self, namespace: &Namespace, name: &str, arguments: &[&str]) -> Process {
        let [program, arguments @ ..] = arguments else {
            panic!("a program");
        };
        let mut command = namespace.command(program);
        Process::start(name, self.daemon.directory(), command.args(arguments))
    }

    fn worker(&self) -> u32 {
        let worker = || self.daemon.network("lan").worker_pid;
        wait_until("a worker", PATIENCE, worker)
    }

    fn frames(&self) -> u64 {
        let ports = self.daemon.network("lan").ports;
        ports.iter().map(|port| port.counters.tx_frames).sum()
    }

    /// Until the worker has carried frames, and is known to be well.
    fn wait_well(&self) {
        let started = Instant::now();
        wait_until("frames", PATIENCE, || {
            (self.frames() > WORKS && started.elapsed() > WELL).then_some(())
        });
    }

    /// Kills the worker; returns the next one.
    fn kill_worker(&self) -> u32 {
        let worker = self.worker();
        kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).unwrap();
        wait_until("another worker", PATIENCE, || {
            let network = self.daemon.network("lan");
            network.worker_pid.filter(|pid| *pid != worker)
        })
    }
}

/// Seconds between answers, largest last. `ping -D` prefixes each answer with the
/// time: `[1795408001.123456] 64 bytes from …`.
fn gaps(log: &str) -> Vec<f64> {
    let times: Vec<f64> = log
        .lines()
        .filter(|line| line.contains("bytes from"))
        .filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse().ok())
        .collect();
    let pairs = times.windows(2);
    let mut gaps: Vec<f64> = pairs.map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps
}

#[test]
fn connections_outlive_workers_killed_again_and_again() {
    if !needs_root("connections_outlive_workers_killed_again_and_again") {
        return;
    }
    let _turn = heavy();
    let seconds = std::env::var(SECONDS_VARIABLE).unwrap_or(SECONDS.to_owned());
    let lab = Lab::start();
    let mut server = lab.start_in(
        &lab.right,
        "server",
        &["iperf3", "--forceflush", "-s", "-1"],
    );
    server.wait_for("listening", PATIENCE);
    let stream = [
        "iperf3",
        "--forceflush",
        "-c",
        "10.5.0.2",
        "-t",
        &seconds,
        "-b",
        "50M",
    ];
    let mut stream = lab.start_in(&lab.left, "stream", &stream);
    stream.wait_for("connected to", PATIENCE);
    let ping = [
        "stdbuf", "-oL", "ping", "-D", "-n", "-i", "0.02", "10.5.0.2",
    ];
    let mut ping = lab.start_in(&lab.left, "ping", &ping);
    ping.wait_for("bytes from", PATIENCE);
    let seconds: u64 = seconds.parse().unwrap();
    let started = Instant::now();
    // The first death may leave something behind once and for all, the others may not.
    lab.wait_well();
    let second = lab.kill_worker();
    lab.wait_well();
    let first = [lab.daemon.pid(), second].map(Footprint::of);
    let mut kills = 1;
    // A few seconds for the end of the connection, undisturbed.
    let last = loop {
        let worker = lab.kill_worker();
        kills += 1;
        lab.wait_well();
        if started.elapsed() + Duration::from_secs(3) > Duration::from_secs(seconds) {
            break [lab.daemon.pid(), worker];
        }
    };
    // A connection of `status` may be open at the very moment; a leak stays.
    let settled = || {
        let last = last.map(Footprint::of);
        let mut both = first.iter().zip(&last);
        both.all(|(before, after)| after.descriptors <= before.descriptors)
            .then_some(last)
    };
    let last = wait_until("as few descriptors as at first", PATIENCE, settled);
    assert!(stream.wait(PATIENCE).success(), "{}", stream.log());
    assert!(server.wait(PATIENCE).success());
    ping.signal(Signal::SIGINT);
    ping.wait(PATIENCE);
    let gaps = gaps(&ping.log());
    // The largest `kills` gaps are those of the kills, if these are to be seen at all.
    assert!(gaps.len() > 10 * kills, "only {} pings", gaps.len());
    let pauses = &gaps[gaps.len() - kills..];
    let (median, longest) = (pauses[kills / 2], pauses[kills - 1]);
    say(&format!(
        "{kills} workers killed in {seconds} s of one TCP connection; pauses of ping: median {median:.2} s, longest {longest:.2} s"
    ));
    say(&format!("supervisor and worker: {first:?}, then {last:?}"));
    assert!(kills >= 3, "only {kills}");
    // Every second one, because the machine may be busy with something else.
    assert!(median < RESUMES, "the network needs {median:.2} s");
    for (before, after) in first.iter().zip(&last) {
        assert!(after.resident_kib < before.resident_kib + 2048, "growth");
    }
    assert!(lab.daemon.stop().success());
}

const FILE_MIB: u32 = 32;
const QUEUE_PAIRS: u32 = 4;
const BOOT: Duration = Duration::from_mins(2);
const CHECKS: Duration = Duration::from_mins(4);

#[test]
fn qemu_guests_with_four_queue_pairs_on_hugepages_outlive_their_back_end() {
    if !needs_root("qemu_guests_with_four_queue_pairs_on_hugepages_outlive_their_back_end") {
        return;
    }
    let _turn = heavy();
    let hugepages = Hugepages::new(300);
    // One front-end connects, the other one listens.
    let own = tempfile::tempdir().unwrap();
    let listening = own.path().join("guest.sock");
    let mut daemon = Daemon::start(&format!(
        "[networks.lan.ports.a]\n[networks.lan.ports.b]\nconnect = \"{}\"\n",
        listening.display()
    ));
    let machine = |port: &str, number: u8, job: String| {
        let listens = port == "b";
        let nic = Nic {
            socket: if listens {
                listening.clone()
            } else {
                daemon.socket("lan", port)
            },
            listens,
            legacy: false,
            mergeable: true,
            // QEMU has no idea where such a ring stands when the back-end dies.
            packed: listens,
            mac: format!("52:54:00:0e:04:{number:02x}"),
            queue_pairs: QUEUE_PAIRS,
            mtu: 1500,
        };
        let job = format!("{job} file_mib={FILE_MIB} pairs0={QUEUE_PAIRS}");
        Machine::new(QUEUE_PAIRS, &[nic], &job)
    };
    let mut agent = machine("a", 1, "job=agent addr0=10.1.0.1/24".to_owned());
    agent.memory = Memory::File(hugepages.path());
    let job = format!(
        "job=checks addr0=10.1.0.2/24 peers=10.1.0.1/1500 self=10.1.0.2 \
         streams={QUEUE_PAIRS} want_pairs={QUEUE_PAIRS} iperf_s=6"
    );
    let driver = machine("b", 2, job);
    let mut agent = QemuGuest::start("a", daemon.directory(), &agent);
    let mut driver = QemuGuest::start("b", daemon.directory(), &driver);
    agent.process.wait_for("RESULT agent ready", BOOT);
    // iperf3 in one direction loses the worker, in the other one the daemon; pings come before.
    driver
        .process
        .wait_for("RESULT ok ping mtu=1500 size=1472", CHECKS);
    let frames = |daemon: &Daemon| {
        let ports = daemon.network("lan").ports;
        ports
            .iter()
            .map(|port| port.counters.tx_frames)
            .sum::<u64>()
    };
    let before = frames(&daemon);
    wait_until("iperf3", CHECKS, || {
        (frames(&daemon) > before + 1000).then_some(())
    });
    let worker = daemon.network("lan").worker_pid.expect("a worker");
    kill(Pid::from_raw(worker.cast_signed()), Signal::SIGKILL).unwrap();
    driver
        .process
        .wait_for("RESULT ok iperf3 mtu=1500 to-agent", CHECKS);
    let before = frames(&daemon);
    wait_until("iperf3", CHECKS, || {
        (frames(&daemon) > before + 1000).then_some(())
    });
    daemon.kill_and_start_again();
    driver.process.wait_for("RESULT checks passed", CHECKS);
    assert_checks(
        "QEMU guests, back-end killed twice",
        &driver.process.log(),
        7,
    );
    assert!(driver.process.wait(BOOT).success());
    assert!(agent.process.wait(BOOT).success());
    assert!(daemon.stop().success());
}

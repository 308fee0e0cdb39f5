//! Run-time control and restarts under front-ends of our own, which drive their rings by hand.
use benches::FrontEnd;
use control::{Client, PortState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{Daemon, heavy, programs, say, wait_until};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};
use vmm_sys_util::eventfd::EventFd;

const PATIENCE: Duration = Duration::from_mins(1);
const RING: u16 = 64;
const FRAME: u32 = 256;
const HEADER: usize = 12;

/// A driver with a receive and a transmit ring.
struct Guest {
    front_end: FrontEnd,
    mac: [u8; 6],
    sent: u64,
}

impl Guest {
    /// Attaches; a back-end that dies meanwhile is tried again.
    #[track_caller]
    fn attach(socket: &Path, number: u8) -> Self {
        let mut front_end = wait_until("an attached front-end", PATIENCE, || {
            FrontEnd::attach(socket, RING, FRAME).ok()
        });
        for slot in 0..u64::from(RING) {
            let buffer = FRAME + u32::try_from(HEADER).unwrap();
            assert!(front_end.rx.add(slot, buffer, true));
        }
        front_end.rx.publish();
        Self {
            front_end,
            mac: [0x52, 0x54, 0, 0, 0, number],
            sent: 0,
        }
    }

    /// Sends a broadcast with a number in it; false: the ring is full.
    fn send(&mut self, number: u64) -> bool {
        let FrontEnd { tx, memory, .. } = &mut self.front_end;
        while tx.done().unwrap().is_some() {}
        let mut packet = vec![0; HEADER];
        packet.extend([0xff; 6]);
        packet.extend(self.mac);
        // Local experimental ethertype.
        packet.extend([0x88, 0xb5]);
        packet.extend(number.to_be_bytes());
        packet.resize(HEADER + 60, 0);
        let slot = self.sent % u64::from(RING);
        assert!(memory.map().write(tx.buffer(slot), &packet));
        if !tx.add(slot, u32::try_from(packet.len()).unwrap(), false) {
            return false;
        }
        tx.publish();
        self.sent += 1;
        true
    }

    /// The number in a broadcast that has come.
    fn receive(&mut self) -> Option<u64> {
        let FrontEnd { rx, memory, .. } = &mut self.front_end;
        let (slot, written) = rx.done().unwrap()?;
        assert_eq!(usize::try_from(written).unwrap(), HEADER + 60);
        let mut number = [0; 8];
        let at = rx.buffer(slot) + HEADER as u64 + 14;
        assert!(memory.map().read(at, &mut number));
        assert!(rx.add(slot, FRAME + u32::try_from(HEADER).unwrap(), true));
        rx.publish();
        Some(u64::from_be_bytes(number))
    }

    /// Sends until the other one has got it: a port may not run yet when its front-end is done.
    #[track_caller]
    fn reach(&mut self, other: &mut Self, number: u64) {
        wait_until("a frame", PATIENCE, || {
            self.send(number);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(5) {
                if other.receive() == Some(number) {
                    return Some(());
                }
            }
            None
        });
        while other.receive().is_some() {}
    }
}

fn send_signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// A value of /proc/PID/status in KiB.
fn status_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time of a process so far, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): "pid (comm) state ..."; utime and stime are fields 14 and 15.
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_worker_killed_a_hundred_times_is_back_each_time_and_nothing_leaks() {
    const KILLS: u64 = 100;
    const SETTLED: u64 = 20;
    const RESUMES: Duration = Duration::from_secs(1);
    let _turn = heavy();
    let daemon =
        Daemon::start("[networks.lan.ports.a]\n[networks.lan.ports.b]\n[networks.other]\n");
    let (a, b) = (daemon.socket("lan", "a"), daemon.socket("lan", "b"));
    let other = daemon.network("other").worker_pid;
    let attach = || (Guest::attach(&a, 1), Guest::attach(&b, 2));
    let mut guests = attach();
    guests.0.reach(&mut guests.1, 0);
    let before = descriptors(daemon.pid());
    let mut settled = 0;
    let (mut slowest, mut late) = (Duration::ZERO, 0);
    for number in 1..=KILLS {
        let worker = wait_until("a worker", PATIENCE, || daemon.network("lan").worker_pid);
        send_signal(worker, Signal::SIGKILL);
        let killed = Instant::now();
        drop(guests);
        guests = attach();
        guests.0.reach(&mut guests.1, number);
        let took = killed.elapsed();
        slowest = slowest.max(took);
        late += u64::from(took > RESUMES);
        if number == SETTLED {
            settled = status_kib(daemon.pid(), "VmRSS");
        }
    }
    let network = daemon.network("lan");
    assert_eq!(network.restarts, KILLS);
    assert_eq!(daemon.network("other").worker_pid, other);
    wait_until("all descriptors to be closed", PATIENCE, || {
        (descriptors(daemon.pid()) <= before).then_some(())
    });
    let grown = status_kib(daemon.pid(), "VmRSS").saturating_sub(settled);
    say(&format!(
        "{KILLS} kills: back within {} ms at most, {before} descriptors, memory grew by {grown} KiB",
        slowest.as_millis()
    ));
    // A buffer for messages has 128 KiB; allocators and a loaded machine add some noise.
    assert!(grown < 1024, "{grown} KiB");
    // Other programs may take this machine's two CPUs now and then.
    assert!(late <= KILLS / 20, "{late} times not within {RESUMES:?}");
    assert!(daemon.stop().success());
}

#[test]
fn reload_loses_no_frame_of_a_network_that_stays_the_same() {
    const FRAMES: u64 = 4000;
    let _turn = heavy();
    let same = "[networks.same.ports.a]\n[networks.same.ports.b]\n";
    let daemon = Daemon::start(&format!("{same}[networks.goes.ports.x]\n"));
    let client = Client::new(daemon.directory().join("run/control.sock"));
    let mut a = Guest::attach(&daemon.socket("same", "a"), 1);
    let mut b = Guest::attach(&daemon.socket("same", "b"), 2);
    a.reach(&mut b, 0);
    let worker = daemon.network("same").worker_pid;
    let (mut sent, mut expected) = (1, 1);
    let configs = [
        format!("{same}[networks.comes.ports.x]\n"),
        format!("{same}[networks.comes]\nmtu = 9000\n"),
        same.to_owned(),
    ];
    let mut reloads = 0;
    let begun = Instant::now();
    while expected <= FRAMES {
        assert!(begun.elapsed() < PATIENCE, "{expected} of {FRAMES}");
        // Some frames are under way at each reload, and no more than there are buffers.
        if sent <= FRAMES && sent - expected < u64::from(RING) / 2 && a.send(sent) {
            sent += 1;
        }
        if sent % 500 == 0 && reloads * 500 < sent {
            reloads += 1;
            let config = &configs[usize::try_from(reloads).unwrap() % configs.len()];
            fs::write(daemon.directory().join("netbackend.toml"), config).unwrap();
            let report = client.reload().unwrap();
            assert!(report.untouched.contains(&"same".to_owned()), "{report:?}");
            client.add_network(&request(reloads)).unwrap();
        }
        while let Some(number) = b.receive() {
            if number == 0 {
                // One of the first, which was sent again before it came.
                continue;
            }
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    assert_eq!(daemon.network("same").worker_pid, worker);
    let networks = client.status().unwrap().networks;
    say(&format!(
        "{FRAMES} frames in order over {reloads} reloads; now {} networks",
        networks.len()
    ));
    for number in 1..=reloads {
        client.remove_network(&request(number).name).unwrap();
    }
    assert_eq!(daemon.network("same").worker_pid, worker);
    a.reach(&mut b, FRAMES + 1);
    assert!(daemon.stop().success());
}

fn request(number: u64) -> control::NetworkRequest {
    control::NetworkRequest {
        name: format!("added{number}"),
        ..control::NetworkRequest::default()
    }
}

/// A front-end that comes, goes through a part of the handshake, and is gone again.
fn come_and_go(socket: &Path, round: usize) {
    let stream = UnixStream::connect(socket).expect("the worker accepts");
    let mut front_end = Frontend::from_stream(stream, 2);
    let memory = tempfile::tempfile().unwrap();
    // Larger and smaller than the one before.
    let size = 4096 << (round % 8);
    memory.set_len(size).unwrap();
    let region = VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: size,
        userspace_addr: 0,
        mmap_offset: 0,
        mmap_handle: memory.as_raw_fd(),
    };
    let steps = round % 6;
    let offered = front_end.get_features().unwrap();
    if steps > 0 {
        let protocol = front_end.get_protocol_features().unwrap();
        front_end.set_protocol_features(protocol).unwrap();
    }
    if steps > 1 {
        // Each time another part of what is offered; the log stays off.
        let some = offered & !(1 << 26) & !(1 << (round % 12));
        front_end.set_features(some).unwrap();
    }
    if steps > 2 {
        front_end.set_mem_table(&[region]).unwrap();
    }
    if steps > 3 {
        let call = EventFd::new(0).unwrap();
        front_end.set_vring_call(0, &call).unwrap();
        front_end.set_vring_num(0, 1 << (round % 9)).unwrap();
    }
    if steps > 4 {
        front_end.get_features().unwrap();
    }
}

#[test]
fn ten_thousand_front_ends_come_and_go_and_nothing_leaks() {
    const ROUNDS: usize = 10_000;
    const SETTLED: usize = 1000;
    let _turn = heavy();
    let daemon =
        Daemon::start("[networks.lan.ports.a]\n[networks.lan.ports.b]\n[networks.lan.ports.c]\n");
    let worker = daemon.network("lan").worker_pid.unwrap();
    let socket = daemon.socket("lan", "c");
    let mut guests = (
        Guest::attach(&daemon.socket("lan", "a"), 1),
        Guest::attach(&daemon.socket("lan", "b"), 2),
    );
    guests.0.reach(&mut guests.1, 0);
    let listening = || {
        let ports = daemon.network("lan").ports;
        ports
            .iter()
            .any(|port| port.name == "c" && port.state == PortState::Listening)
    };
    let rest = || {
        wait_until("the last one to be gone", PATIENCE, || {
            listening().then_some(())
        });
        (descriptors(worker), status_kib(worker, "VmRSS"))
    };
    let mut before = (0, 0);
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        come_and_go(&socket, round);
        if round == SETTLED {
            before = rest();
        }
    }
    let took = begun.elapsed();
    let after = rest();
    guests.0.reach(&mut guests.1, 1);
    say(&format!(
        "{ROUNDS} front-ends in {:.1} s; descriptors and KiB of the worker: {before:?}, then {after:?}",
        took.as_secs_f64()
    ));
    assert!(after.0 <= before.0, "descriptors");
    assert!(after.1 < before.1 + 1024, "memory");
    assert_eq!(daemon.network("lan").worker_pid, Some(worker));
    assert!(daemon.stop().success());
}

#[test]
fn a_hundred_silent_ports_cost_no_cpu_and_little_memory() {
    const PORTS: u8 = 100;
    let _turn = heavy();
    let daemon = Daemon::start("[networks.lan]");
    let client = Client::new(daemon.directory().join("run/control.sock"));
    let worker = daemon.network("lan").worker_pid.unwrap();
    let empty = status_kib(worker, "RssAnon");
    let mut guests: Vec<_> = (0..PORTS)
        .map(|number| {
            let name = format!("g{number}");
            let request = control::PortRequest {
                name: Some(name.clone()),
                ..control::PortRequest::default()
            };
            client.add_port("lan", &request).unwrap();
            Guest::attach(&daemon.socket("lan", &name), number)
        })
        .collect();
    wait_until("all ports to run", PATIENCE, || {
        let ports = daemon.network("lan").ports;
        let running = ports.iter().filter(|port| port.state == PortState::Running);
        (running.count() == usize::from(PORTS)).then_some(())
    });
    let (first, rest) = guests.split_first_mut().unwrap();
    first.reach(rest.last_mut().unwrap(), 1);
    // Until the last of what was to be done is done, but not for ever: that is what is tested.
    let idle = || {
        let before = (ticks(daemon.pid()), ticks(worker));
        // Not a synchronisation: these seconds of idleness are what is measured.
        std::thread::sleep(Duration::from_secs(3));
        let after = (ticks(daemon.pid()), ticks(worker));
        (after.0 - before.0, after.1 - before.1)
    };
    let used = wait_until("three seconds without a tick", PATIENCE, || {
        let used = idle();
        (used == (0, 0)).then_some(used)
    });
    let memory = status_kib(worker, "RssAnon").saturating_sub(empty);
    say(&format!(
        "{PORTS} silent ports: {used:?} ticks in 3 s, {} KiB of memory and {} descriptors per port",
        memory / u64::from(PORTS),
        descriptors(worker) / usize::from(PORTS)
    ));
    // And they wake up.
    let (first, rest) = guests.split_first_mut().unwrap();
    first.reach(&mut rest[0], 2);
    assert!(daemon.stop().success());
}

/// What systemd does for a socket unit: it holds the sockets, and hands them to each daemon.
struct Manager {
    directory: tempfile::TempDir,
    control: UnixListener,
    ports: UnixListener,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listen = |name| UnixListener::bind(directory.path().join(name)).unwrap();
        let (control, ports) = (listen("control.sock"), listen("a.sock"));
        let config = "[networks.lan.ports.a]\n[networks.lan.ports.b]\n";
        fs::write(directory.path().join("nb.toml"), config).unwrap();
        Self {
            directory,
            control,
            ports,
        }
    }

    fn start(&self) -> Child {
        const SCRIPT: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; \
            export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=control:lan/a; exec \"$0\" \"$@\"";
        let path = |name| self.directory.path().join(name);
        let fd = |socket: &UnixListener| Stdio::from(OwnedFd::from(socket.try_clone().unwrap()));
        Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(programs::netbackend())
            .arg("--config")
            .arg(path("nb.toml"))
            .arg("--runtime-dir")
            .arg(path("rt"))
            .stdin(fd(&self.control))
            .stdout(fd(&self.ports))
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap()
    }
}

#[test]
fn a_daemon_killed_under_socket_activation_finds_its_front_ends_waiting() {
    let _turn = heavy();
    let manager = Manager::new();
    let a = manager.directory.path().join("a.sock");
    let b = manager.directory.path().join("rt/lan/b.sock");
    let mut daemon = manager.start();
    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        // One socket is the manager's, the other one the daemon's.
        let (mut left, mut right) = (Guest::attach(&a, 1), Guest::attach(&b, 2));
        left.reach(&mut right, number);
        send_signal(daemon.id(), Signal::SIGKILL);
        daemon.wait().unwrap();
        let killed = Instant::now();
        // Nobody is there, and still it is not refused.
        drop(left);
        let waiting = std::os::unix::net::UnixStream::connect(&a).unwrap();
        daemon = manager.start();
        drop(waiting);
        let mut left = Guest::attach(&a, 1);
        let mut right = Guest::attach(&b, 2);
        left.reach(&mut right, number);
        slowest = slowest.max(killed.elapsed());
    }
    say(&format!(
        "10 kills of the daemon: back within {} ms at most",
        slowest.as_millis()
    ));
    send_signal(daemon.id(), Signal::SIGTERM);
    assert!(daemon.wait().unwrap().success());
}

//! QEMU moves a guest from one daemon to another, as from one host to another.
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::{
    Daemon, Machine, Namespace, Nic, PacketSocket, Process, QemuGuest, Qmp, heavy, needs_root, say,
    wait_until,
};
use xtask::{exec, repo};

const BOOT: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_mins(2);
/// In the guest's memory all the time.
const RESTING_MIB: &str = "32";
/// Travels into the guest meanwhile: the back-end dirties the guest's memory with it.
const TRAVELLING_MIB: &str = "64";
const GUEST: &str = "10.6.0.2";
const HOST: &str = "10.6.0.1";
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x0e, 6, 1];
/// As fast as QEMU can, in bytes per second.
const BANDWIDTH: u64 = 10 << 30;
/// The guest stands still for no longer than this, in milliseconds.
const DOWNTIME: u64 = 300;
/// And is reachable again after this, even on a busy machine.
const GAP: Duration = Duration::from_secs(5);
const PING_INTERVAL: &str = "0.05";
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_RARP: u16 = 0x8035;

/// Two hosts on one wire: each daemon has a port for the guest, and an uplink on the bridge `wire`,
/// where the one who pings is.
struct Lab {
    old: Daemon,
    new: Daemon,
    wire: Namespace,
}

impl Lab {
    fn start() -> Self {
        let wire = Namespace::new("wire");
        let daemon = |uplink: &str| {
            Daemon::start(&format!(
                "[networks.lan.ports.vm]\n[networks.lan.ports.up]\nkind = \"tap\"\n\
                 interface = \"{uplink}\"\nnetns = \"{}\"\nuplink = true\n",
                wire.name()
            ))
        };
        let lab = Self {
            old: daemon("old"),
            new: daemon("new"),
            wire,
        };
        lab.wire.script(&format!(
            "ip link add wire up type bridge stp_state 0
             ip link set old up master wire
             ip link set new up master wire
             ip addr add {HOST}/24 dev wire"
        ));
        lab
    }

    fn directory(&self) -> &Path {
        self.old.directory()
    }

    fn start_in_wire(&self, name: &str, command: &mut Command) -> Process {
        Process::start(name, self.directory(), command)
    }

    /// A guest of `daemon` with a control socket.
    fn guest(&self, name: &str, daemon: &Daemon, more: &[String]) -> (QemuGuest, Qmp) {
        let nic = Nic {
            socket: daemon.socket("lan", "vm"),
            listens: false,
            legacy: false,
            mergeable: true,
            packed: false,
            mac: MAC.map(|byte| format!("{byte:02x}")).join(":"),
            queue_pairs: 1,
            mtu: 1500,
        };
        let job = format!("job=agent addr0={GUEST}/24 file_mib={RESTING_MIB}");
        let mut machine = Machine::new(1, &[nic], &job);
        let control = self.directory().join(format!("{name}.qmp"));
        let qmp = format!("unix:{},server=on,wait=off", control.display());
        machine.more.extend(["-qmp".to_owned(), qmp]);
        machine.more.extend_from_slice(more);
        let guest = QemuGuest::start(name, self.directory(), &machine);
        (guest, Qmp::connect(&control))
    }

    /// Runs a shell command in the guest through its agent.
    fn tell(&self, command: &str) -> String {
        let mut wget = self.wire.command("busybox");
        wget.args(["wget", "-q", "-O", "-", "--post-data", command]);
        wget.arg(format!("http://{GUEST}/cgi-bin/run"));
        let output = wget.output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Serves a file of random bytes to the guest; returns its hash.
    fn serve_file(&self) -> (Process, String) {
        let directory = self.directory().join("served");
        fs::create_dir(&directory).unwrap();
        let file = directory.join("file");
        let script = repo::lab_sources().join("guest/jobs/make-file");
        let mut make = Command::new(script);
        exec::run(make.arg(&file).args([TRAVELLING_MIB, "migration"])).unwrap();
        let mut hash = Command::new("openssl");
        let hash = exec::stdout(hash.args(["dgst", "-sha256"]).arg(&file)).unwrap();
        let mut httpd = self.wire.command("busybox");
        httpd.args(["httpd", "-f", "-p", "80", "-h"]).arg(directory);
        let httpd = self.start_in_wire("httpd", &mut httpd);
        (httpd, digest(&hash).to_owned())
    }
}

/// The digest in openssl's `SHA2-256(FILE)= DIGEST`.
fn digest(output: &str) -> &str {
    output.rsplit("= ").next().unwrap_or_default().trim()
}

/// Migrates and waits for the end of it.
fn migrate(source: &mut Qmp, uri: &str) -> Value {
    source.execute("migrate", &json!({ "uri": uri }));
    wait_until("the migration", PATIENCE, || {
        let state = source.execute("query-migrate", &json!({}));
        match state["status"].as_str() {
            Some("completed") => Some(state),
            Some("failed" | "cancelled") => panic!("{state}"),
            _ => None,
        }
    })
}

/// The numbers of pings that were not answered, between the first and the last that was.
fn lost(ping: &str) -> Vec<u32> {
    let answered: Vec<u32> = ping
        .lines()
        .filter(|line| line.contains("bytes from"))
        .filter_map(|line| {
            let (_, rest) = line.split_once("icmp_seq=")?;
            rest.split_whitespace().next()?.parse().ok()
        })
        .collect();
    let (Some(first), Some(last)) = (answered.iter().min(), answered.iter().max()) else {
        panic!("no ping was answered:\n{ping}");
    };
    (*first..*last)
        .filter(|number| !answered.contains(number))
        .collect()
}

/// Whether the frame tells everybody where the guest is now: a gratuitous ARP, or a RARP.
fn is_announcement(frame: &[u8]) -> bool {
    let Some(([.., s0, s1, s2, s3, s4, s5, t0, t1], rest)) = frame.split_first_chunk::<14>() else {
        return false;
    };
    let from_guest = [*s0, *s1, *s2, *s3, *s4, *s5] == MAC;
    let to_all = frame.starts_with(&[0xff; 6]);
    // ARP (RFC 826): sender's protocol address at 14, target's at 24.
    let gratuitous = rest.get(14..18).is_some() && rest.get(14..18) == rest.get(24..28);
    let ethertype = u16::from_be_bytes([*t0, *t1]);
    let announces = ethertype == ETHERTYPE_RARP || ethertype == ETHERTYPE_ARP && gratuitous;
    from_guest && to_all && announces
}

/// Fails if the guest has told nobody where it is now.
fn announcements_seen(socket: &PacketSocket) {
    let now = Instant::now();
    let mut frames = std::iter::from_fn(|| socket.receive(now));
    assert!(
        frames.any(|frame| is_announcement(&frame)),
        "the guest does not announce itself"
    );
}

#[test]
fn qemu_guest_migrates_between_daemons_under_ping_and_download() {
    if !needs_root("qemu_guest_migrates_between_daemons_under_ping_and_download") {
        return;
    }
    let _turn = heavy();
    let lab = Lab::start();
    let (mut old, mut source) = lab.guest("old", &lab.old, &[]);
    let channel: PathBuf = lab.directory().join("migration");
    let uri = format!("unix:{}", channel.display());
    let incoming = ["-incoming".to_owned(), uri.clone()];
    old.process.wait_for("RESULT agent ready", BOOT);
    let parameters = json!({ "max-bandwidth": BANDWIDTH, "downtime-limit": DOWNTIME });
    source.execute("migrate-set-parameters", &parameters);
    let resting = lab.tell("openssl dgst -sha256 /tmp/srv/file");
    // Into the void, so that the log of dirty pages was on and off again before it counts.
    migrate(&mut source, "exec:cat >/dev/null");
    source.execute("cont", &json!({}));
    assert_eq!(
        lab.tell("echo here"),
        "here",
        "after a migration into the void"
    );

    let (mut new, mut target) = lab.guest("new", &lab.new, &incoming);
    wait_until("the target's channel", BOOT, || {
        channel.exists().then_some(())
    });
    let announcements = PacketSocket::open(&lab.wire, "new");
    let (_httpd, travelling) = lab.serve_file();
    let mut ping = lab.wire.command("stdbuf");
    ping.args(["-oL", "ping", "-n", "-i", PING_INTERVAL, GUEST]);
    let mut ping = lab.start_in_wire("ping", &mut ping);
    ping.wait_for("bytes from", PATIENCE);
    lab.tell(&format!(
        "(wget -q -O - http://{HOST}/file | openssl dgst -sha256 >/tmp/travelled.part; \
          mv /tmp/travelled.part /tmp/travelled) >/dev/null 2>&1 &"
    ));
    let received = |daemon: &Daemon| {
        let ports = daemon.network("lan").ports;
        let port = ports.into_iter().find(|port| port.name == "vm").unwrap();
        port.counters.rx_bytes >> 20
    };
    let before = received(&lab.old);
    wait_until("the download's start", PATIENCE, || {
        (received(&lab.old) > before).then_some(())
    });
    let done = migrate(&mut source, &uri);
    say(&format!(
        "migrated {} MB in {} ms, {} rounds, guest stopped for {} ms",
        done["ram"]["transferred"].as_u64().unwrap_or(0) / 1_000_000,
        done["total-time"],
        done["ram"]["dirty-sync-count"],
        done["downtime"]
    ));
    wait_until("the guest at its new place", PATIENCE, || {
        old.process.must_run();
        new.process.must_run();
        let state = target.execute("query-status", &json!({}));
        (state["status"] == "running").then_some(())
    });
    old.process.must_run();
    source.execute("quit", &json!({}));
    old.process.wait(PATIENCE);
    let travelled = wait_until("the download", PATIENCE, || {
        let hash = lab.tell("cat /tmp/travelled 2>/dev/null || true");
        (!hash.is_empty()).then_some(hash)
    });
    assert_eq!(digest(&travelled), travelling, "what travelled meanwhile");
    let shares = [received(&lab.old) - before, received(&lab.new)];
    say(&format!(
        "MiB received at the old place and the new: {shares:?}"
    ));
    let rested = lab.tell("openssl dgst -sha256 /tmp/srv/file");
    assert_eq!(rested, resting, "what lay in the guest's memory");

    ping.signal(nix::sys::signal::Signal::SIGINT);
    ping.wait(PATIENCE);
    let lost = lost(&ping.log());
    say(&format!("pings lost, one each {PING_INTERVAL} s: {lost:?}"));
    let whole = lost.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    assert!(whole, "lost at other times than the switchover: {lost:?}");
    let interval: f64 = PING_INTERVAL.parse().unwrap();
    let gap = Duration::from_secs_f64(interval * f64::from(u32::try_from(lost.len()).unwrap()));
    assert!(gap < GAP, "the switchover takes {gap:?}");
    announcements_seen(&announcements);
    lab.tell("touch /tmp/stop");
    assert!(new.process.wait(BOOT).success());
    for daemon in [&lab.old, &lab.new] {
        for port in daemon.network("lan").ports {
            assert_eq!(port.counters.faults, 0, "{}: {:?}", port.name, port.fault);
        }
    }
    assert!(lab.old.stop().success());
    assert!(lab.new.stop().success());
}

//! QEMU's guests: our back-end under a front-end that is not ours.
use control::PortStatus;
use serde_json::json;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;
use tests::{
    Daemon, Machine, Namespace, Nic, Process, QemuGuest, Qmp, assert_checks, heavy, needs_root, say,
};
use xtask::{exec, repo};

/// Size of the file that travels: 96 MiB are 100.7 MB.
const FILE_MIB: u32 = 96;
/// The same in the variants of `qemu_guests`.
const SMALL_FILE_MIB: u32 = 24;
const BOOT: Duration = Duration::from_mins(2);
const CHECKS: Duration = Duration::from_mins(6);
/// ping, iperf3 and the file, each in two variants, on two networks.
const CHECKS_OF_TWO_NETWORKS: usize = 12;

/// One of them, with one queue pair, has devices from before virtio 1.0: on the first network without mergeable buffers.
fn nics(daemon: &Daemon, port: &str, number: u8, queue_pairs: u32) -> Vec<Nic> {
    let legacy = port == "a" && queue_pairs == 1;
    [("lan", 1, 1500), ("jumbo", 2, 9000)]
        .map(|(network, index, mtu)| Nic {
            socket: daemon.socket(network, port),
            listens: false,
            legacy,
            mergeable: !(legacy && network == "lan"),
            packed: is_packed(network, port, queue_pairs),
            mac: format!("52:54:00:0e:0{index}:{number:02x}"),
            queue_pairs,
            mtu,
        })
        .to_vec()
}

/// Of two guests with one queue pair the second has packed rings, of those with several both have on one network.
fn is_packed(network: &str, port: &str, queue_pairs: u32) -> bool {
    if queue_pairs == 1 {
        port == "b"
    } else {
        network == "jumbo"
    }
}

fn two_guests(queue_pairs: u32, file_mib: u32) {
    let _turn = heavy();
    let daemon = Daemon::start(
        "[networks.lan.ports.a]\n[networks.lan.ports.b]\n\
         [networks.jumbo]\nmtu = 9000\n[networks.jumbo.ports.a]\n[networks.jumbo.ports.b]\n",
    );
    let control = daemon.directory().join("a.qmp");
    let common = format!("mtu1=9000 file_mib={file_mib} pairs0={queue_pairs} pairs1={queue_pairs}");
    let boot = |name, number, job: &str| {
        let nics = nics(&daemon, name, number, queue_pairs);
        let mut machine = Machine::new(queue_pairs, &nics, &format!("{job} {common}"));
        if name == "a" {
            let qmp = format!("unix:{},server=on,wait=off", control.display());
            let more = ["-qmp", &qmp, "-m", "slots=1,maxmem=1G"];
            machine.more.extend(more.map(str::to_owned));
        }
        QemuGuest::start(name, daemon.directory(), &machine)
    };
    let mut agent = boot("a", 1, "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24");
    let mut driver = boot(
        "b",
        2,
        &format!(
            "job=checks addr0=10.1.0.2/24 addr1=10.2.0.2/24 peers=10.1.0.1/1500,10.2.0.1/9000 \
             self=10.1.0.2,10.2.0.2 streams={queue_pairs} want_pairs={queue_pairs}"
        ),
    );
    agent.process.wait_for("RESULT agent ready", BOOT);
    for network in ["lan", "jumbo"] {
        let port = port(&daemon, network, "a");
        let has = |feature: &str| port.features.iter().any(|f| f == feature);
        assert_eq!(has("version_1"), queue_pairs > 1, "{:?}", port.features);
        let mergeable = queue_pairs > 1 || network == "jumbo";
        assert_eq!(has("mrg_rxbuf"), mergeable, "{:?}", port.features);
        let packed = is_packed(network, "a", queue_pairs);
        assert_eq!(has("ring_packed"), packed, "{:?}", port.features);
    }
    plug_and_unplug_memory(&mut Qmp::connect(&control));
    driver.process.wait_for("RESULT checks passed", CHECKS);
    let name = format!("QEMU guest to QEMU guest, {queue_pairs} queue pairs");
    assert_checks(&name, &driver.process.log(), CHECKS_OF_TWO_NETWORKS + 1);
    assert!(driver.process.wait(BOOT).success());
    assert!(agent.process.wait(BOOT).success());
    say_counters(&daemon, "lan");
    let log = daemon.log();
    let connections = log.matches("front-end connected").count();
    assert_eq!(connections, 4, "nobody had to come back: {log}");
    assert!(daemon.stop().success());
}

/// Has memory come and go while the guest's rings are in use. QEMU 7.2 tells the back-end of each once for each queue pair.
fn plug_and_unplug_memory(qmp: &mut Qmp) {
    for _ in 0..3 {
        let memory = json!({ "qom-type": "memory-backend-memfd", "id": "more", "size": 128 << 20, "share": true });
        qmp.execute("object-add", &memory);
        let dimm = json!({ "driver": "pc-dimm", "id": "dimm", "memdev": "more" });
        qmp.execute("device_add", &dimm);
        // The guest says that it has it: of a device check, where an ejection is 3 (ACPI 6.5, 6.3.5).
        while qmp.event("ACPI_DEVICE_OST")["info"]["source"] != 1 {}
        qmp.execute("device_del", &json!({ "id": "dimm" }));
        qmp.event("DEVICE_DELETED");
        qmp.execute("object-del", &json!({ "id": "more" }));
    }
}

fn port(daemon: &Daemon, network: &str, name: &str) -> PortStatus {
    let ports = daemon.network(network).ports;
    ports.into_iter().find(|port| port.name == name).unwrap()
}

/// What the daemon counted; a port with a fault fails the test.
fn say_counters(daemon: &Daemon, network: &str) {
    for port in daemon.network(network).ports {
        let counters = port.counters;
        say(&format!(
            "{network}/{}: {} frames sent, {} received, {} and {} dropped, {} software offloads",
            port.name,
            counters.tx_frames,
            counters.rx_frames,
            counters.tx_dropped,
            counters.rx_dropped,
            counters.software_offloads
        ));
        assert_eq!(counters.faults, 0, "{:?}", port.fault);
    }
}

#[test]
fn qemu_guests() {
    two_guests(1, FILE_MIB);
}

#[test]
fn qemu_guests_with_two_cpus_and_queue_pairs() {
    two_guests(2, SMALL_FILE_MIB);
}

#[test]
fn qemu_guest_and_namespace() {
    if !needs_root("qemu_guest_and_namespace") {
        return;
    }
    let _turn = heavy();
    let namespace = Namespace::new("peer");
    let netns = namespace.name();
    let daemon = Daemon::start(&format!(
        "[networks.lan.ports.a]\n[networks.lan.ports.tap]\nkind = \"tap\"\ninterface = \"lan0\"\nnetns = \"{netns}\"\n\
         [networks.jumbo]\nmtu = 9000\n[networks.jumbo.ports.a]\n\
         [networks.jumbo.ports.tap]\nkind = \"tap\"\ninterface = \"jumbo0\"\nnetns = \"{netns}\"\n"
    ));
    namespace.configure("lan0", "10.1.0.2/24");
    namespace.configure("jumbo0", "10.2.0.2/24");
    let job = format!(
        "job=agent addr0=10.1.0.1/24 addr1=10.2.0.1/24 mtu1=9000 file_mib={SMALL_FILE_MIB}"
    );
    let nics = nics(&daemon, "a", 1, 1);
    let mut agent = QemuGuest::boot("a", daemon.directory(), 1, &nics, &job);
    agent.process.wait_for("RESULT agent ready", BOOT);
    let mut driver = checks_in(&namespace, &daemon);
    driver.wait_for("RESULT checks passed", CHECKS);
    assert_checks(
        "namespace to QEMU guest",
        &driver.log(),
        CHECKS_OF_TWO_NETWORKS,
    );
    assert!(driver.wait(BOOT).success());
    assert!(agent.process.wait(BOOT).success());
    say_counters(&daemon, "lan");
    assert!(daemon.stop().success());
}

/// The guest's job `checks`, run in a namespace: the same script, the same busybox programs.
fn checks_in(namespace: &Namespace, daemon: &Daemon) -> Process {
    let bin = daemon.directory().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let busybox = exec::find_program("busybox").expect("busybox is installed");
    for applet in ["wget", "httpd", "ping", "awk"] {
        symlink(&busybox, bin.join(applet)).unwrap();
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let mut command: Command = namespace.command("sh");
    command
        .arg(repo::lab_sources().join("guest/jobs/checks"))
        .env("PATH", path)
        .env("peers", "10.1.0.1/1500,10.2.0.1/9000")
        .env("self", "10.1.0.2,10.2.0.2")
        .env("file_mib", SMALL_FILE_MIB.to_string());
    Process::start("checks", daemon.directory(), &mut command)
}

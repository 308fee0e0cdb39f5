use super::*;
use control::{Mode, NetworkState, PortCounters, PortState, WorkerStatus};

fn network(ports: Vec<PortStatus>) -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        uptime_seconds: 3661,
        networks: vec![NetworkStatus {
            nat: None,
            name: "lan".into(),
            mode: Mode::Bridge,
            mtu: 9000,
            nic_mtu: None,
            state: NetworkState::Running,
            worker_pid: Some(8),
            restarts: 2,
            last_fault: None,
            responsive: true,
            workers: Vec::new(),
            ports,
        }],
    }
}

fn shown(status: &Status) -> String {
    let mut out = Vec::new();
    show(&mut out, status).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn network_without_ports() {
    let text = shown(&network(Vec::new()));
    let expected = "netbackend 1.2.3, pid 7, up 1h 1m\n\
        total: from guests 0 / 0B, to guests 0 / 0B, drops 0 + 0\n\
        health: ok; restarts of workers 2, faulty queues 0\n\n\
        network lan: bridge, mtu 9000, running, worker 8, restarts 2\n  no ports\n";
    assert_eq!(text, expected);
}

#[test]
fn several_workers_show_how_the_load_is_spread() {
    let mut status = network(Vec::new());
    let worker = |worker, cpu, busy_permille| WorkerStatus {
        worker,
        cpu,
        busy_permille,
    };
    let one = worker(0, None, 481);
    status.networks[0].workers = vec![one.clone()];
    assert!(shown(&status).contains("restarts 2\n  busy 48.1 %\n  no ports"));
    status.networks[0].workers = vec![one, worker(1, Some(3), 0)];
    let expected = "restarts 2\n  busy: worker 0 48.1 %, worker 1 (CPU 3) 0.0 %\n  no ports";
    assert!(shown(&status).contains(expected), "{}", shown(&status));
}

#[test]
fn a_gateway_tells_what_it_did_and_what_its_dns_server_was_asked() {
    let mut status = network(Vec::new());
    let mut nat = NatStatus {
        flows: 3,
        sockets: 5,
        ..NatStatus::default()
    };
    nat.counters.frames_in = 2000;
    nat.counters.drops.insert("policy".into(), 7);
    status.networks[0].nat = Some(nat.clone());
    let expected = "  gateway: 3 flows, 5 sockets; from guests 2.0k / 0B, to guests 0 / 0B\n  \
        gateway dropped: policy 7\n";
    assert!(shown(&status).contains(expected), "{}", shown(&status));
    nat.dns = DnsCounters {
        queries: 1200,
        local: 1,
        cached: 2,
        forwarded: 3,
        failed: 4,
        over_quota: 5,
    };
    status.networks[0].nat = Some(nat);
    let expected = "to guests 0 / 0B\n  gateway DNS: 1.2k questions; 1 answered here, 2 from the cache, \
        3 asked of servers, 4 failed, 5 refused\n  gateway dropped";
    assert!(shown(&status).contains(expected), "{}", shown(&status));
}

#[test]
fn ports_show_traffic_features_and_faults() {
    let port = PortStatus {
        policy: control::PortPolicy::default(),
        filter: None,
        name: "web".into(),
        kind: PortKind::VhostUser {
            socket: "/run/web.sock".into(),
            client: false,
        },
        uplink: false,
        mac: Some("52:54:00:00:00:01".into()),
        state: PortState::Faulty,
        features: ["version_1", "csum", "host_tso4", "new_one"]
            .map(Into::into)
            .into(),
        queue_pairs: 2,
        fault: Some("ring 3: bad index".into()),
        last_fault: None,
        faulty_queues: 1,
        counters: PortCounters {
            tx_frames: 1500,
            tx_bytes: 2_000_000,
            rx_frames: 3,
            rx_bytes: 180,
            tx_dropped: 4,
            rx_dropped: 5,
            ..PortCounters::default()
        },
    };
    let tap = PortStatus {
        policy: control::PortPolicy::default(),
        name: "out".into(),
        kind: PortKind::Tap {
            interface: "t0".into(),
            netns: Some("ns".into()),
        },
        uplink: true,
        mac: None,
        features: Vec::new(),
        fault: None,
        last_fault: None,
        faulty_queues: 0,
        ..port.clone()
    };
    let text = shown(&network(vec![port, tap]));
    let lines: Vec<_> = text.lines().skip(5).collect();
    let cells: Vec<Vec<_>> = lines
        .iter()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(cells[0].len(), HEADINGS.len());
    assert_eq!(
        cells[1],
        [
            "web",
            "faulty",
            "52:54:00:00:00:01",
            "2",
            "1.5k / 2.0MB",
            "3 / 180B",
            "4 + 5",
            "csum,tso4,new_one",
            "vhost-user /run/web.sock"
        ]
    );
    assert_eq!(cells[2][0], "out (uplink)");
    assert_eq!(cells[2][2], "-");
    assert_eq!(cells[2][8], "tap t0@ns");
    assert_eq!(lines[3], "  web: ring 3: bad index");
}

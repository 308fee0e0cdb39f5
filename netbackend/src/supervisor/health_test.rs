use super::*;
use control::{Mode, PortCounters, PortKind};

fn port(state: PortState) -> PortStatus {
    PortStatus {
        policy: control::PortPolicy::default(),
        filter: None,
        name: "p".into(),
        kind: PortKind::VhostUser {
            socket: "/p".into(),
            client: false,
        },
        uplink: false,
        mac: None,
        state,
        features: Vec::new(),
        queue_pairs: 0,
        fault: None,
        last_fault: None,
        faulty_queues: 0,
        counters: PortCounters::default(),
    }
}

fn network(ports: Vec<PortStatus>) -> NetworkStatus {
    NetworkStatus {
        name: "n".into(),
        mode: Mode::Bridge,
        mtu: 1500,
        nic_mtu: None,
        state: NetworkState::Running,
        worker_pid: Some(1),
        restarts: 0,
        last_fault: None,
        responsive: true,
        workers: Vec::new(),
        ports,
        nat: None,
    }
}

fn fault(message: &str, seconds_ago: u64) -> Fault {
    Fault {
        message: message.into(),
        seconds_ago,
    }
}

#[test]
fn guests_that_are_not_there_are_no_problem() {
    let ports = vec![port(PortState::Listening), port(PortState::Running)];
    let health = examine(&[network(ports)]);
    assert!(health.healthy);
    assert_eq!((health.networks, health.networks_running), (1, 1));
    assert_eq!((health.ports, health.ports_running), (2, 1));
    assert!(examine(&[]).healthy);
}

#[test]
fn worker_that_died_or_hangs_is_a_problem() {
    let dead = NetworkStatus {
        state: NetworkState::Failed,
        restarts: 3,
        last_fault: Some(fault("signal 9", 0)),
        ..network(Vec::new())
    };
    let hanging = NetworkStatus {
        responsive: false,
        ..network(Vec::new())
    };
    let health = examine(&[dead, hanging]);
    assert!(!health.healthy);
    assert_eq!(health.problems.len(), 2);
    assert!(health.problems[0].contains("failed (signal 9)"));
    assert_eq!((health.networks_running, health.worker_restarts), (0, 3));
}

#[test]
fn faulty_queue_is_a_problem_and_one_that_was_is_a_note() {
    let faulty = PortStatus {
        policy: control::PortPolicy::default(),
        fault: Some("bad index".into()),
        faulty_queues: 2,
        ..port(PortState::Faulty)
    };
    let was = PortStatus {
        policy: control::PortPolicy::default(),
        last_fault: Some(fault("bad index", 5)),
        ..port(PortState::Running)
    };
    let health = examine(&[network(vec![faulty, was.clone()])]);
    assert_eq!(health.problems, ["port n/p is faulty (bad index)"]);
    assert_eq!(health.faulty_queues, 2);
    assert_eq!(health.notes.len(), 1);
    assert!(examine(&[network(vec![was])]).healthy);
}

#[test]
fn restart_is_noted_for_a_while() {
    let restarted = |seconds| NetworkStatus {
        restarts: 1,
        last_fault: Some(fault("signal 9", seconds)),
        ..network(Vec::new())
    };
    assert_eq!(examine(&[restarted(5)]).notes.len(), 1);
    assert_eq!(examine(&[restarted(RECENT_SECONDS)]).notes.len(), 0);
    assert!(examine(&[restarted(5)]).healthy);
}

#[test]
fn nic_that_carries_smaller_frames_only_is_a_problem() {
    let network = NetworkStatus {
        nic_mtu: Some(1400),
        ..network(Vec::new())
    };
    let health = examine(&[network]);
    assert!(!health.healthy);
    let [problem] = &health.problems[..] else {
        panic!("{health:?}");
    };
    assert!(problem.contains("mtu 1500, but its NIC 1400"), "{problem}");
}

use super::*;
use control::{Mode, NetworkState, PortCounters, PortKind, PortState};

fn port(name: &str, socket: &str, tx_frames: u64) -> PortStatus {
    PortStatus {
        policy: control::PortPolicy::default(),
        filter: None,
        name: name.into(),
        kind: PortKind::VhostUser {
            socket: socket.into(),
            client: false,
        },
        uplink: false,
        mac: None,
        state: PortState::Listening,
        features: Vec::new(),
        queue_pairs: 0,
        fault: None,
        last_fault: None,
        faulty_queues: 0,
        counters: PortCounters {
            tx_frames,
            ..PortCounters::default()
        },
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

#[test]
fn report_in_parts_is_merged_into_what_is_known() {
    let mut requests = Requests::default();
    let (reply, mut answer) = oneshot::channel();
    let status = network(vec![port("a", "/a", 0), port("b", "/b", 0)]);
    requests.insert(7, Waiting::Report { status, reply });
    let part = |ports, more| FromWorker::Report {
        ports,
        nat: None,
        workers: Vec::new(),
        more,
    };
    // "gone" is being removed: only the worker still has it.
    let first = part(vec![port("gone", "", 9), port("b", "", 2)], true);
    assert_eq!(requests.answer(7, first), Outcome::Nothing);
    assert!(answer.try_recv().is_err());
    requests.answer(7, part(vec![port("a", "", 1)], false));
    let expected = network(vec![port("a", "/a", 1), port("b", "/b", 2)]);
    assert_eq!(answer.try_recv(), Ok(expected));
}

fn adding(reply: oneshot::Sender<Result<Added, ApiError>>) -> Waiting {
    Waiting::AddPort(Box::new(Adding {
        config: PortConfig {
            policy: control::PortPolicy::default(),
            name: "a".into(),
            role: switch::Role::Guest,
            mac: None,
            queue_pairs: 1,
            socket_access: crate::config::SocketAccess::DEFAULT,
            trust_filters: None,
            transport: crate::config::TransportConfig::VhostUser {
                socket: "/a".into(),
            },
        },
        serial: 3,
        status: port("a", "/a", 0),
        reply,
    }))
}

#[test]
fn refused_port_is_told_to_both_sides() {
    let mut requests = Requests::default();
    let (reply, mut answer) = oneshot::channel();
    requests.insert(0, adding(reply));
    let outcome = requests.answer(0, FromWorker::Error("no room".into()));
    let refused = Outcome::Refused {
        port: "a".into(),
        serial: 3,
    };
    assert_eq!(outcome, refused);
    let error = answer.try_recv().unwrap().unwrap_err();
    assert_eq!(error.message, "no room");
}

#[test]
fn port_that_nobody_waits_for_any_more_is_not_kept() {
    let abandoned = || Outcome::Abandoned {
        port: "a".into(),
        serial: 3,
    };
    let mut requests = Requests::default();
    let (reply, gone) = oneshot::channel();
    drop(gone);
    requests.insert(0, adding(reply));
    assert_eq!(requests.answer(0, FromWorker::Done), abandoned());
    let (reply, gone) = oneshot::channel();
    drop(gone);
    requests.insert(1, adding(reply));
    assert_eq!(requests.worker_gone(), [abandoned()]);
}

#[test]
fn death_of_the_worker_completes_what_was_asked() {
    let mut requests = Requests::default();
    let (report, mut reported) = oneshot::channel();
    let status = network(vec![port("a", "/a", 0)]);
    requests.insert(
        0,
        Waiting::Report {
            status: status.clone(),
            reply: report,
        },
    );
    let (remove, mut removed) = oneshot::channel();
    let waiting = Waiting::RemovePort {
        port: "a".into(),
        reply: Some(remove),
    };
    requests.insert(1, waiting);
    assert_eq!(requests.worker_gone(), []);
    assert_eq!(reported.try_recv(), Ok(status));
    assert_eq!(removed.try_recv(), Ok(Ok(())));
    // Its late answers mean nothing.
    assert_eq!(requests.answer(1, FromWorker::Done), Outcome::Nothing);
}

#[test]
fn answer_of_the_wrong_kind_is_told_by_a_dropped_reply() {
    let mut requests = Requests::default();
    let (reply, mut answer) = oneshot::channel::<NetworkStatus>();
    let status = network(Vec::new());
    requests.insert(0, Waiting::Report { status, reply });
    assert_eq!(requests.answer(0, FromWorker::Done), Outcome::Nothing);
    assert_eq!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed));
}

#[test]
fn address_that_a_worker_refuses_is_told() {
    let mut requests = Requests::default();
    let port = || "up".to_owned();
    let refused = Outcome::AddressRefused {
        port: port(),
        why: "taken".into(),
    };
    for (answer, outcome) in [
        (FromWorker::Done, Outcome::Nothing),
        (FromWorker::Error("taken".into()), refused),
    ] {
        requests.insert(1, Waiting::SetUplinkAddress { port: port() });
        assert_eq!(requests.answer(1, answer), outcome);
    }
}

#[test]
fn port_on_an_interface_fits_when_its_worker_says_so() {
    let mut requests = Requests::default();
    let port = || "a".to_owned();
    for (answer, outcome) in [
        (FromWorker::Done, Outcome::Fits { port: port() }),
        (
            FromWorker::Error("no".into()),
            Outcome::Unfit {
                port: port(),
                why: "no".into(),
            },
        ),
    ] {
        requests.insert(1, Waiting::Rewire { port: port() });
        assert!(requests.is_rewiring());
        assert_eq!(requests.answer(1, answer), outcome);
        assert!(!requests.is_rewiring());
    }
}

use super::super::workload::{LARGE, SMALL};
use super::*;

fn sample(mpps: f64, gbps: f64) -> Sample {
    Sample {
        sent: 1e6,
        mpps,
        gbps,
        busy: 0.5,
        dropped: 0.0,
    }
}

#[test]
fn medians_are_compared_by_frames_and_between_sizes_by_bits() {
    let mut figures = Figures::default();
    let [full, .., gso] = LARGE.workloads else {
        panic!("several workloads");
    };
    for mpps in [1.0, 9.0, 2.0] {
        figures.add(Peer::Netbackend, gso, sample(mpps, 60.0));
    }
    for mpps in [4.0, 1.0, 7.0] {
        figures.add(Peer::Testpmd, gso, sample(mpps, 5.0));
        figures.add(Peer::Testpmd, full, sample(mpps, 20.0));
    }
    let same = Target {
        workload: "gso",
        peer: Peer::Testpmd,
        beside: None,
        at_least: 1.0,
    };
    assert_eq!(figures.ratio(&same), Some(0.5));
    let other = Target {
        beside: Some("1518"),
        ..same
    };
    assert_eq!(figures.ratio(&other), Some(3.0));
    let nobody = Target {
        peer: Peer::Ovs,
        ..same
    };
    assert_eq!(figures.ratio(&nobody), None);
}

#[test]
fn every_target_is_about_workloads_and_peers_that_are_measured() {
    for table in [SMALL, LARGE] {
        for target in table.targets {
            let measures = |id: &str, peer| {
                let mut workloads = table.workloads.iter();
                workloads.any(|workload| workload.id == id && workload.peers.contains(&peer))
            };
            assert!(measures(target.workload, Peer::Netbackend), "{target:?}");
            let beside = target.beside.unwrap_or(target.workload);
            assert!(measures(beside, target.peer), "{target:?}");
        }
    }
}

//! What is sent through all peers, and what it is to show.
use super::backend::Peer;

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    /// What it is called in tables.
    pub(super) name: &'static str,
    /// What `--workload` calls it.
    pub(super) id: &'static str,
    /// Arguments of the generator.
    pub(super) arguments: &'static [&'static str],
    /// Who takes part.
    pub(super) peers: &'static [Peer],
    /// Frames of 64 KiB for the back-end to pass on or cut.
    pub(super) gso: bool,
}

/// A bound on a ratio of medians.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// The workload that is meant.
    pub(super) workload: &'static str,
    /// Whose figure ours is divided by.
    pub(super) peer: Peer,
    /// Of which workload; the same one if it has none of its own.
    pub(super) beside: Option<&'static str>,
    /// Least value of the ratio.
    pub(super) at_least: f64,
}

/// Which figure is compared when frame sizes differ: bits, not frames.
impl Target {
    pub(super) fn compares_bits(&self) -> bool {
        self.beside.is_some() || self.peer == Peer::Memcpy
    }
}

const fn target(workload: &'static str, peer: Peer, at_least: f64) -> Target {
    Target {
        workload,
        peer,
        beside: None,
        at_least,
    }
}

/// Frames in one buffer each, where the cost of a frame is what counts.
pub(super) const SMALL: Table = Table {
    section: "peers",
    title: "Small and usual frames, beside DPDK's forwarder and Open vSwitch",
    workloads: &[
        Workload {
            name: "64, split",
            id: "64",
            arguments: &["--size=64"],
            peers: &Peer::FORWARDERS,
            gso: false,
        },
        Workload {
            name: "64, packed",
            id: "64-packed",
            arguments: &["--size=64", "--packed"],
            peers: &Peer::FORWARDERS,
            gso: false,
        },
        Workload {
            name: "512, split",
            id: "512",
            arguments: &["--size=512"],
            peers: &Peer::FORWARDERS,
            gso: false,
        },
        Workload {
            name: "1518, split",
            id: "1518",
            arguments: &["--size=1518"],
            peers: &Peer::FORWARDERS,
            gso: false,
        },
    ],
    targets: &[
        target("64", Peer::Testpmd, 1.0),
        target("64", Peer::Ovs, 1.7),
        target("64-packed", Peer::Testpmd, 1.0),
        target("512", Peer::Testpmd, 1.2),
        target("1518", Peer::Testpmd, 1.4),
        target("1518", Peer::Ovs, 1.6),
    ],
};

/// Frames that take several buffers, or are large.
pub(super) const LARGE: Table = Table {
    section: "large",
    title: "Large frames and mergeable buffers",
    workloads: &[
        Workload {
            name: "1518",
            id: "1518",
            arguments: &["--size=1518"],
            peers: &[Peer::Netbackend, Peer::Testpmd],
            gso: false,
        },
        Workload {
            name: "1518, mergeable, both ways",
            id: "1518-both",
            arguments: &["--size=1518", "--mergeable", "--both-ways"],
            peers: &Peer::FORWARDERS,
            gso: false,
        },
        Workload {
            name: "9000, mergeable",
            id: "9000",
            arguments: &["--size=9000", "--mergeable"],
            peers: &[Peer::Netbackend, Peer::Testpmd, Peer::Macswap],
            gso: false,
        },
        // As guests with Linux receive them: into what has been read a moment ago, not into 16 MiB of buffers in turn.
        Workload {
            name: "64 KiB GSO, mergeable",
            id: "gso-mergeable",
            arguments: &["--size=gso", "--mergeable"],
            peers: &[Peer::Netbackend, Peer::Testpmd, Peer::Ovs],
            gso: true,
        },
        Workload {
            name: "64 KiB GSO",
            id: "gso",
            arguments: &["--size=gso"],
            peers: &[Peer::Netbackend, Peer::Testpmd, Peer::Ovs, Peer::Memcpy],
            gso: true,
        },
    ],
    targets: &[
        target("1518-both", Peer::Testpmd, 1.4),
        target("9000", Peer::Testpmd, 1.6),
        Target {
            workload: "gso-mergeable",
            peer: Peer::Testpmd,
            beside: Some("1518"),
            at_least: 2.0,
        },
        Target {
            workload: "gso",
            peer: Peer::Testpmd,
            beside: Some("1518"),
            at_least: 2.0,
        },
        // Within 1.3 times the time.
        target("gso", Peer::Memcpy, 1.0 / 1.3),
    ],
};

/// Workloads that are shown together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Name of the section of the results and of the plot.
    pub(super) section: &'static str,
    pub(super) title: &'static str,
    pub(super) workloads: &'static [Workload],
    pub(super) targets: &'static [Target],
}

impl Workload {
    /// Arguments of the generator, with those that all share.
    pub(super) fn all_arguments(&self, seconds: f64) -> Vec<String> {
        let own = self.arguments.iter().map(|argument| (*argument).to_owned());
        let shared = [format!("--seconds={seconds}"), "--warm-up=0.2".to_owned()];
        own.chain(shared).collect()
    }
}

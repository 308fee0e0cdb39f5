//! What the guest does, and what its figures are made of.
use super::guest::{FULL, Moved};

/// What the guest does, in the words of its command line (`benches/bare/src/main.rs`), and in ours.
#[derive(Debug)]
pub(super) struct Workload {
    /// To choose it by.
    pub(super) name: &'static str,
    pub(super) model: &'static str,
    pub(super) command: &'static str,
    pub(super) words: &'static str,
    pub(super) unit: Unit,
}

/// How a figure is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// TCP payload that came out, Mb/s: frames as one or cut.
    Payload,
    /// Frames that came out, in thousands per second.
    Frames,
    /// Frames that the guest took, in thousands per second, at the best of these rates of the peer's. A NIC that is offered more than it
    /// can take may take less, and nothing is said about it by how much: who uses TCP does not offer so much for long.
    Taken(Load),
}

/// What the peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Datagrams that fill the MTU.
    Datagrams,
    /// TCP frames of nearly 64 KiB, which are cut into 45 on their way.
    Segments,
}

/// How often it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) what: Sent,
    /// Per second.
    pub(super) rates: &'static [u32],
}

const DATAGRAMS: Load = Load {
    what: Sent::Datagrams,
    rates: &[50_000, 75_000, 110_000, 165_000, 250_000, 375_000],
};
/// To a NIC whose frames the driver moves itself.
const FEW_DATAGRAMS: Load = Load {
    what: Sent::Datagrams,
    rates: &[2000, 2600, 3400, 4400, 5700, 7400],
};
const SEGMENTS: Load = Load {
    what: Sent::Segments,
    rates: &[1100, 1650, 2500, 3700, 5600, 8400, 12_500],
};

impl Sent {
    /// Bytes of a frame as the guest takes it.
    fn size(self) -> u64 {
        match self {
            Self::Datagrams => FULL,
            // `FrameKind::Gso` of the generator.
            Self::Segments => TCP_HEADERS + 1448,
        }
    }
}

const fn workload(
    model: &'static str,
    command: &'static str,
    unit: Unit,
    words: &'static str,
) -> Workload {
    Workload {
        name: command,
        model,
        command,
        words,
        unit,
    }
}

impl Workload {
    /// The same with TCP frames from the peer.
    const fn of_segments(self, name: &'static str, words: &'static str) -> Self {
        Self {
            name,
            words,
            unit: Unit::Taken(SEGMENTS),
            ..self
        }
    }
}

const E1000_RECEIVES: Workload = workload(
    "e1000",
    "er",
    Unit::Taken(DATAGRAMS),
    "e1000: frames of 1514 bytes to the guest, 1000/s",
);

const RTL8139_RECEIVES: Workload = workload(
    "rtl8139",
    "rr",
    Unit::Taken(DATAGRAMS),
    "rtl8139: frames of 1514 bytes to the guest, 1000/s",
);

const PCNET_RECEIVES: Workload = workload(
    "pcnet",
    "pr",
    Unit::Taken(DATAGRAMS),
    "pcnet: frames of 1514 bytes to the guest, 1000/s",
);

pub(super) const WORKLOADS: [Workload; 14] = [
    workload(
        "e1000",
        "el",
        Unit::Payload,
        "e1000: TCP frames of 56 KiB that it cuts, a doorbell each, from the guest, Mb/s",
    ),
    workload(
        "e1000",
        "es",
        Unit::Frames,
        "e1000: datagrams of 18 bytes, a doorbell each, from the guest, 1000/s",
    ),
    workload(
        "e1000",
        "em",
        Unit::Frames,
        "e1000: the same, a doorbell for 16, 1000/s",
    ),
    E1000_RECEIVES,
    E1000_RECEIVES.of_segments(
        "e-tcp",
        "e1000: TCP frames of 64 KiB, cut to 1502 bytes, to the guest, 1000/s",
    ),
    workload(
        "rtl8139",
        "rl",
        Unit::Payload,
        "rtl8139: TCP frames of 56 KiB that it cuts, a doorbell each, from the guest, Mb/s",
    ),
    workload(
        "rtl8139",
        "rt",
        Unit::Frames,
        "rtl8139: frames of 1514 bytes, a doorbell each, from the guest, 1000/s",
    ),
    RTL8139_RECEIVES,
    RTL8139_RECEIVES.of_segments(
        "r-tcp",
        "rtl8139: TCP frames of 64 KiB, cut to 1502 bytes, to the guest, 1000/s",
    ),
    workload(
        "pcnet",
        "pt",
        Unit::Frames,
        "pcnet: frames of 1514 bytes, a doorbell each, from the guest, 1000/s",
    ),
    PCNET_RECEIVES,
    PCNET_RECEIVES.of_segments(
        "p-tcp",
        "pcnet: TCP frames of 64 KiB, cut to 1502 bytes, to the guest, 1000/s",
    ),
    workload(
        "ne2k_pci",
        "nt",
        Unit::Frames,
        "ne2k_pci: frames of 1514 bytes that the driver moves by its port, from the guest, 1000/s",
    ),
    workload(
        "ne2k_pci",
        "nr",
        Unit::Taken(FEW_DATAGRAMS),
        "ne2k_pci: the same to the guest, 1000/s",
    ),
];

/// Headers of a TCP frame of the guest's.
const TCP_HEADERS: u64 = 54;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// In thousands per second.
    pub(super) rate: f64,
    /// Of the guest to its program, for each MB that travelled.
    pub(super) exits: Option<f64>,
}

impl Unit {
    /// The figure of what moved.
    #[expect(clippy::cast_precision_loss, reason = "what moves within seconds fits")]
    pub(super) fn sample(self, moved: Moved) -> Sample {
        let (count, bytes) = match self {
            Self::Payload => {
                let payload = moved.bytes.saturating_sub(moved.frames * TCP_HEADERS);
                (payload * 8 / 1000, moved.bytes)
            }
            Self::Frames => (moved.frames, moved.bytes),
            Self::Taken(load) => (moved.taken, moved.taken * load.what.size()),
        };
        let seconds = moved.time.as_secs_f64();
        let megabytes = bytes as f64 / 1e6 / seconds;
        Sample {
            rate: count as f64 / seconds / 1000.0,
            exits: moved
                .exits
                .filter(|_| bytes > 0)
                .map(|exits| exits / megabytes),
        }
    }
}

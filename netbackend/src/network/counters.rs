//! What is seen of a port from outside its datapath: counters, state, fault.
use super::{queue_stats::QueueStats, vhost_user::features};
use control::{
    Direction, Fault as FaultReport, PortCounters, PortKind, PortState, PortStatus, QueueCounters,
    QueueStatus,
};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use switch::{MacAddr, Role};
use tracing::warn;

/// A counter with one writer, the thread that owns the queue: a plain load and store, no locked
/// instruction.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. One thread only.
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds `n`, whoever else does so at the same time.
    pub(super) fn add_among_others(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value, from any thread.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The transport of a port, for its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    VhostUser,
    VhostUserClient,
    Tap,
}

/// The shared face of a port: written by its datapath and its control thread, read by reports.
#[derive(Debug)]
pub(super) struct PortShared {
    /// Name, unique in its network.
    pub(super) name: String,
    carrier: Carrier,
    role: Role,
    /// In the low 48 bits; bit 63 says that there is one.
    fixed_mac: AtomicU64,
    /// Counters by ring index: to the guest even, from the guest odd. A tap has its queues likewise.
    queues: Box<[Arc<QueueStats>]>,
    /// Written by the datapath and by the control thread.
    faults: AtomicU64,
    /// A front-end is connected.
    connected: AtomicBool,
    /// Negotiated virtio features.
    features: AtomicU64,
    /// Queue pairs of a tap.
    queue_pairs: AtomicU16,
    /// First source address seen, likewise.
    first_mac: AtomicU64,
    fault: Mutex<Fault>,
}

/// The latched fault of a port.
#[derive(Debug, Default)]
struct Fault {
    text: Option<String>,
    /// The newest one, and when it came.
    last: Option<(String, Instant)>,
    /// When a fault of this port was last written to the log.
    logged: Option<Instant>,
}

/// A peer can provoke faults as fast as it reconnects: at most one log line per port in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

const MAC_KNOWN: u64 = 1 << 63;

impl PortShared {
    pub(super) fn new(
        name: String,
        carrier: Carrier,
        role: Role,
        mac: Option<MacAddr>,
        queue_pairs: u16,
    ) -> Self {
        let holds_up = Arc::default();
        Self {
            name,
            carrier,
            role,
            fixed_mac: AtomicU64::new(mac.map_or(0, known)),
            queues: (0..queue_pairs.saturating_mul(2))
                .map(|_| Arc::new(QueueStats::of(&holds_up)))
                .collect(),
            faults: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            features: AtomicU64::new(0),
            queue_pairs: AtomicU16::new(0),
            first_mac: AtomicU64::new(0),
            fault: Mutex::default(),
        }
    }

    /// Counters of the ring `index`.
    pub(super) fn ring(&self, index: u16) -> Option<&Arc<QueueStats>> {
        self.queues.get(usize::from(index))
    }

    /// Counters of what the guest sends by queue pair `queue`.
    pub(super) fn transmit_stats(&self, queue: u16) -> Option<&QueueStats> {
        let ring = queue.checked_mul(2)?.checked_add(1)?;
        self.ring(ring).map(AsRef::as_ref)
    }

    /// Counters of what the guest gets by queue pair `queue`.
    pub(super) fn receive_stats(&self, queue: u16) -> Option<&QueueStats> {
        self.ring(queue.checked_mul(2)?).map(AsRef::as_ref)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
    }

    pub(super) fn set_features(&self, features: u64) {
        self.features.store(features, Relaxed);
    }

    pub(super) fn set_queue_pairs(&self, pairs: u16) {
        self.queue_pairs.store(pairs, Relaxed);
    }

    /// Notes the first source address that the port sends from.
    pub(super) fn set_first_mac(&self, mac: [u8; 6]) {
        let value = known(MacAddr(mac));
        // Each worker that serves a queue of the port notes one.
        let _ = self.first_mac.compare_exchange(0, value, Relaxed, Relaxed);
    }

    /// The port's fixed address is another one.
    pub(super) fn set_fixed_mac(&self, mac: MacAddr) {
        self.fixed_mac.store(known(mac), Relaxed);
    }

    /// Latches a fault: counted, logged, its text shown until the port is set up again.
    pub(super) fn latch_fault(&self, text: String) {
        self.faults.fetch_add(1, Relaxed);
        let mut fault = self.lock_fault();
        let now = Instant::now();
        if fault
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL)
        {
            fault.logged = Some(now);
            warn!(port = self.name, fault = text, "queue latched as faulty");
        }
        fault.last = Some((text.clone(), now));
        fault.text = Some(text);
    }

    /// Forgets a latched fault: the port was set up anew.
    pub(super) fn clear_fault(&self) {
        self.lock_fault().text = None;
    }

    fn lock_fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the rest of the network is behind it.
    #[inline]
    pub(super) fn is_uplink(&self) -> bool {
        self.role == Role::Uplink
    }

    /// The state and counters as the control API shows them.
    pub(super) fn status(&self) -> PortStatus {
        let (fault, last_fault) = {
            let fault = self.lock_fault();
            let last = fault.last.as_ref().map(|(message, when)| FaultReport {
                message: message.clone(),
                seconds_ago: when.elapsed().as_secs(),
            });
            (fault.text.clone(), last)
        };
        let faulty = self
            .queues
            .iter()
            .filter(|queue| queue.is_latched())
            .count();
        let queue_pairs = self.queue_pairs();
        PortStatus {
            name: self.name.clone(),
            kind: match self.carrier {
                Carrier::VhostUser | Carrier::VhostUserClient => PortKind::VhostUser {
                    socket: PathBuf::new(),
                    client: self.carrier == Carrier::VhostUserClient,
                },
                Carrier::Tap => PortKind::Tap {
                    interface: String::new(),
                    netns: None,
                },
            },
            uplink: self.is_uplink(),
            mac: self.mac().map(format_mac),
            // The supervisor knows it.
            policy: control::PortPolicy::default(),
            filter: None,
            state: if fault.is_some() {
                PortState::Faulty
            } else if queue_pairs > 0 {
                PortState::Running
            } else if self.connected.load(Relaxed) {
                PortState::Connected
            } else if self.carrier == Carrier::VhostUserClient {
                PortState::Connecting
            } else {
                PortState::Listening
            },
            features: features::names(self.features.load(Relaxed)),
            queue_pairs,
            fault,
            last_fault,
            faulty_queues: u16::try_from(faulty).unwrap_or(u16::MAX),
            counters: self.sum(),
        }
    }

    /// Counters of all queues that were ever used, or belong to the first pair.
    pub(super) fn queue_statuses(&self) -> Vec<QueueStatus> {
        let queues = (0u16..).zip(&self.queues);
        let statuses = queues.map(|(ring, stats)| QueueStatus {
            queue_pair: ring / 2,
            direction: direction(ring),
            faulty: stats.is_latched(),
            worker: stats.worker(),
            counters: stats.snapshot(),
        });
        let unused = QueueCounters::default();
        statuses
            .filter(|queue| queue.queue_pair == 0 || queue.faulty || queue.counters != unused)
            .collect()
    }

    fn sum(&self) -> PortCounters {
        let mut sum = PortCounters {
            faults: self.faults.load(Relaxed),
            ..PortCounters::default()
        };
        for (ring, stats) in (0u16..).zip(&self.queues) {
            let queue = stats.totals();
            match direction(ring) {
                Direction::Rx => {
                    sum.rx_frames += queue.frames;
                    sum.rx_bytes += queue.bytes;
                    sum.rx_dropped += queue.dropped;
                }
                Direction::Tx => {
                    sum.tx_frames += queue.frames;
                    sum.tx_bytes += queue.bytes;
                    sum.tx_dropped += queue.dropped;
                }
            }
            sum.software_offloads += queue.software_offloads;
            sum.kicks += queue.kicks;
            sum.calls += queue.calls;
            sum.calls_suppressed += queue.calls_suppressed;
        }
        sum
    }

    /// Queue pairs of which both rings run.
    fn queue_pairs(&self) -> u16 {
        let running = self.queues.chunks_exact(2);
        let running = running.filter(|pair| pair.iter().all(|queue| queue.is_carrying()));
        match self.carrier {
            Carrier::Tap => self.queue_pairs.load(Relaxed),
            _ => u16::try_from(running.count()).unwrap_or(u16::MAX),
        }
    }

    fn mac(&self) -> Option<MacAddr> {
        let of = |word: &AtomicU64| {
            let word = word.load(Relaxed);
            let mac = word.to_be_bytes().last_chunk().copied().map(MacAddr);
            mac.filter(|_| word & MAC_KNOWN != 0)
        };
        of(&self.fixed_mac).or_else(|| of(&self.first_mac))
    }
}

/// An address that is known, in one word.
fn known(mac: MacAddr) -> u64 {
    let octets = mac.0.iter();
    octets.fold(0, |bits, octet| bits << 8 | u64::from(*octet)) | MAC_KNOWN
}

/// Receive rings are even, transmit rings odd (virtio 1.2, 5.1.2).
fn direction(ring: u16) -> Direction {
    if ring.is_multiple_of(2) {
        Direction::Rx
    } else {
        Direction::Tx
    }
}

fn format_mac(mac: MacAddr) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}

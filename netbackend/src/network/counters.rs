//! What is seen of a port from outside its datapath: counters, state, fault.
use super::vhost_user::features;
use control::{PortCounters, PortKind, PortState, PortStatus};
use std::{
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
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

    /// The value, from any thread.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of a port as the datapath keeps them; the meaning is that of [`PortCounters`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) tx_frames: Counter,
    pub(super) tx_bytes: Counter,
    pub(super) tx_dropped: Counter,
    pub(super) rx_frames: Counter,
    pub(super) rx_bytes: Counter,
    pub(super) rx_dropped: Counter,
    pub(super) software_offloads: Counter,
    /// Written by the datapath and by the control thread.
    faults: AtomicU64,
}

/// The transport of a port, for its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    VhostUser,
    Tap,
}

/// The shared face of a port: written by its datapath and its control thread, read by reports.
#[derive(Debug)]
pub(super) struct PortShared {
    /// Name, unique in its network.
    pub(super) name: String,
    carrier: Carrier,
    role: Role,
    fixed_mac: Option<MacAddr>,
    pub(super) counters: Counters,
    /// A front-end is connected.
    connected: AtomicBool,
    /// Negotiated virtio features.
    features: AtomicU64,
    /// Queue pairs of which both rings run.
    queue_pairs: AtomicU16,
    /// First source address seen, in the low 48 bits; bit 63 says that there is one.
    first_mac: AtomicU64,
    fault: Mutex<Fault>,
}

/// The latched fault of a port.
#[derive(Debug, Default)]
struct Fault {
    text: Option<String>,
    /// When a fault of this port was last written to the log.
    logged: Option<Instant>,
}

/// A peer can provoke faults as fast as it reconnects: at most one log line per port in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

const MAC_KNOWN: u64 = 1 << 63;

impl PortShared {
    pub(super) fn new(name: String, carrier: Carrier, role: Role, mac: Option<MacAddr>) -> Self {
        Self {
            name,
            carrier,
            role,
            fixed_mac: mac,
            counters: Counters::default(),
            connected: AtomicBool::new(false),
            features: AtomicU64::new(0),
            queue_pairs: AtomicU16::new(0),
            first_mac: AtomicU64::new(0),
            fault: Mutex::default(),
        }
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
        let value = mac
            .iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        self.first_mac.store(MAC_KNOWN | value, Relaxed);
    }

    /// Latches a fault: counted, logged, its text shown until the port is set up again.
    pub(super) fn latch_fault(&self, text: String) {
        self.counters.faults.fetch_add(1, Relaxed);
        let mut fault = self.lock_fault();
        let now = Instant::now();
        if fault
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL)
        {
            fault.logged = Some(now);
            warn!(port = self.name, fault = text, "queue latched as faulty");
        }
        fault.text = Some(text);
    }

    /// Forgets a latched fault: the port was set up anew.
    pub(super) fn clear_fault(&self) {
        self.lock_fault().text = None;
    }

    fn lock_fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state and counters as the control API shows them.
    pub(super) fn status(&self) -> PortStatus {
        let fault = self.lock_fault().text.clone();
        let queue_pairs = self.queue_pairs.load(Relaxed);
        PortStatus {
            name: self.name.clone(),
            kind: match self.carrier {
                Carrier::VhostUser => PortKind::VhostUser {
                    socket: PathBuf::new(),
                },
                Carrier::Tap => PortKind::Tap {
                    interface: String::new(),
                    netns: None,
                },
            },
            uplink: self.role == Role::Uplink,
            mac: self.mac().map(format_mac),
            state: if fault.is_some() {
                PortState::Faulty
            } else if queue_pairs > 0 {
                PortState::Running
            } else if self.connected.load(Relaxed) {
                PortState::Connected
            } else {
                PortState::Listening
            },
            features: features::names(self.features.load(Relaxed)),
            queue_pairs,
            fault,
            counters: self.counters.snapshot(),
        }
    }

    fn mac(&self) -> Option<MacAddr> {
        let first = self.first_mac.load(Relaxed);
        self.fixed_mac.or_else(|| {
            let bytes = first.to_be_bytes();
            let mac = bytes.last_chunk().copied().map(MacAddr);
            mac.filter(|_| first & MAC_KNOWN != 0)
        })
    }
}

impl Counters {
    fn snapshot(&self) -> PortCounters {
        PortCounters {
            tx_frames: self.tx_frames.get(),
            tx_bytes: self.tx_bytes.get(),
            tx_dropped: self.tx_dropped.get(),
            rx_frames: self.rx_frames.get(),
            rx_bytes: self.rx_bytes.get(),
            rx_dropped: self.rx_dropped.get(),
            software_offloads: self.software_offloads.get(),
            faults: self.faults.load(Relaxed),
        }
    }
}

fn format_mac(mac: MacAddr) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}

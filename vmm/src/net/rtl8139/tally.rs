//! The tally counters that a C+ driver has dumped into its memory (C+ 6.2, "DTCCR").
use super::spec;
use serde::{Deserialize, Serialize};

/// Counters since the last reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) tx_ok: u64,
    pub(super) rx_ok: u64,
    pub(super) tx_err: u64,
    pub(super) rx_err: u32,
    pub(super) missed: u16,
    pub(super) rx_ok_physical: u64,
    pub(super) rx_ok_broadcast: u64,
    pub(super) rx_ok_multicast: u32,
    pub(super) tx_aborted: u16,
}

impl Tally {
    /// As they lie in memory. Collisions and alignment errors do not happen here.
    pub(super) fn encode(&self) -> [u8; spec::TALLY_LEN] {
        let mut bytes = [0; spec::TALLY_LEN];
        let fields: [(usize, &[u8]); 9] = [
            (0, &self.tx_ok.to_le_bytes()),
            (8, &self.rx_ok.to_le_bytes()),
            (16, &self.tx_err.to_le_bytes()),
            (24, &self.rx_err.to_le_bytes()),
            (28, &self.missed.to_le_bytes()),
            (40, &self.rx_ok_physical.to_le_bytes()),
            (48, &self.rx_ok_broadcast.to_le_bytes()),
            (56, &self.rx_ok_multicast.to_le_bytes()),
            (60, &self.tx_aborted.to_le_bytes()),
        ];
        for (at, field) in fields {
            if let Some(place) = bytes.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
        }
        bytes
    }

    /// A frame could not be sent.
    pub(super) fn aborted(&mut self) {
        self.tx_err += 1;
        self.tx_aborted = self.tx_aborted.saturating_add(1);
    }

    /// A frame had no room.
    pub(super) fn missed(&mut self) {
        self.rx_err = self.rx_err.saturating_add(1);
        self.missed = self.missed.saturating_add(1);
    }
}

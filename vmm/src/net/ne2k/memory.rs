//! What DMA addresses inside of the NIC: the PROM and packet memory. Elsewhere nothing is: it reads as ones.
use super::spec;
use crate::net::MacAddress;
use serde::{Deserialize, Serialize};

/// PROM and packet memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    prom: [u8; spec::PROM_LEN],
    ram: Vec<u8>,
}

impl Memory {
    /// Empty.
    pub(super) fn new() -> Self {
        Self {
            prom: [0; spec::PROM_LEN],
            ram: vec![0; spec::RAM_LEN],
        }
    }

    /// Fills the PROM.
    pub(super) fn program(&mut self, mac: MacAddress) {
        let mut bytes = [0; spec::PROM_LEN / 2];
        for (byte, value) in bytes.iter_mut().zip(mac.0) {
            *byte = value;
        }
        for byte in bytes.iter_mut().rev().take(2) {
            *byte = spec::PROM_MARK;
        }
        for (pair, value) in self.prom.chunks_exact_mut(2).zip(bytes) {
            pair.fill(value);
        }
    }

    /// After it came from a snapshot: there is never more or less memory than the chip has.
    pub(super) fn repair(&mut self) {
        self.ram.resize(spec::RAM_LEN, 0);
    }

    /// A piece of packet memory; `None`: not all of it is there.
    pub(super) fn ram(&self, at: u16, len: usize) -> Option<&[u8]> {
        let start = usize::from(at).checked_sub(spec::RAM_START)?;
        self.ram.get(start..start.checked_add(len)?)
    }

    fn ram_mut(&mut self, at: u16, len: usize) -> Option<&mut [u8]> {
        let start = usize::from(at).checked_sub(spec::RAM_START)?;
        self.ram.get_mut(start..start.checked_add(len)?)
    }

    /// Reads from `at` on.
    pub(super) fn read(&self, at: u16, out: &mut [u8]) {
        if let Some(bytes) = self.ram(at, out.len()) {
            out.copy_from_slice(bytes);
            return;
        }
        for (byte, at) in out.iter_mut().zip(usize::from(at)..) {
            let ram = at.checked_sub(spec::RAM_START);
            let found = self
                .prom
                .get(at)
                .or_else(|| ram.and_then(|at| self.ram.get(at)));
            *byte = found.copied().unwrap_or(0xff);
        }
    }

    /// Writes from `at` on; the PROM stays as it is.
    pub(super) fn write(&mut self, at: u16, bytes: &[u8]) {
        if let Some(place) = self.ram_mut(at, bytes.len()) {
            place.copy_from_slice(bytes);
            return;
        }
        for (byte, at) in bytes.iter().zip(usize::from(at)..) {
            let ram = at.checked_sub(spec::RAM_START);
            if let Some(place) = ram.and_then(|at| self.ram.get_mut(at)) {
                *place = *byte;
            }
        }
    }
}

//! The registers that a driver writes for every frame; they take no lock.
use super::spec;
use crate::net::nic::{Access, Doorbells as Trait, Width};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

/// TSD and CAPR of C mode, TPPOLL of C+.
#[derive(Debug)]
pub struct Doorbells {
    /// Four transmit status registers; without OWN: a frame waits.
    pub(super) status: [AtomicU32; 4],
    /// How far the driver has read the ring of C mode.
    pub(super) capr: AtomicU16,
    /// TPPOLL.NPQ: there is something in the C+ transmit ring.
    pub(super) poll: AtomicBool,
    /// The registers at 0x10 are those of C+: no doorbells.
    pub(super) plus: AtomicBool,
    /// A frame waits for room in the ring of C mode.
    pub(super) waiting: AtomicBool,
}

impl Default for Doorbells {
    fn default() -> Self {
        let doorbells = Self {
            status: Default::default(),
            capr: AtomicU16::new(0),
            poll: AtomicBool::new(false),
            plus: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
        };
        doorbells.reset();
        doorbells
    }
}

impl Doorbells {
    /// As after a reset (C 5.2, 5.7).
    pub(super) fn reset(&self) {
        for status in &self.status {
            status.store(spec::TSD_OWN, Ordering::SeqCst);
        }
        // The read pointer lies 16 bytes behind where the driver reads.
        self.capr.store(0xfff0, Ordering::SeqCst);
        self.poll.store(false, Ordering::SeqCst);
        self.plus.store(false, Ordering::SeqCst);
    }

    /// A transmit status register of C mode.
    pub(super) fn status_at(&self, offset: u32) -> Option<&AtomicU32> {
        let index = offset.checked_sub(spec::TSD0)? / 4;
        self.status.get(usize::try_from(index).ok()?)
    }
}

impl Trait for Doorbells {
    fn ring(&self, at: Access, value: u32) -> Option<bool> {
        let plus = self.plus.load(Ordering::SeqCst);
        let [low, high, ..] = value.to_le_bytes();
        match (at.offset, at.width) {
            (spec::TSD0..=spec::TSD3, Width::Dword) if !plus => {
                let status = self.status_at(at.offset)?;
                status.store(value & spec::TSD_STARTABLE, Ordering::SeqCst);
                Some(true)
            }
            (spec::CAPR, Width::Word) => {
                let capr = u16::from_le_bytes([low, high]);
                self.capr.store(capr, Ordering::SeqCst);
                Some(self.waiting.load(Ordering::SeqCst))
            }
            (spec::CAPR | spec::CAPR_HIGH, Width::Byte) => {
                let merge = |capr: u16| {
                    let mut bytes = capr.to_le_bytes();
                    bytes[usize::from(at.offset != spec::CAPR)] = low;
                    Some(u16::from_le_bytes(bytes))
                };
                let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
                let _ = self.capr.fetch_update(set, fetch, merge);
                Some(self.waiting.load(Ordering::SeqCst))
            }
            (spec::TPPOLL, Width::Byte) if plus && low & spec::TPPOLL_FSWINT == 0 => {
                let polled = low & spec::TPPOLL_NPQ != 0;
                self.poll.fetch_or(polled, Ordering::SeqCst);
                Some(polled)
            }
            _ => None,
        }
    }

    /// The chip may look at its ring at any time: nothing is lost if nobody has asked.
    fn knocked(&self) {
        self.poll.store(true, Ordering::SeqCst);
    }
}

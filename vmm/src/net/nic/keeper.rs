//! The registers of a NIC whose writes KVM keeps, where its BARs are.
use super::Model;
use crate::{
    interrupt::{DoorbellAddress, InterruptController},
    pci::BarAddress,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Has KVM keep them. Dropping it has each come at once again.
pub(super) struct Keeper {
    controller: Arc<dyn InterruptController>,
    /// The BARs that are decoded.
    bars: BTreeMap<u8, BarAddress>,
    /// The model is quiet.
    quiet: bool,
    /// What is kept: where, and how many bytes.
    kept: Vec<(DoorbellAddress, u32)>,
}

impl Keeper {
    pub(super) fn new(controller: Arc<dyn InterruptController>) -> Self {
        Self {
            controller,
            bars: BTreeMap::new(),
            quiet: true,
            kept: Vec::new(),
        }
    }

    /// `bar` is decoded at `at` from now on, or no longer.
    pub(super) fn move_bar<M: Model>(&mut self, bar: u8, at: Option<BarAddress>) {
        match at {
            Some(at) => self.bars.insert(bar, at),
            None => self.bars.remove(&bar),
        };
        self.keep::<M>();
    }

    /// Whether writes to [`QUIET_PORTS`](Model::QUIET_PORTS) have no consequences now.
    pub(super) fn set_quiet<M: Model>(&mut self, quiet: bool) {
        if quiet != self.quiet {
            self.quiet = quiet;
            self.keep::<M>();
        }
    }

    fn keep<M: Model>(&mut self) {
        let wanted = self.wanted::<M>();
        let (stay, go) = self.kept.drain(..).partition(|it| wanted.contains(it));
        self.kept = stay;
        self.bring(go);
        for (at, len) in wanted {
            // A KVM that cannot brings each at once.
            if !self.kept.contains(&(at, len)) && self.controller.keep_writes(at, len).is_ok() {
                self.kept.push((at, len));
            }
        }
    }

    fn bring(&self, ranges: Vec<(DoorbellAddress, u32)>) {
        for (at, len) in ranges {
            let _ = self.controller.bring_writes(at, len);
        }
    }

    fn wanted<M: Model>(&self) -> Vec<(DoorbellAddress, u32)> {
        let ports = M::QUIET_PORTS.iter().filter(|_| self.quiet);
        let ports = ports.flat_map(|ports| {
            let is_io = |at: &&BarAddress| matches!(at, BarAddress::Io(_));
            let bases = self.bars.values().filter(is_io);
            bases.map(|at| (*at, u32::from(ports.start)..u32::from(ports.end)))
        });
        let registers = M::KEPT.iter().filter_map(|(bar, registers)| {
            let at = self.bars.get(bar)?;
            Some((*at, registers.clone()))
        });
        let all = ports.chain(registers);
        all.filter_map(|(bar, offsets)| range(bar, &offsets))
            .collect()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.bring(kept);
    }
}

fn range(bar: BarAddress, offsets: &Range<u32>) -> Option<(DoorbellAddress, u32)> {
    let len = offsets.end.checked_sub(offsets.start)?;
    Some((bar.at(offsets.start)?, len))
}

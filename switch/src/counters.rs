//! What the switch counts.
use crate::DropReason;

/// Counters since the switch was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    drops: [u64; DropReason::ALL.len()],
    /// addresses that were not learned because their port had its share
    pub fdb_full: u64,
    /// learned addresses that moved to another port
    pub fdb_moves: u64,
    /// frames sent from an address that is fixed or static on another port (the entry stood)
    pub source_pinned_elsewhere: u64,
    /// frames that a port with a fixed address sent from another
    pub source_not_fixed: u64,
}

impl Counters {
    /// Frames dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or_default()
    }

    /// Reasons with their counts, zeros included.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .copied()
            .zip(self.drops.iter().copied())
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

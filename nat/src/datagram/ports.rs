//! Ports of the host that mappings have, shared among guests.
use crate::counters::DropReason;
use hashbrown::HashMap;

/// A guest has at most so many times what is left for others: alone 4/5 of all ports, two of them 4/9 each; and whoever comes next
/// still finds some.
const TIMES: usize = 4;

#[derive(Debug)]
pub(super) struct Ports {
    all: usize,
    by_guest: HashMap<u32, usize, foldhash::fast::FixedState>,
}

impl Ports {
    pub(super) const fn new(hasher: foldhash::fast::FixedState) -> Self {
        Self {
            all: 0,
            by_guest: HashMap::with_hasher(hasher),
        }
    }

    /// Takes one for a guest, of as many as there may be.
    pub(super) fn take(&mut self, guest: u32, most: usize) -> Result<(), DropReason> {
        let own = self.by_guest.get(&guest).copied().unwrap_or(0);
        if own >= most.saturating_sub(self.all).saturating_mul(TIMES) {
            return Err(DropReason::FlowQuota);
        }
        self.by_guest.insert(guest, own + 1);
        self.all += 1;
        Ok(())
    }

    /// Gives one of a guest's back.
    pub(super) fn give_back(&mut self, guest: u32) {
        let Some(own) = self.by_guest.get_mut(&guest) else {
            return;
        };
        *own -= 1;
        if *own == 0 {
            self.by_guest.remove(&guest);
        }
        self.all -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_guest_leaves_something_to_the_next_and_all_leave_the_rest_to_the_host() {
        let mut ports = Ports::new(foldhash::fast::FixedState::default());
        let fill = |ports: &mut Ports, guest| {
            let takes = std::iter::repeat_with(|| ports.take(guest, 100));
            takes.take_while(Result::is_ok).count()
        };
        assert_eq!(fill(&mut ports, 1), 80);
        assert_eq!(fill(&mut ports, 2), 16);
        assert_eq!(
            (3..20).map(|guest| fill(&mut ports, guest)).sum::<usize>(),
            4
        );
        assert_eq!(ports.take(20, 100), Err(DropReason::FlowQuota));
        ports.give_back(1);
        assert_eq!(ports.take(20, 100), Ok(()));
        for _ in 0..79 {
            ports.give_back(1);
        }
        ports.give_back(1);
        assert_eq!((ports.all, ports.by_guest.get(&1)), (21, None));
    }
}

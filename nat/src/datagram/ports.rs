//! Ports of the host that mappings have, shared among the ports of the network.
use crate::counters::DropReason;

/// One has at most so many times what is left for others: alone 4/5 of all ports, two of them 4/9 each; and whoever comes next
/// still finds some.
const TIMES: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Ports {
    all: usize,
}

impl Ports {
    /// Takes one for somebody who has `own` already, of as many as there may be.
    pub(super) fn take(&mut self, own: usize, most: usize) -> Result<(), DropReason> {
        if own >= most.saturating_sub(self.all).saturating_mul(TIMES) {
            return Err(DropReason::FlowQuota);
        }
        self.all += 1;
        Ok(())
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self) {
        self.all = self.all.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_something_to_the_next_and_all_leave_the_rest_to_the_host() {
        let mut ports = Ports::default();
        let fill = |ports: &mut Ports| {
            (0..=100)
                .take_while(|own| ports.take(*own, 100).is_ok())
                .count()
        };
        assert_eq!(fill(&mut ports), 80);
        assert_eq!(fill(&mut ports), 16);
        assert_eq!((3..20).map(|_| fill(&mut ports)).sum::<usize>(), 4);
        assert_eq!(ports.take(0, 100), Err(DropReason::FlowQuota));
        ports.give_back();
        assert_eq!(ports.take(0, 100), Ok(()));
    }
}

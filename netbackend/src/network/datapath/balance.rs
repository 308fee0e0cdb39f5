//! Moving sources from a busy worker to one that is not.
//!
//! A source moves as a whole, ring and all, between two bursts, so its frames stay in order: what the old worker has delivered is
//! in its place before the new one sees the ring. Every worker looks at its own load once in a while and gives away; nobody takes.
use super::{Source, ports::Carrier, ring::Ring, worker::Worker};
use crate::network::command::Letter;
use std::{sync::Arc, time::Duration};

/// A worker gives away when it is busier by these thousandths than another.
const LEAST_DIFFERENCE: u16 = 300;
/// Windows that a worker waits after it has given something away: the shares that it sees must be new ones.
const SETTLING: u8 = 2;

/// A source on its way to another worker.
#[derive(Debug)]
pub(in crate::network) struct MovedSource {
    source: Source,
    /// None: it is a tap queue, whose file all workers have.
    ring: Option<Ring>,
}

impl Worker {
    /// Publishes the load of the last window, and gives a source away if another worker has less to do.
    pub(super) fn look_at_load(&mut self, now: Duration) {
        let Some(load) = self.loads.get(self.index) else {
            return;
        };
        self.meter.end_window(now, load);
        let own = load.share(now);
        if self.loads.len() == 1 {
            return;
        }
        let bursts = self.take_bursts();
        if self.settling > 0 {
            self.settling -= 1;
            return;
        }
        let others = self.loads.iter().enumerate();
        let others = others.filter(|(index, _)| *index != self.index);
        let least = others.map(|(index, load)| (load.share(now), index)).min();
        if let Some((share, other)) = least
            && own >= share.saturating_add(LEAST_DIFFERENCE)
            && let Some(source) = choose(&bursts, own, share)
        {
            self.settling = SETTLING;
            self.give_away(source, other);
        }
    }

    /// Bursts that each source has sent in the last window; not of those that must stay where they are.
    fn take_bursts(&mut self) -> Vec<(Source, u32, bool)> {
        let sources = self.active.iter().chain(&self.behind.sources);
        let sources = sources.filter_map(|source| {
            let port = self.ports.get_mut(source.port)?;
            let stays = port.limits.keeps_together;
            let conduct = port.conduct(source.queue)?;
            let bursts = std::mem::take(&mut conduct.bursts);
            (bursts > 0).then_some((*source, bursts, stays))
        });
        sources.collect()
    }

    fn give_away(&mut self, source: Source, other: usize) {
        let mailbox = Arc::clone(&self.mailbox);
        // While a command is under way, nothing moves: it might miss what it is about.
        let Some(_turn) = mailbox.try_turn() else {
            return;
        };
        let (Some(inbox), Some(moved)) = (mailbox.inbox(other), self.detach(source)) else {
            return;
        };
        if let Err(letter) = inbox.send(Letter::Source(moved))
            && let Letter::Source(moved) = *letter
        {
            // The other one has ended.
            self.adopt(moved);
        }
    }

    /// Lets go of a source.
    fn detach(&mut self, source: Source) -> Option<MovedSource> {
        self.deactivate(source);
        let ring = match &mut self.ports.get_mut(source.port)?.carrier {
            Carrier::Vhost(vhost) => {
                let ring = vhost.transmit_place(source.queue)?.take()?;
                if let Some(kick) = &ring.kick {
                    self.poller.forget(kick);
                }
                Some(ring)
            }
            Carrier::Tap(tap) => {
                let tap = tap.queue(source.queue)?;
                tap.served = false;
                self.poller.forget(&tap.file);
                None
            }
        };
        Some(MovedSource { source, ring })
    }

    /// Serves a source that another worker has given away.
    pub(super) fn adopt(&mut self, moved: MovedSource) {
        let MovedSource { source, ring } = moved;
        let Some(port) = self.ports.get_mut(source.port) else {
            return;
        };
        match (&mut port.carrier, ring) {
            (Carrier::Vhost(vhost), Some(mut ring)) => {
                if let Some(kick) = &ring.kick
                    && let Err(error) = self.poller.watch_kick(kick, source)
                {
                    ring.latch(&format_args!("watch its kick fd: {error}"), &port.shared);
                }
                if let Some(place) = vhost.transmit_place(source.queue) {
                    *place = Some(ring);
                }
            }
            (Carrier::Tap(tap), None) => {
                let Some(tap) = tap.queue(source.queue) else {
                    return;
                };
                tap.served = true;
                if let Err(error) = self.poller.watch_tap(&tap.file, source) {
                    tap.latch(&error, &port.shared);
                }
            }
            _ => return,
        }
        self.note_worker(source);
        self.activate(source);
    }
}

/// The source whose move makes two workers most alike, of which one is busier than the other; `None`: no move does.
fn choose(bursts: &[(Source, u32, bool)], own: u16, other: u16) -> Option<Source> {
    let all: u64 = bursts.iter().map(|(_, bursts, _)| u64::from(*bursts)).sum();
    let (own, other) = (u64::from(own), u64::from(other));
    // What is left between the two after a move, in thousandths of a worker.
    let left = |bursts: u32| {
        let moved = own * u64::from(bursts) / all.max(1);
        (other + moved).abs_diff(own.saturating_sub(moved))
    };
    let movable = bursts.iter().filter(|(_, _, stays)| !stays);
    let best = movable.min_by_key(|(_, bursts, _)| left(*bursts))?;
    (left(best.1) < own.abs_diff(other)).then_some(best.0)
}

#[cfg(test)]
#[path = "balance_test.rs"]
mod tests;

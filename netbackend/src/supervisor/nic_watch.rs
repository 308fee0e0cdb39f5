//! Following the NICs of a network.
use super::port::Port;
use crate::uplink::{Monitor, Nic, Sight};
use std::{
    collections::{HashMap, HashSet},
    future,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time};

/// When an interface that is there and did not fit is tried again: after this at first, and this at most. Not all that may be
/// changed about it, its MTU or who else is on it, is an event of its own.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What there is to do about NICs.
#[derive(Debug)]
pub(super) enum News {
    /// One is there, or gone, or its cable is.
    Sight(Nic, Sight),
    /// Those that did not fit may do so now.
    TryAgain,
}

/// Follows all NICs of a network.
#[derive(Debug)]
pub(super) struct NicWatch {
    tasks: HashMap<Nic, JoinHandle<()>>,
    sender: mpsc::Sender<(Nic, Sight)>,
    sights: mpsc::Receiver<(Nic, Sight)>,
    /// Those that are there.
    pub(super) present: HashSet<Nic>,
    /// As seen last; until then the best is hoped for.
    pub(super) carries: bool,
    /// Of the one seen last, while it is there.
    pub(super) mtu: Option<u32>,
    /// One did not fit: when to try again.
    again: Option<time::Instant>,
    /// How long after the next failure.
    pause: Duration,
}

impl Default for NicWatch {
    fn default() -> Self {
        let (sender, sights) = mpsc::channel(1);
        Self {
            tasks: HashMap::new(),
            sender,
            sights,
            present: HashSet::new(),
            carries: true,
            mtu: None,
            again: None,
            pause: FIRST_PAUSE,
        }
    }
}

impl Drop for NicWatch {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

impl NicWatch {
    /// Whether the NIC of a port is there, or its wire needs none.
    pub(super) fn has_that_of(&self, port: &Port) -> bool {
        let wire = port.wire.as_ref();
        wire.is_some_and(|wire| wire.nic().is_none_or(|nic| self.present.contains(&nic)))
    }

    /// Follows these, and no others.
    pub(super) fn follow(&mut self, nics: Vec<Nic>) {
        self.tasks.retain(|nic, task| {
            let stays = nics.contains(nic);
            if !stays {
                task.abort();
            }
            stays
        });
        for nic in nics {
            let sender = self.sender.clone();
            self.tasks.entry(nic.clone()).or_insert_with(|| {
                let mut monitor = Monitor::new(nic.clone());
                tokio::spawn(async move {
                    loop {
                        let sight = monitor.next().await;
                        if sender.send((nic.clone(), sight)).await.is_err() {
                            return;
                        }
                    }
                })
            });
        }
    }

    /// One that is there did not fit. Several that do not fit are tried again together.
    pub(super) fn try_again(&mut self) {
        if self.again.is_none() {
            self.again = Some(time::Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One fits, or none is left that did not: the next that does not need not wait for long.
    pub(super) fn reset_pause(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// The next news. May be cancelled.
    pub(super) async fn next(&mut self) -> News {
        let again = self.again;
        let due = async {
            match again {
                Some(again) => time::sleep_until(again).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            // It holds a sender itself: there is always one.
            Some((nic, sight)) = self.sights.recv() => News::Sight(nic, sight),
            () = due => {
                self.again = None;
                News::TryAgain
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_due(nics: &mut NicWatch) {
        nics.again = nics.again.map(|_| time::Instant::now());
        assert!(matches!(nics.next().await, News::TryAgain));
        assert_eq!(nics.again, None);
    }

    #[tokio::test]
    async fn pause_grows_once_per_round_until_one_fits() {
        let mut nics = NicWatch::default();
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            // Two ports.
            nics.try_again();
            nics.try_again();
            assert_eq!(nics.pause, Duration::from_secs(seconds));
            until_due(&mut nics).await;
        }
        nics.reset_pause();
        nics.try_again();
        assert_eq!(nics.pause, 2 * FIRST_PAUSE);
    }
}

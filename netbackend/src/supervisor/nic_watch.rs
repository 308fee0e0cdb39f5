//! Following the NICs of a network.
use super::port::Port;
use crate::uplink::{Monitor, Nic, Retry, Sight};
use std::collections::{HashMap, HashSet};
use tokio::{sync::mpsc, task::JoinHandle};

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
    /// For those that did not fit.
    pub(super) retry: Retry,
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
            retry: Retry::default(),
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

    /// The next news. May be cancelled.
    pub(super) async fn next(&mut self) -> News {
        tokio::select! {
            // It holds a sender itself: there is always one.
            Some((nic, sight)) = self.sights.recv() => News::Sight(nic, sight),
            () = self.retry.due() => News::TryAgain,
        }
    }
}

//! Following the NICs of a network.
use crate::uplink::{Monitor, Nic, Sight};
use std::{
    collections::{HashMap, HashSet},
    future,
};
use tokio::{sync::mpsc, task::JoinHandle};

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

    /// What is to be seen of one of them. May be cancelled.
    pub(super) async fn next(&mut self) -> (Nic, Sight) {
        match self.sights.recv().await {
            Some(sight) => sight,
            // It holds a sender itself.
            None => future::pending().await,
        }
    }
}

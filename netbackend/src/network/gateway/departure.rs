//! Ports that are gone from the datapath, and that the gateway has yet to forget.
//!
//! Who gets such a number would lose its flows when the gateway comes to it at last. So the number stays taken as long as there
//! is a request about it, answered in time or not.
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use switch::PortId;

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Departures(Arc<Mutex<BTreeSet<PortId>>>);

/// One of them, for as long as this lives.
#[derive(Debug)]
pub(super) struct Departure {
    port: PortId,
    all: Departures,
}

impl Departures {
    /// A port is gone.
    pub(super) fn begin(&self, port: PortId) -> Departure {
        self.lock().insert(port);
        Departure {
            port,
            all: self.clone(),
        }
    }

    pub(super) fn contains(&self, port: PortId) -> bool {
        self.lock().contains(&port)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PortId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Departure {
    pub(super) const fn port(&self) -> PortId {
        self.port
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.all.lock().remove(&self.port);
    }
}

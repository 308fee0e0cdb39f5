//! A function's INTx pin.
use crate::interrupt::IntxLine;
use std::sync::{Arc, Mutex, PoisonError};

/// The pin: pending by the device's word, let out by the command register.
pub struct Intx {
    line: Arc<dyn IntxLine>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    pending: bool,
    disabled: bool,
}

impl std::fmt::Debug for Intx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intx")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Intx {
    /// A pin wired to `line`, low.
    pub fn new(line: Arc<dyn IntxLine>) -> Self {
        Self {
            line,
            state: Mutex::default(),
        }
    }

    /// The device wants (or no longer wants) an interrupt.
    pub fn set_pending(&self, pending: bool) {
        self.update(|state| state.pending = pending);
    }

    /// The Interrupt Disable bit of the command register.
    pub fn set_disabled(&self, disabled: bool) {
        self.update(|state| state.disabled = disabled);
    }

    /// The Interrupt Status bit: independent of Interrupt Disable (PCI 3.0, 6.2.3).
    pub fn pending(&self) -> bool {
        self.lock().pending
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let was = state.pending && !state.disabled;
        change(&mut state);
        let level = state.pending && !state.disabled;
        // Under the lock, so that two updates reach the line in their order.
        if level != was {
            self.line.set(level);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

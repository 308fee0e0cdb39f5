//! What happens to a machine: the guest switches off, resets or crashes, or somebody wants it stopped.

use std::sync::mpsc::{Receiver, Sender, channel};

/// An event that ends the run of the vCPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The guest switched off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest shut down by a triple fault, or KVM cannot go on.
    Crash(String),
    /// A person or a signal wants the VMM to end.
    Quit,
}

/// Sends events from devices and threads to the machine.
#[derive(Debug, Clone)]
pub struct EventSender(Sender<Event>);

impl EventSender {
    /// Sends one; a machine that is already gone needs none.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// A new way for events.
pub fn events() -> (EventSender, Receiver<Event>) {
    let (sender, receiver) = channel();
    (EventSender(sender), receiver)
}

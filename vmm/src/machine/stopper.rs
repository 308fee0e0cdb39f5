//! Stopping whichever machine is running: a guest that resets gets a new one.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Event, EventSender};

/// A handle that outlives machines. A wish to stop is not forgotten while one machine is torn down and the next is built.
#[derive(Debug, Clone, Default)]
pub struct Stopper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    machine: Option<EventSender>,
    asked: bool,
}

impl Stopper {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this machine is the one to stop. If somebody asked before, it is stopped at once.
    pub fn attach(&self, machine: EventSender) {
        let mut state = self.lock();
        if state.asked {
            machine.send(Event::Quit);
        }
        state.machine = Some(machine);
    }

    /// Asks for an orderly stop. False: that cannot be had, because it was asked for already or no machine has run yet.
    pub fn stop(&self) -> bool {
        let mut state = self.lock();
        let already = std::mem::replace(&mut state.asked, true);
        self.0.changed.notify_all();
        match &state.machine {
            Some(machine) if !already => {
                machine.send(Event::Quit);
                true
            }
            _ => false,
        }
    }

    /// Waits between two machines; true: somebody asks for a stop.
    pub fn wait(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .0
            .changed
            .wait_timeout_while(state, time, |state| !state.asked);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::events;

    #[test]
    fn a_wish_reaches_the_next_machine_when_it_comes_between_two() {
        let stopper = Stopper::default();
        let (first, receiver) = events();
        stopper.attach(first);
        drop(receiver); // the guest has reset
        assert!(stopper.stop());
        let (second, receiver) = events();
        stopper.attach(second);
        assert_eq!(receiver.try_recv(), Ok(Event::Quit));
    }

    #[test]
    fn nothing_to_stop_is_told_and_so_is_a_second_wish() {
        let stopper = Stopper::default();
        assert!(!stopper.stop());
        let stopper = Stopper::default();
        let (events, receiver) = events();
        stopper.attach(events);
        assert!(stopper.stop());
        assert!(!stopper.stop());
        assert_eq!(receiver.try_iter().count(), 1);
    }
}

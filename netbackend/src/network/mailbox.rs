//! The way from control threads to the datapath, however many workers it has.
//!
//! Every worker has a view of every port, so most commands go to all of them. Two kinds of things have one owner: a transmit ring
//! or tap queue is served by one worker, and receive rings, into which all deliver, are set up and taken away by the first, the
//! *lead*, in cells that all share. So the lead acts first, then the others, who find what it has done. The answer to the caller
//! comes when all have answered: it means what it means with one worker.
//!
//! One command is under way at a time, so that all workers see them in the same order.
use super::{
    command::{Answer, Command, CommandError, Inbox, NewCarrier},
    datapath::{SharedRing, Source},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

/// The inboxes of all workers.
#[derive(Debug)]
pub(super) struct Mailbox {
    inboxes: Box<[Arc<Inbox>]>,
    /// Held while a command is under way, or a source moves from one worker to another.
    turn: Mutex<()>,
}

impl Mailbox {
    /// A mailbox of `workers` workers.
    pub(super) fn new(workers: usize) -> io::Result<Self> {
        let inboxes = (0..workers).map(|_| Ok(Arc::new(Inbox::new()?)));
        Ok(Self {
            inboxes: inboxes.collect::<io::Result<_>>()?,
            turn: Mutex::default(),
        })
    }

    /// The inbox of one worker.
    pub(super) fn inbox(&self, worker: usize) -> Option<&Arc<Inbox>> {
        self.inboxes.get(worker)
    }

    /// The worker that serves a source until it is moved. `whole`: the sources of its port stay together.
    pub(super) fn home(&self, source: Source, whole: bool) -> usize {
        let queue = if whole { 0 } else { source.queue };
        (usize::from(source.port.0) + usize::from(queue)) % self.inboxes.len().max(1)
    }

    /// Has a command done and waits until it is.
    pub(super) fn call(&self, mut command: Command) -> Result<Answer, CommandError> {
        let (lead, others) = self.inboxes.split_first().ok_or(CommandError::Gone)?;
        if others.is_empty() {
            return lead.call(command);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut command {
            Command::Announce { .. } => return lead.call(command),
            Command::AddPort { port, carrier, .. } => {
                share_receive_rings(carrier);
                let port = *port;
                let added = self.call_all(&command);
                if added.is_err() {
                    // Whoever has it gives it up.
                    let _ = self.call_all(&Command::RemovePort(port));
                }
                return added;
            }
            Command::StartRing { ring, .. } => {
                // Should it run still, then perhaps with another worker than the one that will have it.
                let _ = self.call_all(&Command::StopRing(*ring));
            }
            _ => {}
        }
        self.call_all(&command)
    }

    /// The lead first, then the others at once.
    fn call_all(&self, command: &Command) -> Result<Answer, CommandError> {
        let Some((lead, others)) = self.inboxes.split_first() else {
            return Err(CommandError::Gone);
        };
        let first = lead.call(command.clone());
        if matches!(command, Command::AddPort { .. }) && first.is_err() {
            return first;
        }
        let pending: Vec<_> = others
            .iter()
            .map(|inbox| inbox.post(command.clone()))
            .collect();
        let answers = pending.into_iter().map(|pending| pending?.wait());
        answers.fold(first, merge)
    }

    /// The right to move a source to another worker; `None`: a command is under way.
    pub(super) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// What two workers answer together: whoever does not have the ring in question has nothing to say.
fn merge(
    one: Result<Answer, CommandError>,
    other: Result<Answer, CommandError>,
) -> Result<Answer, CommandError> {
    match (one, other) {
        (Err(CommandError::NotFound), answer) | (answer, Err(CommandError::NotFound)) => answer,
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(Answer::Done), position) | (position, Ok(_)) => position,
    }
}

fn share_receive_rings(carrier: &mut NewCarrier) {
    if let NewCarrier::VhostUser { rings, receive } = carrier {
        *receive = (0..*rings / 2).map(|_| SharedRing::default()).collect();
    }
}

#[cfg(test)]
#[path = "mailbox_test.rs"]
mod tests;

//! Several workers behind one mailbox, played by the test.
use super::*;
use crate::network::command::{Letter, RingId};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use switch::PortId;
use virtqueue::RingPosition;

const RING: RingId = RingId {
    port: PortId(3),
    index: 1,
};

fn source(port: u16, queue: u16) -> Source {
    Source {
        port: PortId(port),
        queue,
    }
}

/// Answers what comes to one inbox until `done`.
fn answer(
    inbox: &Inbox,
    done: &AtomicBool,
    mut with: impl FnMut(&Command) -> Result<Answer, CommandError>,
) {
    while !done.load(Ordering::Relaxed) {
        for letter in inbox.take() {
            let Letter::Command(envelope) = letter else {
                panic!("nobody moves sources here");
            };
            let (command, answer) = envelope.open();
            answer(with(&command));
        }
        thread::yield_now();
    }
}

#[test]
fn the_lead_acts_before_the_others_and_the_holder_of_a_ring_answers() {
    let mailbox = Mailbox::new(3).unwrap();
    let (done, led) = (AtomicBool::new(false), AtomicBool::new(false));
    let position = RingPosition {
        next_avail: 7,
        next_used: 5,
    };
    let inbox = |index| &**mailbox.inbox(index).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            answer(inbox(0), &done, |_| {
                led.store(true, Ordering::Relaxed);
                Err(CommandError::NotFound)
            });
        });
        scope.spawn(|| {
            answer(inbox(1), &done, |_| {
                assert!(led.load(Ordering::Relaxed));
                Ok(Answer::Position(position))
            });
        });
        scope.spawn(|| answer(inbox(2), &done, |_| Err(CommandError::NotFound)));
        let stopped = mailbox.call(Command::StopRing(RING)).unwrap();
        assert_eq!(stopped, Answer::Position(position));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nothing_moves_while_a_command_is_under_way() {
    let mailbox = Mailbox::new(2).unwrap();
    let done = AtomicBool::new(false);
    let inbox = |index| &**mailbox.inbox(index).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            answer(inbox(0), &done, |_| {
                assert!(mailbox.try_turn().is_none());
                Ok(Answer::Done)
            });
        });
        scope.spawn(|| answer(inbox(1), &done, |_| Ok(Answer::Done)));
        mailbox.call(Command::Disconnect(RING.port)).unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert!(mailbox.try_turn().is_some());
}

#[test]
fn who_is_gone_is_not_waited_for() {
    let mailbox = Mailbox::new(2).unwrap();
    for index in 0..2 {
        mailbox.inbox(index).unwrap().close();
    }
    let answer = mailbox.call(Command::Disconnect(RING.port));
    assert!(matches!(answer, Err(CommandError::Gone)));
}

#[test]
fn queues_spread_over_workers_and_a_limited_port_stays_together() {
    let mailbox = Mailbox::new(2).unwrap();
    let homes = [0, 1, 2, 3].map(|queue| mailbox.home(source(0, queue), false));
    assert_eq!(homes, [0, 1, 0, 1]);
    let homes = [0, 1, 2, 3].map(|port| mailbox.home(source(port, 0), false));
    assert_eq!(homes, [0, 1, 0, 1]);
    let homes = [0, 1, 2, 3].map(|queue| mailbox.home(source(5, queue), true));
    assert_eq!(homes, [1; 4]);
}

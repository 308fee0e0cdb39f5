//! The thread that moves frames, and how vCPUs wake it.
use super::{Burst, Doorbells, Model, Plug, patience::Patience};
use crate::{
    interrupt::InterruptController,
    net::wire::{RingWire, Wire},
    wait::wait,
};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use vmm_sys_util::{
    eventfd::{EFD_NONBLOCK, EventFd},
    timerfd::TimerFd,
};

/// An interrupt that is due so soon is waited for by looking at the clock.
const SPIN: Duration = Duration::from_micros(20);

/// How long broken rings stay so, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What vCPUs and the thread share.
#[derive(Debug)]
pub(super) struct Shared<M: Model> {
    device: Mutex<M>,
    doorbells: Arc<M::Doorbells>,
    /// There is a cable; then its link is the wire's.
    cable: bool,
    /// Somebody woke the thread, which may have been awake.
    news: AtomicBool,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    /// vCPUs that wait for the device.
    waiting: AtomicU32,
    link_changed: AtomicBool,
    stop: AtomicBool,
    wake: EventFd,
}

impl<M: Model> Shared<M> {
    /// Around `device`.
    pub(super) fn new(device: M, cable: bool) -> io::Result<Self> {
        Ok(Self {
            doorbells: device.doorbells(),
            device: Mutex::new(device),
            cable,
            news: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            link_changed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// Registers that need no lock.
    pub(super) fn doorbells(&self) -> &M::Doorbells {
        &self.doorbells
    }

    /// The device, for a vCPU: the thread lets it in between two bursts.
    pub(super) fn lock(&self) -> MutexGuard<'_, M> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let device = self.lock_as_thread();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        device
    }

    fn lock_as_thread(&self) -> MutexGuard<'_, M> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened that the thread must look at.
    pub(super) fn wake(&self) {
        self.news.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            let _ = self.wake.write(1);
        }
    }

    /// What wakes the thread, for KVM.
    pub(super) fn waker(&self) -> &EventFd {
        &self.wake
    }

    /// Whether the thread was woken by signal, also while it was awake: by a vCPU, or by KVM in place of one.
    fn knocked(&self) -> bool {
        let woken = self.wake.read().is_ok();
        if woken {
            self.doorbells.knocked();
        }
        woken
    }

    /// The link went up or down.
    pub(super) fn link_changed(&self) {
        self.link_changed.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// The running thread. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Datapath<M: Model> {
    shared: Arc<Shared<M>>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Model> Datapath<M> {
    /// Starts to move frames between the device and `wire`.
    pub(super) fn start(
        shared: Arc<Shared<M>>,
        wire: RingWire,
        plug: &Plug<'_>,
    ) -> io::Result<Self> {
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            wire,
            timer: TimerFd::new()?,
            repair: Repair::new(),
            patience: Patience::new(plug.poll_idle),
            controller: Arc::clone(plug.controller),
        };
        let thread = std::thread::Builder::new()
            .name(M::NAME.into())
            .spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::error!(%error, model = M::NAME, "an emulated NIC stands still");
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl<M: Model> Drop for Datapath<M> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<M: Model> {
    shared: Arc<Shared<M>>,
    wire: RingWire,
    timer: TimerFd,
    repair: Repair,
    patience: Patience,
    controller: Arc<dyn InterruptController>,
}

/// When broken rings are started anew: each time later, unless they have held meanwhile.
#[derive(Debug)]
struct Repair {
    /// They are broken until then.
    due: Option<Instant>,
    /// How long they stay so.
    pause: Duration,
    /// Since when they should hold.
    started: Option<Instant>,
}

impl Repair {
    fn new() -> Self {
        Self {
            due: None,
            pause: FIRST_PAUSE,
            started: None,
        }
    }

    /// The rings are broken; true: they are to start now.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = *self.due.get_or_insert_with(|| {
            let held = self.started.map(|at| now.saturating_duration_since(at));
            if held.is_some_and(|held| held > self.pause) {
                self.pause = FIRST_PAUSE;
            }
            now + self.pause
        });
        if due > now {
            return false;
        }
        self.due = None;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.started = Some(now);
        true
    }
}

/// What waited on the wire's two rings at some time.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    waits: [bool; 2],
    taken: [u64; 2],
}

impl Waiting {
    fn on(wire: &RingWire) -> Self {
        Self {
            waits: wire.waiting(),
            taken: wire.taken(),
        }
    }

    /// What waits there still: the device has no room for it, so it is no news. Where the device took something, what waits behind
    /// that may have come later.
    fn left_on(self, wire: &RingWire) -> [bool; 2] {
        let now = Self::on(wire);
        [0, 1]
            .map(|ring| self.waits[ring] && now.waits[ring] && self.taken[ring] == now.taken[ring])
    }
}

impl<M: Model> Worker<M> {
    fn run(&mut self) -> io::Result<()> {
        let mut armed = false;
        while !self.shared.stop.load(Ordering::SeqCst) {
            if !M::KEPT.is_empty() {
                // Without the device's lock: they are posted to the device itself.
                self.controller.post_writes();
            }
            // Before the burst looks at what they are about.
            self.shared.news.store(false, Ordering::SeqCst);
            let before = Waiting::on(&self.wire);
            let (burst, now) = self.burst();
            if burst.restart {
                // Without the lock: the back-end may take its time to let go.
                self.wire.restart();
                self.shared.lock_as_thread().restarted();
                armed = false;
                self.disarm();
                continue;
            }
            if burst.busy {
                self.patience.worked(now);
                if armed {
                    armed = false;
                    self.disarm();
                }
                self.let_in();
                continue;
            }
            if self.mend() {
                armed = false;
                self.disarm();
                continue;
            }
            if armed {
                let deadlines = [burst.deadline, self.repair.due];
                self.sleep(deadlines.into_iter().flatten().min())?;
                armed = false;
                self.disarm();
            } else if !self.linger(before, burst.deadline) {
                armed = self.arm();
            }
        }
        Ok(())
    }

    fn burst(&mut self) -> (Burst, Instant) {
        let mut device = self.shared.lock_as_thread();
        let now = Instant::now();
        if self.shared.link_changed.swap(false, Ordering::SeqCst) {
            let up = self.shared.cable && self.wire.link().is_up();
            device.set_link(up, now);
        }
        (device.burst(&mut self.wire, now), now)
    }

    /// Goes on looking, without the device's lock, for a while after the last work; true: there is something to do. `before`: what
    /// waited on the wire before the burst.
    fn linger(&mut self, before: Waiting, deadline: Option<Instant>) -> bool {
        if self.wire.is_broken() {
            return false;
        }
        let Self {
            wire,
            shared,
            patience,
            ..
        } = self;
        let left = before.left_on(wire);
        patience.look(deadline, || {
            let waiting = wire.waiting();
            shared.news.load(Ordering::SeqCst)
                || (waiting[0] && !left[0])
                || (waiting[1] && !left[1])
                || (!M::KNOCKS.is_empty() && shared.knocked())
        })
    }

    /// Asks for signals; false: there is something to do at once.
    fn arm(&mut self) -> bool {
        // Whoever acts from now on wakes us; then everything is looked at once more.
        self.shared.asleep.store(true, Ordering::SeqCst);
        let missed = self.wire.arm();
        if missed {
            // What is taken now may be no work yet, and the signal was for it.
            self.disarm();
        }
        !missed
    }

    fn disarm(&mut self) {
        self.shared.asleep.store(false, Ordering::SeqCst);
        self.wire.disarm();
    }

    /// Starts rings anew that the back-end broke; again and again in growing pauses. True: they start.
    fn mend(&mut self) -> bool {
        if !self.wire.is_broken() {
            self.repair.due = None;
            return false;
        }
        if !self.repair.is_due(Instant::now()) {
            return false;
        }
        self.wire.mend();
        true
    }

    /// A lock is not fair: vCPUs that wait for it go first.
    fn let_in(&self) {
        for _ in 0..1000 {
            if self.shared.waiting.load(Ordering::SeqCst) == 0 {
                break;
            }
            std::thread::yield_now();
        }
    }

    fn sleep(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let [received, sent] = self.wire.events();
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SPIN {
                std::hint::spin_loop();
                return Ok(());
            }
            self.timer.reset(left, None)?;
            wait(&[&self.shared.wake, &*received, &*sent, &self.timer], None)?;
            self.timer.clear()?;
        } else {
            wait(&[&self.shared.wake, &*received, &*sent], None)?;
        }
        self.shared.knocked();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_that_held_are_mended_soon_again() {
        let mut repair = Repair::new();
        let mut now = Instant::now();
        for pause in [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE] {
            assert!(!repair.is_due(now));
            assert!(!repair.is_due(now + pause / 2));
            now += pause;
            assert!(repair.is_due(now));
        }
        now += 9 * FIRST_PAUSE;
        assert!(!repair.is_due(now));
        assert!(repair.is_due(now + FIRST_PAUSE));
    }
}

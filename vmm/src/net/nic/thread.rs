//! The thread that moves frames, and how vCPUs wake it.
use super::Model;
use crate::{
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

/// What vCPUs and the thread share.
#[derive(Debug)]
pub(super) struct Shared<M: Model> {
    device: Mutex<M>,
    doorbells: Arc<M::Doorbells>,
    /// There is a cable; then its link is the wire's.
    cable: bool,
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
        if self.asleep.swap(false, Ordering::SeqCst) {
            let _ = self.wake.write(1);
        }
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
    pub(super) fn start(shared: Arc<Shared<M>>, wire: RingWire) -> io::Result<Self> {
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            wire,
            timer: TimerFd::new()?,
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
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<M: Model> {
    shared: Arc<Shared<M>>,
    wire: RingWire,
    timer: TimerFd,
}

impl<M: Model> Worker<M> {
    fn run(&mut self) -> io::Result<()> {
        let mut armed = false;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let burst = {
                let mut device = self.shared.lock_as_thread();
                if self.shared.link_changed.swap(false, Ordering::SeqCst) {
                    let up = self.shared.cable && self.wire.link().is_up();
                    device.set_link(up, Instant::now());
                }
                device.burst(&mut self.wire, Instant::now())
            };
            if burst.restart {
                // Without the lock: the back-end may take its time to let go.
                self.wire.restart();
                self.shared.lock_as_thread().restarted();
                continue;
            }
            if burst.busy {
                if armed {
                    armed = false;
                    self.shared.asleep.store(false, Ordering::SeqCst);
                    self.wire.disarm();
                }
                self.let_in();
                continue;
            }
            if armed {
                self.sleep(burst.deadline)?;
                armed = false;
                self.shared.asleep.store(false, Ordering::SeqCst);
                self.wire.disarm();
            } else {
                // Whoever acts from now on wakes us; then everything is looked at once more.
                self.shared.asleep.store(true, Ordering::SeqCst);
                let _ = self.wire.arm();
                armed = true;
            }
        }
        Ok(())
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
        let _ = self.shared.wake.read();
        Ok(())
    }
}

//! The thread that moves frames, and how vCPUs wake it.
use super::device::{Device, Doorbells};
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
pub(super) struct Shared {
    device: Mutex<Device>,
    doorbells: Arc<Doorbells>,
    /// The thread sleeps, or is about to.
    asleep: AtomicBool,
    /// vCPUs that wait for the device.
    waiting: AtomicU32,
    link_changed: AtomicBool,
    stop: AtomicBool,
    wake: EventFd,
}

impl Shared {
    /// Around `device`.
    pub(super) fn new(device: Device) -> io::Result<Self> {
        Ok(Self {
            doorbells: device.doorbells(),
            device: Mutex::new(device),
            asleep: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            link_changed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// TDT and RDT, which need no lock.
    pub(super) fn doorbells(&self) -> &Doorbells {
        &self.doorbells
    }

    /// The device, for a vCPU: the thread lets it in between two bursts.
    pub(super) fn lock(&self) -> MutexGuard<'_, Device> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let device = self.lock_as_thread();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        device
    }

    fn lock_as_thread(&self) -> MutexGuard<'_, Device> {
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
pub(super) struct Datapath {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Datapath {
    /// Starts to move frames between the device and `wire`.
    pub(super) fn start(shared: Arc<Shared>, wire: RingWire) -> io::Result<Self> {
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            wire,
            timer: TimerFd::new()?,
        };
        let thread = std::thread::Builder::new()
            .name("e1000".into())
            .spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::error!(%error, "an e1000 stands still");
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Datapath {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = self.shared.wake.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    wire: RingWire,
    timer: TimerFd,
}

impl Worker {
    fn run(&mut self) -> io::Result<()> {
        let mut armed = false;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let burst = {
                let mut device = self.shared.lock_as_thread();
                if self.shared.link_changed.swap(false, Ordering::SeqCst) {
                    device.set_link(self.wire.link().is_up(), Instant::now());
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

//! Getting a worker out of a write that a front-end holds it in.
//!
//! # Theory of operation
//! Call and error fds are the front-end's, and so is their O_NONBLOCK: one that takes the flag away and fills its eventfd up holds
//! whoever writes to it, and there is no write to an eventfd that surely does not wait. So a worker counts when it begins such a
//! write and when it has ended it, and a thread beside it looks twice a second. A write that it sees twice is interrupted by a signal,
//! and the port gets no more calls. While the worker sleeps, that thread does, too.
use super::super::sys::{self, ThreadId};
use std::{
    cell::RefCell,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Between two looks at a worker that is awake.
const INTERVAL: Duration = Duration::from_millis(500);

thread_local! {
    /// Of the worker whose thread this is.
    static SIGN: RefCell<Option<Arc<Sign>>> = const { RefCell::new(None) };
}

/// What a worker shows of itself.
#[derive(Debug)]
struct Sign {
    /// Writes begun and ended: odd while one is under way.
    writes: AtomicU64,
    awake: AtomicBool,
    /// The thread beside it sleeps until it is woken.
    parked: AtomicBool,
    /// Its thread; `None`: it ends.
    worker: Mutex<Option<ThreadId>>,
}

impl Sign {
    fn worker(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the worker counts.
    fn count(&self) {
        let next = self.writes.load(Ordering::Relaxed).wrapping_add(1);
        self.writes.store(next, Ordering::Relaxed);
    }
}

/// Writes to an fd of a front-end.
pub(super) fn during<T>(write: impl FnOnce() -> T) -> T {
    SIGN.with_borrow(|sign| {
        let Some(sign) = sign else {
            return write();
        };
        sign.count();
        let result = write();
        sign.count();
        result
    })
}

/// The thread beside a worker.
#[derive(Debug)]
pub(super) struct Rescue {
    sign: Arc<Sign>,
    thread: Option<JoinHandle<()>>,
}

impl Rescue {
    /// For the worker whose thread calls this, and has to drop it.
    pub(super) fn start() -> io::Result<Self> {
        sys::catch_interruptions()?;
        let sign = Arc::new(Sign {
            writes: AtomicU64::new(0),
            awake: AtomicBool::new(true),
            parked: AtomicBool::new(false),
            worker: Mutex::new(Some(sys::this_thread())),
        });
        let watched = Arc::clone(&sign);
        let thread = thread::Builder::new()
            .name("rescue".to_owned())
            .spawn(move || watch(&watched))?;
        SIGN.replace(Some(Arc::clone(&sign)));
        Ok(Self {
            sign,
            thread: Some(thread),
        })
    }

    /// The worker is about to sleep.
    pub(super) fn sleeps(&self) {
        self.sign.awake.store(false, Ordering::SeqCst);
    }

    /// It does no longer.
    pub(super) fn wakes(&self) {
        self.sign.awake.store(true, Ordering::SeqCst);
        if self.sign.parked.load(Ordering::SeqCst) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Rescue {
    fn drop(&mut self) {
        SIGN.replace(None);
        *self.sign.worker() = None;
        self.unpark();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn watch(sign: &Sign) {
    let mut seen = 0;
    while sign.worker().is_some() {
        if sign.awake.load(Ordering::SeqCst) {
            thread::park_timeout(INTERVAL);
        } else {
            sign.parked.store(true, Ordering::SeqCst);
            if !sign.awake.load(Ordering::SeqCst) && sign.worker().is_some() {
                thread::park();
            }
            sign.parked.store(false, Ordering::SeqCst);
        }
        let now = sign.writes.load(Ordering::Relaxed);
        if !now.is_multiple_of(2) && now == seen {
            // Under the lock: the thread is there.
            if let Some(worker) = *sign.worker() {
                sys::interrupt(worker);
            }
        }
        seen = now;
    }
}

//! Deadlines for conversations with a back-end that may stop answering.
//!
//! The vhost-user client blocks in recvmsg(2) and retries on timeouts, so the only way out is to
//! shut its socket down from another thread. One thread for the whole process does that.
use std::{
    collections::BTreeMap,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

type Key = (Instant, u64);

#[derive(Debug, Default)]
struct Watchdog {
    armed: Mutex<Armed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Armed {
    next_id: u64,
    streams: BTreeMap<Key, Arc<UnixStream>>,
}

/// While it lives, its stream is shut down when the deadline passes.
#[derive(Debug)]
pub(super) struct Deadline {
    watchdog: &'static Watchdog,
    key: Key,
}

impl Deadline {
    /// Gives the conversation on `stream` this much time.
    pub(super) fn new(stream: &Arc<UnixStream>, time: Duration) -> Self {
        static WATCHDOG: OnceLock<&'static Watchdog> = OnceLock::new();
        let watchdog = *WATCHDOG.get_or_init(start);
        let mut armed = watchdog.lock();
        let key = (Instant::now() + time, armed.next_id);
        armed.next_id += 1;
        armed.streams.insert(key, Arc::clone(stream));
        watchdog.changed.notify_one();
        Self { watchdog, key }
    }
}

impl Deadline {
    /// The time is over: the stream was shut down.
    pub(super) fn has_passed(&self) -> bool {
        !self.watchdog.lock().streams.contains_key(&self.key)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.watchdog.lock().streams.remove(&self.key);
    }
}

fn start() -> &'static Watchdog {
    let watchdog: &'static Watchdog = Box::leak(Box::default());
    let thread = std::thread::Builder::new()
        .name("vhost-watchdog".into())
        .spawn(|| watchdog.run());
    if let Err(error) = thread {
        tracing::warn!(%error, "no watchdog thread: a back-end that hangs will hang its NIC");
    }
    watchdog
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut armed = self.lock();
        loop {
            let now = Instant::now();
            let Some((&key, _)) = armed.streams.first_key_value() else {
                armed = self
                    .changed
                    .wait(armed)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if let Some(rest) = key
                .0
                .checked_duration_since(now)
                .filter(|rest| !rest.is_zero())
            {
                let waited = self.changed.wait_timeout(armed, rest);
                armed = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else if let Some(stream) = armed.streams.remove(&key) {
                // Already closed is as good.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

//! A thread that serves one queue of a device inside the VMM.
use super::{Call, Notifier, QueueSetup, VirtioError};
use crate::{eventfd, limit::RateLimit, wait::wait};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};
use virtqueue::{Burst, Chain, DeviceQueue, MemoryMap, QueueFault};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// What a device does with the chains of a queue.
pub(super) trait ChainHandler: Send + 'static {
    /// Serves one chain; returns the bytes written into its writable part.
    fn handle(&mut self, chain: &Chain<'_>) -> u32;
}

/// Chains taken at a time. Each is published when it is done, because a block request may take
/// milliseconds.
const BATCH: usize = 16;

/// A running worker. Dropping it stops the thread and waits for it.
#[derive(Debug)]
pub(super) struct QueueWorker {
    index: usize,
    stop: EventFd,
    call: Arc<Mutex<Call>>,
    thread: Option<JoinHandle<()>>,
}

struct Loop<H> {
    queue: DeviceQueue,
    kick: Arc<EventFd>,
    call: Arc<Mutex<Call>>,
    stop: EventFd,
    handler: H,
}

impl QueueWorker {
    /// Starts to serve `setup` with `handler`. A ring fault ends the work and is reported to
    /// `notifier`.
    pub(super) fn start<H: ChainHandler>(
        name: &str,
        setup: QueueSetup,
        memory: Arc<MemoryMap>,
        notifier: Option<Notifier>,
        handler: H,
    ) -> Result<Self, VirtioError> {
        let queue =
            DeviceQueue::new(memory, &setup.config).map_err(|fault| VirtioError::Queue {
                index: setup.index,
                fault,
            })?;
        let index = setup.index;
        let stop = EventFd::new(EFD_NONBLOCK)?;
        let call = Arc::new(Mutex::new(setup.call));
        let mut worker = Loop {
            queue,
            kick: setup.kick,
            call: Arc::clone(&call),
            stop: stop.try_clone()?,
            handler,
        };
        let label = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                if let Err(error) = worker.run() {
                    static LIMIT: RateLimit = RateLimit::new();
                    if LIMIT.allow() {
                        tracing::warn!(%error, device = label, "queue stopped");
                    }
                    if let Some(notifier) = notifier {
                        notifier.needs_reset();
                    }
                }
            })?;
        Ok(Self {
            index,
            stop,
            call,
            thread: Some(thread),
        })
    }

    /// Which of the device's queues it serves.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Signals elsewhere from now on.
    pub(super) fn set_call(&self, call: Call) {
        let mut known = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        *known = call;
        // The old interrupt may have been signalled and lost.
        known.signal();
    }
}

impl Drop for QueueWorker {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<H: ChainHandler> Loop<H> {
    /// Serves the queue until it is stopped.
    fn run(&mut self) -> io::Result<()> {
        let mut burst = Burst::new();
        loop {
            while self.serve(&mut burst).map_err(io::Error::other)? {
                if self.stopped()? {
                    return Ok(());
                }
            }
            if self.queue.arm_kicks() {
                continue;
            }
            if wait(&[&self.stop, &*self.kick], None)? & 1 != 0 {
                return Ok(());
            }
            eventfd::drain(&self.kick);
            self.queue.suppress_kicks();
        }
    }

    /// Serves some chains; false: there was none.
    fn serve(&mut self, burst: &mut Burst) -> Result<bool, QueueFault> {
        let count = self.queue.pop_burst(burst, BATCH)?;
        for index in 0..count {
            let Some(chain) = burst.chain(index) else {
                break;
            };
            let written = self.handler.handle(&chain);
            self.queue.complete(chain.head(), written);
            if self.queue.publish() {
                self.call
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .signal();
            }
        }
        burst.clear();
        Ok(count > 0)
    }

    fn stopped(&self) -> io::Result<bool> {
        Ok(wait(&[&self.stop], Some(std::time::Duration::ZERO))? != 0)
    }
}

//! A macvtap whose queues somebody else serves: the kernel's vhost-net.
use super::{
    DirectSpec, Filter, Queue,
    follower::{Follower, Served},
    macvtap::Macvtap,
};
use anyhow::Context;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The macvtap. It goes when this is dropped.
#[derive(Debug)]
pub struct Bare {
    // In the order in which they go.
    _follower: Follower,
    shown: Arc<Shown>,
    macvtap: Arc<Macvtap>,
}

/// What who serves it sees of it.
#[derive(Debug)]
struct Shown {
    queues: Mutex<Arc<[Queue]>>,
    is_up: AtomicBool,
    changed: EventFd,
}

impl Bare {
    /// Makes the macvtap. No frames come to its queues until one is attached.
    ///
    /// # Errors
    /// The NIC will not do, or a capability is missing; told with the remedy.
    pub fn open(spec: &DirectSpec) -> anyhow::Result<Self> {
        let macvtap = Arc::new(Macvtap::make(spec)?);
        let shown = Arc::new(Shown {
            queues: Mutex::new(detached(&macvtap)?),
            is_up: AtomicBool::new(true),
            changed: EventFd::new(EFD_NONBLOCK).context("make an eventfd")?,
        });
        Ok(Self {
            _follower: Follower::start(&macvtap, Arc::clone(&shown))?,
            shown,
            macvtap,
        })
    }

    /// Its queues, one for each queue pair of the guest: other ones after its NIC has gone and returned.
    pub fn queues(&self) -> Arc<[Queue]> {
        Arc::clone(&self.shown.queues())
    }

    /// What the macvtap lets through.
    pub fn filter(&self) -> Filter {
        Filter::new(&self.macvtap)
    }

    /// Whether the NIC is there and carries frames.
    pub fn carries(&self) -> bool {
        self.shown.is_up.load(Ordering::Acquire)
    }

    /// Is readable after [`Bare::carries`] or [`Bare::queues`] has changed; non-blocking.
    pub fn changed(&self) -> &EventFd {
        &self.shown.changed
    }

    /// MTU of the NIC when the macvtap was made first.
    pub fn mtu(&self) -> u16 {
        self.macvtap.mtu()
    }
}

impl Shown {
    fn queues(&self) -> MutexGuard<'_, Arc<[Queue]>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        // Only a full counter can fail, and then it is readable anyway.
        drop(self.changed.write(1));
    }
}

impl Served for Arc<Shown> {
    fn set_carrier(&self, carries: bool) {
        if self.is_up.swap(carries, Ordering::AcqRel) != carries {
            self.tell();
        }
    }

    fn renew(&self, macvtap: &Macvtap) -> anyhow::Result<()> {
        *self.queues() = detached(macvtap)?;
        self.tell();
        Ok(())
    }
}

fn detached(macvtap: &Macvtap) -> anyhow::Result<Arc<[Queue]>> {
    let queues = macvtap.queues()?.into_iter().map(Queue::new);
    let queues: Arc<[Queue]> = queues.collect();
    for queue in &*queues {
        queue.set_attached(false).context("detach a queue")?;
    }
    Ok(queues)
}

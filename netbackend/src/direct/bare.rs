//! A macvtap whose queues somebody else serves: the kernel's vhost-net.
use super::{DirectSpec, Filter, Queue, follower::Follower, open, own_address};
use crate::uplink::Uplink;
use anyhow::Context;
use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use switch::MacAddr;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The macvtap. It goes when this is dropped.
#[derive(Debug)]
pub struct Bare {
    // In the order in which they go.
    _follower: Follower,
    queues: Vec<Queue>,
    wire: Uplink,
    own: Option<MacAddr>,
    carrier: Arc<Carrier>,
    mtu: u16,
}

/// Whether there is a network below.
#[derive(Debug)]
struct Carrier {
    is_up: AtomicBool,
    changed: EventFd,
}

impl Bare {
    /// Makes the macvtap. No frames come to its queues until one is attached.
    ///
    /// # Errors
    /// The NIC will not do, or a capability is missing; told with the remedy.
    pub fn open(spec: &DirectSpec) -> anyhow::Result<Self> {
        let (wire, mtu) = open(spec)?;
        let queues = wire.queues().iter().map(OwnedFd::try_clone);
        let queues = queues
            .map(|queue| queue.map(|queue| Queue::new(File::from(queue))))
            .collect::<Result<Vec<_>, _>>()
            .context("copy the macvtap's queues")?;
        for queue in &queues {
            queue.set_attached(false).context("detach a queue")?;
        }
        let carrier = Arc::new(Carrier {
            is_up: AtomicBool::new(true),
            changed: EventFd::new(EFD_NONBLOCK).context("make an eventfd")?,
        });
        let told = Arc::clone(&carrier);
        Ok(Self {
            _follower: Follower::start(&wire, move |carries| told.set(carries))?,
            queues,
            wire,
            own: own_address(spec),
            carrier,
            mtu,
        })
    }

    /// Its queues, one for each queue pair of the guest.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// What the macvtap lets through.
    ///
    /// # Errors
    /// The macvtap is gone.
    pub fn filter(&self) -> io::Result<Filter> {
        Filter::new(&self.wire, self.own)
    }

    /// Whether the NIC is there and carries frames.
    pub fn carries(&self) -> bool {
        self.carrier.is_up.load(Ordering::Acquire)
    }

    /// Is readable after [`Bare::carries`] has changed; non-blocking.
    pub fn carrier_changed(&self) -> &EventFd {
        &self.carrier.changed
    }

    /// MTU of the NIC.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }
}

impl Carrier {
    fn set(&self, carries: bool) {
        if self.is_up.swap(carries, Ordering::AcqRel) != carries {
            // Only a full counter can fail, and then it is readable anyway.
            drop(self.changed.write(1));
        }
    }
}

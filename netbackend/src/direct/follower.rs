//! Following the NIC below a macvtap, in a thread of its own.
use crate::uplink::{Monitor, Sight, Uplink};
use anyhow::Context;
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::Notify;
use tracing::error;

/// Tells somebody whether the NIC below his macvtap carries frames, until dropped.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// `tell` hears at once what there is, and then each change.
    pub(super) fn start(
        macvtap: &Uplink,
        tell: impl Fn(bool) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (nic, index) = macvtap.needs().context("no NIC is below the macvtap")?;
        let mut below = Below::new(nic.name.clone(), index);
        let nic = nic.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let follow = async move {
            let mut monitor = Monitor::new(nic);
            loop {
                let sight = tokio::select! {
                    sight = monitor.next() => sight,
                    () = stopped.notified() => return,
                };
                tell(below.carries(sight));
            }
        };
        let thread = thread::Builder::new().name("nic".into());
        let thread = thread.spawn(move || runtime.block_on(follow));
        Ok(Self {
            stop,
            thread: Some(thread.context("start a thread")?),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The NIC that a macvtap was made on. The macvtap goes with it and does not come back, whoever gets its name.
#[derive(Debug)]
struct Below {
    name: String,
    index: u32,
    is_replaced: bool,
}

impl Below {
    fn new(name: String, index: u32) -> Self {
        Self {
            name,
            index,
            is_replaced: false,
        }
    }

    /// Whether the macvtap carries frames when this is to be seen under the name of its NIC.
    fn carries(&mut self, sight: Sight) -> bool {
        match sight {
            Sight::Present { index, carries, .. } if index == self.index => carries,
            Sight::Present { index, .. } => {
                if !self.is_replaced {
                    self.is_replaced = true;
                    error!(
                        nic = self.name,
                        index,
                        "the NIC has gone, a guest's macvtap with it, and another one has its name; \
                         the guest is without a link until its VMM is started again"
                    );
                }
                false
            }
            Sight::Gone => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(index: u32, carries: bool) -> Sight {
        Sight::Present {
            index,
            is_up: carries,
            carries,
            mac: None,
            mtu: 1500,
        }
    }

    #[test]
    fn another_nic_of_the_same_name_carries_nothing() {
        let mut below = Below::new("eth1".into(), 7);
        assert!(below.carries(present(7, true)));
        assert!(!below.carries(present(7, false)));
        assert!(!below.carries(Sight::Gone));
        assert!(!below.is_replaced);
        for _ in 0..2 {
            assert!(!below.carries(present(8, true)));
            assert!(below.is_replaced, "and that was told");
        }
        // It had another name for a while.
        assert!(below.carries(present(7, true)));
    }
}

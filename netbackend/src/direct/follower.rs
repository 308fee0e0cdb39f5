//! Following the NIC below a macvtap, in a thread of its own.
use super::macvtap::Macvtap;
use crate::uplink::{Monitor, Retry, Sight};
use anyhow::Context;
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::Notify;
use tracing::{info, warn};

/// What moves frames between a guest and its macvtap.
pub(super) trait Served: Send + 'static {
    /// The NIC carries frames, or does not.
    fn set_carrier(&self, carries: bool);
    /// The macvtap has been made again, and has other queues.
    fn renew(&self, macvtap: &Macvtap) -> anyhow::Result<()>;
}

/// Keeps a macvtap on its NIC, and tells its server whether that carries frames, until dropped.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// `served` hears at once what there is, and then each change.
    pub(super) fn start(macvtap: &Arc<Macvtap>, served: impl Served) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let mut pair = Pair::new(Arc::clone(macvtap), served);
        let follow = async move {
            tokio::select! {
                () = pair.follow() => {}
                () = stopped.notified() => {}
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

/// A macvtap and who serves it.
struct Pair<S> {
    served: S,
    macvtap: Arc<Macvtap>,
    mtu: Option<u32>,
    retry: Retry,
    /// Why it could not be made again the last time.
    fault: Option<String>,
}

impl<S: Served> Pair<S> {
    fn new(macvtap: Arc<Macvtap>, served: S) -> Self {
        Self {
            served,
            macvtap,
            mtu: None,
            retry: Retry::default(),
            fault: None,
        }
    }

    async fn follow(&mut self) {
        let mut monitor = Monitor::new(self.macvtap.nic().clone());
        let mut sight = Sight::Gone;
        loop {
            tokio::select! {
                now = monitor.next() => sight = now,
                () = self.retry.due() => {}
            }
            self.see(sight);
        }
    }

    /// There is this under the name of the NIC.
    fn see(&mut self, sight: Sight) {
        let Sight::Present {
            index,
            is_up,
            carries,
            mtu,
            ..
        } = sight
        else {
            self.served.set_carrier(false);
            self.mtu = None;
            return;
        };
        let there = self.macvtap.is_on(index) || is_up && self.make_again();
        if there {
            self.follow_mtu(mtu);
        }
        self.served.set_carrier(there && carries);
    }

    /// The macvtap has gone with its NIC: makes it on the one that has the name now.
    fn make_again(&mut self) -> bool {
        self.served.set_carrier(false);
        let made = self.macvtap.make_again();
        let nic = &self.macvtap.nic().name;
        match made.and_then(|()| self.served.renew(&self.macvtap)) {
            Ok(()) => {
                info!(nic, "the NIC is back, and a guest's macvtap with it");
                self.fault = None;
                self.retry.reset_pause();
                true
            }
            Err(error) => {
                let fault = format!("{error:#}");
                if self.fault.as_ref() != Some(&fault) {
                    warn!(
                        nic,
                        "the NIC is back, but a guest's macvtap is not; its guest is without a link until it is: {fault}"
                    );
                    self.fault = Some(fault);
                }
                self.macvtap.close();
                self.retry.try_again();
                false
            }
        }
    }

    fn follow_mtu(&mut self, mtu: u32) {
        let before = self.mtu.replace(mtu);
        if before.is_none_or(|before| before >= mtu) {
            return;
        }
        if let Err(error) = self.macvtap.raise_mtu(mtu) {
            warn!(
                nic = self.macvtap.nic().name,
                "follow the MTU of the NIC: {error:#}"
            );
        }
    }
}

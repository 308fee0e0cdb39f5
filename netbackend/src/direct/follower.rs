//! Following the NIC below a macvtap, in a thread of its own.
use crate::uplink::{Monitor, Nic, Sight};
use anyhow::Context;
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};
use tokio::sync::Notify;

/// Tells somebody whether the NIC carries frames, until dropped.
#[derive(Debug)]
pub(super) struct Follower {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// `tell` hears at once what there is, and then each change.
    pub(super) fn start(nic: Nic, tell: impl Fn(bool) + Send + 'static) -> anyhow::Result<Self> {
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
                tell(matches!(sight, Sight::Present { carries: true, .. }));
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

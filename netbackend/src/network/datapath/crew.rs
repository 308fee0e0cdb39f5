//! The workers of a network, as a whole.
use super::{
    load::Load,
    worker::{Place, Worker},
};
use crate::network::{command::Command, mailbox::Mailbox, sys};
use anyhow::Context;
use control::WorkerStatus;
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use switch::{Switch, SwitchConfig};

/// Settings of a datapath.
#[derive(Debug)]
pub(in crate::network) struct CrewConfig {
    /// Of the network, for the names of threads.
    pub(in crate::network) name: String,
    pub(in crate::network) switch: SwitchConfig,
    /// How long a source is polled without having work.
    pub(in crate::network) poll_idle: Duration,
    pub(in crate::network) workers: u16,
    /// The CPU of each worker; none: wherever the scheduler puts them.
    pub(in crate::network) cpus: Vec<u16>,
}

/// Running workers.
#[derive(Debug)]
pub(in crate::network) struct Crew {
    mailbox: Arc<Mailbox>,
    loads: Arc<[Load]>,
    clock: Instant,
    cpus: Vec<u16>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts the workers.
    pub(in crate::network) fn start(config: &CrewConfig) -> anyhow::Result<Self> {
        let count = usize::from(config.workers.max(1));
        let mailbox = Mailbox::new(count).context("create the datapath's mailbox")?;
        let mut crew = Self {
            mailbox: Arc::new(mailbox),
            loads: (0..count).map(|_| Load::default()).collect(),
            clock: Instant::now(),
            cpus: config.cpus.clone(),
            threads: Vec::with_capacity(count),
        };
        let switch = Switch::new(config.switch);
        for index in 0..count {
            let place = Place {
                index,
                mailbox: Arc::clone(&crew.mailbox),
                loads: Arc::clone(&crew.loads),
                clock: crew.clock,
                poll_idle: config.poll_idle,
            };
            let worker = Worker::new(place, switch.share()).context("create an epoll set")?;
            let name = match count {
                1 => format!("dp-{}", config.name),
                _ => format!("dp{index}-{}", config.name),
            };
            let thread = start_thread(name, config.cpus.get(index).copied(), worker)?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// The way to the workers.
    pub(in crate::network) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Each worker with its share of work.
    pub(in crate::network) fn status(&self) -> Vec<WorkerStatus> {
        let now = self.clock.elapsed();
        let workers = (0u16..).zip(self.loads.iter());
        let status = workers.map(|(worker, load)| WorkerStatus {
            worker,
            cpu: self.cpus.get(usize::from(worker)).copied(),
            busy_permille: load.share(now),
        });
        status.collect()
    }
}

impl Drop for Crew {
    /// Waits until all have ended.
    fn drop(&mut self) {
        // Those that were started, should a later one have failed to.
        for (index, thread) in self.threads.drain(..).enumerate() {
            if let Some(inbox) = self.mailbox.inbox(index) {
                // Fails only if the thread has ended already.
                drop(inbox.call(Command::Stop));
            }
            drop(thread.join());
        }
    }
}

/// Starts a worker, on one CPU if it is told to.
fn start_thread(
    name: String,
    cpu: Option<u16>,
    mut worker: Worker,
) -> anyhow::Result<JoinHandle<()>> {
    let (placed, is_placed) = mpsc::sync_channel::<io::Result<()>>(1);
    let run = move || {
        // Before its thread has a CPU of its own, which a thread that it starts would share.
        worker.be_watched();
        let result = cpu.map_or(Ok(()), sys::run_on);
        let failed = result.is_err();
        drop(placed.send(result));
        if !failed {
            worker.run();
        }
    };
    let thread = thread::Builder::new().name(name).spawn(run);
    let thread = thread.context("start a datapath thread")?;
    is_placed
        .recv()
        .context("a datapath thread ended at once")?
        .with_context(|| {
            let cpu = cpu.unwrap_or_default();
            format!("run a worker on CPU {cpu}; name CPUs in `cpus` that this host has and lets the daemon use")
        })?;
    Ok(thread)
}

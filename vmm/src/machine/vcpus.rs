//! The threads that run vCPUs, and stopping them.
#![expect(
    unsafe_code,
    reason = "a signal handler and pthread_kill are the way out of KVM_RUN"
)]

use std::{
    io,
    os::unix::thread::JoinHandleExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{Event, EventSender};
use crate::{
    bus::Bus,
    kvm::{Exit, Vcpu},
};

/// Interrupts KVM_RUN.
const KICK: Signal = Signal::SIGUSR1;
/// A kick can arrive just before the thread enters KVM_RUN and be lost: it is repeated at this pace until the thread has stopped.
const KICK_AGAIN: Duration = Duration::from_millis(2);

/// Running vCPUs.
#[derive(Debug)]
pub(super) struct Vcpus {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Vcpus {
    /// Starts a thread for each vCPU; they end when `stop` is set, which dropping the result does.
    pub(super) fn start(
        vcpus: Vec<Vcpu>,
        stop: &Arc<AtomicBool>,
        pio: &Bus,
        mmio: &Bus,
        events: &EventSender,
    ) -> io::Result<Self> {
        install_kick()?;
        let mut running = Self {
            stop: Arc::clone(stop),
            threads: Vec::new(),
        };
        for vcpu in vcpus {
            let (pio, mmio, events) = (pio.clone(), mmio.clone(), events.clone());
            let stop = Arc::clone(&running.stop);
            let thread = thread::Builder::new()
                .name(format!("vcpu{}", vcpu.index()))
                .spawn(move || run(vcpu, &pio, &mmio, &events, &stop))?;
            running.threads.push(thread);
        }
        Ok(running)
    }
}

impl Drop for Vcpus {
    /// Stops all vCPUs and waits for their threads.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            while !thread.is_finished() {
                // SAFETY: the handle is not joined yet, so the thread's id is still its own.
                unsafe { libc::pthread_kill(thread.as_pthread_t(), KICK as i32) };
                thread::park_timeout(KICK_AGAIN);
            }
            if thread.join().is_err() {
                tracing::error!("a vCPU thread panicked");
            }
        }
    }
}

/// Ends the machine if this thread panics: it would wait for its lost vCPU otherwise.
struct PanicGuard<'a> {
    events: &'a EventSender,
    vcpu: u8,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = format!("the thread of vCPU {} panicked, a defect of vmm", self.vcpu);
            self.events.send(Event::Crash(why));
        }
    }
}

fn run(mut vcpu: Vcpu, pio: &Bus, mmio: &Bus, events: &EventSender, stop: &AtomicBool) {
    let _guard = PanicGuard {
        events,
        vcpu: vcpu.index(),
    };
    while !stop.load(Ordering::Acquire) {
        match vcpu.run(pio, mmio) {
            Exit::Again => {}
            Exit::Crash(why) => {
                return events.send(Event::Crash(format!("vCPU {}: {why}", vcpu.index())));
            }
        }
    }
}

/// A handler that does nothing, without SA_RESTART: the signal's only work is to end KVM_RUN with EINTR.
fn install_kick() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler touches nothing.
    unsafe { sigaction(KICK, &action) }?;
    Ok(())
}

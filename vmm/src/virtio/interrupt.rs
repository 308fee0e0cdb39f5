//! How a virtio device interrupts: MSI-X vectors, or INTx with the ISR status when MSI-X is off.
//!
//! With MSI-X, a queue's call *is* the vector's eventfd: whoever works on the queue (our thread or
//! a vhost-user back-end) signals the guest without us. INTx needs us, because somebody has to set
//! the ISR status: then the call is an eventfd of our own, and a relay thread turns its events into
//! the level of the line.
use super::spec::{ISR_CONFIG, ISR_QUEUE, NO_VECTOR};
use crate::{eventfd, interrupt::MsiVector, pci::Intx, wait::wait};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread::JoinHandle,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Where a queue's "buffers were used" goes.
#[derive(Clone)]
pub enum Call {
    /// An MSI-X vector.
    Vector(Arc<dyn MsiVector>),
    /// An eventfd of ours.
    Event(Arc<EventFd>),
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Call").field(self.eventfd()).finish()
    }
}

impl Call {
    /// What to signal, or to hand to a back-end.
    pub fn eventfd(&self) -> &EventFd {
        match self {
            Self::Vector(vector) => vector.eventfd(),
            Self::Event(event) => event,
        }
    }

    /// Signals.
    pub fn signal(&self) {
        eventfd::signal(self.eventfd());
    }

    /// Both mean the same eventfd.
    pub fn same_as(&self, other: &Self) -> bool {
        use std::os::fd::AsRawFd;
        self.eventfd().as_raw_fd() == other.eventfd().as_raw_fd()
    }
}

/// A device's way to say that something happened to it. Cheap to clone.
#[derive(Clone)]
pub struct Notifier(Arc<Shared>);

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Notifier").field(&self.0.lock()).finish()
    }
}

struct Shared {
    intx: Arc<Intx>,
    vectors: Vec<Arc<dyn MsiVector>>,
    generation: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    isr: u8,
    msix: bool,
    config_vector: u16,
    driver_ok: bool,
    /// The guest has forbidden writes to its memory.
    is_mute: bool,
    needs_reset: bool,
}

impl State {
    const RESET: Self = Self {
        isr: 0,
        msix: false,
        config_vector: NO_VECTOR,
        driver_ok: false,
        is_mute: false,
        needs_reset: false,
    };
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self, state: &mut State, bit: u8) {
        state.isr |= bit;
        if !state.msix {
            self.intx.set_pending(true);
        } else if bit == ISR_CONFIG
            && let Some(vector) = self.vectors.get(usize::from(state.config_vector))
        {
            eventfd::signal(vector.eventfd());
        }
    }
}

impl Notifier {
    /// The device configuration changed: a new generation, and an interrupt if a driver is there to
    /// see it.
    pub fn config_changed(&self) {
        self.0.generation.fetch_add(1, Ordering::AcqRel);
        let mut state = self.0.lock();
        if state.driver_ok {
            self.0.raise(&mut state, ISR_CONFIG);
        }
    }

    /// The device cannot go on (virtio 1.2, 2.1.2): DEVICE_NEEDS_RESET, and an interrupt.
    pub fn needs_reset(&self) {
        let mut state = self.0.lock();
        state.needs_reset = true;
        if state.driver_ok {
            self.0.raise(&mut state, ISR_CONFIG);
        }
    }
}

/// The transport's side of a device's interrupts.
pub(super) struct Interrupts {
    shared: Arc<Shared>,
    /// Calls of all queues while MSI-X is off.
    intx_event: Arc<EventFd>,
    /// Calls of queues without a vector: nobody listens.
    sink: Arc<EventFd>,
    stop: EventFd,
    relay: Option<JoinHandle<()>>,
}

impl Interrupts {
    pub(super) fn new(vectors: Vec<Arc<dyn MsiVector>>, intx: Arc<Intx>) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                intx,
                vectors,
                generation: AtomicU8::new(0),
                state: Mutex::new(State::RESET),
            }),
            intx_event: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            sink: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            stop: EventFd::new(EFD_NONBLOCK)?,
            relay: None,
        })
    }

    pub(super) fn notifier(&self) -> Notifier {
        Notifier(Arc::clone(&self.shared))
    }

    pub(super) fn generation(&self) -> u8 {
        self.shared.generation.load(Ordering::Acquire)
    }

    pub(super) fn needs_reset(&self) -> bool {
        self.shared.lock().needs_reset
    }

    /// DEVICE_NEEDS_RESET without an interrupt, and no other until the reset.
    pub(super) fn set_needs_reset(&self) {
        let mut state = self.shared.lock();
        state.needs_reset = true;
        state.is_mute = true;
        state.driver_ok = false;
    }

    /// Takes over what the guest programmed.
    pub(super) fn configure(&self, msix: bool, config_vector: u16, driver_ok: bool) {
        let mut state = self.shared.lock();
        state.msix = msix;
        state.config_vector = config_vector;
        state.driver_ok = driver_ok && !state.is_mute;
        self.shared.intx.set_pending(!state.msix && state.isr != 0);
    }

    /// The call of a queue with this vector. While MSI-X is off it needs the relay, which is
    /// started when first needed.
    pub(super) fn call(&mut self, vector: u16) -> io::Result<Call> {
        if self.shared.lock().msix {
            let vector = self.shared.vectors.get(usize::from(vector));
            return Ok(vector.map_or_else(
                || Call::Event(Arc::clone(&self.sink)),
                |vector| Call::Vector(Arc::clone(vector)),
            ));
        }
        if self.relay.is_none() {
            self.relay = Some(self.start_relay()?);
        }
        Ok(Call::Event(Arc::clone(&self.intx_event)))
    }

    /// Reads and clears the ISR status, which lowers the line (4.1.4.5.1).
    pub(super) fn take_isr(&self) -> u8 {
        let mut state = self.shared.lock();
        self.shared.intx.set_pending(false);
        std::mem::take(&mut state.isr)
    }

    pub(super) fn reset(&self, msix: bool) {
        let mut state = self.shared.lock();
        eventfd::drain(&self.intx_event);
        *state = State {
            msix,
            ..State::RESET
        };
        self.shared.intx.set_pending(false);
    }

    fn start_relay(&self) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let event = Arc::clone(&self.intx_event);
        let stop = self.stop.try_clone()?;
        std::thread::Builder::new()
            .name("virtio-intx".into())
            .spawn(move || {
                while wait(&[&stop, &*event], None).is_ok_and(|ready| ready & 1 == 0) {
                    let mut state = shared.lock();
                    // Under the lock: after a reset the event is gone and raises nothing. A back-end that was told to stop may still
                    // signal, and no driver is there to lower the line.
                    if eventfd::drain(&event) && state.driver_ok && !state.msix {
                        shared.raise(&mut state, ISR_QUEUE);
                    }
                }
            })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(relay) = self.relay.take() {
            let _ = relay.join();
        }
    }
}

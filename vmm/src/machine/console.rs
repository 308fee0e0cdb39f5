//! The thread that reads the keyboard and types into the guest's serial port.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::{errno::Errno, unistd};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::{
    devices::SerialConsole,
    machine::Stopper,
    terminal::{Escape, EscapeFilter},
    wait,
};

/// Typed bytes that wait for a guest which does not read its receive FIFO.
const PENDING: usize = 4096;
/// The port tells when its FIFO runs empty, but not when it leaves loopback mode: then input is tried again at this pace.
const RETRY: Duration = Duration::from_millis(100);

const HELP: &str = "\r\nCtrl-A x  quit\r\nCtrl-A h  this help\r\nCtrl-A Ctrl-A  one Ctrl-A\r\n";

/// Standard input, connected to whichever machine is running (a guest that resets gets a new one).
#[derive(Debug, Clone)]
pub struct Console {
    target: Arc<Mutex<Option<SerialConsole>>>,
    /// Signalled when the guest has emptied its FIFO.
    drained: Arc<EventFd>,
    stopper: Stopper,
}

impl Console {
    /// A console whose quit key asks `stopper`.
    pub fn new(stopper: Stopper) -> io::Result<Self> {
        Ok(Self {
            target: Arc::default(),
            drained: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            stopper,
        })
    }

    fn target(&self) -> MutexGuard<'_, Option<SerialConsole>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects standard input to a machine.
    pub fn attach(&self, serial: SerialConsole) {
        serial.tell_when_drained(Arc::clone(&self.drained));
        *self.target() = Some(serial);
        // What was typed while there was no machine goes to this one. A full counter is a wake-up that is still to come.
        let _ = self.drained.write(1);
    }

    /// The machine is gone: what is typed waits for the next.
    pub fn detach(&self) {
        *self.target() = None;
    }

    /// Reads standard input until its end, in a thread of its own that ends with the process.
    pub fn spawn(&self) -> io::Result<()> {
        let console = self.clone();
        thread::Builder::new()
            .name("console".into())
            .spawn(move || {
                if let Err(error) = console.read() {
                    tracing::warn!(%error, "standard input is lost to the guest");
                }
            })?;
        Ok(())
    }

    fn read(&self) -> io::Result<()> {
        const STDIN: u32 = 1 << 1;
        let stdin = io::stdin();
        let mut filter = EscapeFilter::default();
        let mut pending = Pending::new(stdin.is_terminal());
        let mut open = true;
        while open || !pending.bytes.is_empty() {
            let timeout = (!pending.bytes.is_empty()).then_some(RETRY);
            let ready = if open && pending.takes_more() {
                wait::wait(&[self.drained.as_ref(), &stdin], timeout)?
            } else {
                wait::wait(&[self.drained.as_ref()], timeout)?
            };
            let _ = self.drained.read(); // empty after a timeout
            if ready & STDIN != 0 {
                let mut typed = [0; 256];
                match unistd::read(&stdin, &mut typed) {
                    Ok(0) => open = false, // end of input: the guest goes on
                    Ok(count) => {
                        let typed = typed.get(..count).unwrap_or_default();
                        self.take(&mut filter, typed, &mut pending);
                    }
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(serial) = &*self.target() {
                pending.type_into(serial);
            }
        }
        Ok(())
    }

    fn take(&self, filter: &mut EscapeFilter, typed: &[u8], pending: &mut Pending) {
        let mut guest = Vec::new();
        for escape in filter.feed(typed, &mut guest) {
            match escape {
                Escape::Quit => {
                    self.stopper.stop();
                }
                Escape::Help => eprint!("{HELP}"),
            }
        }
        pending.push(&guest);
    }
}

/// Input on its way to the guest.
#[derive(Debug)]
struct Pending {
    bytes: VecDeque<u8>,
    /// A person types: the escape keys must be seen even if the guest takes nothing, so what is too much is lost, as on a 16550.
    /// A pipe waits instead.
    from_terminal: bool,
}

impl Pending {
    fn new(from_terminal: bool) -> Self {
        Self {
            bytes: VecDeque::new(),
            from_terminal,
        }
    }

    fn takes_more(&self) -> bool {
        self.from_terminal || self.bytes.len() < PENDING
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = if self.from_terminal {
            PENDING.saturating_sub(self.bytes.len())
        } else {
            usize::MAX
        };
        self.bytes.extend(bytes.iter().take(room));
    }

    fn type_into(&mut self, serial: &SerialConsole) {
        loop {
            let taken = serial.type_in(self.bytes.as_slices().0);
            if taken == 0 {
                return;
            }
            self.bytes.drain(..taken);
        }
    }
}

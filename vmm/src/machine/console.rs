//! The thread that reads the keyboard and types into the guest's serial port.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    devices::SerialConsole,
    machine::{Event, EventSender},
    terminal::{Escape, EscapeFilter},
};

/// How long to wait for a guest that does not read its receive FIFO before the rest of the input is tried again.
const FIFO_RETRY: Duration = Duration::from_millis(5);

const HELP: &str = "\r\nCtrl-A x  quit\r\nCtrl-A h  this help\r\nCtrl-A Ctrl-A  one Ctrl-A\r\n";

/// Standard input, connected to whichever machine is running (a guest that reboots gets a new one).
#[derive(Debug, Clone, Default)]
pub struct Console {
    target: Arc<Mutex<Option<(SerialConsole, EventSender)>>>,
}

impl Console {
    /// Connects standard input to a machine.
    pub fn attach(&self, serial: SerialConsole, events: EventSender) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some((serial, events));
    }

    fn target(&self) -> Option<(SerialConsole, EventSender)> {
        self.target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads standard input until its end, in a thread of its own that ends with the process.
    pub fn spawn(&self) -> io::Result<()> {
        let console = self.clone();
        thread::Builder::new()
            .name("console".into())
            .spawn(move || console.read())?;
        Ok(())
    }

    fn read(&self) {
        let mut filter = EscapeFilter::default();
        let mut typed = [0; 256];
        loop {
            let count = match io::stdin().read(&mut typed) {
                Ok(0) => return, // end of input: the guest goes on
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let mut guest = Vec::new();
            let escape = filter.feed(typed.get(..count).unwrap_or_default(), &mut guest);
            self.type_in(&guest);
            match escape {
                Some(Escape::Quit) => {
                    if let Some((_, events)) = self.target() {
                        events.send(Event::Quit);
                    }
                }
                Some(Escape::Help) => eprint!("{HELP}"),
                None => {}
            }
        }
    }

    fn type_in(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some((serial, _)) = self.target() else {
                return;
            };
            let taken = serial.type_in(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            if taken == 0 {
                // Flow control of a 16550 without handshake lines: wait for the guest.
                thread::park_timeout(FIFO_RETRY);
            }
        }
    }
}

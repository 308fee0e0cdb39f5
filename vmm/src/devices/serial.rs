//! COM1: a 16550A on the VMM's standard streams or a file.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::Duration,
};

use vm_superio::{Serial, Trigger, serial::SerialEvents};
use vmm_sys_util::eventfd::EventFd;

use super::SerialWriter;
use crate::bus::BusDevice;

/// Pulses the interrupt line.
#[derive(Debug)]
pub(super) struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        match self.0.write(1) {
            // A full counter is an interrupt that is still pending.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }
}

/// Tells the console's input when the guest has emptied the receive FIFO.
#[derive(Debug, Default)]
pub(super) struct Drained(Mutex<Option<Arc<EventFd>>>);

impl Drained {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<EventFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SerialEvents for Drained {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}

    fn in_buffer_empty(&self) {
        if let Some(event) = &*self.lock() {
            // A full counter is a wake-up that is still to come.
            let _ = event.write(1);
        }
    }
}

/// How long typing waits for a vCPU that uses the port: longer than a register access takes, and shorter than a person notices.
const PATIENCE: Duration = Duration::from_millis(2);
/// How often it looks meanwhile.
const LOOKS: u32 = 20;

type Uart = Serial<Line, Arc<Drained>, SerialWriter>;

/// The port as the bus sees it.
pub struct SerialPort {
    uart: Arc<Mutex<Uart>>,
}

/// The port as the console's input sees it.
#[derive(Clone)]
pub struct SerialConsole {
    uart: Arc<Mutex<Uart>>,
    drained: Arc<Drained>,
}

impl std::fmt::Debug for SerialPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SerialPort")
    }
}

impl std::fmt::Debug for SerialConsole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SerialConsole")
    }
}

impl SerialPort {
    /// A port that pulses `line` and prints to `output`.
    pub fn new(line: EventFd, output: SerialWriter) -> (Self, SerialConsole) {
        let drained = Arc::new(Drained::default());
        let uart = Serial::with_events(Line(line), Arc::clone(&drained), output);
        let uart = Arc::new(Mutex::new(uart));
        (
            Self {
                uart: Arc::clone(&uart),
            },
            SerialConsole { uart, drained },
        )
    }
}

impl SerialConsole {
    /// Has `event` signalled whenever the guest has read all that was typed.
    pub fn tell_when_drained(&self, event: Arc<EventFd>) {
        *self.drained.lock() = Some(event);
    }

    /// The port, unless a vCPU keeps it: one that prints does so for as long as nobody takes its output.
    fn lock(&self) -> Option<MutexGuard<'_, Uart>> {
        for _ in 0..LOOKS {
            match self.uart.try_lock() {
                Ok(uart) => return Some(uart),
                Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(PATIENCE / LOOKS),
            }
        }
        None
    }

    /// Types `bytes`; returns how many the receive FIFO took (64 bytes at most). None while the output stalls, because the keys that end
    /// the VMM must be seen even then.
    pub fn type_in(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let Some(mut uart) = self.lock() else {
            return 0;
        };
        let room = uart.fifo_capacity().min(bytes.len());
        let now = bytes.get(..room).unwrap_or_default();
        if now.is_empty() {
            return 0;
        }
        uart.enqueue_raw_bytes(now).unwrap_or(0)
    }
}

impl BusDevice for SerialPort {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let mut uart = self.uart.lock().unwrap_or_else(PoisonError::into_inner);
        let value = u8::try_from(offset).map_or(0xFF, |offset| uart.read(offset));
        data.fill(0xFF);
        if let [first, ..] = data {
            *first = value;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut uart = self.uart.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(offset), Some(&value)) = (u8::try_from(offset), data.first()) {
            // Output that nobody can take (closed pipe, full disk) is lost, as on a cable that is not plugged in.
            let _ = uart.write(offset, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::SerialOutput;

    #[test]
    fn typing_does_not_wait_for_output_that_stalls() {
        let line = EventFd::new(0).unwrap();
        let output = SerialOutput::default().writer(Arc::default());
        let (port, console) = SerialPort::new(line, output);
        let printing = port.uart.lock().unwrap();
        assert_eq!(console.type_in(b"x"), 0);
        drop(printing);
        assert_eq!(console.type_in(b""), 0);
        assert_eq!(console.type_in(b"x"), 1);
    }
}

//! What is left of the keyboard controller: the reset line of the CPU, which Linux pulls by `reboot=k`.

use crate::{
    bus::BusDevice,
    machine::{Event, EventSender},
};

/// Offset of the status and command port (0x64) from the data port (0x60).
const COMMAND: u64 = 4;
/// Command: pulse output lines; bit 0 clear pulses the reset line.
const PULSE_RESET: u8 = 0xFE;

/// The controller: ports 0x60 to 0x64.
#[derive(Debug)]
pub struct I8042 {
    events: EventSender,
}

impl I8042 {
    /// Tells `events` when the guest pulls the reset line.
    pub fn new(events: EventSender) -> Self {
        Self { events }
    }
}

impl BusDevice for I8042 {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        // Both buffers empty, no keyboard.
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if offset == COMMAND && data == [PULSE_RESET] {
            self.events.send(Event::Reset);
        }
    }
}

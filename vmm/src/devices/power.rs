//! ACPI fixed power management: PM1 event and control blocks and the reset register (ACPI 6.5, 4.8.3).

use crate::{
    boot::acpi::{RESET_VALUE, SLEEP_TYPE_S5},
    bus::BusDevice,
    machine::{Event, EventSender},
};

const PM1_ENABLE: u64 = 2;
const PM1_CONTROL: u64 = 4;
const RESET: u64 = 6;

/// `PM1_CNT.SCI_EN`: the machine is in ACPI mode.
const SCI_EN: u16 = 1;
/// `PM1_CNT.SLP_TYP`, bits 10 to 12.
const SLP_TYP_SHIFT: u16 = 10;
const SLP_TYP_MASK: u16 = 7;
/// `PM1_CNT.SLP_EN`: go to sleep now.
const SLP_EN: u16 = 1 << 13;

/// The power management block: eight ports.
#[derive(Debug)]
pub struct PowerManagement {
    events: EventSender,
    state: State,
}

/// What a snapshot carries.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    enable: u16,
    control: u16,
}

impl PowerManagement {
    /// Tells `events` when the guest switches off or resets.
    pub fn new(events: EventSender) -> Self {
        Self {
            events,
            state: State::default(),
        }
    }

    fn write_control(&mut self, value: u16) {
        self.state.control = value & !SLP_EN;
        if value & SLP_EN != 0
            && (value >> SLP_TYP_SHIFT) & SLP_TYP_MASK == u16::from(SLEEP_TYPE_S5)
        {
            self.events.send(Event::PowerOff);
        }
    }
}

impl BusDevice for PowerManagement {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            PM1_ENABLE => self.state.enable,
            PM1_CONTROL => self.state.control | SCI_EN,
            _ => 0, // no event ever happens: status is 0
        };
        data.fill(0);
        for (byte, source) in data.iter_mut().zip(value.to_le_bytes()) {
            *byte = source;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (PM1_ENABLE, &[low, high]) => self.state.enable = u16::from_le_bytes([low, high]),
            (PM1_CONTROL, &[low, high]) => self.write_control(u16::from_le_bytes([low, high])),
            (RESET, &[RESET_VALUE]) => self.events.send(Event::Reset),
            _ => {}
        }
    }
}

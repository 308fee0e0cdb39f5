//! The board's own devices: serial port, clock, power management, keyboard controller.

mod i8042;
mod power;
mod rtc;
mod serial;
mod serial_output;

pub use i8042::I8042;
pub use power::PowerManagement;
pub use rtc::Rtc;
pub use serial::{SerialConsole, SerialPort};
pub use serial_output::{SerialOutput, SerialWriter};

//! CMOS clock (Motorola MC146818 and its descendants): the host's time in UTC, in BCD and 24 hours. No alarm, no interrupt.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

use crate::bus::BusDevice;

const INDEX: u64 = 0;
/// Register B: 24-hour mode, BCD.
const STATUS_B_24H: u8 = 1 << 1;
/// Register D: the battery is good.
const STATUS_D_VALID: u8 = 1 << 7;
const REGISTERS: usize = 128;

/// The clock: ports 0x70 (index) and 0x71 (data).
#[derive(Debug)]
pub struct Rtc {
    index: u8,
    /// What the guest stored in the registers that are not time.
    memory: [u8; REGISTERS],
    now: fn() -> u64,
}

impl Default for Rtc {
    fn default() -> Self {
        Self::new(host_time)
    }
}

/// Seconds since 1970.
fn host_time() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap_or(TimeSpec::new(0, 0));
    u64::try_from(now.tv_sec()).unwrap_or(0)
}

impl Rtc {
    /// A clock that shows `now` (seconds since 1970, UTC).
    pub fn new(now: fn() -> u64) -> Self {
        Self {
            index: 0,
            memory: [0; REGISTERS],
            now,
        }
    }

    fn register(&self) -> u8 {
        let time = Civil::of((self.now)());
        match self.index {
            0x00 => bcd(time.second),
            0x02 => bcd(time.minute),
            0x04 => bcd(time.hour),
            0x06 => time.weekday,
            0x07 => bcd(time.day),
            0x08 => bcd(time.month),
            0x09 => bcd(u8::try_from(time.year % 100).unwrap_or(0)),
            0x32 => bcd(u8::try_from(time.year / 100).unwrap_or(0)),
            // A: no update in progress. C: no interrupt pending.
            0x0A | 0x0C => 0,
            0x0B => STATUS_B_24H,
            0x0D => STATUS_D_VALID,
            other => self.memory.get(usize::from(other)).copied().unwrap_or(0),
        }
    }
}

impl BusDevice for Rtc {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(if offset == INDEX {
            0xFF
        } else {
            self.register()
        });
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let &[value] = data else { return };
        if offset == INDEX {
            self.index = value & 0x7F; // bit 7 masks NMIs
        } else if let Some(register) = self.memory.get_mut(usize::from(self.index)) {
            *register = value;
        }
    }
}

fn bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

/// A date and time in the Gregorian calendar, UTC.
#[derive(Debug, PartialEq, Eq)]
struct Civil {
    year: u64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// 1 is Sunday.
    weekday: u8,
}

impl Civil {
    fn of(seconds: u64) -> Self {
        let days = seconds / 86400;
        // Years from 1 March, so that the leap day is the last; 719 468 days from 0000-03-01 to 1970-01-01.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let small = |value: u64| u8::try_from(value).unwrap_or(0);
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * month_from_march + 2) / 5 + 1),
            hour: small(seconds / 3600 % 24),
            minute: small(seconds / 60 % 60),
            second: small(seconds % 60),
            weekday: small((days + 4) % 7 + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, (1970, 1, 1, 5)),
            (951_782_400, (2000, 2, 29, 3)),
            (951_868_800, (2000, 3, 1, 4)),
            (1_735_689_599, (2024, 12, 31, 3)),
            (4_102_444_800, (2100, 1, 1, 6)),
        ] {
            let time = Civil::of(seconds);
            assert_eq!(
                (time.year, time.month, time.day, time.weekday),
                expected,
                "{seconds}"
            );
        }
    }

    #[test]
    fn registers_read_in_bcd() {
        let mut rtc = Rtc::new(|| 1_735_689_599);
        let mut read = |index: u8| {
            rtc.write(0, &[index]);
            let mut byte = [0];
            rtc.read(1, &mut byte);
            byte[0]
        };
        let clock = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32].map(&mut read);
        assert_eq!(clock, [0x59, 0x59, 0x23, 0x31, 0x12, 0x24, 0x20]);
    }
}

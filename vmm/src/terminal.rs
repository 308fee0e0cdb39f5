//! The terminal of the person at the keyboard: raw mode while the guest runs, restored however the VMM ends.

use std::{io, os::fd::AsFd, sync::Mutex};

use nix::{
    sys::termios::{InputFlags, LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    unistd::isatty,
};

/// Settings to go back to; also reached by the panic hook.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode for as long as this lives.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Switches standard input to raw mode; `None` when it is not a terminal.
    pub fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !isatty(stdin.as_fd()).unwrap_or(false) {
            return Ok(None);
        }
        let saved = tcgetattr(stdin.as_fd())?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        // Output keeps its line ends: the VMM's own messages go to the same terminal.
        raw.output_flags = saved.output_flags;
        raw.local_flags.remove(LocalFlags::ISIG);
        raw.input_flags.remove(InputFlags::ICRNL);
        if let Ok(mut slot) = SAVED.lock() {
            *slot = Some(saved);
        }
        tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            previous(info);
        }));
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was, for ends that do not unwind. Harmless when it never was raw.
pub fn restore() {
    let saved = SAVED.lock().ok().and_then(|mut slot| slot.take());
    if let Some(saved) = saved {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &saved);
    }
}

/// What a key after the escape key (Ctrl-A) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Leave the VMM.
    Quit,
    /// Print the keys.
    Help,
}

/// Finds the escape sequences in what a person types: Ctrl-A x quits, Ctrl-A h helps, Ctrl-A Ctrl-A is one Ctrl-A.
#[derive(Debug, Default)]
pub struct EscapeFilter {
    escaped: bool,
}

const CTRL_A: u8 = 1;

impl EscapeFilter {
    /// Appends what is meant for the guest to `guest`; returns the escapes in between.
    pub fn feed(&mut self, typed: &[u8], guest: &mut Vec<u8>) -> Vec<Escape> {
        let mut escapes = Vec::new();
        for &byte in typed {
            if !std::mem::take(&mut self.escaped) {
                if byte == CTRL_A {
                    self.escaped = true;
                } else {
                    guest.push(byte);
                }
                continue;
            }
            match byte {
                b'x' | b'X' => escapes.push(Escape::Quit),
                b'h' | b'H' | b'?' => escapes.push(Escape::Help),
                CTRL_A => guest.push(CTRL_A),
                other => guest.extend([CTRL_A, other]),
            }
        }
        escapes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_found_even_across_reads() {
        let mut filter = EscapeFilter::default();
        let mut guest = Vec::new();
        assert_eq!(filter.feed(b"ls\x01", &mut guest), []);
        assert_eq!(filter.feed(b"\x01\x01c", &mut guest), []);
        assert_eq!(guest, b"ls\x01\x01c");
        let escapes = filter.feed(b"\x01ha\x01x", &mut guest);
        assert_eq!(escapes, [Escape::Help, Escape::Quit]);
        assert_eq!(guest, b"ls\x01\x01ca");
    }
}

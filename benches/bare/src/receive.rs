//! Receiving as Linux' NAPI has drivers do it (net/core/dev.c): an interrupt, rounds of at most `BUDGET` frames without one, and
//! interrupts again when there are no more.
//!
//! What is not there is the interrupt: its line is raised and nobody listens; the frames that would have caused it are waited for
//! instead. Register accesses are those of the driver's interrupt handler and of its poll function.

use crate::io::say;

/// Frames of a round (`NAPI_POLL_WEIGHT`).
const BUDGET: u32 = 64;

/// A driver's receive side.
pub trait Receiver {
    /// Frames that are taken at once: so that what this guest does for each is little beside what the NIC does.
    const GROUP: u32;

    /// Takes a group of frames and gives their buffers back; false: there are not so many.
    fn take(&mut self) -> bool;

    /// What the driver's interrupt handler does.
    fn interrupt(&mut self);

    /// What each round begins with.
    fn round(&mut self) {}

    /// What is done when there are no more frames.
    fn complete(&mut self);
}

/// Takes frames.
pub fn forever<R: Receiver>(nic: &mut R) -> ! {
    say(crate::READY);
    let mut count = 0;
    loop {
        while !nic.take() {}
        count = crate::count(count + R::GROUP);
        nic.interrupt();
        nic.round();
        let mut taken = R::GROUP;
        while nic.take() {
            count = crate::count(count + R::GROUP);
            taken += R::GROUP;
            if taken == BUDGET {
                taken = 0;
                nic.round();
            }
        }
        nic.complete();
    }
}

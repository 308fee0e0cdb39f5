//! A guest that drives a NIC and does nothing else: no interrupts, no protocols. The same image runs in `vmm` and in QEMU.
//!
//! Its command line is two letters: which NIC, and what to do. It says `READY` on COM1 when frames move, and `DOT` after each
//! `FRAMES_PER_DOT` that have come; `LOST` means that it cannot do that.
#![no_std]
#![no_main]

mod boot;
mod e1000;
mod frame;
mod io;
mod layout;
mod ne2k;
mod pci;
mod pcnet;
mod receive;
mod rtl8139;

use crate::{e1000::E1000, io::say, ne2k::Ne2k, pci::Nic, pcnet::Pcnet, rtl8139::Rtl8139};
use core::panic::PanicInfo;

const READY: u8 = b'r';
const DOT: u8 = b'.';
const LOST: u8 = b'!';
const FRAMES_PER_DOT: u32 = 64;

/// Datagrams for each doorbell where there are many.
const MANY: u32 = 16;

/// What both ways in lead to.
extern "C" fn main(command: u64) -> ! {
    #[expect(clippy::cast_possible_truncation, reason = "it is below 4 GiB")]
    let command = command as u32;
    let Some(nic) = Nic::find() else { lost() };
    match (io::load8(command), io::load8(command + 1)) {
        (b'e', b'l') => E1000::new(&nic).send_large(),
        (b'e', b's') => E1000::new(&nic).send_small::<2>(),
        (b'e', b'm') => E1000::new(&nic).send_small::<{ 2 * MANY }>(),
        (b'e', b'r') => E1000::new(&nic).receive(),
        (b'p', b't') => Pcnet::new(&nic).send(),
        (b'p', b'r') => Pcnet::new(&nic).receive(),
        (b'r', b't') => Rtl8139::new(&nic).send(),
        (b'r', b'l') => Rtl8139::new(&nic).send_large(),
        (b'r', b'r') => Rtl8139::new(&nic).receive(),
        (b'n', b't') => Ne2k::new(&nic).send(),
        (b'n', b'r') => Ne2k::new(&nic).receive(),
        _ => lost(),
    }
}

/// Says so when enough frames have come; returns how many have since.
fn count(frames: u32) -> u32 {
    if frames < FRAMES_PER_DOT {
        return frames;
    }
    say(DOT);
    frames - FRAMES_PER_DOT
}

fn lost() -> ! {
    say(LOST);
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    lost()
}

//! Ports, memory and the serial console. All of the machine is this guest's: there is nobody whose memory or devices a port or an
//! address could touch that it must not.

use core::arch::asm;

/// COM1's data.
const COM1: u16 = 0x3F8;

pub fn out8(port: u16, value: u8) {
    // SAFETY: it moves nothing in memory; what a NIC does with its DMA is what it was told.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) };
}

pub fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `out8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

pub fn out32(port: u16, value: u32) {
    // SAFETY: as in `out8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Memory or a register that someone else changes.
pub fn load(address: u32) -> u32 {
    // SAFETY: the first 4 GiB are mapped, and nothing that this program was compiled to keep is at the addresses in `layout`
    // or in a BAR.
    unsafe { (address as usize as *const u32).read_volatile() }
}

pub fn store(address: u32, value: u32) {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *mut u32).write_volatile(value) };
}

pub fn load8(address: u32) -> u8 {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *const u8).read_volatile() }
}

pub fn store8(address: u32, value: u8) {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *mut u8).write_volatile(value) };
}

/// One character on the console.
pub fn say(letter: u8) {
    out8(COM1, letter);
}

//! Ports, memory and the serial console. All of the machine is this guest's: there is nobody whose memory or devices a port or an
//! address could touch that it must not.

use core::arch::asm;

/// COM1's data.
const COM1: u16 = 0x3F8;

pub fn out8(port: u16, value: u8) {
    // SAFETY: it moves nothing in memory; what a NIC does with its DMA is what it was told.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) };
}

pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: as in `out8`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

pub fn in16(port: u16) -> u16 {
    let value;
    // SAFETY: as in `out8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

pub fn out16(port: u16, value: u16) {
    // SAFETY: as in `out8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack)) };
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

/// `count` double words from a port into memory (Linux' `insl`).
pub fn in_words(port: u16, address: u32, count: u32) {
    // SAFETY: nothing that this program was compiled to keep is at the addresses in `layout`.
    unsafe {
        asm!("rep insd", in("dx") port, inout("rdi") u64::from(address) => _, inout("rcx") u64::from(count) => _,
            options(nostack, preserves_flags));
    }
}

/// `count` double words of memory to a port (Linux' `outsl`).
pub fn out_words(port: u16, address: u32, count: u32) {
    // SAFETY: as in `out8`.
    unsafe {
        asm!("rep outsd", in("dx") port, inout("rsi") u64::from(address) => _, inout("rcx") u64::from(count) => _,
            options(nostack, preserves_flags));
    }
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

pub fn load16(address: u32) -> u16 {
    // SAFETY: as in `load`.
    unsafe { (address as usize as *const u16).read_volatile() }
}

pub fn store16(address: u32, value: u16) {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *mut u16).write_volatile(value) };
}

pub fn load8(address: u32) -> u8 {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *const u8).read_volatile() }
}

pub fn store8(address: u32, value: u8) {
    // SAFETY: as in `out8`.
    unsafe { (address as usize as *mut u8).write_volatile(value) };
}

/// What is done for each of eight descriptors behind the one at `$first`, without a loop: its instructions would be more than it does.
#[macro_export]
macro_rules! eight {
    ($first:expr, $size:expr, $at:ident => $what:block) => {{
        let first = $first;
        $crate::eight!(@ first, $size, $at, $what; 0 1 2 3 4 5 6 7);
    }};
    (@ $first:ident, $size:expr, $at:ident, $what:block; $($index:literal)*) => {
        $({
            let $at = $first + $index * $size;
            $what
        })*
    };
}

/// One character on the console.
pub fn say(letter: u8) {
    out8(COM1, letter);
}

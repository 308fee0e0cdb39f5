//! The Realtek 8139C+ as Linux' 8139cp drives it. Numbers in brackets: sections of the RTL8139C+ data sheet.

use crate::{
    eight,
    frame::{self, FULL, TCP_HEADERS},
    io::{load, load8, load16, say, store, store8, store16},
    layout::{BUFFER, BUFFERS, FRAME, RECEIVE_RING, SEND_RING},
    pci::Nic,
    receive::{self, Receiver},
};

// Registers (6).
const SEND_ADDRESS: u32 = 0x20;
const COMMAND: u32 = 0x37;
const RESET: u8 = 1 << 4;
/// RE, TE.
const COMMAND_ON: u8 = 1 << 3 | 1 << 2;
const INTERRUPT_MASK: u32 = 0x3C;
/// `cp_intr_mask` and `cp_norx_intr_mask`.
const ALL: u16 = 0x80FF;
const ALL_BUT_RECEIVE: u16 = ALL & !RECEIVE_INTERRUPTS;
const INTERRUPT_STATUS: u32 = 0x3E;
/// `cp_rx_intr_mask`: ROK, RER, RXOVW, FOVW.
const RECEIVE_INTERRUPTS: u16 = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 6;
const SEND_CONFIG: u32 = 0x40;
/// Gap of the standard, bursts of 1024 bytes (`IFG`, `TX_DMA_BURST`).
const SEND_CONFIG_VALUE: u32 = 3 << 24 | 6 << 8;
const RECEIVE_CONFIG: u32 = 0x44;
/// AAP, APM, AB; no threshold, bursts of 1024 bytes.
const RECEIVE_CONFIG_VALUE: u32 = 1 | 1 << 1 | 1 << 3 | 7 << 13 | 6 << 8;
const POLL: u32 = 0xD9;
const POLL_NORMAL: u8 = 1 << 6;
const PLUS_COMMAND: u32 = 0xE0;
/// Both sides use descriptors; several reads at once; sums of what comes.
const PLUS_COMMAND_ON: u16 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5;
const RECEIVE_ADDRESS: u32 = 0xE4;
/// Behind the lower half of an address.
const HIGH: u32 = 4;

/// Descriptors of a ring, as Linux has them, and their size.
const RING: u32 = 64;
const DESCRIPTOR: u32 = 16;
/// Descriptors that are looked at together, and from the first of them to the last.
const GROUP: u32 = 8;
const LAST_OF_GROUP: u32 = (GROUP - 1) * DESCRIPTOR;

// A descriptor's first word (9).
const OWN: u32 = 1 << 31;
const RING_END: u32 = 1 << 30;
const FIRST: u32 = 1 << 29;
const LAST: u32 = 1 << 28;
const LARGE_SEND: u32 = 1 << 27;
const MSS_SHIFT: u32 = 16;
/// Of its buffer's address.
const ADDRESS: u32 = 8;

/// `PKT_BUF_SZ`.
const BUFFER_LENGTH: u32 = 1536;
const MSS: u32 = 1460;
/// Buffers of a large frame behind its headers, and what is in each: what the network stack has pages for.
const PIECES: u32 = 14;
const PIECE: u32 = 4096;
const LARGE: u32 = 1 + PIECES;

pub struct Rtl8139 {
    registers: u32,
    /// The next descriptor that a frame comes into.
    next: u32,
}

impl Rtl8139 {
    pub fn new(nic: &Nic) -> Self {
        let registers = nic.memory(1);
        store8(registers + COMMAND, RESET);
        while load8(registers + COMMAND) & RESET != 0 {}
        Self { registers, next: 0 }
    }

    /// Frames of full size, a doorbell each (`cp_start_xmit`).
    pub fn send(&self) -> ! {
        frame::full();
        for index in 0..RING {
            store(SEND_RING + index * DESCRIPTOR + ADDRESS, FRAME);
        }
        self.start();
        say(crate::READY);
        loop {
            let mut first = SEND_RING;
            while first < SEND_RING + RING * DESCRIPTOR {
                // They are sent in turn.
                while load(first + LAST_OF_GROUP) & OWN != 0 {}
                let end = if first == SEND_RING + (RING - GROUP) * DESCRIPTOR {
                    RING_END
                } else {
                    0
                };
                eight!(first, DESCRIPTOR, at => {
                    let end = if at == first + LAST_OF_GROUP { end } else { 0 };
                    store(at, OWN | FIRST | LAST | FULL | end);
                    store8(self.registers + POLL, POLL_NORMAL);
                });
                first += GROUP * DESCRIPTOR;
            }
        }
    }

    /// TCP frames of 56 KiB that the NIC cuts, each with a doorbell.
    pub fn send_large(&self) -> ! {
        const GROUPS: u32 = RING / LARGE;
        const COMMAND: u32 = OWN | LARGE_SEND | MSS << MSS_SHIFT;
        frame::tcp();
        frame::set_length(PIECES * PIECE);
        for index in 0..GROUPS * LARGE {
            let piece = index % LARGE;
            let at = if piece == 0 {
                FRAME
            } else {
                FRAME + PIECE * piece
            };
            store(SEND_RING + index * DESCRIPTOR + ADDRESS, at);
        }
        self.start();
        say(crate::READY);
        loop {
            let mut descriptor = SEND_RING;
            for group in 0..GROUPS {
                let end = descriptor + PIECES * DESCRIPTOR;
                while load(end) & OWN != 0 {}
                // From behind, so that the NIC finds the first one's OWN last.
                let ring_end = if group + 1 == GROUPS { RING_END } else { 0 };
                store(end, COMMAND | LAST | ring_end | PIECE);
                let mut at = end - DESCRIPTOR;
                while at > descriptor {
                    store(at, COMMAND | PIECE);
                    at -= DESCRIPTOR;
                }
                store(descriptor, COMMAND | FIRST | TCP_HEADERS);
                store8(self.registers + POLL, POLL_NORMAL);
                descriptor = end + DESCRIPTOR;
            }
        }
    }

    /// Takes frames.
    pub fn receive(mut self) -> ! {
        for index in 0..RING {
            let descriptor = RECEIVE_RING + index * DESCRIPTOR;
            store(descriptor + ADDRESS, BUFFERS + index * BUFFER);
            store(descriptor, to_fill(index));
        }
        self.start();
        store16(self.registers + INTERRUPT_MASK, ALL);
        receive::forever(&mut self)
    }

    /// `cp_start_hw` and `cp_init_hw`.
    fn start(&self) {
        store16(self.registers + PLUS_COMMAND, PLUS_COMMAND_ON);
        store(self.registers + RECEIVE_ADDRESS, RECEIVE_RING);
        store(self.registers + RECEIVE_ADDRESS + HIGH, 0);
        store(self.registers + SEND_ADDRESS, SEND_RING);
        store(self.registers + SEND_ADDRESS + HIGH, 0);
        store8(self.registers + COMMAND, COMMAND_ON);
        store(self.registers + RECEIVE_CONFIG, RECEIVE_CONFIG_VALUE);
        store(self.registers + SEND_CONFIG, SEND_CONFIG_VALUE);
    }

    /// `cpw16_f`.
    fn set_mask(&self, mask: u16) {
        store16(self.registers + INTERRUPT_MASK, mask);
        load16(self.registers + INTERRUPT_MASK);
    }
}

fn to_fill(index: u32) -> u32 {
    let end = if index + 1 == RING { RING_END } else { 0 };
    OWN | end | BUFFER_LENGTH
}

impl Receiver for Rtl8139 {
    const GROUP: u32 = GROUP;

    fn take(&mut self) -> bool {
        let first = RECEIVE_RING + self.next * DESCRIPTOR;
        if load(first + LAST_OF_GROUP) & OWN != 0 {
            return false;
        }
        let end = to_fill(self.next + GROUP - 1);
        eight!(first, DESCRIPTOR, at => {
            store(at, if at == first + LAST_OF_GROUP { end } else { OWN | BUFFER_LENGTH });
        });
        self.next = (self.next + GROUP) % RING;
        true
    }

    /// `cp_interrupt`.
    fn interrupt(&mut self) {
        load16(self.registers + INTERRUPT_MASK);
        let status = load16(self.registers + INTERRUPT_STATUS);
        store16(
            self.registers + INTERRUPT_STATUS,
            status & !RECEIVE_INTERRUPTS,
        );
        self.set_mask(ALL_BUT_RECEIVE);
    }

    /// The start of `cp_rx_poll`.
    fn round(&mut self) {
        store16(self.registers + INTERRUPT_STATUS, RECEIVE_INTERRUPTS);
    }

    /// And its end.
    fn complete(&mut self) {
        self.set_mask(ALL);
    }
}

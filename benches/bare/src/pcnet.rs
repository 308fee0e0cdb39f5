//! The AMD `Am79C970A` as Linux' pcnet32 drives it: 32-bit structures, word I/O. Names and numbers are the data sheet's.

use crate::{
    eight,
    frame::{self, FULL},
    io::{in16, load, out16, say, store},
    layout::{BUFFER, BUFFERS, FRAME, INIT_BLOCK, RECEIVE_RING, SEND_RING},
    pci::Nic,
    receive::{self, Receiver},
};

// Ports ("Word I/O Mode").
const RDP: u16 = 0x10;
const RAP: u16 = 0x12;
const RESET: u16 = 0x14;
const BDP: u16 = 0x16;

const CSR0: u16 = 0;
const CSR0_INIT: u16 = 1 << 0;
const CSR0_STRT: u16 = 1 << 1;
const CSR0_TDMD: u16 = 1 << 3;
const CSR0_IENA: u16 = 1 << 6;
const CSR0_IDON: u16 = 1 << 8;
/// What `pcnet32_interrupt` leaves out when it acknowledges: INIT, STRT, STOP, TDMD, IENA.
const CSR0_NO_ACKNOWLEDGE: u16 = 0x004F;
/// Address of the initialization block, low and high half.
const CSR1: u16 = 1;
const CSR2: u16 = 2;
/// Interrupt masks, and the bits that `pcnet32_interrupt` sets and `pcnet32_poll` leaves.
const CSR3: u16 = 3;
const CSR3_MASKS: u16 = 0x5F00;
const CSR3_KEPT: u16 = 0x00FF;
const CSR4: u16 = 4;
/// As Linux sets it: `APAD_XMT`, and masks of what it does not want to hear of.
const CSR4_FEATURES: u16 = 0x0915;
const BCR20: u16 = 20;
/// PCnet-PCI: structures of 32 bits.
const SOFTWARE_STYLE: u16 = 2;

/// MODE.PROM.
const PROMISCUOUS: u32 = 1 << 15;
/// Descriptors of the rings, as Linux has them (`PCNET32_LOG_TX_BUFFERS`, `PCNET32_LOG_RX_BUFFERS`), and their size.
const SEND_LOG: u32 = 4;
const SEND: u32 = 1 << SEND_LOG;
const RECEIVE_LOG: u32 = 5;
const RECEIVE: u32 = 1 << RECEIVE_LOG;
const DESCRIPTOR: u32 = 16;
/// Descriptors that are looked at together: half of the transmit ring. From the first of them to the last.
const GROUP: u32 = 8;
const _: () = assert!(SEND == 2 * GROUP);
const LAST: u32 = (GROUP - 1) * DESCRIPTOR;

/// The initialization block: sizes of the rings and MODE, address (02:00:00:00:00:02), filter, rings. Not moved about: that would take
/// vector instructions.
static INIT: [u32; 7] = [
    PROMISCUOUS | SEND_LOG << 28 | RECEIVE_LOG << 20,
    0x0000_0002,
    0x0000_0200,
    0,
    0,
    RECEIVE_RING,
    SEND_RING,
];

/// A descriptor's word with OWN, STP, ENP and, in two's complement, the buffer's length.
const FLAGS: u32 = 4;
const OWN: u32 = 1 << 31;
const STP: u32 = 1 << 25;
const ENP: u32 = 1 << 24;
/// `PKT_BUF_SKB`.
const BUFFER_LENGTH: u32 = 1544;

const TO_SEND: u32 = OWN | STP | ENP | length(FULL);
const TO_FILL: u32 = OWN | length(BUFFER_LENGTH);

/// BCNT, with the ones that belong above it.
const fn length(bytes: u32) -> u32 {
    bytes.wrapping_neg() & 0xFFFF
}

pub struct Pcnet {
    ports: u16,
    /// The next descriptor that a frame comes into.
    next: u32,
}

impl Pcnet {
    /// With rings where all descriptors are ours, and started.
    pub fn new(nic: &Nic) -> Self {
        let pcnet = Self {
            ports: nic.ports(0),
            next: 0,
        };
        in16(pcnet.ports + RESET);
        out16(pcnet.ports + RAP, BCR20);
        out16(pcnet.ports + BDP, SOFTWARE_STYLE);
        for (at, word) in (INIT_BLOCK..).step_by(4).zip(&INIT) {
            store(at, *word);
        }
        pcnet
    }

    /// Frames of full size, a doorbell each (`pcnet32_start_xmit`).
    pub fn send(&self) -> ! {
        frame::full();
        for index in 0..SEND {
            store(SEND_RING + index * DESCRIPTOR, FRAME);
        }
        self.start();
        say(crate::READY);
        let mut first = SEND_RING + FLAGS;
        loop {
            // They are sent in turn.
            while load(first + LAST) & OWN != 0 {}
            eight!(first, DESCRIPTOR, flags => {
                store(flags, TO_SEND);
                self.write(CSR0, CSR0_IENA | CSR0_TDMD);
            });
            first ^= GROUP * DESCRIPTOR;
        }
    }

    /// Takes frames.
    pub fn receive(mut self) -> ! {
        for index in 0..RECEIVE {
            let descriptor = RECEIVE_RING + index * DESCRIPTOR;
            store(descriptor, BUFFERS + index * BUFFER);
            store(descriptor + FLAGS, TO_FILL);
        }
        self.start();
        receive::forever(&mut self)
    }

    /// `pcnet32_open`.
    fn start(&self) {
        let [b0, b1, b2, b3] = INIT_BLOCK.to_le_bytes();
        self.write(CSR1, u16::from_le_bytes([b0, b1]));
        self.write(CSR2, u16::from_le_bytes([b2, b3]));
        self.write(CSR4, CSR4_FEATURES);
        self.write(CSR0, CSR0_INIT);
        while self.read(CSR0) & CSR0_IDON == 0 {}
        self.write(CSR0, CSR0_IENA | CSR0_STRT);
    }

    fn read(&self, csr: u16) -> u16 {
        out16(self.ports + RAP, csr);
        in16(self.ports + RDP)
    }

    fn write(&self, csr: u16, value: u16) {
        out16(self.ports + RAP, csr);
        out16(self.ports + RDP, value);
    }
}

impl Receiver for Pcnet {
    const GROUP: u32 = GROUP;

    /// `pcnet32_rx`.
    fn take(&mut self) -> bool {
        let first = RECEIVE_RING + FLAGS + self.next * DESCRIPTOR;
        if load(first + LAST) & OWN != 0 {
            return false;
        }
        eight!(first, DESCRIPTOR, flags => { store(flags, TO_FILL) });
        self.next = (self.next + GROUP) % RECEIVE;
        true
    }

    /// `pcnet32_interrupt`.
    fn interrupt(&mut self) {
        let status = self.read(CSR0);
        self.write(CSR0, status & !CSR0_NO_ACKNOWLEDGE);
        let masks = self.read(CSR3);
        self.write(CSR3, masks | CSR3_MASKS);
    }

    /// The end of `pcnet32_poll`.
    fn complete(&mut self) {
        let masks = self.read(CSR3);
        self.write(CSR3, masks & CSR3_KEPT);
        self.write(CSR0, CSR0_IENA);
    }
}

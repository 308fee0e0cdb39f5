//! The Intel 82540EM as Linux' e1000 drives it. Numbers in brackets: sections of the 8254x software developer's manual.

use crate::{
    frame::{self, SMALL, TCP_HEADERS},
    io::{load, say, store},
    layout::{BUFFER, BUFFERS, FRAME, RECEIVE_RING, SEND_RING},
    pci::Nic,
    receive::{self, Receiver},
};

// Registers (13.3).
const CTRL: u32 = 0x0000;
const CTRL_SLU: u32 = 1 << 6;
const DEVICE_STATUS: u32 = 0x0008;
const ICR: u32 = 0x00C0;
const ITR: u32 = 0x00C4;
/// 20 000 interrupts a second, in units of 256 ns: what Linux begins with.
const ITR_VALUE: u32 = 195;
const IMS: u32 = 0x00D0;
/// `IMS_ENABLE_MASK`.
const IMS_ALL: u32 = 0x9D;
const IMC: u32 = 0x00D8;
const RCTL: u32 = 0x0100;
/// EN, UPE, BAM, SECRC; buffers of 2 KiB.
const RCTL_ON: u32 = 1 << 1 | 1 << 3 | 1 << 15 | 1 << 26;
const TCTL: u32 = 0x0400;
/// EN, PSP.
const TCTL_ON: u32 = 1 << 1 | 1 << 3;
const RDBAL: u32 = 0x2800;
const TDBAL: u32 = 0x3800;
const RXCSUM: u32 = 0x5000;
/// TCP's and UDP's sums.
const RXCSUM_TUOFL: u32 = 1 << 9;
/// Of the same ring's, behind its base address.
const BASE_HIGH: u32 = 0x4;
const LENGTH: u32 = 0x8;
const HEAD: u32 = 0x10;
const TAIL: u32 = 0x18;

/// Descriptors of a ring, as Linux has them, and their size.
const RING: u32 = 256;
const DESCRIPTOR: u32 = 16;
/// Buffers that are given back at once (`E1000_RX_BUFFER_WRITE`).
const BATCH: u32 = 16;

// A descriptor's words (3.3.6, 3.3.7).
const COMMAND: u32 = 8;
const STATUS: u32 = 12;
const DONE: u32 = 1;
const EXTENDED: u32 = 1 << 29;
const DATA: u32 = 1 << 20;
const END_OF_PACKET: u32 = 1 << 24;
const INSERT_FCS: u32 = 1 << 25;
const SEGMENT: u32 = 1 << 26;
const REPORT: u32 = 1 << 27;
/// Of a context descriptor.
const TCP: u32 = 1 << 24;
const IPV4: u32 = 1 << 25;
/// POPTS of a data descriptor: insert the checksums of TCP or UDP, and of IP.
const INSERT_TCP: u32 = 2 << 8;
const INSERT_IP: u32 = 1 << 8;

// A context's words: where a sum begins (low byte), goes, and ends (0: with the frame).
const IP_SUM: u32 = 0x0021_180E;
const TCP_SUM: u32 = 0x3222;
const UDP_SUM: u32 = 0x2822;

/// What Linux has a descriptor carry at most (`E1000_MAX_DATA_PER_TXD`).
const PIECE: u32 = 4096;
/// Pieces of a large frame: with headers and context, 16 descriptors.
const PIECES: u32 = 14;
const MSS: u32 = 1460;

pub struct E1000 {
    registers: u32,
    /// The next descriptor that a frame comes into.
    next: u32,
}

impl E1000 {
    pub fn new(nic: &Nic) -> Self {
        let registers = nic.memory(0);
        store(registers + CTRL, load(registers + CTRL) | CTRL_SLU);
        Self { registers, next: 0 }
    }

    /// TCP frames of 56 KiB that the NIC cuts, each with a doorbell.
    pub fn send_large(&self) -> ! {
        const GROUP: u32 = PIECES + 2;
        frame::tcp();
        for group in 0..RING / GROUP {
            let first = SEND_RING + group * GROUP * DESCRIPTOR;
            let length = PIECES * PIECE;
            put(
                first,
                IP_SUM,
                TCP_SUM,
                EXTENDED | SEGMENT | TCP | IPV4 | length,
                TCP_HEADERS << 8 | MSS << 16,
            );
            let data = EXTENDED | DATA | SEGMENT | INSERT_FCS;
            put(
                first + DESCRIPTOR,
                FRAME,
                0,
                data | TCP_HEADERS,
                INSERT_TCP | INSERT_IP,
            );
            for piece in 0..PIECES {
                let last = if piece + 1 == PIECES {
                    END_OF_PACKET | REPORT
                } else {
                    0
                };
                let at = first + (2 + piece) * DESCRIPTOR;
                put(
                    at,
                    FRAME + PIECE * (1 + piece),
                    0,
                    data | last | PIECE,
                    INSERT_TCP | INSERT_IP,
                );
            }
        }
        self.send::<GROUP>(INSERT_TCP | INSERT_IP)
    }

    /// Datagrams of 18 bytes whose sum the NIC inserts; a doorbell for every `GROUP` of descriptors, two of each datagram.
    pub fn send_small<const GROUP: u32>(&self) -> ! {
        frame::udp();
        for index in 0..RING / 2 {
            let first = SEND_RING + 2 * index * DESCRIPTOR;
            put(first, IP_SUM, UDP_SUM, EXTENDED | IPV4, 0);
            let report = if 2 * (index + 1) % GROUP == 0 {
                REPORT
            } else {
                0
            };
            let command = EXTENDED | DATA | INSERT_FCS | END_OF_PACKET | report | SMALL;
            put(first + DESCRIPTOR, FRAME, 0, command, INSERT_TCP);
        }
        self.send::<GROUP>(INSERT_TCP)
    }

    /// Sends the ring over and over: a doorbell for each `GROUP` of descriptors, the last of which reports that all are done. `status` is
    /// what that one's last word was.
    fn send<const GROUP: u32>(&self, status: u32) -> ! {
        self.start_ring(TDBAL, SEND_RING);
        store(self.registers + TCTL, TCTL_ON);
        let tail = self.registers + TDBAL + TAIL;
        // One group is always with us: head and tail at the same place mean that the ring is empty.
        let mut given = 0;
        while given < RING - GROUP {
            given += GROUP;
            store(tail, given);
        }
        say(crate::READY);
        let report = SEND_RING + (GROUP - 1) * DESCRIPTOR + STATUS;
        let turn = Turn::<GROUP> { tail, status };
        // Written out eight times: an instruction of this guest may cost as much as a tenth of a doorbell.
        let (mut first, mut report_of_first) = (0, report);
        loop {
            turn.nth(0, first, report_of_first);
            turn.nth(1, first, report_of_first);
            turn.nth(2, first, report_of_first);
            turn.nth(3, first, report_of_first);
            turn.nth(4, first, report_of_first);
            turn.nth(5, first, report_of_first);
            turn.nth(6, first, report_of_first);
            turn.nth(7, first, report_of_first);
            first = (first + 8 * GROUP) % RING;
            report_of_first = report + first * DESCRIPTOR;
        }
    }

    /// Takes frames.
    pub fn receive(mut self) -> ! {
        for index in 0..RING {
            put(
                RECEIVE_RING + index * DESCRIPTOR,
                BUFFERS + index * BUFFER,
                0,
                0,
                0,
            );
        }
        self.start_ring(RDBAL, RECEIVE_RING);
        store(self.registers + ITR, ITR_VALUE);
        store(self.registers + RXCSUM, RXCSUM_TUOFL);
        store(self.registers + RCTL, RCTL_ON);
        self.give();
        store(self.registers + IMS, IMS_ALL);
        receive::forever(&mut self)
    }

    /// Gives the buffers back that were taken (`e1000_alloc_rx_buffers`): all but one are the NIC's, as a full ring would look empty.
    fn give(&self) {
        let last = self.next.wrapping_sub(1) % RING;
        store(self.registers + RDBAL + TAIL, last);
    }

    fn start_ring(&self, base: u32, address: u32) {
        let ring = self.registers + base;
        store(ring, address);
        store(ring + BASE_HIGH, 0);
        store(ring + LENGTH, RING * DESCRIPTOR);
        store(ring + HEAD, 0);
        store(ring + TAIL, 0);
    }
}

impl Receiver for E1000 {
    const GROUP: u32 = BATCH;

    /// `e1000_clean_rx_irq`.
    fn take(&mut self) -> bool {
        // Frames come in turn.
        let status = RECEIVE_RING + (self.next + BATCH - 1) * DESCRIPTOR + STATUS;
        let value = load(status);
        if value & DONE == 0 {
            return false;
        }
        store(status, value & !0xFF);
        self.next = (self.next + BATCH) % RING;
        self.give();
        true
    }

    /// `e1000_intr`.
    fn interrupt(&mut self) {
        load(self.registers + ICR);
        store(self.registers + IMC, u32::MAX);
        load(self.registers + DEVICE_STATUS);
    }

    /// The end of `e1000_clean`.
    fn complete(&mut self) {
        store(self.registers + IMS, IMS_ALL);
        load(self.registers + DEVICE_STATUS);
    }
}

/// Lays a descriptor's words down. One by one: an array of them would be moved by vector instructions.
fn put(descriptor: u32, low: u32, high: u32, command: u32, status: u32) {
    store(descriptor, low);
    store(descriptor + 4, high);
    store(descriptor + COMMAND, command);
    store(descriptor + STATUS, status);
}

/// What is done with each group of descriptors, over and over.
struct Turn<const GROUP: u32> {
    /// The register.
    tail: u32,
    /// The last word of a group that is yet to be done.
    status: u32,
}

impl<const GROUP: u32> Turn<GROUP> {
    /// Waits until the `index`th group behind `first` is done, has it yet to be done, and gives it to the NIC again.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "so that all that `index` says is in instructions"
    )]
    fn nth(&self, index: u32, first: u32, report_of_first: u32) {
        let report = report_of_first + index * GROUP * DESCRIPTOR;
        while load(report) & DONE == 0 {}
        store(report, self.status);
        store(self.tail, first + index * GROUP);
    }
}

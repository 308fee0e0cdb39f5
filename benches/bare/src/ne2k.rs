//! The Realtek 8029 as Linux' ne2k-pci and 8390 drive it: the driver moves each frame itself, through a port. Names are the DP8390's.

use crate::{
    frame::{self, FULL},
    io::{in_words, in8, in16, in32, out_words, out8, out16, say},
    layout::{BUFFERS, FRAME},
    pci::Nic,
};

// Ports. Those from 1 to 15 are another register's on each page, and where it is read.
const CR: u16 = 0x00;
const PSTART: u16 = 0x01;
const PSTOP: u16 = 0x02;
const BNRY: u16 = 0x03;
const TSR: u16 = 0x04;
const TPSR: u16 = 0x04;
const TBCR0: u16 = 0x05;
const TBCR1: u16 = 0x06;
const ISR: u16 = 0x07;
const RSAR0: u16 = 0x08;
const RSAR1: u16 = 0x09;
const RBCR0: u16 = 0x0A;
const RBCR1: u16 = 0x0B;
const RCR: u16 = 0x0C;
const TCR: u16 = 0x0D;
const DCR: u16 = 0x0E;
const IMR: u16 = 0x0F;
/// On page 1.
const CURR: u16 = 0x07;
const DATA: u16 = 0x10;
const RESET: u16 = 0x1F;

const CR_STOP: u8 = 1 << 0;
const CR_START: u8 = 1 << 1;
const CR_TRANSMIT: u8 = 1 << 2;
const CR_READ: u8 = 1 << 3;
const CR_WRITE: u8 = 1 << 4;
const CR_NO_DMA: u8 = 1 << 5;
const CR_PAGE1: u8 = 1 << 6;
/// Receive, transmit, and the ends of a transfer.
const ISR_RECEIVE: u8 = 1 << 0 | 1 << 2;
const ISR_SENT: u8 = 1 << 1;
const ISR_DMA: u8 = 1 << 6;
/// All but the transfers' ends (`ENISR_ALL`).
const IMR_ALL: u8 = 0x3F;
/// Words, FIFO threshold of 8 bytes.
const DCR_WORDS: u8 = 0x49;
/// All stations, broadcast.
const RCR_ALL: u8 = 1 << 4 | 1 << 2;

// Pages of the NIC's memory (`NESM_START_PG`, `TX_PAGES`, `NESM_STOP_PG`).
const SEND_PAGES: [u8; 2] = [0x40, 0x46];
const FIRST_PAGE: u8 = 0x4C;
const LAST_PAGE: u8 = 0x80;
/// In front of each frame: status, the next one's page, length of both.
const HEADER: u16 = 4;
/// Frames that `ei_receive` takes at once.
const FRAMES: u32 = 9;
const WORD: u16 = 4;

/// `NS8390_init`. Not moved about: that would take vector instructions.
static START: [(u16, u8); 16] = [
    (CR, CR_NO_DMA | CR_STOP),
    (DCR, DCR_WORDS),
    (RBCR0, 0),
    (RBCR1, 0),
    (RCR, RCR_ALL),
    (TCR, 0),
    (PSTART, FIRST_PAGE),
    (BNRY, LAST_PAGE - 1),
    (PSTOP, LAST_PAGE),
    (ISR, u8::MAX),
    (CR, CR_NO_DMA | CR_PAGE1 | CR_STOP),
    (CURR, FIRST_PAGE),
    (CR, CR_NO_DMA | CR_STOP),
    (ISR, u8::MAX),
    (CR, CR_NO_DMA | CR_START),
    (IMR, IMR_ALL),
];

pub struct Ne2k {
    ports: u16,
}

impl Ne2k {
    /// `ne2k_pci_init_one`.
    pub fn new(nic: &Nic) -> Self {
        let ne2k = Self {
            ports: nic.ports(0),
        };
        let reset = ne2k.read(RESET);
        ne2k.write(RESET, reset);
        for (register, value) in &START {
            ne2k.write(*register, *value);
        }
        ne2k
    }

    /// Frames of full size: one is moved while the one before it is on the wire.
    pub fn send(&self) -> ! {
        frame::full();
        say(crate::READY);
        self.move_out(SEND_PAGES[0]);
        self.trigger(SEND_PAGES[0]);
        loop {
            for page in [SEND_PAGES[1], SEND_PAGES[0]] {
                self.start_xmit(page);
                self.sent(page);
            }
        }
    }

    /// `ei_start_xmit` while a frame is on the wire.
    fn start_xmit(&self, page: u8) {
        self.write(IMR, 0);
        self.move_out(page);
        self.write(IMR, IMR_ALL);
    }

    /// `__ei_interrupt` when it is not any more: `ei_tx_intr` sends the other one, at `page`.
    fn sent(&self, page: u8) {
        self.write(CR, CR_NO_DMA);
        // The interrupt would not have come before.
        while self.read(ISR) & ISR_SENT == 0 {}
        self.read(TSR);
        self.write(ISR, ISR_SENT);
        self.trigger(page);
        self.write(CR, CR_NO_DMA | CR_START);
        self.read(ISR);
    }

    /// `NS8390_trigger_send`.
    fn trigger(&self, page: u8) {
        self.write(CR, CR_NO_DMA);
        self.read(CR);
        let [low, high, ..] = FULL.to_le_bytes();
        self.write(TBCR0, low);
        self.write(TBCR1, high);
        self.write(TPSR, page);
        self.write(CR, CR_NO_DMA | CR_TRANSMIT | CR_START);
    }

    /// `ne2k_pci_block_output`.
    fn move_out(&self, page: u8) {
        let [low, high, ..] = FULL.to_le_bytes();
        let length = u16::from_le_bytes([low, high]);
        self.write(CR, CR_NO_DMA | CR_START);
        self.write(ISR, ISR_DMA);
        self.transfer(CR_WRITE, length, u16::from_be_bytes([page, 0]));
        out_words(self.ports + DATA, FRAME, (length / WORD).into());
        if length & 2 != 0 {
            out16(self.ports + DATA, 0);
        }
        while self.read(ISR) & ISR_DMA == 0 {}
        self.write(ISR, ISR_DMA);
    }

    /// Takes frames (`__ei_interrupt`).
    pub fn receive(&self) -> ! {
        say(crate::READY);
        let mut count = 0;
        let mut page = FIRST_PAGE;
        loop {
            self.write(CR, CR_NO_DMA);
            // Zero would be the interrupt's end: it is the next one that is waited for.
            while self.read(ISR) & ISR_RECEIVE == 0 {}
            let mut left = FRAMES;
            while left > 0 && self.has_frame(page) {
                page = self.take(page);
                count = crate::count(count + 1);
                left -= 1;
            }
            self.write(ISR, ISR_RECEIVE);
            self.write(CR, CR_NO_DMA | CR_START);
        }
    }

    /// What `ei_receive` begins with: whether a frame is at `page`.
    fn has_frame(&self, page: u8) -> bool {
        self.write(CR, CR_NO_DMA | CR_PAGE1);
        let end = self.read(CURR);
        self.write(CR, CR_NO_DMA);
        self.read(BNRY);
        end != page
    }

    /// Takes the frame there; returns the next one's page.
    fn take(&self, page: u8) -> u8 {
        // `ne2k_pci_get_8390_hdr`.
        self.write(CR, CR_NO_DMA | CR_START);
        let start = u16::from_be_bytes([page, 0]);
        self.transfer(CR_READ, HEADER, start);
        let [_, next, low, high] = in32(self.ports + DATA).to_le_bytes();
        self.write(ISR, ISR_DMA);
        // `ne2k_pci_block_input`.
        let length = u16::from_le_bytes([low, high]) - HEADER;
        self.write(CR, CR_NO_DMA | CR_START);
        self.transfer(CR_READ, length, start + HEADER);
        in_words(self.ports + DATA, BUFFERS, (length / WORD).into());
        if length & 2 != 0 {
            in16(self.ports + DATA);
        }
        if length & 1 != 0 {
            in8(self.ports + DATA);
        }
        self.write(ISR, ISR_DMA);
        self.write(BNRY, next - 1);
        next
    }

    /// Remote DMA of `length` bytes from `at` on.
    fn transfer(&self, command: u8, length: u16, at: u16) {
        let [low, high] = length.to_le_bytes();
        self.write(RBCR0, low);
        self.write(RBCR1, high);
        let [low, high] = at.to_le_bytes();
        self.write(RSAR0, low);
        self.write(RSAR1, high);
        self.write(CR, command | CR_START);
    }

    fn read(&self, register: u16) -> u8 {
        in8(self.ports + register)
    }

    fn write(&self, register: u16, value: u8) {
        out8(self.ports + register, value);
    }
}

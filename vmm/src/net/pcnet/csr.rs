//! Control and status registers, behind RDP.
use super::{device::Device, receive::Held, spec};
use std::sync::atomic::Ordering;

impl Device {
    /// Reads CSR `index`.
    pub(super) fn read_csr(&self, index: u16) -> u16 {
        let state = &self.state;
        let half = |address: u64, high: bool| {
            let [b0, b1, b2, b3, ..] = address.to_le_bytes();
            u16::from_le_bytes(if high { [b2, b3] } else { [b0, b1] })
        };
        let received = || state.receive_ring().at(state.receive_next);
        let sent = || state.transmit_ring().at(self.transmitter.head());
        match index {
            spec::CSR_STATUS => self.read_status(),
            spec::CSR_EXTENDED if self.transmitter.has_flights() => {
                // It reads as 1 when nothing is on its way any more.
                state.get(index) & !spec::CSR5_SPND
            }
            spec::CSR_IADR_LOW_ALIAS => state.get(spec::CSR_IADR_LOW),
            spec::CSR_IADR_HIGH_ALIAS => state.get(spec::CSR_IADR_HIGH),
            spec::CSR_CRDA_LOW | spec::CSR_CRDA_HIGH => {
                half(received(), index == spec::CSR_CRDA_HIGH)
            }
            spec::CSR_CXDA_LOW | spec::CSR_CXDA_HIGH => half(sent(), index == spec::CSR_CXDA_HIGH),
            spec::CSR_SWS => self.read_bcr(spec::BCR_SWS),
            spec::CSR_RCVRC => counter(state.get(spec::CSR_RCVRL), state.receive_next),
            spec::CSR_XMTRC => counter(state.get(spec::CSR_XMTRL), self.transmitter.head()),
            _ => state.get(index),
        }
    }

    fn read_status(&self) -> u16 {
        let mut status = self.state.get(spec::CSR_STATUS);
        for (is_set, bit) in [
            (
                self.doorbells.demand.load(Ordering::SeqCst),
                spec::CSR0_TDMD,
            ),
            (self.state.interrupts(), spec::CSR0_INTR),
            (status & spec::CSR0_ERRORS != 0, spec::CSR0_ERR),
        ] {
            if is_set {
                status |= bit;
            }
        }
        status
    }

    /// Writes CSR `index`; true: the thread has to act on it. Every interrupt of a driver acknowledges and masks: that must not cost a
    /// wake-up.
    pub(super) fn write_csr(&mut self, index: u16, value: u16) -> bool {
        match index {
            spec::CSR_STATUS => return self.write_status(value),
            spec::CSR_MASKS => {
                self.state.set(index, value & spec::CSR3_WRITABLE);
                return false;
            }
            spec::CSR_FEATURES => self.write_features(value),
            spec::CSR_EXTENDED => {
                self.write_flags(index, value, spec::CSR5_FLAGS, spec::CSR5_WRITABLE);
            }
            spec::CSR_EXTENDED2 if self.state.chip.mii => {
                // A receive demand needs nothing but the thread.
                self.write_flags(index, value, spec::CSR7_FLAGS, spec::CSR7_WRITABLE);
            }
            spec::CSR_IADR_LOW_ALIAS => return self.write_csr(spec::CSR_IADR_LOW, value),
            spec::CSR_IADR_HIGH_ALIAS => return self.write_csr(spec::CSR_IADR_HIGH, value),
            spec::CSR_SWS => return self.write_bcr(spec::BCR_SWS, value),
            spec::CSR_POLL
            | spec::CSR_POLLINT
            | spec::CSR_DMATCFW
            | spec::CSR_DMABAT
            | spec::CSR_MERRTO
            | spec::CSR_RCVALGN
            | spec::CSR_TEST => self.state.set(index, value),
            _ if self.state.is_quiet() => self.write_quiet(index, value),
            _ => {}
        }
        true
    }

    /// What takes writes only while the chip is stopped or suspended.
    fn write_quiet(&mut self, index: u16, value: u16) {
        match index {
            spec::CSR_IADR_LOW
            | spec::CSR_IADR_HIGH
            | spec::CSR_LADRF..=spec::CSR_MODE
            | spec::CSR_BADR_LOW
            | spec::CSR_BADR_HIGH
            | spec::CSR_RCVRL
            | spec::CSR_MFC
            | spec::CSR_RCC => self.state.set(index, value),
            spec::CSR_BADX_LOW | spec::CSR_BADX_HIGH | spec::CSR_XMTRL => {
                self.state.set(index, value);
                self.move_transmit_ring(self.transmitter.head());
            }
            spec::CSR_RCVRC => {
                self.state.receive_next = position(self.state.get(spec::CSR_RCVRL), value);
            }
            spec::CSR_XMTRC => {
                self.move_transmit_ring(position(self.state.get(spec::CSR_XMTRL), value));
            }
            _ => {}
        }
    }

    /// Frames on their way belong to the ring as it was.
    pub(super) fn move_transmit_ring(&mut self, head: u32) {
        self.stale |= self.transmitter.restart(head);
    }

    fn write_flags(&mut self, index: u16, value: u16, flags: u16, writable: u16) {
        let kept = self.state.get(index) & flags & !value;
        self.state.set(index, value & writable | kept);
    }

    fn write_features(&mut self, value: u16) {
        let command = value & spec::CSR4_UINTCMD != 0;
        self.write_flags(
            spec::CSR_FEATURES,
            value,
            spec::CSR4_FLAGS,
            spec::CSR4_WRITABLE,
        );
        if command {
            self.state.raise(spec::CSR_FEATURES, spec::CSR4_UINT);
        }
    }

    fn write_status(&mut self, value: u16) -> bool {
        if value & spec::CSR0_STOP != 0 {
            self.stop();
            return true;
        }
        let old = self.state.get(spec::CSR_STATUS);
        let kept = old & !(value & spec::CSR0_FLAGS) & !spec::CSR0_IENA;
        self.state
            .set(spec::CSR_STATUS, kept | value & spec::CSR0_IENA);
        let mut needs_thread = false;
        if value & !old & spec::CSR0_INIT != 0 {
            self.initialize();
            needs_thread = true;
        }
        if value & !old & spec::CSR0_STRT != 0 {
            self.start();
            needs_thread = true;
        }
        if value & spec::CSR0_TDMD != 0 && self.status_has(spec::CSR0_TXON) {
            self.doorbells.demand.store(true, Ordering::SeqCst);
            needs_thread = true;
        }
        needs_thread
    }

    /// CSR0.STRT: which half runs was said in CSR15.
    fn start(&mut self) {
        let mode = self.state.get(spec::CSR_MODE);
        self.state.clear(spec::CSR_STATUS, spec::CSR0_STOP);
        self.raise(spec::CSR0_STRT);
        if mode & spec::MODE_DTX == 0 {
            self.raise(spec::CSR0_TXON);
        }
        if mode & spec::MODE_DRX == 0 {
            self.raise(spec::CSR0_RXON);
        }
    }

    /// CSR0.STOP: rings and their positions stay.
    fn stop(&mut self) {
        self.move_transmit_ring(self.transmitter.head());
        self.state.set(spec::CSR_STATUS, spec::CSR0_STOP);
        self.state.clear(spec::CSR_FEATURES, spec::CSR4_FLAGS);
        self.state
            .clear(spec::CSR_EXTENDED, spec::CSR5_SPND | spec::CSR5_FLAGS);
        self.state.clear(spec::CSR_EXTENDED2, spec::CSR7_FLAGS);
        self.state.missing = false;
        self.doorbells.demand.store(false, Ordering::SeqCst);
        self.held = Held::default();
    }
}

/// A ring counter (CSR72, CSR74): counts up from the ring's length, which is two's complement.
fn counter(length: u16, index: u32) -> u16 {
    let [low, high, ..] = index.to_le_bytes();
    length.wrapping_add(u16::from_le_bytes([low, high]))
}

/// The descriptor that a ring counter names.
fn position(length: u16, counter: u16) -> u32 {
    let index = u32::from(counter.wrapping_sub(length));
    index % (0x1_0000 - u32::from(length))
}

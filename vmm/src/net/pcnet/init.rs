//! The initialization block ("Initialization", "Initialization Block").
use super::{device::Device, spec};

/// What a block says.
struct Block {
    mode: u16,
    /// PADR and LADRF as CSR12 and CSR8 take them.
    padr: [u16; 3],
    ladrf: [u16; 4],
    /// Base and length code of each ring.
    receive: (u32, u16),
    transmit: (u32, u16),
}

fn word(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..at + 2);
    field
        .and_then(|field| field.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) | u32::from(word(bytes, at + 2)) << 16
}

fn words<const N: usize>(bytes: &[u8], at: usize) -> [u16; N] {
    std::array::from_fn(|index| word(bytes, at + 2 * index))
}

impl Block {
    /// With SSIZE32.
    fn wide(bytes: [u8; 28]) -> Self {
        let lengths = word(&bytes, 2);
        Self {
            mode: word(&bytes, 0),
            padr: words(&bytes, 4),
            ladrf: words(&bytes, 12),
            receive: (dword(&bytes, 20), lengths >> 4 & 0xf),
            transmit: (dword(&bytes, 24), lengths >> 12),
        }
    }

    /// Without; `high`: the upper eight bits of addresses.
    fn narrow(bytes: [u8; 24], high: u32) -> Self {
        let ring = |at| {
            let field = dword(&bytes, at);
            let code = u16::try_from(field >> 29).unwrap_or(0);
            (field & 0x00ff_ffff | high, code)
        };
        Self {
            mode: word(&bytes, 0),
            padr: words(&bytes, 2),
            ladrf: words(&bytes, 8),
            receive: ring(16),
            transmit: ring(20),
        }
    }
}

/// Two's complement of a length that is given as a power of two.
fn length(code: u16) -> u16 {
    let len = (1u32 << code.min(15)).min(spec::MAX_TABLE);
    u16::try_from(0x1_0000 - len).unwrap_or(u16::MAX)
}

impl Device {
    /// CSR0.INIT: reads the block at once. Where no memory is, that is a bus error (MERR).
    pub(super) fn initialize(&mut self) {
        let Some(block) = self.read_block() else {
            self.raise(spec::CSR0_MERR);
            return;
        };
        let state = &mut self.state;
        state.set(spec::CSR_MODE, block.mode);
        for (index, value) in (spec::CSR_LADRF..).zip(block.ladrf) {
            state.set(index, value);
        }
        for (index, value) in (spec::CSR_PADR..).zip(block.padr) {
            state.set(index, value);
        }
        state.set_address(spec::CSR_BADR_LOW, block.receive.0);
        state.set_address(spec::CSR_BADX_LOW, block.transmit.0);
        let (receive, transmit) = (block.receive.1, block.transmit.1);
        state.set(spec::CSR_RCVRL, length(receive));
        state.set(spec::CSR_XMTRL, length(transmit));
        state.set(spec::CSR_TABLE_LENGTHS, transmit << 12 | receive << 8);
        state.receive_next = 0;
        state.clear(spec::CSR_STATUS, spec::CSR0_STOP);
        self.move_transmit_ring(0);
        self.raise(spec::CSR0_INIT | spec::CSR0_IDON);
    }

    fn read_block(&self) -> Option<Block> {
        if !self.bus_master {
            return None;
        }
        let at = self.state.address(spec::CSR_IADR_LOW).into();
        if self.state.style().is_wide() {
            let mut bytes = [0; 28];
            let read = self.memory.read(at, &mut bytes);
            read.then(|| Block::wide(bytes))
        } else {
            let mut bytes = [0; 24];
            let read = self.memory.read(at, &mut bytes);
            read.then(|| Block::narrow(bytes, self.state.high()))
        }
    }
}

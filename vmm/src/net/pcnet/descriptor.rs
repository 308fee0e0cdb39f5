//! Descriptor rings in all software styles ("Software Access", BCR20).
use super::spec;
use std::sync::atomic::{Ordering, fence};
use virtqueue::MemoryMap;

/// Layout of descriptors and of the initialization block (BCR20.SWSTYLE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// 0: C-LANCE and PCnet-ISA, 16 bits wide.
    Lance,
    /// 1: ILACC.
    Ilacc,
    /// 2: PCnet-PCI.
    Pcnet,
    /// 3: PCnet-PCI with address and count exchanged.
    Exchanged,
}

impl Style {
    /// By number; those that do not exist are as after a reset.
    pub fn new(number: u16) -> Self {
        match number {
            1 => Self::Ilacc,
            2 => Self::Pcnet,
            3 => Self::Exchanged,
            _ => Self::Lance,
        }
    }

    /// SSIZE32 and CSRPCNET, as BCR20 shows them.
    pub fn bits(self) -> u16 {
        match self {
            Self::Lance => spec::BCR20_CSRPCNET,
            Self::Ilacc => spec::BCR20_SSIZE32,
            Self::Pcnet | Self::Exchanged => spec::BCR20_CSRPCNET | spec::BCR20_SSIZE32,
        }
    }

    /// Structures are 32 bits wide.
    pub fn is_wide(self) -> bool {
        self != Self::Lance
    }
}

/// A descriptor as read once from guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The buffer.
    pub addr: u64,
    /// Its length: BCNT, 1 to 4096.
    pub len: u32,
    /// Upper half of RMD1 or TMD1.
    pub flags: u16,
}

impl Descriptor {
    /// All of these are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

/// A ring as the registers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Guest physical address.
    pub base: u32,
    /// Descriptors; never 0.
    pub len: u32,
    /// How they look.
    pub style: Style,
    /// Upper eight bits of addresses in 16-bit structures (CSR2).
    pub high: u32,
}

impl Ring {
    /// Where descriptor `index` lies. Addresses have 32 bits.
    pub fn at(&self, index: u32) -> u64 {
        let len = if self.style.is_wide() { 16 } else { 8 };
        self.base.wrapping_add(index.wrapping_mul(len)).into()
    }

    /// The descriptor after `index`.
    pub fn next(&self, index: u32) -> u32 {
        if index + 1 >= self.len { 0 } else { index + 1 }
    }

    /// The byte with OWN.
    fn own_at(&self, index: u32) -> u64 {
        self.at(index) + if self.style.is_wide() { 7 } else { 3 }
    }

    /// Descriptor `index`, whoever owns it; `None`: it is not in memory.
    pub fn read(&self, index: u32, memory: &MemoryMap) -> Option<Descriptor> {
        let mut own = [0];
        if !memory.read(self.own_at(index), &mut own) {
            return None;
        }
        // The driver sets OWN last: the rest is read after it.
        fence(Ordering::Acquire);
        let mut descriptor = if self.style.is_wide() {
            let mut bytes = [0; 16];
            memory.read(self.at(index), &mut bytes).then_some(())?;
            self.decode_wide(u128::from_le_bytes(bytes))
        } else {
            let mut bytes = [0; 8];
            memory.read(self.at(index), &mut bytes).then_some(())?;
            self.decode_narrow(bytes)
        };
        if own[0] & 0x80 == 0 {
            descriptor.flags &= !spec::D_OWN;
        }
        Some(descriptor)
    }

    fn decode_wide(&self, all: u128) -> Descriptor {
        let dword = |index: u32| u32::try_from(all >> (32 * index) & 0xffff_ffff).unwrap_or(0);
        let addr = match self.style {
            Style::Exchanged => dword(2),
            _ => dword(0),
        };
        let [c0, c1, f0, f1] = dword(1).to_le_bytes();
        Descriptor {
            addr: addr.into(),
            len: length(u16::from_le_bytes([c0, c1])),
            flags: u16::from_le_bytes([f0, f1]),
        }
    }

    fn decode_narrow(&self, bytes: [u8; 8]) -> Descriptor {
        let [a0, a1, a2, flags, c0, c1, ..] = bytes;
        Descriptor {
            addr: u64::from(u32::from_le_bytes([a0, a1, a2, 0]) | self.high),
            len: length(u16::from_le_bytes([c0, c1])),
            flags: u16::from(flags) << 8,
        }
    }

    /// Gives receive descriptor `index` back; `count`: bytes of the frame that ends in it.
    pub fn give_received(&self, index: u32, flags: u16, count: Option<u16>, memory: &MemoryMap) {
        let at = self.at(index);
        if let Some(count) = count {
            let at = match self.style {
                Style::Lance => at + 6,
                Style::Ilacc | Style::Pcnet => at + 8,
                Style::Exchanged => at,
            };
            if self.style.is_wide() {
                // No runts and no collisions were counted: RPC and RCC are 0.
                let _ = memory.write(at, &u32::from(count).to_le_bytes());
            } else {
                let _ = memory.write(at, &count.to_le_bytes());
            }
        }
        let [low, high] = flags.to_le_bytes();
        if matches!(self.style, Style::Pcnet | Style::Exchanged) {
            let _ = memory.write(at + 6, &[low]);
        }
        // The driver looks at OWN first: everything else must be there before it.
        fence(Ordering::Release);
        let _ = memory.write(self.own_at(index), &[high]);
    }

    /// Gives transmit descriptor `index` back, with the errors of the frame that ends in it.
    pub fn give_sent(&self, index: u32, errors: u16, memory: &MemoryMap) {
        let at = self.at(index);
        let own_at = self.own_at(index);
        let mut flags = [0];
        if !memory.read(own_at, &mut flags) {
            return;
        }
        let [kept] = flags;
        // No collisions: MORE, ONE and DEF are 0.
        let [_, keep] = (spec::T_ADD_NO_FCS | spec::D_STP | spec::D_ENP).to_le_bytes();
        let mut done = kept & keep;
        if errors != 0 {
            let [_, bit] = spec::D_ERR.to_le_bytes();
            done |= bit;
            let at = match self.style {
                Style::Lance => at + 6,
                Style::Ilacc | Style::Pcnet => at + 10,
                Style::Exchanged => at + 2,
            };
            let _ = memory.write(at, &errors.to_le_bytes());
        }
        fence(Ordering::Release);
        let _ = memory.write(own_at, &[done]);
    }
}

/// BCNT: twelve bits, two's complement. The four bits above them should be ones; nobody gains by a chip that minds.
fn length(field: u16) -> u32 {
    4096 - u32::from(field & 0xfff)
}

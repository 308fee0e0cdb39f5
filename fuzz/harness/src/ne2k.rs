//! Target `ne2k`: see [`nic`](crate::nic).
use vmm::net::{
    ne2k::{Device, spec},
    nic::{Access, Width},
};

const fn register(offset: u32, width: Width) -> Access {
    Access {
        bar: spec::IO_BAR,
        offset,
        width,
    }
}

/// Each is of the page that CR shows. Several at once, so that an input needs few events for a ring or a transfer.
const REGISTERS: [Access; 22] = [
    register(spec::CR, Width::Byte),
    // CR, PSTART, PSTOP and BNRY.
    register(spec::CR, Width::Dword),
    register(spec::PSTART, Width::Byte),
    register(spec::PSTOP, Width::Byte),
    register(spec::BNRY, Width::Byte),
    // TPSR, TBCR0, TBCR1 and ISR; of page 1 the end of PAR, and CURR.
    register(spec::TPSR, Width::Dword),
    register(spec::ISR, Width::Byte),
    // RSAR and RBCR; MAR0 to MAR3.
    register(spec::RSAR0, Width::Dword),
    register(spec::RSAR0, Width::Word),
    register(spec::RBCR0, Width::Word),
    // RCR, TCR, DCR and IMR; MAR4 to MAR7.
    register(spec::RCR, Width::Dword),
    register(spec::RCR, Width::Byte),
    register(spec::TCR, Width::Byte),
    register(spec::DCR, Width::Byte),
    register(spec::CR9346, Width::Byte),
    register(spec::CONFIG3, Width::Byte),
    register(spec::DATA_PORT, Width::Byte),
    register(spec::DATA_PORT, Width::Word),
    register(spec::DATA_PORT, Width::Dword),
    register(spec::DATA_PORT + 4, Width::Dword),
    register(spec::RESET_PORT, Width::Byte),
    register(spec::CURR, Width::Byte),
];

/// Plays the input against an RTL8029AS.
pub fn run(input: &[u8]) {
    crate::nic::run(input, &REGISTERS, Device::new);
}

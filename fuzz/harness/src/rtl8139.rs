//! Target `rtl8139`: see [`nic`](crate::nic).
use std::time::Instant;
use vmm::net::{
    nic::{Access, Width},
    rtl8139::{Device, spec},
};

const fn register(offset: u32, width: Width) -> Access {
    Access {
        bar: spec::MEMORY_BAR,
        offset,
        width,
    }
}

const REGISTERS: [Access; 22] = [
    register(spec::TSD0, Width::Dword),
    register(spec::TSD0 + 4, Width::Dword),
    register(spec::TSD0 + 8, Width::Dword),
    register(spec::TSD3, Width::Dword),
    register(spec::TSAD0, Width::Dword),
    register(spec::TSAD0 + 4, Width::Dword),
    register(spec::RBSTART, Width::Dword),
    register(spec::CR, Width::Byte),
    register(spec::CAPR, Width::Word),
    register(spec::IMR, Width::Word),
    register(spec::ISR, Width::Word),
    register(spec::TCR, Width::Dword),
    register(spec::RCR, Width::Dword),
    register(spec::TCTR, Width::Dword),
    register(spec::CR9346, Width::Byte),
    register(spec::TIMER_INT, Width::Dword),
    register(spec::BMCR, Width::Word),
    register(spec::MAR0, Width::Dword),
    register(spec::TPPOLL, Width::Byte),
    register(spec::CPCR, Width::Word),
    register(spec::RDSAR, Width::Dword),
    register(spec::TNPDS_HIGH, Width::Dword),
];

/// Plays the input against an RTL8139C or C+.
pub fn run(input: &[u8]) {
    let c = input.first().is_some_and(|bits| bits & 8 != 0);
    let chip = if c { spec::C } else { spec::C_PLUS };
    crate::nic::run(input, &REGISTERS, |parts| {
        Device::new(chip, parts, Instant::now())
    });
}

//! Target `e1000`: see [`nic`](crate::nic).
use vmm::net::{
    e1000::{Device, spec},
    nic::{Access, Width},
};

const fn register(offset: u32) -> Access {
    Access {
        bar: spec::MEMORY_BAR,
        offset,
        width: Width::Dword,
    }
}

const REGISTERS: [Access; 24] = [
    register(spec::CTRL),
    register(spec::EECD),
    register(spec::EERD),
    register(spec::MDIC),
    register(spec::VET),
    register(spec::ICR),
    register(spec::ITR),
    register(spec::ICS),
    register(spec::IMS),
    register(spec::IMC),
    register(spec::RCTL),
    register(spec::TCTL),
    register(spec::RDBAL),
    register(spec::RDLEN),
    register(spec::RDH),
    register(spec::RDT),
    register(spec::RDTR),
    register(spec::TDBAL),
    register(spec::TDLEN),
    register(spec::TDH),
    register(spec::TDT),
    register(spec::TIDV),
    register(spec::RXCSUM),
    register(spec::VFTA),
];

/// Plays the input against an 82540EM.
pub fn run(input: &[u8]) {
    crate::nic::run(input, &REGISTERS, |parts| {
        Device::new(spec::I82540EM, parts)
    });
}

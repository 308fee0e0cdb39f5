//! Target `pcnet`: see [`nic`](crate::nic).
use vmm::net::{
    nic::{Access, Width},
    pcnet::{Device, spec},
};

const fn port(offset: u32, width: Width) -> Access {
    Access {
        bar: spec::IO_BAR,
        offset,
        width,
    }
}

/// Registers are behind ports: those of word mode more often, since the other is a way of no return.
const PORTS: [Access; 13] = [
    port(spec::WIO_RAP, Width::Word),
    port(spec::WIO_RDP, Width::Word),
    port(spec::WIO_BDP, Width::Word),
    port(spec::WIO_RAP, Width::Word),
    port(spec::WIO_RDP, Width::Word),
    port(spec::WIO_BDP, Width::Word),
    port(spec::WIO_RDP, Width::Word),
    port(spec::DWIO_RAP, Width::Dword),
    port(spec::DWIO_RDP, Width::Dword),
    port(spec::DWIO_BDP, Width::Dword),
    port(spec::DWIO_RAP, Width::Dword),
    port(spec::DWIO_RDP, Width::Dword),
    port(0, Width::Dword),
];

/// Plays the input against an Am79C970A or Am79C973.
pub fn run(input: &[u8]) {
    let fast = input.first().is_some_and(|bits| bits & 8 != 0);
    let chip = if fast {
        spec::AM79C973
    } else {
        spec::AM79C970A
    };
    crate::nic::run(input, &PORTS, |parts| Device::new(chip, parts));
}

//! A minimal KVM virtual machine monitor whose NICs live in netbackend.
pub mod bus;
pub mod interrupt;
pub mod memory;

//! A minimal KVM virtual machine monitor whose NICs live in netbackend.
pub mod boot;
pub mod bus;
pub mod check;
pub mod cli;
pub mod config;
pub mod devices;
pub mod interrupt;
pub mod kvm;
pub mod layout;
pub mod limit;
pub mod machine;
pub mod memory;
pub mod pci;
pub mod run;
pub mod terminal;
pub mod wait;

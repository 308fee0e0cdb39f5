//! The per-host daemon that carries the network traffic of all KVM guests.
pub mod network;
pub mod offload;

//! Traffic generator on the driver side of vhost-user rings: two front-ends in one process, one sends and one receives.
//!
//! It attaches to any vhost-user back-end, so the same generator measures ours and its peers.
#![forbid(unsafe_code)]

mod front_end;
mod memory;
mod one_way;

pub use front_end::{FrontEnd, Ring};
pub use memory::Memory;
pub use one_way::{Load, Measured, one_way};

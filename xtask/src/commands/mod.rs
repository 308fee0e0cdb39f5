//! What `cargo xtask` can do, one file per command.
pub mod bench;
pub mod build;
pub mod demo;
pub mod fuzz;
pub mod lab;
pub mod lint;
pub mod test;

//! People's commands (`cargo xtask …`) and the lab they share with the end-to-end tests.
//!
//! * [`setup`] puts on the machine what the lab needs: Debian packages, stock kernels.
//! * [`image`] builds initramfs images: the guest's, and the lab host's with our programs inside.
//! * [`bench`] measures our daemon beside its peers.
//! * [`lab`] runs a named scenario: in a nested host booted by QEMU with emulated SVM, or directly
//!   where the machine has real virtualization.
//!
//! ```
//! // The scenarios are shell scripts with a header that says what they show.
//! let scenario = xtask::lab::Scenario::load("host-smoke").unwrap();
//! assert!(!scenario.title.is_empty());
//! ```
#![forbid(unsafe_code)]

pub mod bench;
pub mod commands;
pub mod exec;
pub mod image;
pub mod lab;
pub mod machine;
pub mod repo;
pub mod setup;
pub mod ui;

//! Initramfs images: trees of files, written as cpio archives and cached by their content.
pub mod cpio;
pub mod guest;
pub mod host;
pub mod modules;
mod tree;

pub use tree::Tree;

//! Port forwards: who in the world reaches which guest.
mod parse;
mod spec;
mod table;
mod text;

pub use parse::ParseForwardError;
pub use spec::{Forward, GuestRef, Transport};
pub(crate) use table::ForwardTable;

#[cfg(test)]
mod source_test;

//! Port forwards: who in the world reaches which guest.
mod spec;
mod table;

pub use spec::{Forward, GuestRef, Transport};
pub(crate) use table::ForwardTable;

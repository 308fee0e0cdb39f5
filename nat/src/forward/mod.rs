//! Port forwards: who in the world reaches which guest.
mod spec;

pub use spec::{Forward, GuestRef, Transport};

//! The `netbackend` command.
fn main() {}

//! People's commands: demo, test, lint, bench, lab
fn main() {}

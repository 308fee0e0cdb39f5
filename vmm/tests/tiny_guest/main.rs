//! Hand-made guests of a few instructions on the KVM of this machine: they need neither svm nor vmx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod console;
mod life;
mod support;

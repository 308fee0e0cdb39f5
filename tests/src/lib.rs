//! End-to-end tests: real guests, real kernels, independent peers
#![forbid(unsafe_code)]

pub mod stock_backend;

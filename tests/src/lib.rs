//! End-to-end tests: real guests, real kernels, independent peers

//! See `fuzz_harness::nat_gateway`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::nat_gateway::run(input));

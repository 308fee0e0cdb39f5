//! See `fuzz_harness::pcnet`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::pcnet::run(input));

//! See `fuzz_harness::e1000`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::e1000::run(input));

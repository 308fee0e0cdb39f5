//! See `fuzz_harness::switch`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::switch::run(input));

//! See `fuzz_harness::config`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::config::run(input));

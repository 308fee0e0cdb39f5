//! See `fuzz_harness::dns`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::dns::run(input));

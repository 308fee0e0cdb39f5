//! See `fuzz_harness::tftp`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::tftp::run(input));

//! See `fuzz_harness::ne2k`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::ne2k::run(input));

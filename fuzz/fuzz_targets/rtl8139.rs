//! See `fuzz_harness::rtl8139`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::rtl8139::run(input));

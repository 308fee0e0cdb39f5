//! See `fuzz_harness::offload`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::offload::run(input));

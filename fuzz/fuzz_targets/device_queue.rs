//! See `fuzz_harness::device_queue`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::device_queue::run(input));

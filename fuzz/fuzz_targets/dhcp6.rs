//! See `fuzz_harness::dhcp6`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::dhcp6::run(input));

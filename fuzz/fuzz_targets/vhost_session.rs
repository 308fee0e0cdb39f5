//! See `fuzz_harness::vhost_session`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_harness::vhost_session::run(input));

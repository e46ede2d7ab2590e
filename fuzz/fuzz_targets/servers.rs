//! Events at three servers and two clients, one after the other: see `meantime_fuzz::servers`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime_fuzz::servers;

fuzz_target!(|bytes: &[u8]| servers::run(bytes));

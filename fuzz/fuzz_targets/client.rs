//! What may happen to a client, one thing after the other: see `meantime_fuzz::stage`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime_fuzz::{Side, play};

fuzz_target!(|bytes: &[u8]| play(Side::Client, bytes));

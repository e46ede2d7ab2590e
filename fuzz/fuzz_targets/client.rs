//! Events at a client, one after the other: see `meantime_fuzz::cluster`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meantime_fuzz::{NodeUnderTest, run};

fuzz_target!(|bytes: &[u8]| run(NodeUnderTest::Client, bytes));

//! What is measured: exchanges for a discipline alone, and whole nodes; over the simulator's oscillators and
//! waits, so that the work is that of real noise. Each way takes 100 µs and an exponential wait of 20 µs.

#![allow(dead_code, reason = "each bench uses a part of this")]

pub(crate) mod counting;
pub(crate) mod load;
pub(crate) mod path;

use std::time::Duration;

use criterion::Criterion;
use meantime_core::time::Span;
use meantime_sim::seed::Seed;

/// From one round to the next.
pub(crate) const INTERVAL: Span = Span::from_secs(5);

/// With so many bursts of this size, a discipline replays its start for the last time: it then has 2,048
/// observations, two of each exchange.
pub(crate) fn bursts_of_start(size: usize) -> usize {
    1024 / size
}

/// How it is measured: long enough to tell a tenth from noise, short enough for all benches in two minutes.
pub(crate) fn criterion() -> Criterion {
    let criterion = Criterion::default().warm_up_time(Duration::from_secs(1));
    criterion.measurement_time(Duration::from_secs(3)).configure_from_args()
}

/// The seed of everything random.
pub(crate) const SEED: Seed = Seed(1);

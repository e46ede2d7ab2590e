//! What is measured: exchanges for a discipline alone, and whole nodes; over the simulator's oscillators and
//! waits, so that the work is that of real noise. Each way takes 100 µs and an exponential wait of 20 µs.

#![allow(dead_code, reason = "each bench uses a part of this")]

pub(crate) mod counting;
pub(crate) mod hall;
pub(crate) mod island;
pub(crate) mod path;

use std::time::Duration;

use criterion::Criterion;
use meantime_core::time::{Frequency, Span};
use meantime_sim::Jitter;
use meantime_sim::oscillator::{Errs, Oscillator};
use meantime_sim::seed::{Purpose, Seed};
use rand_chacha::ChaCha8Rng;

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

/// One way of the path.
struct Way {
    jitter: Jitter,
    rng: ChaCha8Rng,
}

impl Way {
    fn new() -> Way {
        Way {
            jitter: Jitter::Exponential { mean: Span::from_micros(20) },
            rng: SEED.stream(Purpose::Down, 0),
        }
    }

    /// How long the next datagram takes.
    fn delay(&mut self) -> Span {
        Span::from_micros(100) + self.jitter.draw(&mut self.rng)
    }
}

/// A common quartz that runs fast by 30 ppm; each number has a walk of its own.
fn oscillator(number: usize) -> Oscillator {
    let errs = Errs { offset: Span::ZERO, drift: Frequency::from_ppm(30.0), wander: 1e-9 };
    Oscillator::new(errs, SEED.stream(Purpose::Wander, number))
}

const SEED: Seed = Seed(1);

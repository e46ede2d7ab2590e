//! How long a datagram is under way.

use meantime_core::time::Span;
use rand_chacha::ChaCha8Rng;

use crate::Jitter;
use crate::seed::{Purpose, Seed};

/// The delays of a network: for each datagram a constant, plus a random wait of its own.
#[derive(Clone, Debug)]
pub struct Delay {
    base: Span,
    jitter: Jitter,
    rng: ChaCha8Rng,
}

impl Delay {
    /// The same delay for every datagram.
    pub fn constant(base: Span) -> Delay {
        Delay::jittered(base, Jitter::None, Seed(0))
    }

    /// A constant delay and a random wait.
    pub fn jittered(base: Span, jitter: Jitter, seed: Seed) -> Delay {
        Delay { base, jitter, rng: seed.stream(Purpose::Down, 0) }
    }

    /// A good LAN: 100 µs and an exponential wait of 20 µs.
    pub fn lan(seed: Seed) -> Delay {
        let jitter = Jitter::Exponential { mean: Span::from_micros(20) };
        Delay::jittered(Span::from_micros(100), jitter, seed)
    }

    /// The delay of the next datagram.
    pub fn draw(&mut self) -> Span {
        self.base + self.jitter.draw(&mut self.rng)
    }
}

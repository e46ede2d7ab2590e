//! How long a datagram is delayed beyond the path's base delay.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, Gamma, StandardNormal};

use meantime_core::time::Span;

/// The distribution of one datagram's waiting, independent of all others'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Jitter {
    /// It never waits.
    None,
    /// Exponential.
    Exponential {
        /// The mean.
        mean: Span,
    },
    /// Gamma: several queues one behind the other; no sharp edge at the least delay.
    Gamma {
        /// The shape, above zero.
        shape: f64,
        /// The mean.
        mean: Span,
    },
    /// Pareto: now and then a very long wait. At least `scale`.
    Pareto {
        /// The tail's exponent, above zero. The smaller, the heavier.
        alpha: f64,
        /// The least wait.
        scale: Span,
    },
    /// Gaussian, to both sides: noise of the path or of timestamps. Never makes a delay negative.
    Gaussian {
        /// The standard deviation.
        sigma: Span,
    },
    /// Exponential, and with probability `chance` a fixed wait on top.
    Mixture {
        /// The mean of the exponential part.
        mean: Span,
        /// How often the wait is longer, 0 to 1.
        chance: f64,
        /// How much longer.
        extra: Span,
    },
}

impl Jitter {
    /// One wait. Only a Gaussian one may be negative.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Span {
        match *self {
            Jitter::None => Span::ZERO,
            Jitter::Exponential { mean } => exponential(mean, rng),
            Jitter::Gamma { shape, mean } => match Gamma::new(shape, 1.0 / shape) {
                Ok(gamma) => mean.scaled(gamma.sample(rng)),
                Err(_) => mean,
            },
            Jitter::Pareto { alpha, scale } => {
                let uniform: f64 = 1.0 - rng.random::<f64>();
                scale.scaled(uniform.powf(-1.0 / alpha)).min(MAX)
            }
            Jitter::Gaussian { sigma } => normal(sigma, rng),
            Jitter::Mixture { mean, chance, extra } => {
                let more = if rng.random_bool(chance.clamp(0.0, 1.0)) { extra } else { Span::ZERO };
                exponential(mean, rng) + more
            }
        }
    }
}

/// A queue that fills and empties slowly, so that waits close in time resemble each other: the
/// absolute value of a Gaussian AR(1) process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowQueue {
    /// Standard deviation of the process.
    pub sigma: Span,
    /// Its time constant; positive.
    pub tau: Span,
}

/// A [`SlowQueue`] as it stands now.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueueState {
    /// The process, in units of its standard deviation.
    level: f64,
    /// When it was last looked at.
    at: Option<Span>,
}

impl QueueState {
    /// The wait for a datagram sent at a true time.
    pub fn wait(&mut self, queue: &SlowQueue, at: Span, rng: &mut ChaCha8Rng) -> Span {
        let memory = match self.at {
            Some(before) => (-(at - before).as_secs_f64().max(0.0) / queue.tau.as_secs_f64()).exp(),
            None => 0.0,
        };
        let draw: f64 = StandardNormal.sample(rng);
        self.level = memory * self.level + (1.0 - memory * memory).sqrt() * draw;
        self.at = Some(at);
        queue.sigma.scaled(self.level.abs())
    }
}

fn exponential(mean: Span, rng: &mut ChaCha8Rng) -> Span {
    let draw: f64 = Exp1.sample(rng);
    mean.scaled(draw)
}

/// A Gaussian draw with mean zero.
pub fn normal(sigma: Span, rng: &mut ChaCha8Rng) -> Span {
    let draw: f64 = StandardNormal.sample(rng);
    sigma.scaled(draw)
}

/// No queue holds a datagram longer than this: heavy tails are cut here.
const MAX: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn draws(jitter: Jitter) -> Vec<f64> {
        let mut rng = Seed(1).stream(Purpose::Up, 0);
        (0..50_000).map(|_| jitter.draw(&mut rng).as_nanos() as f64 / 1e3).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_mean_wait_is_the_one_asked_for() {
        let mean_us = Span::from_micros(20);
        let mixture = Jitter::Mixture { mean: mean_us, chance: 0.2, extra: Span::from_micros(500) };
        for (jitter, expected) in [
            (Jitter::None, 0.0),
            (Jitter::Exponential { mean: mean_us }, 20.0),
            (Jitter::Gamma { shape: 4.0, mean: mean_us }, 20.0),
            (Jitter::Gaussian { sigma: mean_us }, 0.0),
            (mixture, 120.0),
        ] {
            let found = mean(&draws(jitter));
            assert!((found - expected).abs() <= 0.02 * expected + 0.3, "{jitter:?}: {found}");
        }
    }

    #[test]
    fn a_pareto_wait_has_a_least_value_a_heavy_tail_and_an_end() {
        let waits = draws(Jitter::Pareto { alpha: 1.5, scale: Span::from_micros(50) });
        let over =
            |limit: f64| waits.iter().filter(|wait| **wait > limit).count() as f64 / waits.len() as f64;
        assert!(waits.iter().all(|wait| (50.0..=10e6).contains(wait)));
        assert!((over(500.0) - 0.1_f64.powf(1.5)).abs() < 0.003, "{}", over(500.0));
    }

    #[test]
    fn a_slow_queue_remembers_for_its_time_constant() {
        let queue = SlowQueue { sigma: Span::from_micros(50), tau: Span::from_secs(60) };
        let mut rng = Seed(1).stream(Purpose::Up, 0);
        let mut change = |gap: Span| {
            let (mut state, mut at, mut sum, mut last) = (QueueState::default(), Span::ZERO, 0.0, 0.0);
            for _ in 0..5_000 {
                let wait = state.wait(&queue, at, &mut rng).as_nanos() as f64;
                sum += (wait - last).abs();
                (last, at) = (wait, at + gap);
            }
            sum / 5_000.0
        };
        let (close, far) = (change(Span::from_millis(50)), change(Span::from_secs(600)));
        assert!(close < 0.1 * far, "{close} {far}");
    }
}

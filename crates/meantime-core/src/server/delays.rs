//! The usual delays of the path to a member.

use super::narrow::{NONE, from_u32_ns, to_u32_ns};
use crate::time::Span;

/// The usual delays of a member's path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathDelays {
    /// The minimum, in nanoseconds; `NONE`: unknown.
    min: u32,
    /// How much longer than that the best exchange of a burst usually is.
    mean_excess: u32,
}

impl Default for PathDelays {
    fn default() -> PathDelays {
        PathDelays { min: NONE, mean_excess: 0 }
    }
}

impl PathDelays {
    /// Learns from the minimum delay of a burst.
    pub(super) fn learn(&mut self, delay: Span) {
        let Some(before) = self.min_delay() else {
            (self.min, self.mean_excess) = (to_u32_ns(delay), to_u32_ns(delay.over(8)));
            return;
        };
        // The minimum of a route that has become longer for good is learned within some hundred bursts.
        let min = delay.min(before + (delay - before).over(128));
        let mut mean = self.mean_excess();
        if delay < before {
            // The minimum so far included queueing: the mean, which was guessed from it, shrinks with it.
            mean = mean.scaled(delay.as_secs_f64() / before.as_secs_f64());
        }
        // One delayed burst says little about the others.
        let excess = (delay - min).min(mean.times(4) + Span::from_nanos(32));
        mean += (excess - mean).over(32);
        (self.min, self.mean_excess) = (to_u32_ns(min), to_u32_ns(mean));
    }

    /// How much longer than the minimum this delay is.
    pub(super) fn excess(&self, delay: Span) -> Span {
        (delay - self.min_delay().unwrap_or(delay)).max(Span::ZERO)
    }

    /// Whether this delay is one of the short ones: at most what the best exchange of a burst usually has.
    pub(super) fn is_short(&self, delay: Span) -> bool {
        self.excess(delay) <= self.mean_excess()
    }

    /// One standard deviation of readings over this path: an excess of e makes a reading wrong by ± e/2 at
    /// most.
    pub(super) fn noise(&self) -> Span {
        self.mean_excess().over(3)
    }

    /// How long to wait for a reply; `None`: the path was not measured yet.
    pub(super) fn reply_timeout(&self) -> Option<Span> {
        self.min_delay().map(|min| min.times(4) + self.mean_excess().times(8))
    }

    fn min_delay(&self) -> Option<Span> {
        from_u32_ns(self.min)
    }

    fn mean_excess(&self) -> Span {
        Span::from_nanos(self.mean_excess.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_first_burst_does_not_determine_the_noise_of_a_path() {
        let mut delays = PathDelays::default();
        delays.learn(Span::from_millis(10));
        for k in 0..10 {
            delays.learn(Span::from_micros(100 + k));
        }
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
        delays.learn(Span::from_millis(10));
        assert!(delays.noise() < Span::from_micros(10), "{}", delays.noise());
    }
}

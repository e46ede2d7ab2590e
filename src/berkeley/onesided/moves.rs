//! What is impossible, and what follows from it: the clock has moved, or the path has.

use super::class::{Burst, Class};
use super::filter::{Observation, Way};
use super::leader;
use crate::time::Raw;

/// What must have moved for a burst to be possible.
#[derive(Clone, Debug, PartialEq)]
pub enum Moved {
    /// The oscillator's lead over the cluster's time has changed by so many seconds.
    Clock {
        /// Observed minus expected.
        by: f64,
    },
    /// This way's least delay is shorter by so many seconds.
    Way {
        /// Which.
        way: Way,
        /// By how much; positive.
        by: f64,
    },
    /// Nothing; but these observations, by their places in the burst, cannot be.
    Nothing {
        /// Their places.
        impossible: Vec<usize>,
    },
}

/// Watches the residuals of the bursts.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Whether the last burst had but one exchange, and that an impossible one.
    alone_and_impossible: bool,
    /// For each way, the least and the mean residual of the last bursts, and how many observations they had.
    recent: [Vec<(f64, f64, usize)>; 2],
}

impl Watch {
    /// Judges a burst against what is expected of it.
    pub fn moved(&mut self, classes: &[Class], burst: &Burst, bursts: u32) -> Moved {
        let class = leader(classes);
        if let Some(by) = beyond_half_the_delay(class, burst) {
            return Moved::Clock { by };
        }
        let impossible = if bursts > SETTLING { impossible(class, &burst.observations) } else { Vec::new() };
        let exchanges = burst.observations.len() / 2;
        let again =
            std::mem::replace(&mut self.alone_and_impossible, exchanges == 1 && !impossible.is_empty());
        let way_of = |place: &usize| burst.observations[*place].way;
        let forward = impossible.iter().filter(|place| way_of(place) == Way::Forward).count();
        let (way, count) = match 2 * forward >= impossible.len() {
            true => (Way::Forward, forward),
            false => (Way::Backward, impossible.len() - forward),
        };
        if impossible.is_empty() || 2 * count < exchanges || (exchanges == 1 && !again) {
            return Moved::Nothing { impossible };
        }
        let least = |way| least_residual(class, burst, way);
        let other = if way == Way::Forward { Way::Backward } else { Way::Forward };
        let shorter = -least(way);
        if least(other) > 0.5 * shorter {
            // The round trip is what it was: the clock has moved, not the path.
            let by = 0.5 * (shorter + least(other));
            return Moved::Clock { by: if way == Way::Forward { -by } else { by } };
        }
        Moved::Way { way, by: shorter }
    }

    /// A way whose delays have all become longer, and by about how much, in seconds.
    pub fn lengthened(&mut self, class: &Class, burst: &Burst, bursts: u32) -> Option<(Way, f64)> {
        for way in Way::BOTH {
            let Some((least, mean)) = burst.residuals(class, way) else { continue };
            let recent = &mut self.recent[way as usize];
            recent.push((least, mean, burst.observations.len() / 2));
            if recent.len() > MEMORY {
                recent.remove(0);
            }
            let count: usize = recent.iter().map(|(_, _, count)| count).sum();
            let least = recent.iter().map(|(least, _, _)| *least).fold(f64::INFINITY, f64::min);
            let mean = recent.iter().map(|(_, mean, _)| mean).sum::<f64>() / recent.len() as f64;
            let unlikely = least > 0.0 && count as f64 * class.density().survival(least).ln() < UNLIKELY;
            // More noise is no longer way: the shift must be large against the scatter.
            let shifted = least > (20.0 / count as f64).max(2.0) * (mean - least);
            if bursts > SETTLING && recent.len() == MEMORY && unlikely && shifted {
                recent.clear();
                return Some((way, least));
            }
        }
        None
    }
}

/// Whether the best exchange's offset is farther from the expectation than half its delay allows, whatever the path
/// does: by how much the clock must have moved.
fn beyond_half_the_delay(class: &Class, burst: &Burst) -> Option<f64> {
    let [forward, backward] = burst.observations.first_chunk::<2>()?;
    let half_delay = 0.5 * (forward.difference + backward.difference);
    let observed = 0.5 * (forward.difference - backward.difference);
    let expected = class.widest().clock(0.5 * (forward.tau + backward.tau), 0.0);
    let by = observed - expected.x;
    (by.abs() > half_delay + IMPOSSIBLE * expected.xx.sqrt() + STAMP_ERROR).then_some(by)
}

/// The observations that are too short for any waiting time.
fn impossible(class: &Class, observations: &[Observation]) -> Vec<usize> {
    let roundness = class.density().roundness();
    let cannot_be = |observation: &Observation| {
        let (residual, variance) = class.widest().residual(observation);
        residual < -IMPOSSIBLE * (variance + roundness * roundness).sqrt() - STAMP_ERROR
    };
    (0..observations.len()).filter(|place| cannot_be(&observations[*place])).collect()
}

fn least_residual(class: &Class, burst: &Burst, way: Way) -> f64 {
    let of_way = burst.observations.iter().filter(|observation| observation.way == way);
    of_way.map(|observation| class.widest().residual(observation).0).fold(f64::INFINITY, f64::min)
}

impl Burst {
    /// Leaves observations out, by their places in ascending order.
    pub fn leave_out(&mut self, places: &[usize]) {
        for place in places.iter().rev() {
            self.observations.remove(*place);
        }
    }

    /// The oscillator's lead is counted from a base that is `by` seconds higher.
    pub fn shift(&mut self, by: f64) {
        for observation in &mut self.observations {
            observation.difference += match observation.way {
                Way::Forward => -by,
                Way::Backward => by,
            };
        }
    }
}

/// Outliers in a row.
#[derive(Clone, Copy, Debug)]
pub struct Outliers {
    count: u32,
    first: (Raw, f64),
    last: (Raw, f64),
}

impl Outliers {
    /// One more: at `at` the clock was `by` seconds from where it was expected.
    pub fn after(before: Option<Outliers>, at: Raw, by: f64) -> Outliers {
        let first = before.map_or((at, by), |outliers| outliers.first);
        Outliers { count: before.map_or(0, |outliers| outliers.count) + 1, first, last: (at, by) }
    }

    /// How many in a row.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How fast the outliers drifted away from what was expected; zero if within noise of this scale (s), and if no
    /// oscillator drifts like that: then the clock was set more than once.
    pub fn drift(&self, noise: f64) -> f64 {
        let (change, dt) = (self.last.1 - self.first.1, (self.last.0 - self.first.0).as_secs_f64());
        let drifts = dt > 0.0 && change.abs() > 4.0 * noise && (change / dt).abs() < FASTEST_DRIFT;
        if drifts { change / dt } else { 0.0 }
    }
}

/// No oscillator's frequency is farther off than this, by a wide margin.
pub const FASTEST_DRIFT: f64 = 1e-3;
/// So many bursts long the path is being learned, and nothing about it is impossible.
const SETTLING: u32 = 10;
/// Standard deviations beyond which things are impossible.
const IMPOSSIBLE: f64 = 8.0;
/// Timestamps may be off by so much, in seconds.
const STAMP_ERROR: f64 = 20e-9;
/// Bursts that a longer way is judged by: fewer mistake slow queues for new routes.
const MEMORY: usize = 24;
/// Logarithm of the probability below which a way must have become longer.
const UNLIKELY: f64 = -20.0;

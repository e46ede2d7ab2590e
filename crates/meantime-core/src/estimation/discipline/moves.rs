//! What is impossible, and what follows from it: the clock has moved, or the path has.

use super::class::{Burst, Class};
use super::density::Density;
use super::filter::{Filter, Observation, Way};
use super::leader;
use crate::time::Raw;
use alloc::vec::Vec;

/// What must have moved for a burst to be possible.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Moved {
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
pub(super) struct Watch {
    /// Whether the last burst had but one exchange, and that an impossible one.
    alone_and_impossible: bool,
    /// Whether the last burst was impossible for the likeliest wander, and left out for that.
    surprised: bool,
    /// For each way, the least and the mean residual of the last bursts, and how many observations they had.
    recent: [Vec<(f64, f64, usize)>; 2],
}

impl Watch {
    /// Judges a burst against what is expected of it.
    pub(super) fn moved(&mut self, classes: &[Class], burst: &Burst, bursts: u32) -> Moved {
        let class = leader(classes);
        if let Some(by) = beyond_half_the_delay(class, burst) {
            return Moved::Clock { by };
        }
        let settled = bursts > SETTLING;
        let impossible_to = |filter, deviations| match settled {
            true => impossible(filter, deviations, class.density(), &burst.observations),
            false => Vec::new(),
        };
        let impossible = impossible_to(class.widest(), IMPOSSIBLE);
        let exchanges = burst.observations.len() / 2;
        let surprising = impossible.is_empty()
            && 2 * impossible_to(class.likeliest(), SURPRISING).len() >= exchanges.max(1);
        self.surprised = surprising && !self.surprised;
        if self.surprised {
            // An oscillator that suddenly runs differently, or a server's clock that has just gone wrong: the
            // next burst will tell, if the server still talks then.
            return Moved::Nothing { impossible: (0..burst.observations.len()).collect() };
        }
        let again =
            core::mem::replace(&mut self.alone_and_impossible, exchanges == 1 && !impossible.is_empty());
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

    /// The ways whose delays have all become longer, and by about how much, in seconds.
    pub(super) fn lengthened(&mut self, class: &Class, burst: &Burst, bursts: u32) -> Vec<(Way, f64)> {
        let mut lengthened = Vec::new();
        for way in Way::BOTH {
            let Some((least, mean)) = burst.residuals(class, way) else { continue };
            let recent = &mut self.recent[way as usize];
            recent.push((least, mean, burst.observations.len() / 2));
            if recent.len() > MEMORY {
                recent.remove(0);
            }
            if bursts > SETTLING
                && let Some(by) = shift(recent, class.density())
            {
                recent.clear();
                lengthened.push((way, by));
            }
        }
        lengthened
    }
}

/// By how much the last bursts' residuals have all become larger, if that is neither chance nor noise: the
/// larger it is beside their scatter, the fewer bursts show it.
fn shift(recent: &[(f64, f64, usize)], density: &Density) -> Option<f64> {
    let (mut least, mut sum, mut count) = (f64::INFINITY, 0.0, 0);
    for (bursts, (least_of_burst, mean_of_burst, observations)) in (1..).zip(recent.iter().rev()) {
        least = least.min(*least_of_burst);
        sum += mean_of_burst;
        count += observations;
        if least <= 0.0 {
            return None;
        }
        let scatter = sum / f64::from(bursts) - least;
        let clear = least > CLEAR / f64::from(bursts) * scatter;
        if bursts >= MIN && clear && count as f64 * density.survival(least).ln() < UNLIKELY {
            return Some(least);
        }
    }
    None
}

/// Whether the best exchange's offset is farther from the expectation than half its delay allows, whatever
/// the path does: by how much the clock must have moved.
fn beyond_half_the_delay(class: &Class, burst: &Burst) -> Option<f64> {
    let [forward, backward] = burst.observations.first_chunk::<2>()?;
    let half_delay = 0.5 * (forward.difference + backward.difference);
    let observed = 0.5 * (forward.difference - backward.difference);
    let expected = class.widest().clock(0.5 * (forward.tau + backward.tau), 0.0);
    let by = observed - expected.x;
    (by.abs() > half_delay + IMPOSSIBLE * expected.xx.sqrt() + STAMP_ERROR).then_some(by)
}

/// The observations that are too short for any waiting time, if the clock is where this filter has it, by so
/// many standard deviations.
fn impossible(
    filter: &Filter,
    deviations: f64,
    density: &Density,
    observations: &[Observation],
) -> Vec<usize> {
    let roundness = density.roundness();
    let cannot_be = |observation: &Observation| {
        let (residual, variance) = filter.residual(observation);
        residual < -deviations * (variance + roundness * roundness).sqrt() - STAMP_ERROR
    };
    (0..observations.len()).filter(|place| cannot_be(&observations[*place])).collect()
}

fn least_residual(class: &Class, burst: &Burst, way: Way) -> f64 {
    let of_way = burst.observations.iter().filter(|observation| observation.way == way);
    of_way.map(|observation| class.widest().residual(observation).0).fold(f64::INFINITY, f64::min)
}

impl Burst {
    /// Leaves observations out, by their places in ascending order.
    pub(super) fn leave_out(&mut self, places: &[usize]) {
        for place in places.iter().rev() {
            self.observations.remove(*place);
        }
    }
}

/// Outliers in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outliers {
    count: u32,
    first: (Raw, f64),
    last: (Raw, f64),
}

impl Outliers {
    /// One more: at `at` the clock was `by` seconds from where it was expected.
    pub(super) fn after(before: Option<Outliers>, at: Raw, by: f64) -> Outliers {
        let first = before.map_or((at, by), |outliers| outliers.first);
        Outliers { count: before.map_or(0, |outliers| outliers.count) + 1, first, last: (at, by) }
    }

    /// A burst in between was none: half of them are forgotten. Where most are outliers, one that happens to
    /// be none does not make the others wrong.
    pub(super) fn fade(self) -> Option<Outliers> {
        (self.count > 1).then_some(Outliers { count: self.count / 2, ..self })
    }

    /// How many in a row.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// How fast the outliers drifted away from what was expected; zero if within noise of this scale (s), and
    /// if no oscillator drifts like that: then the clock was set more than once.
    pub(super) fn drift(&self, noise: f64) -> f64 {
        let (change, dt) = (self.last.1 - self.first.1, (self.last.0 - self.first.0).as_secs_f64());
        let drifts = dt > 0.0 && change.abs() > 4.0 * noise && (change / dt).abs() < FASTEST_DRIFT;
        if drifts { change / dt } else { 0.0 }
    }
}

/// No oscillator's frequency is farther off than this, by a wide margin.
pub(super) const FASTEST_DRIFT: f64 = 1e-3;
/// So many bursts long the path is being learned, and nothing about it is impossible.
const SETTLING: u32 = 10;
/// Standard deviations beyond which things are impossible.
const IMPOSSIBLE: f64 = 8.0;
/// The same for what may still be true, but is better looked at twice.
const SURPRISING: f64 = 4.5;
/// Timestamps may be off by so much, in seconds.
const STAMP_ERROR: f64 = 20e-9;
/// Bursts that a longer way is judged by.
const MEMORY: usize = 24;
/// The fewest that may show it.
const MIN: u32 = 4;
/// A shift is clear if it is so many times the scatter, divided by the number of bursts that show it: with
/// less, slow queues are mistaken for new routes.
const CLEAR: f64 = 48.0;
/// Logarithm of the probability below which a way must have become longer.
const UNLIKELY: f64 = -20.0;

//! Changes of the clock or of the path, detected by residuals that would need negative waiting times.

use super::class::{Class, ObservedBurst, leader};
use super::density::Density;
use super::filter::{Filter, OneWayDifference, PathDirection};
use crate::time::Raw;
use alloc::vec::Vec;

/// The change that explains a burst.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// The oscillator's lead over the cluster's time has changed by so many seconds.
    ClockEstimate {
        /// Observed minus expected.
        by: f64,
    },
    /// The minimum delay of one direction is shorter.
    Path {
        /// The direction.
        way: PathDirection,
        /// By how many seconds; positive.
        by: f64,
    },
    /// No change; but some observations are impossible.
    None {
        /// Their indices in the burst.
        impossible: Vec<usize>,
    },
}

/// Detects changes from the residuals of the bursts.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangeDetector {
    /// Whether the last burst had a single exchange, which was impossible.
    alone_and_impossible: bool,
    /// Whether the last burst was impossible for the likeliest wander, and was left out for that reason.
    surprised: bool,
    /// For each direction: minimum and mean residual of the last bursts, and their numbers of observations.
    recent: [Vec<(f64, f64, usize)>; 2],
}

impl ChangeDetector {
    /// Compares a burst with its expectation.
    pub(super) fn detect(&mut self, classes: &[Class], burst: &ObservedBurst, bursts: u32) -> Change {
        let class = leader(classes);
        if let Some(by) = beyond_half_the_delay(class, burst) {
            return Change::ClockEstimate { by };
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
            // Either this oscillator has suddenly changed, or the server's clock has just failed. The next
            // burst decides, if the server still sends corrections then.
            return Change::None { impossible: (0..burst.observations.len()).collect() };
        }
        let again =
            core::mem::replace(&mut self.alone_and_impossible, exchanges == 1 && !impossible.is_empty());
        let way_of = |place: &usize| burst.observations[*place].way;
        let forward = impossible.iter().filter(|place| way_of(place) == PathDirection::Forward).count();
        let (way, count) = match 2 * forward >= impossible.len() {
            true => (PathDirection::Forward, forward),
            false => (PathDirection::Backward, impossible.len() - forward),
        };
        if impossible.is_empty() || 2 * count < exchanges || (exchanges == 1 && !again) {
            return Change::None { impossible };
        }
        let least = |way| least_residual(class, burst, way);
        let other =
            if way == PathDirection::Forward { PathDirection::Backward } else { PathDirection::Forward };
        let shorter = -least(way);
        if least(other) > 0.5 * shorter {
            // The round trip is unchanged: the clock has moved, not the path.
            let by = 0.5 * (shorter + least(other));
            return Change::ClockEstimate { by: if way == PathDirection::Forward { -by } else { by } };
        }
        Change::Path { way, by: shorter }
    }

    /// The directions whose delays have all become longer, and by about how many seconds.
    pub(super) fn lengthened(
        &mut self,
        class: &Class,
        burst: &ObservedBurst,
        bursts: u32,
    ) -> Vec<(PathDirection, f64)> {
        let mut lengthened = Vec::new();
        for way in PathDirection::BOTH {
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

/// By how much the residuals of the last bursts have all increased, if neither chance nor noise explains it.
/// A larger increase relative to the scatter needs fewer bursts.
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
fn beyond_half_the_delay(class: &Class, burst: &ObservedBurst) -> Option<f64> {
    let [forward, backward] = burst.observations.first_chunk::<2>()?;
    let half_delay = 0.5 * (forward.difference + backward.difference);
    let observed = 0.5 * (forward.difference - backward.difference);
    let expected = class.widest().clock(0.5 * (forward.tau + backward.tau), 0.0);
    let by = observed - expected.x;
    (by.abs() > half_delay + IMPOSSIBLE * expected.xx.sqrt() + STAMP_ERROR).then_some(by)
}

/// The indices of observations that are shorter than the minimum delay by more than `deviations` standard
/// deviations, by this filter's estimate of the clock.
fn impossible(
    filter: &Filter,
    deviations: f64,
    density: &Density,
    observations: &[OneWayDifference],
) -> Vec<usize> {
    let roundness = density.roundness();
    let cannot_be = |observation: &OneWayDifference| {
        let (residual, variance) = filter.residual(observation);
        residual < -deviations * (variance + roundness * roundness).sqrt() - STAMP_ERROR
    };
    (0..observations.len()).filter(|place| cannot_be(&observations[*place])).collect()
}

fn least_residual(class: &Class, burst: &ObservedBurst, way: PathDirection) -> f64 {
    let of_way = burst.observations.iter().filter(|observation| observation.way == way);
    of_way.map(|observation| class.widest().residual(observation).0).fold(f64::INFINITY, f64::min)
}

impl ObservedBurst {
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
    /// Adds an outlier: at `at` the clock was `by` seconds from its expectation.
    pub(super) fn after(before: Option<Outliers>, at: Raw, by: f64) -> Outliers {
        let first = before.map_or((at, by), |outliers| outliers.first);
        Outliers { count: before.map_or(0, |outliers| outliers.count) + 1, first, last: (at, by) }
    }

    /// A burst in between was no outlier: their count is halved. Where most bursts are outliers, a single
    /// regular burst does not refute the others.
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

/// The largest frequency error of any oscillator, with a wide margin.
pub(super) const FASTEST_DRIFT: f64 = 1e-3;
/// The number of bursts in which the path is learned; no observation counts as impossible meanwhile.
const SETTLING: u32 = 10;
/// Standard deviations beyond which a residual is impossible.
const IMPOSSIBLE: f64 = 8.0;
/// Standard deviations beyond which a residual needs confirmation by the next burst.
const SURPRISING: f64 = 4.5;
/// The largest error of a timestamp, in seconds.
const STAMP_ERROR: f64 = 20e-9;
/// The number of recent bursts that show a longer direction.
const MEMORY: usize = 24;
/// The smallest number that may show it.
const MIN: u32 = 4;
/// A shift is clear if it is so many times the scatter, divided by the number of bursts that show it: with
/// less, slow queues are mistaken for new routes.
const CLEAR: f64 = 48.0;
/// Logarithm of the probability below which the delay of a direction must have increased.
const UNLIKELY: f64 = -20.0;

//! The cross-check: a second estimate of the phase, with different errors.
//!
//! The filters assume independent waiting times. In a queue that fills and empties within minutes, waiting
//! times are correlated, and the filters underestimate their error. So a plain estimator runs beside them: it
//! feeds the minimum one-way difference of each direction of a burst,
//!
//! ```text
//! x = (min d_f − min d_b) / 2,     R = 0.3 · (ē²/4 + e²)
//! ```
//!
//! into a bank of two-state Kalman filters, e being the excess of the round trip over the minimum of the last
//! bursts, and ē its mean. It is less accurate where the filters' assumption holds, and its variance shows
//! that. Where the two differ by more than its variance explains, the filters' variance is increased:
//!
//! ```text
//! σ² ← σ² + max(0, (x − x_check)² − σ_check²)
//! ```
//!
//! Where waiting times are correlated, the plain estimator is more accurate, and takes over. The round trip
//! shows the correlation independently of the clocks: its changes from one burst to the next are then small
//! beside those over [`FAR`] bursts. For independent waits the ratio of the two is 1; for a queue with a time
//! constant of twelve bursts, 0.4. A single change of the route hardly affects it, because changes are
//! clipped.

use super::class::ObservedBurst;
use super::filter::{ClockEstimate, PathDirection};
use crate::estimation::kalman::Bank;
use crate::time::{Frequency, Raw, Span};

/// The second estimator.
#[derive(Clone, Debug)]
pub(super) struct CrossCheck {
    bank: Option<Bank>,
    /// Prior of the oscillator's frequency, and its standard deviation.
    frequency: (f64, f64),
    /// The next burst resets the phase; the frequency may have changed by this much.
    reset: Option<Frequency>,
    path: Excess,
    memory: Persistence,
}

impl CrossCheck {
    /// An estimator with this prior of the oscillator's frequency: value and standard deviation.
    pub(super) fn new(frequency: (f64, f64)) -> CrossCheck {
        CrossCheck {
            bank: None,
            frequency,
            reset: None,
            path: Excess::default(),
            memory: Persistence::default(),
        }
    }

    /// Assimilates a burst of the instant `at`; the oscillator's frequency is `f`, within `f_error`.
    pub(super) fn observe(&mut self, at: Raw, burst: &ObservedBurst, (f, f_error): (f64, f64)) {
        let least = |way: PathDirection, sign: f64| {
            let of_way = burst.observations.iter().filter(|observation| observation.way == way);
            of_way.map(|observation| observation.difference - sign * f * observation.tau).reduce(f64::min)
        };
        let (Some(forward), Some(backward)) =
            (least(PathDirection::Forward, 1.0), least(PathDirection::Backward, -1.0))
        else {
            return;
        };
        let earliest = burst.observations.iter().map(|observation| observation.tau).fold(0.0, f64::min);
        let deviation = self.path.assess(forward + backward).hypot(f_error * earliest);
        self.memory.learn(forward + backward);
        let phase = Span::from_secs_f64(0.5 * (forward - backward));
        match (&mut self.bank, self.reset.take()) {
            (Some(bank), None) => bank.observe(at, phase, deviation),
            (Some(bank), Some(drift)) => {
                bank.restart_phase(at, phase, deviation);
                bank.inflate_frequency(drift);
            }
            (None, _) => {
                let (known, error) = self.frequency;
                let (known, error) = (Frequency::from_ratio(known), Frequency::from_ratio(error));
                self.bank = Some(Bank::new(at, phase, deviation, known, error));
            }
        }
    }

    /// The phase was reset, and has another origin: it has to be learned again. The frequency may have
    /// changed by `drift`.
    pub(super) fn reset_phase(&mut self, drift: f64) {
        self.reset = Some(Frequency::from_ratio(drift));
    }

    /// The frequency may have changed by about `by`.
    pub(super) fn inflate_frequency(&mut self, by: f64) {
        if let Some(bank) = &mut self.bank {
            bank.inflate_frequency(Frequency::from_ratio(by));
        }
    }

    /// The filters' estimate at `at`, combined with the second estimate.
    pub(super) fn combine(&self, at: Raw, filters: ClockEstimate) -> ClockEstimate {
        let Some(bank) = self.bank.as_ref().filter(|_| self.reset.is_none()) else { return filters };
        let known = bank.estimate(at);
        let check = ClockEstimate {
            x: known.phase.as_secs_f64(),
            f: known.frequency.ratio(),
            xx: known.error.as_secs_f64().powi(2),
            ff: known.frequency_error.ratio().powi(2),
        };
        let doubt = ((filters.x - check.x).powi(2) - check.xx).max(0.0);
        let filters = ClockEstimate { xx: filters.xx + doubt, ..filters };
        let share = self.memory.share();
        ClockEstimate::mixture([(1.0 - share, filters), (share, check)].into_iter())
    }
}

/// Measures the correlation of waiting times from burst to burst.
#[derive(Clone, Debug, Default)]
struct Persistence {
    /// The last round trips; the next one goes to `bursts` modulo the length, where the oldest is.
    recent: [f64; FAR],
    bursts: usize,
    /// Mean changes over one burst, and over [`FAR`], in seconds.
    near: f64,
    far: f64,
}

impl Persistence {
    fn learn(&mut self, round_trip: f64) {
        let change = |since: f64| (round_trip - since).abs() + STAMP_NOISE;
        let newest = self.recent[(self.bursts + FAR - 1) % FAR];
        let oldest = core::mem::replace(&mut self.recent[self.bursts % FAR], round_trip);
        if self.bursts >= FAR {
            let (near, far) = (change(newest), change(oldest));
            let observed = self.bursts + 1 - FAR;
            let gain = 1.0 / observed.min(LONG) as f64;
            // A single change of the route must not dominate the mean.
            let most = if observed == 1 { f64::INFINITY } else { CUT_OFF * self.near };
            self.near += gain * (near.min(most) - self.near);
            self.far += gain * (far.min(most) - self.far);
        }
        self.bursts += 1;
    }

    /// The weight of the plain estimator, 0 to [`MAX`].
    fn share(&self) -> f64 {
        if self.bursts < ENOUGH {
            return 0.0;
        }
        ((MIN_SHARE_RATIO - self.near / self.far) / (MIN_SHARE_RATIO - MAX_SHARE_RATIO)).clamp(0.0, 1.0) * MAX
    }
}

/// The excess of the round trip over its minimum, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    /// The minimum round trip of the current and of the last [`MEMORY`] bursts.
    minima: [Option<f64>; 2],
    bursts: u32,
    mean: f64,
}

impl Excess {
    /// Adds a burst's minimum round trip; returns the standard deviation of its offset.
    fn assess(&mut self, round_trip: f64) -> f64 {
        if self.bursts.is_multiple_of(MEMORY) {
            self.minima = [None, self.minima[0]];
        }
        let before = self.minima.iter().flatten().copied().reduce(f64::min);
        let least = before.map_or(round_trip, |least| least.min(round_trip));
        self.minima[0] = Some(self.minima[0].map_or(round_trip, |least| least.min(round_trip)));
        let excess = round_trip - least;
        match before {
            // A new path: waiting times of an eighth of its delay are a cautious guess.
            None => self.mean = round_trip.max(0.0) / 8.0,
            // A part of the assumed path delay was waiting time: the guess shrinks with it.
            Some(before) if round_trip < before => self.mean *= (round_trip / before).clamp(0.0, 1.0),
            Some(_) => {}
        }
        self.bursts = self.bursts.saturating_add(1);
        let gain = 1.0 / f64::from((self.bursts + GUESS_WEIGHT).min(MEMORY));
        // A single delayed burst must not dominate the mean.
        self.mean += gain * (excess.min(4.0 * self.mean + STAMP_NOISE) - self.mean);
        (VARIANCE * (self.mean.powi(2) / 4.0 + excess.powi(2))).sqrt() + STAMP_NOISE
    }
}

/// The variance of an offset, in units of its excess squared: three times the optimum for independent waits,
/// because this estimator matters where they are correlated.
const VARIANCE: f64 = 0.3;
/// The plain estimator is never used alone: the distance between the two is a part of the error.
const MAX: f64 = 0.95;
/// Number of bursts over which lasting changes are measured.
const FAR: usize = 8;
/// Changes are clipped at this many times the usual one.
const CUT_OFF: f64 = 4.0;
/// Number of bursts over which the usual changes are averaged.
const LONG: usize = 256;
/// Number of bursts before the plain estimator gets any weight.
const ENOUGH: usize = 128;
/// At the first ratio of changes its weight begins to grow, at the second it is largest.
const MIN_SHARE_RATIO: f64 = 0.72;
const MAX_SHARE_RATIO: f64 = 0.65;
/// Bursts after which the minimum delay is learned again: routes change.
const MEMORY: u32 = 128;
/// The weight of the first guess of a path's waits, in bursts.
const GUESS_WEIGHT: u32 = 4;
/// The minimum error of a timestamp, in seconds.
const STAMP_NOISE: f64 = 10e-9;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::Exp1;

    use super::super::filter::OneWayDifference;
    use super::*;

    fn burst(forward: f64, backward: f64) -> ObservedBurst {
        let observations = [(PathDirection::Forward, forward), (PathDirection::Backward, backward)];
        let observations =
            observations.map(|(way, difference)| OneWayDifference { way, tau: 0.0, difference }).to_vec();
        ObservedBurst { dt: 5.0, observations }
    }

    fn at(second: i64) -> Raw {
        Raw::from_nanos(1_800_000_000_000_000_000) + Span::from_secs(second)
    }

    #[test]
    fn who_agrees_is_not_doubted_who_is_elsewhere_is() {
        let mut check = CrossCheck::new((0.0, 200e-6));
        for k in 0..50 {
            let wait = 1e-6 * f64::from(k % 5);
            check.observe(at(5 * i64::from(k)), &burst(100e-6 + wait, 100e-6), (0.0, 0.0));
        }
        let stated = |x: f64| check.combine(at(245), ClockEstimate { x, ..ClockEstimate::default() });
        assert_eq!(stated(0.5e-6).xx, 0.0);
        assert!((35e-6..40e-6).contains(&stated(40e-6).xx.sqrt()), "{:?}", stated(40e-6));
        assert_eq!(stated(40e-6).x, 40e-6, "nothing hangs together here");
        check.reset_phase(0.0);
        assert_eq!(check.combine(at(245), ClockEstimate { x: 40e-6, ..ClockEstimate::default() }).xx, 0.0);
    }

    /// The share of the plain estimator after so many round trips.
    fn share(round_trips: impl Iterator<Item = f64>) -> f64 {
        let mut memory = Persistence::default();
        round_trips.for_each(|round_trip| memory.learn(round_trip));
        memory.share()
    }

    #[test]
    fn waits_that_hang_together_are_told_from_those_that_do_not_and_from_a_new_route() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut waits = |n: usize| -> Vec<f64> { (0..n).map(|_| rng.sample::<f64, _>(Exp1)).collect() };
        let slow = |waits: &[f64]| {
            let mut level = 0.0;
            let pull = |wait: &f64| {
                level += (wait - 1.0 - level) / 12.0;
                100e-6 + 20e-6 * level
            };
            waits.iter().map(pull).collect::<Vec<f64>>()
        };
        for n in [128, 200, 1_000] {
            let independent = waits(n);
            let path = |wait: &f64| 100e-6 + 20e-6 * wait;
            assert_eq!(share(independent.iter().map(path)), 0.0);
            assert!(share(slow(&waits(n)).into_iter()) > 0.8);
            let longer = |(k, wait): (usize, &f64)| path(wait) + if 2 * k > n { 300e-6 } else { 0.0 };
            assert_eq!(share(independent.iter().enumerate().map(longer)), 0.0, "{n}");
        }
        assert_eq!(share([100e-6; 200].into_iter()), 0.0);
    }

    #[test]
    fn the_first_held_up_burst_does_not_stay_the_measure_of_a_path() {
        let mut path = Excess::default();
        path.assess(10e-3);
        let deviations = [(); 5].map(|()| path.assess(100e-6));
        assert!(deviations.iter().all(|deviation| *deviation < 10e-6), "{deviations:?}");
    }
}

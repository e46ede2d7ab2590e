//! The cross-check: a second opinion on the phase, from an estimator that errs differently.
//!
//! The filters hold that waiting times are independent of each other. Where they are not, in a queue that
//! fills and empties within minutes, they trust themselves too much, and cannot see it. So a plain estimator
//! runs beside them: of each burst the least one-way difference of either way,
//!
//! ```text
//! x = (min d_f − min d_b) / 2,     R = 0.3 · (ē²/4 + e²)
//! ```
//!
//! with e by how much the two together exceed the least of the last bursts, ē its mean, into a bank of
//! two-state Kalman filters. It is less exact where the noise is what the filters think it is, and says so;
//! where the two differ by more than that, the filters are not as sure as they think:
//!
//! ```text
//! σ² ← σ² + max(0, (x − x_check)² − σ_check²)
//! ```
//!
//! And where the waits do hang together, the plain estimator is the better one, and takes over. The round
//! trip tells, since no clock is in it: its changes from one burst to the next are then small beside those
//! over [`FAR`] bursts. For independent waits the ratio of the two is 1; for a queue with a time constant of
//! twelve bursts, 0.4; a single change of the route hardly moves it, as single changes are cut off.

use super::class::Burst;
use super::filter::{Clock, Way};
use crate::estimation::kalman::Bank;
use crate::time::{Frequency, Raw, Span};

/// The second opinion.
#[derive(Clone, Debug)]
pub(super) struct Check {
    bank: Option<Bank>,
    /// By how much the oscillator runs fast, as far as that was known at the start, and one standard
    /// deviation.
    frequency: (f64, f64),
    /// The phase is to be taken anew, and the frequency may have changed by so much.
    anew: Option<Frequency>,
    path: Excess,
    memory: Persistence,
}

impl Check {
    /// A check that knows the oscillator to run fast by `frequency.0`, with standard deviation `frequency.1`.
    pub(super) fn new(frequency: (f64, f64)) -> Check {
        Check { bank: None, frequency, anew: None, path: Excess::default(), memory: Persistence::default() }
    }

    /// Takes in a burst of the instant `at`; the oscillator runs fast by `f`, give or take `f_error`.
    pub(super) fn observe(&mut self, at: Raw, burst: &Burst, (f, f_error): (f64, f64)) {
        let least = |way: Way, sign: f64| {
            let of_way = burst.observations.iter().filter(|observation| observation.way == way);
            of_way.map(|observation| observation.difference - sign * f * observation.tau).reduce(f64::min)
        };
        let (Some(forward), Some(backward)) = (least(Way::Forward, 1.0), least(Way::Backward, -1.0)) else {
            return;
        };
        let earliest = burst.observations.iter().map(|observation| observation.tau).fold(0.0, f64::min);
        let deviation = self.path.assess(forward + backward).hypot(f_error * earliest);
        self.memory.learn(forward + backward);
        let phase = Span::from_secs_f64(0.5 * (forward - backward));
        match (&mut self.bank, self.anew.take()) {
            (Some(bank), None) => bank.observe(at, phase, deviation),
            (Some(bank), Some(drift)) => {
                bank.restart_phase(at, phase, deviation);
                bank.doubt_frequency(drift);
            }
            (None, _) => {
                let (known, error) = self.frequency;
                let (known, error) = (Frequency::from_ratio(known), Frequency::from_ratio(error));
                self.bank = Some(Bank::new(at, phase, deviation, known, error));
            }
        }
    }

    /// The phase was taken anew, and is counted from another base: it has to be learned again. The frequency
    /// may have changed by `drift`.
    pub(super) fn forget_phase(&mut self, drift: f64) {
        self.anew = Some(Frequency::from_ratio(drift));
    }

    /// The frequency may have changed by about so much.
    pub(super) fn doubt_frequency(&mut self, by: f64) {
        if let Some(bank) = &mut self.bank {
            bank.doubt_frequency(Frequency::from_ratio(by));
        }
    }

    /// The filters' belief at `at`, in the light of the second opinion.
    pub(super) fn temper(&self, at: Raw, filters: Clock) -> Clock {
        let Some(bank) = self.bank.as_ref().filter(|_| self.anew.is_none()) else { return filters };
        let known = bank.estimate(at);
        let check = Clock {
            x: known.phase.as_secs_f64(),
            f: known.frequency.ratio(),
            xx: known.error.as_secs_f64().powi(2),
            ff: known.frequency_error.ratio().powi(2),
        };
        let doubt = ((filters.x - check.x).powi(2) - check.xx).max(0.0);
        let filters = Clock { xx: filters.xx + doubt, ..filters };
        let share = self.memory.share();
        Clock::mixture([(1.0 - share, filters), (share, check)].into_iter())
    }
}

/// Whether waits hang together from burst to burst.
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
            let seen = self.bursts + 1 - FAR;
            let gain = 1.0 / seen.min(LONG) as f64;
            // One change of the route says nothing about the others.
            let most = if seen == 1 { f64::INFINITY } else { CUT_OFF * self.near };
            self.near += gain * (near.min(most) - self.near);
            self.far += gain * (far.min(most) - self.far);
        }
        self.bursts += 1;
    }

    /// How much the plain estimator counts, 0 to [`MAX`].
    fn share(&self) -> f64 {
        if self.bursts < ENOUGH {
            return 0.0;
        }
        ((NEVER - self.near / self.far) / (NEVER - ALWAYS)).clamp(0.0, 1.0) * MAX
    }
}

/// By how much the round trip exceeds its least, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    /// The least round trip of the current and of the last stretch of [`MEMORY`] bursts.
    minima: [Option<f64>; 2],
    bursts: u32,
    mean: f64,
}

impl Excess {
    /// Takes note of a burst's least round trip; returns the standard deviation of its offset.
    fn assess(&mut self, round_trip: f64) -> f64 {
        if self.bursts.is_multiple_of(MEMORY) {
            self.minima = [None, self.minima[0]];
        }
        let before = self.minima.iter().flatten().copied().reduce(f64::min);
        let least = before.map_or(round_trip, |least| least.min(round_trip));
        self.minima[0] = Some(self.minima[0].map_or(round_trip, |least| least.min(round_trip)));
        let excess = round_trip - least;
        match before {
            // Nothing is known about a new path: waits of an eighth of its delay are a cautious guess.
            None => self.mean = round_trip.max(0.0) / 8.0,
            // What looked like the path was waiting: the guess shrinks with it.
            Some(before) if round_trip < before => self.mean *= (round_trip / before).clamp(0.0, 1.0),
            Some(_) => {}
        }
        self.bursts = self.bursts.saturating_add(1);
        let gain = 1.0 / f64::from((self.bursts + GUESS_WEIGHT).min(MEMORY));
        // One held-up burst says little about the others.
        self.mean += gain * (excess.min(4.0 * self.mean + STAMP_NOISE) - self.mean);
        (VARIANCE * (self.mean.powi(2) / 4.0 + excess.powi(2))).sqrt() + STAMP_NOISE
    }
}

/// The variance of an offset, in units of its excess squared: three times what serves best where waits are
/// independent, for where they are not, this estimator has to serve.
const VARIANCE: f64 = 0.3;
/// The plain estimator never counts alone: how far the two are apart is a part of the error.
const MAX: f64 = 0.95;
/// Bursts over which lasting changes show.
const FAR: usize = 8;
/// Changes count up to so many times the usual one.
const CUT_OFF: f64 = 4.0;
/// Bursts that the usual changes are learned over.
const LONG: usize = 256;
/// So many bursts are looked at before the plain estimator may count.
const ENOUGH: usize = 128;
/// At this ratio of changes it begins to count, at this it counts most.
const NEVER: f64 = 0.72;
const ALWAYS: f64 = 0.65;
/// Bursts after which a path's least delay is learned afresh: routes change.
const MEMORY: u32 = 128;
/// How many bursts the first guess of a path's waits is worth.
const GUESS_WEIGHT: u32 = 4;
/// No timestamp is better than this, in seconds.
const STAMP_NOISE: f64 = 10e-9;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::Exp1;

    use super::super::filter::Observation;
    use super::*;

    fn burst(forward: f64, backward: f64) -> Burst {
        let observations = [(Way::Forward, forward), (Way::Backward, backward)];
        let observations =
            observations.map(|(way, difference)| Observation { way, tau: 0.0, difference }).to_vec();
        Burst { dt: 5.0, observations }
    }

    fn at(second: i64) -> Raw {
        Raw::from_nanos(1_800_000_000_000_000_000) + Span::from_secs(second)
    }

    #[test]
    fn who_agrees_is_not_doubted_who_is_elsewhere_is() {
        let mut check = Check::new((0.0, 200e-6));
        for k in 0..50 {
            let wait = 1e-6 * f64::from(k % 5);
            check.observe(at(5 * i64::from(k)), &burst(100e-6 + wait, 100e-6), (0.0, 0.0));
        }
        let stated = |x: f64| check.temper(at(245), Clock { x, ..Clock::default() });
        assert_eq!(stated(0.5e-6).xx, 0.0);
        assert!((35e-6..40e-6).contains(&stated(40e-6).xx.sqrt()), "{:?}", stated(40e-6));
        assert_eq!(stated(40e-6).x, 40e-6, "nothing hangs together here");
        check.forget_phase(0.0);
        assert_eq!(check.temper(at(245), Clock { x: 40e-6, ..Clock::default() }).xx, 0.0);
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

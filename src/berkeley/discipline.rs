//! The discipline: from a round's exchanges to phase and frequency of the cluster's time over this node's
//! oscillator.
//!
//! It works on the free-running timescale only. Whatever the node does with its published clock meanwhile,
//! step or slew, is invisible to it; so nothing that is in flight has to be accounted for.
//!
//! Of a burst, the exchange with the least delay counts: queueing is one-sided, so little delay means little
//! error. Given a delay that exceeds the path's minimum by e, the error of the offset lies within ± e/2; for
//! exponential queueing it is uniform there, of variance e²/12. With a share for the minimum that is itself
//! only estimated, R = 0.1 · (ē²/4 + e²), ē the mean excess of past bursts.
//!
//! Readings farther than six standard deviations from what is expected are ignored, unless they persist:
//! three in a row when the server says that this clock is in the minority, twelve when it does not (so that
//! a clock that is right does not follow a server that jumped). Then the phase is taken anew. The frequency is
//! doubted only if the outliers themselves drifted: a pure step of phase says nothing about frequency.

use super::exchange::Exchange;
use super::kalman::{Bank, Estimate};
use crate::time::{Frequency, Raw, Span, Timestamp};

/// What became of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was the first: the phase is known, the frequency not yet.
    Started,
    /// It was weighed in.
    Followed,
    /// It was held for an outlier, the n-th in a row.
    Ignored(u32),
    /// It confirmed the outliers before it: the phase was taken anew.
    Restarted,
}

/// How readily a persistent outlier is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The server has said that this clock is wrong, or keeps another cluster's time: after this many in a row.
    After(u32),
    /// At once.
    AtOnce,
}

impl Trust {
    /// For a clock that the vote has found in the minority.
    pub const MINORITY: Trust = Trust::After(3);
    /// For a clock that the vote agrees with: a guard against being locked out for ever.
    pub const MAJORITY: Trust = Trust::After(12);

    pub(super) fn believes(self, in_a_row: u32) -> bool {
        match self {
            Trust::After(limit) => in_a_row >= limit,
            Trust::AtOnce => true,
        }
    }
}

/// The estimator of one node.
#[derive(Clone, Debug, Default)]
pub struct Discipline {
    bank: Option<Bank>,
    /// What is known of the frequency before the first burst, and one standard deviation of it.
    prior: Option<(Frequency, Frequency)>,
    path: PathNoise,
    outliers: Option<Outliers>,
}

impl Discipline {
    /// A discipline that knows from an earlier run at which `frequency` the cluster's time runs over this
    /// oscillator (its rate, minus one), with standard deviation `error`.
    pub fn with_frequency(frequency: Frequency, error: Frequency) -> Discipline {
        Discipline { prior: Some((frequency, error)), ..Discipline::default() }
    }

    /// Weighs in the exchanges of a burst: server's stamps in cluster time, client's on its oscillator.
    /// `None`, and nothing changes, if none of them makes sense.
    pub fn update(&mut self, burst: &[Exchange<Timestamp, Raw>], trust: Trust) -> Option<Judgement> {
        let sensible = burst.iter().filter(|exchange| exchange.delay() >= Span::ZERO);
        let best = sensible.min_by_key(|exchange| exchange.delay())?;
        let deviation = self.path.assess(best.delay());
        let at = best.t2 + (best.t3 - best.t2).half();
        let phase = -best.offset();
        let Some(bank) = &mut self.bank else {
            let (frequency, error) = self.prior.unwrap_or((Frequency::ZERO, ANY_FREQUENCY));
            self.bank = Some(Bank::new(at, phase, deviation, frequency, error));
            return Some(Judgement::Started);
        };
        let innovation = bank.innovation(at, phase, deviation);
        if innovation.difference.abs() <= OUTLIER * innovation.expected {
            bank.observe(at, phase, deviation);
            self.outliers = None;
            self.unlearn_nonsense(at, phase, deviation);
            return Some(Judgement::Followed);
        }
        let outliers = Outliers::after(self.outliers, at, innovation.difference);
        self.outliers = Some(outliers);
        if !trust.believes(outliers.count) {
            return Some(Judgement::Ignored(outliers.count));
        }
        bank.restart_phase(at, phase, deviation);
        bank.doubt_frequency(outliers.drift(deviation));
        self.outliers = None;
        self.unlearn_nonsense(at, phase, deviation);
        Some(Judgement::Restarted)
    }

    /// What is no oscillator's frequency was learned from something else: begin again.
    fn unlearn_nonsense(&mut self, at: Raw, phase: Span, deviation: f64) {
        let frequency = self.estimate(at).map_or(Frequency::ZERO, |known| known.frequency);
        if frequency.ratio().abs() > FASTEST_FREQUENCY {
            self.bank = Some(Bank::new(at, phase, deviation, Frequency::ZERO, ANY_FREQUENCY));
        }
    }

    /// The server has changed the cluster's rate by this much, from `at` on.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        if let Some(bank) = &mut self.bank {
            bank.shift_frequency(at, change);
        }
    }

    /// What is known about the cluster's time at `at`; `None` before the first burst.
    pub fn estimate(&self, at: Raw) -> Option<Estimate> {
        self.bank.as_ref().map(|bank| bank.estimate(at))
    }

    /// The delay that an exchange on this path usually has, for readings that come without one.
    pub fn usual_delay(&self) -> Span {
        self.path.usual_delay()
    }
}

/// Outliers in a row.
#[derive(Clone, Copy, Debug)]
struct Outliers {
    count: u32,
    first: (Raw, f64),
    last: (Raw, f64),
}

impl Outliers {
    fn after(before: Option<Outliers>, at: Raw, difference: f64) -> Outliers {
        let first = before.map_or((at, difference), |outliers| outliers.first);
        Outliers { count: before.map_or(0, |outliers| outliers.count) + 1, first, last: (at, difference) }
    }

    /// How fast the outliers drifted away from what was expected; zero if within the noise, or if no oscillator drifts
    /// like that: then the clock was set more than once.
    fn drift(&self, noise: f64) -> Frequency {
        let (change, dt) = (self.last.1 - self.first.1, (self.last.0 - self.first.0).as_secs_f64());
        let drifts = dt > 0.0 && change.abs() > OUTLIER * noise && (change / dt).abs() < FASTEST_DRIFT;
        if drifts { Frequency::from_ratio(change / dt) } else { Frequency::ZERO }
    }
}

/// What is known about the delays of a path.
#[derive(Clone, Copy, Debug, Default)]
struct PathNoise {
    /// The least delay of the current and of the last stretch of [`MEMORY`] bursts.
    minima: [Option<Span>; 2],
    bursts: u32,
    mean_excess_s: f64,
}

impl PathNoise {
    /// Takes note of a burst's least delay; returns the standard deviation of its offset, in seconds.
    fn assess(&mut self, delay: Span) -> f64 {
        let before = self.least();
        if self.bursts.is_multiple_of(MEMORY) {
            self.minima = [None, self.minima[0]];
        }
        self.minima[0] = Some(self.minima[0].map_or(delay, |least| least.min(delay)));
        let excess = (delay - self.least()).as_secs_f64();
        if self.bursts == 0 {
            // Nothing is known about a new path: queueing of an eighth of its delay is a cautious guess.
            self.mean_excess_s = delay.as_secs_f64() / 8.0;
        } else if delay < before {
            // What looked like the path was queueing: the guess shrinks with it.
            self.mean_excess_s *= delay.as_secs_f64() / before.as_secs_f64();
        }
        self.bursts = self.bursts.saturating_add(1);
        let gain = 1.0 / f64::from((self.bursts + GUESS_WEIGHT).min(MEMORY));
        // One held-up burst says little about the others.
        let usual = excess.min(4.0 * self.mean_excess_s + STAMP_NOISE_S);
        self.mean_excess_s += gain * (usual - self.mean_excess_s);
        (0.1 * (self.mean_excess_s.powi(2) / 4.0 + excess.powi(2))).sqrt() + STAMP_NOISE_S
    }

    fn least(&self) -> Span {
        self.minima.iter().flatten().min().copied().unwrap_or_default()
    }

    fn usual_delay(&self) -> Span {
        match self.bursts {
            0 => Span::from_millis(1),
            _ => self.least() + Span::from_secs_f64(self.mean_excess_s),
        }
    }
}

/// Readings farther than this many standard deviations from the expected are outliers.
const OUTLIER: f64 = 6.0;
/// No two oscillators' frequencies are farther apart than this.
const FASTEST_FREQUENCY: f64 = 600e-6;
/// Nor changes one by more than this, by a wide margin.
const FASTEST_DRIFT: f64 = 1e-3;
/// Two crystals of 100 ppm each, one fast, one slow.
const ANY_FREQUENCY: Frequency = Frequency::from_ppm(200.0);
/// Bursts after which a path's least delay is learned afresh: routes change.
const MEMORY: u32 = 128;
/// How many bursts the first guess of a path's queueing is worth.
const GUESS_WEIGHT: u32 = 4;
/// No timestamp is better than this.
const STAMP_NOISE_S: f64 = 10e-9;

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000_000_000;

    /// An exchange at second `s` over a path with these one-way delays (ns), for an oscillator over which the
    /// cluster's time is `phase_ns` ahead.
    fn exchange(s: f64, phase_ns: i64, there: i64, back: i64) -> Exchange<Timestamp, Raw> {
        let t2 = START + (s * 1e9) as i64;
        Exchange {
            t1: Timestamp::from_nanos(t2 + phase_ns - there),
            t2: Raw::from_nanos(t2),
            t3: Raw::from_nanos(t2 + 1_000),
            t4: Timestamp::from_nanos(t2 + 1_000 + phase_ns + back),
        }
    }

    fn settled() -> Discipline {
        let mut discipline = Discipline::default();
        for k in 0..40 {
            let noise = (k % 4) * 10_000;
            discipline.update(&[exchange(5.0 * k as f64, 0, 100_000 + noise, 100_000)], Trust::MAJORITY);
        }
        discipline
    }

    fn phase_at(discipline: &Discipline, s: f64) -> i64 {
        let at = Raw::from_nanos(START + (s * 1e9) as i64);
        discipline.estimate(at).unwrap().phase.as_nanos()
    }

    #[test]
    fn the_exchange_with_the_least_delay_counts() {
        let mut discipline = Discipline::default();
        let burst = [exchange(0.0, 500, 900_000, 100_000), exchange(0.1, 500, 100_000, 100_000)];
        assert_eq!(discipline.update(&burst, Trust::MAJORITY), Some(Judgement::Started));
        assert_eq!(phase_at(&discipline, 0.1), 500);
    }

    #[test]
    fn the_first_held_up_burst_does_not_stay_the_measure_of_a_path() {
        let mut path = PathNoise::default();
        path.assess(Span::from_millis(10));
        let deviations = [(); 5].map(|()| path.assess(Span::from_micros(100)));
        assert!(deviations.iter().all(|deviation| *deviation < 10e-6), "{deviations:?}");
    }

    #[test]
    fn a_frequency_that_was_known_is_there_from_the_first_burst() {
        let (known, error) = (Frequency::from_ppm(-37.0), Frequency::from_ppm(0.5));
        let mut discipline = Discipline::with_frequency(known, error);
        discipline.update(&[exchange(0.0, 500, 100_000, 100_000)], Trust::MAJORITY);
        let now = discipline.estimate(Raw::from_nanos(START)).unwrap();
        assert_eq!((now.frequency, now.frequency_error), (known, error));
    }

    #[test]
    fn exchanges_that_make_no_sense_are_nothing() {
        let mut discipline = Discipline::default();
        assert_eq!(discipline.update(&[exchange(0.0, 0, -900_000, 100_000)], Trust::AtOnce), None);
        assert_eq!(discipline.update(&[], Trust::AtOnce), None);
    }

    #[test]
    fn one_outlier_moves_nothing() {
        let mut discipline = settled();
        let before = phase_at(&discipline, 205.0);
        let judged = discipline.update(&[exchange(200.0, 3_000_000, 100_000, 100_000)], Trust::MINORITY);
        assert_eq!(judged, Some(Judgement::Ignored(1)));
        assert_eq!(phase_at(&discipline, 205.0), before);
    }

    #[test]
    fn a_step_that_persists_is_followed_and_leaves_the_frequency_alone() {
        let mut discipline = settled();
        let before = discipline.estimate(Raw::from_nanos(START)).unwrap();
        for (k, expected) in
            [Judgement::Ignored(1), Judgement::Ignored(2), Judgement::Restarted].into_iter().enumerate()
        {
            let burst = [exchange(200.0 + 5.0 * k as f64, 3_000_000, 100_000, 100_000)];
            assert_eq!(discipline.update(&burst, Trust::MINORITY), Some(expected));
        }
        let now = discipline.estimate(Raw::from_nanos(START + 210_000_000_000)).unwrap();
        assert!((now.phase.as_nanos() - 3_000_000).abs() < 1_000);
        assert!(now.frequency_error.ratio() < before.frequency_error.ratio() * 1.5);
    }

    #[test]
    fn a_change_of_frequency_is_found_out_from_the_drift_of_the_outliers() {
        let mut discipline = settled();
        for k in 1..12 {
            let s = 195.0 + 5.0 * f64::from(k);
            let phase = (150e-6 * 5.0 * f64::from(k) * 1e9) as i64;
            discipline.update(&[exchange(s, phase, 100_000, 100_000)], Trust::MINORITY);
        }
        let now = discipline.estimate(Raw::from_nanos(START + 250_000_000_000)).unwrap();
        assert!((now.frequency.ppm() - 150.0).abs() < 1.0, "{now:?}");
        assert!((now.phase.as_nanos() - 8_250_000).abs() < 20_000, "{now:?}");
    }

    #[test]
    fn a_clock_in_the_majority_holds_out_for_twelve_rounds() {
        let mut discipline = settled();
        for k in 0..12 {
            let burst = [exchange(200.0 + 5.0 * f64::from(k), 3_000_000, 100_000, 100_000)];
            let judged = discipline.update(&burst, Trust::MAJORITY).unwrap();
            assert_eq!(judged == Judgement::Restarted, k == 11);
        }
    }
}

//! A bank of two-state Kalman filters: phase and frequency of a time line over a free-running oscillator.
//!
//! State z = (x, f): the line is x seconds ahead of the oscillator and runs faster by f. With an oscillator
//! whose frequency walks randomly by σ_w per √s, the state after Δ seconds and its covariance are
//!
//! ```text
//! x ← x + f Δ
//! P ← F P Fᵀ + σ_w² | Δ³/3  Δ²/2 |
//!                   | Δ²/2  Δ    |
//! ```
//!
//! and an observed phase of variance R is assimilated with the usual gain P h / (h P hᵀ + R).
//!
//! σ_w is unknown: good crystals differ from bad ones by a factor of a thousand. So one filter runs for each
//! of a few wanders, weighted by its likelihood (an interacting-multiple-model estimator: Blom and
//! Bar-Shalom, 1988). Before each prediction the filters are mixed with a small probability of changing the
//! model, so that no filter diverges for good.

use crate::time::{Frequency, Raw, Span};

/// An estimate of a time line at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The time line minus the oscillator.
    pub phase: Span,
    /// The time line's rate over the oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of the phase.
    pub error: Span,
    /// One standard deviation of the frequency.
    pub frequency_error: Frequency,
}

/// The difference of an observed phase from its expectation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Innovation {
    /// Observed minus expected phase, in seconds.
    pub difference: f64,
    /// Its expected standard deviation, in seconds.
    pub expected: f64,
}

/// The filters, their weights, and the instant of their states.
#[derive(Clone, Debug, PartialEq)]
pub struct Bank {
    /// Phases are relative to this one, so that an f64 has enough digits even for a clock that shows 1970.
    base: Span,
    at: Raw,
    filters: [WanderFilter; WANDERS.len()],
}

impl Bank {
    /// Starts from one observed phase with standard deviation `deviation_s`, and a frequency of
    /// standard deviation `frequency_error`.
    pub fn new(
        at: Raw,
        phase: Span,
        deviation_s: f64,
        frequency: Frequency,
        frequency_error: Frequency,
    ) -> Bank {
        let filter = WanderFilter {
            weight: 0.0,
            x: 0.0,
            f: frequency.ratio(),
            p: Covariance { xx: deviation_s.powi(2), xf: 0.0, ff: frequency_error.ratio().powi(2) },
        };
        Bank { base: phase, at, filters: PRIOR.map(|weight| WanderFilter { weight, ..filter }) }
    }

    /// The innovation that an observation would have now. Does not change the bank.
    pub fn innovation(&self, at: Raw, phase: Span, deviation_s: f64) -> Innovation {
        let mut ahead = self.clone();
        ahead.predict(at);
        let (x, p) = ahead.mixture();
        let dt = ahead.seconds_to(at);
        let expected = x.0 + x.1 * dt;
        let variance = p.xx + 2.0 * dt * p.xf + dt * dt * p.ff + deviation_s.powi(2);
        Innovation { difference: ahead.relative(phase) - expected, expected: variance.sqrt() }
    }

    /// Assimilates an observed phase with its standard deviation. An observation that is older than the
    /// newest one is assimilated at its own instant.
    pub fn observe(&mut self, at: Raw, phase: Span, deviation_s: f64) {
        self.mix();
        self.predict(at);
        let dt = self.seconds_to(at);
        let observed = self.relative(phase);
        let variance = deviation_s.powi(2);
        let likelihoods = self.filters.each_mut().map(|filter| filter.update(dt, observed, variance));
        let best = likelihoods.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (filter, log) in self.filters.iter_mut().zip(likelihoods) {
            filter.weight = (filter.weight * (log - best).exp()).max(MIN_WEIGHT);
        }
        self.normalise();
    }

    /// From `at` on the time line runs faster by `change`.
    pub fn shift_frequency(&mut self, at: Raw, change: Frequency) {
        self.predict(at);
        for filter in &mut self.filters {
            filter.f += change.ratio();
        }
    }

    /// Resets the phase, after the time line or the oscillator was set; keeps the frequency and its variance.
    /// Only here may `at` be earlier than before: the oscillator itself may have jumped back.
    pub fn restart_phase(&mut self, at: Raw, phase: Span, deviation_s: f64) {
        self.predict(at);
        self.at = at;
        self.base = phase;
        for filter in &mut self.filters {
            filter.x = 0.0;
            filter.p = Covariance { xx: deviation_s.powi(2), xf: 0.0, ff: filter.p.ff };
        }
    }

    /// The frequency may have changed by about `by`.
    pub fn inflate_frequency(&mut self, by: Frequency) {
        for filter in &mut self.filters {
            filter.p.ff += by.ratio().powi(2);
        }
    }

    /// The estimate at `at`.
    pub fn estimate(&self, at: Raw) -> Estimate {
        let mut ahead = self.clone();
        ahead.predict(at);
        let (z, p) = ahead.mixture();
        Estimate {
            phase: ahead.base + Span::from_secs_f64(z.0 + z.1 * ahead.seconds_to(at)),
            frequency: Frequency::from_ratio(z.1),
            error: Span::from_secs_f64(p.xx.sqrt()),
            frequency_error: Frequency::from_ratio(p.ff.sqrt()),
        }
    }

    /// Predicts all states to `at`; never backwards.
    fn predict(&mut self, at: Raw) {
        let dt = self.seconds_to(at);
        if dt <= 0.0 {
            return;
        }
        for (filter, wander) in self.filters.iter_mut().zip(WANDERS) {
            filter.predict(dt, wander);
        }
        self.at = at;
    }

    fn seconds_to(&self, at: Raw) -> f64 {
        (at - self.at).as_secs_f64()
    }

    fn relative(&self, phase: Span) -> f64 {
        (phase - self.base).as_secs_f64()
    }

    /// Mean and covariance of the weighted mixture of all filters.
    fn mixture(&self) -> ((f64, f64), Covariance) {
        merge(self.filters.iter().map(|filter| (filter.weight, *filter)))
    }

    /// Mixes each filter with its neighbours (moment matching).
    fn mix(&mut self) {
        let old = self.filters;
        for (j, filter) in self.filters.iter_mut().enumerate() {
            let parts =
                old.iter().enumerate().map(|(i, from)| (from.weight * transition_probability(i, j), *from));
            let weight: f64 = parts.clone().map(|(weight, _)| weight).sum();
            let ((x, f), p) = merge(parts);
            *filter = WanderFilter { weight, x, f, p };
        }
        self.normalise();
    }

    fn normalise(&mut self) {
        let total: f64 = self.filters.iter().map(|filter| filter.weight).sum();
        for filter in &mut self.filters {
            filter.weight /= total;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct WanderFilter {
    /// The probability of this filter's wander.
    weight: f64,
    x: f64,
    f: f64,
    p: Covariance,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Covariance {
    xx: f64,
    xf: f64,
    ff: f64,
}

impl WanderFilter {
    fn predict(&mut self, dt: f64, wander: f64) {
        let q = wander * wander * dt;
        let p = self.p;
        self.x += self.f * dt;
        self.p = Covariance {
            xx: p.xx + 2.0 * dt * p.xf + dt * dt * p.ff + q * dt * dt / 3.0,
            xf: p.xf + dt * p.ff + q * dt / 2.0,
            ff: p.ff + q,
        };
    }

    /// Assimilates a phase observed `dt` seconds from the state's instant (not after it); returns the
    /// logarithm of its likelihood.
    fn update(&mut self, dt: f64, observed: f64, variance: f64) -> f64 {
        let p = self.p;
        let (hx, hf) = (p.xx + dt * p.xf, p.xf + dt * p.ff);
        let s = hx + dt * hf + variance;
        let difference = observed - (self.x + self.f * dt);
        self.x += hx / s * difference;
        self.f += hf / s * difference;
        self.p = Covariance { xx: p.xx - hx * hx / s, xf: p.xf - hx * hf / s, ff: p.ff - hf * hf / s };
        -0.5 * (difference * difference / s + s.ln())
    }
}

/// Mean and covariance of a weighted mixture; the weights need not add up to one.
fn merge(parts: impl Iterator<Item = (f64, WanderFilter)> + Clone) -> ((f64, f64), Covariance) {
    let total: f64 = parts.clone().map(|(weight, _)| weight).sum();
    let mean = |value: fn(&WanderFilter) -> f64| {
        parts.clone().map(|(weight, filter)| weight * value(&filter)).sum::<f64>() / total
    };
    let (x, f) = (mean(|filter| filter.x), mean(|filter| filter.f));
    let mut p = Covariance::default();
    for (weight, filter) in parts {
        let (dx, df, share) = (filter.x - x, filter.f - f, weight / total);
        p.xx += share * (filter.p.xx + dx * dx);
        p.xf += share * (filter.p.xf + dx * df);
        p.ff += share * (filter.p.ff + df * df);
    }
    ((x, f), p)
}

/// The probability that the model changes from `i` to `j` between two observations.
pub(super) fn transition_probability(i: usize, j: usize) -> f64 {
    let up = |from: usize| PRIOR.get(from + 1).map_or(0.0, |next| TRANSITION * next / PRIOR[from]);
    let down = |from: usize| if from == 0 { 0.0 } else { TRANSITION };
    match j as isize - i as isize {
        0 => 1.0 - up(i) - down(i),
        1 => up(i),
        -1 => down(i),
        _ => 0.0,
    }
}

/// Random walk of frequency per √s: from an oven-controlled oscillator to a bad crystal in a draught. Ratios
/// of ten are fine enough, because the mixture interpolates.
pub(super) const WANDERS: [f64; 4] = [1e-10, 1e-9, 1e-8, 1e-7];
/// Prior probability of each: draughts are rare. The transitions preserve these probabilities.
pub(super) const PRIOR: [f64; WANDERS.len()] = [0.475, 0.475, 0.0475, 0.0025];
/// The probability that an oscillator changes to the next lower wander between two observations.
const TRANSITION: f64 = 0.003;
/// The minimum weight of a filter, so that it can recover.
const MIN_WEIGHT: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    use super::*;

    const START: Raw = Raw::from_nanos(1_800_000_000_000_000_000);
    const UNKNOWN: Frequency = Frequency::from_ppm(200.0);

    fn after(seconds: f64) -> Raw {
        START + Span::from_secs_f64(seconds)
    }

    #[test]
    fn two_exact_observations_give_the_frequency() {
        let mut bank = Bank::new(START, Span::from_secs(3_600), 1e-9, Frequency::ZERO, UNKNOWN);
        bank.observe(after(5.0), Span::from_secs(3_600) + Span::from_micros(500), 1e-9);
        let known = bank.estimate(after(10.0));
        assert!((known.frequency.ppm() - 100.0).abs() < 0.01);
        assert!((known.phase - Span::from_secs(3_600) - Span::from_millis(1)).abs() < Span::from_nanos(50));
    }

    #[test]
    fn a_clock_from_1970_loses_no_nanoseconds() {
        let phase = Span::from_secs(1_800_000_000) + Span::from_nanos(7);
        let bank = Bank::new(START, phase, 1e-9, Frequency::ZERO, UNKNOWN);
        assert_eq!(bank.estimate(START).phase, phase);
    }

    #[test]
    fn the_stated_error_is_the_real_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let noise = Normal::new(0.0, 10e-6).unwrap();
        let walk = Normal::new(0.0, 1e-8 * 5f64.sqrt()).unwrap();
        let (mut x, mut f, mut within, mut squares) = (0.0, 30e-6, 0, 0.0);
        let mut bank = Bank::new(START, Span::ZERO, 10e-6, Frequency::ZERO, UNKNOWN);
        let rounds = 4_000;
        for round in 1..=rounds {
            f += walk.sample(&mut rng);
            x += f * 5.0;
            let observed = Span::from_secs_f64(x + noise.sample(&mut rng));
            bank.observe(after(5.0 * f64::from(round)), observed, 10e-6);
            let known = bank.estimate(after(5.0 * f64::from(round)));
            let error = (known.phase.as_secs_f64() - x) / known.error.as_secs_f64();
            within += usize::from(error.abs() < 1.0);
            squares += error * error;
        }
        let ratio = (squares / f64::from(rounds)).sqrt();
        let share = within as f64 / f64::from(rounds);
        assert!((0.8..1.2).contains(&ratio), "error over stated error: {ratio}");
        assert!((0.6..0.8).contains(&share), "within one stated error: {share}");
    }

    #[test]
    fn a_new_phase_keeps_the_frequency() {
        let mut bank = Bank::new(START, Span::ZERO, 1e-6, Frequency::ZERO, UNKNOWN);
        for k in 1..20 {
            bank.observe(after(f64::from(k)), Span::from_micros(20 * i64::from(k)), 1e-6);
        }
        let before = bank.estimate(after(20.0));
        bank.restart_phase(after(20.0), Span::from_secs(3_600), 1e-6);
        let now = bank.estimate(after(20.0));
        assert_eq!(now.phase, Span::from_secs(3_600));
        assert!((now.frequency - before.frequency).ppb().abs() < 1e-3);
        assert!((now.frequency_error.ratio() / before.frequency_error.ratio() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn an_oscillator_that_jumped_back_is_followed_back() {
        let mut bank = Bank::new(after(3_600.0), Span::ZERO, 1e-6, Frequency::ZERO, UNKNOWN);
        bank.restart_phase(START, Span::from_secs(3_600), 1e-6);
        bank.observe(after(5.0), Span::from_secs(3_600) + Span::from_micros(100), 1e-6);
        let known = bank.estimate(after(10.0));
        assert!((known.frequency.ppm() - 20.0).abs() < 1.0, "{known:?}");
    }

    #[test]
    fn an_observation_of_the_past_is_weighed_in_at_its_time() {
        let mut bank =
            Bank::new(START, Span::ZERO, 1e-6, Frequency::from_ppm(100.0), Frequency::from_ppm(0.1));
        bank.observe(after(10.0), Span::from_micros(1_000), 1e-6);
        bank.observe(after(9.0), Span::from_micros(900), 1e-6);
        let known = bank.estimate(after(10.0));
        assert!((known.phase - Span::from_micros(1_000)).abs() < Span::from_nanos(100), "{known:?}");
    }
}

//! One filter: an assumed-density estimate of clock and path.
//!
//! State z = (x, f, b_f, b_b): the oscillator is x seconds ahead of the cluster's time and runs faster by f;
//! b_f and b_b are the minimum delays to this node and back. Each one-way difference is one scalar
//! observation
//!
//! ```text
//! forward   d_f = t2 − t1 =  x + f τ + b_f + noise
//! backward  d_b = t4 − t3 = −x − f τ + b_b + noise        τ: from the state's instant to the observation
//! ```
//!
//! whose noise has the [`Density`] of the path. After each, the posterior is replaced by the Gaussian of the
//! same mean and covariance: with slope D and curvature C of the logarithm of the density at the residual, z
//! ← z − P h D and P ← P + (P h)(P h)ᵀ C. For Gaussian noise that is the Kalman filter; for exponential
//! noise, these are the exact moments of a truncated Gaussian: the edges of both directions bound the offset
//! from both sides.

use super::density::{Density, Shares};

/// A Gaussian estimate of clock and path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    z: [f64; STATES],
    p: [[f64; STATES]; STATES],
}

/// One one-way difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneWayDifference {
    /// The direction.
    pub way: PathDirection,
    /// From the instant of the filter's state, in seconds.
    pub tau: f64,
    /// The difference, in seconds.
    pub difference: f64,
}

/// The two directions of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathDirection {
    /// From the server to this node.
    Forward,
    /// From this node to the server.
    Backward,
}

impl PathDirection {
    /// Both.
    pub(super) const BOTH: [PathDirection; 2] = [PathDirection::Forward, PathDirection::Backward];

    /// The state's index of this direction's minimum delay.
    fn base(self) -> usize {
        2 + self as usize
    }
}

impl Filter {
    /// The state after one exchange of round-trip delay `delay` (s): the offset is zero by definition, within
    /// half the delay; both directions have the same expected delay.
    pub(super) fn start(delay: f64, frequency: f64, frequency_error: f64) -> Filter {
        let mut p = [[0.0; STATES]; STATES];
        let quarter = delay * delay / 4.0;
        p[0][0] = quarter;
        p[1][1] = frequency_error * frequency_error;
        for (i, j) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
            p[i][j] = quarter;
        }
        Filter { z: [0.0, frequency, delay / 2.0, delay / 2.0], p }
    }

    /// The same state, whose offset is zero within `error` (s, one standard deviation).
    pub(super) fn with_phase_error(mut self, error: f64) -> Filter {
        self.p[0][0] = error * error;
        self
    }

    /// Moves the state on by `dt` seconds, for an oscillator of this wander (per √s).
    pub(super) fn predict(&mut self, dt: f64, wander: f64) {
        let q = wander * wander * dt;
        self.z[0] += self.z[1] * dt;
        // F P Fᵀ with F = 1 + dt e₀e₁ᵀ: first the row, then the column.
        for j in 0..STATES {
            self.p[0][j] += dt * self.p[1][j];
        }
        for i in 0..STATES {
            self.p[i][0] += dt * self.p[i][1];
        }
        self.p[0][0] += q * dt * dt / 3.0;
        self.p[0][1] += q * dt / 2.0;
        self.p[1][0] += q * dt / 2.0;
        self.p[1][1] += q;
    }

    /// What the state says of the instant `dt` seconds earlier, with a covariance `doubt` times as large:
    /// that of a filter that is to see the same observations again.
    pub(super) fn earlier(mut self, dt: f64, wander: f64, doubt: f64) -> Filter {
        self.predict(-dt, 0.0);
        let q = wander * wander * dt;
        self.p[0][0] += q * dt * dt / 3.0;
        self.p[0][1] -= q * dt / 2.0;
        self.p[1][0] -= q * dt / 2.0;
        self.p[1][1] += q;
        for variance in self.p.as_flattened_mut() {
            *variance *= doubt;
        }
        self
    }

    /// The state with what another one, independent of it, knows of the frequency.
    pub(super) fn with_frequency_of(mut self, other: &Filter) -> Filter {
        let column: [f64; STATES] = core::array::from_fn(|i| self.p[i][1]);
        let total = column[1] + other.p[1][1];
        let apart = other.z[1] - self.z[1];
        for i in 0..STATES {
            self.z[i] += column[i] / total * apart;
            for j in 0..STATES {
                self.p[i][j] -= column[i] * column[j] / total;
            }
        }
        self
    }

    /// Whether it knows the phase better than another.
    pub(super) fn is_better_than(&self, other: &Filter) -> bool {
        self.p[0][0] < other.p[0][0]
    }

    /// Adds process noise to both minimum delays together: routes change, and a wrong estimate must not last.
    pub(super) fn add_path_noise(&mut self, by: f64) {
        for (i, j) in [(2, 2), (2, 3), (3, 2), (3, 3)] {
            self.p[i][j] += by * by;
        }
    }

    /// The minimum delay of this direction may have changed by about `by` seconds.
    pub(super) fn inflate_path(&mut self, way: PathDirection, by: f64) {
        self.p[way.base()][way.base()] += by * by;
    }

    /// Resets the phase, from an exchange of round-trip delay `delay` (s). The state is as at the start,
    /// except for the frequency, which may have changed by about `drift`. The asymmetry is reset too, because
    /// it is known through the phase only.
    pub(super) fn reset_phase(&mut self, delay: f64, drift: f64) {
        *self = Filter::start(delay, self.z[1], self.p[1][1].sqrt().hypot(drift));
    }

    /// The frequency may have changed by about `by`.
    pub(super) fn inflate_frequency(&mut self, by: f64) {
        self.p[1][1] += by * by;
    }

    /// The residual of an observation, and the variance of its expectation.
    pub(super) fn residual(&self, observation: &OneWayDifference) -> (f64, f64) {
        let (_, variance, residual) = self.compare(observation);
        (residual, variance)
    }

    /// Assimilates an observation; returns the logarithm of its density. `depth` says which components of the
    /// density are left out, see [`Density::evidence`]; `share` times what each explains is added to
    /// `shares`.
    pub(super) fn assimilate(
        &mut self,
        observation: &OneWayDifference,
        density: &Density,
        depth: (f64, f64),
        share: f64,
        shares: &mut Shares,
    ) -> f64 {
        let (ph, variance, residual) = self.compare(observation);
        let evidence = density.evidence(residual, variance, depth, share, shares);
        // The variance after the update must stay a variance, and not grow without reason.
        let after =
            (variance + variance * variance * evidence.curvature).clamp(1e-4 * variance, 4.0 * variance);
        let curvature = (after - variance) / (variance * variance);
        for i in 0..STATES {
            self.z[i] -= ph[i] * evidence.slope;
            for j in 0..STATES {
                self.p[i][j] += ph[i] * ph[j] * curvature;
            }
        }
        evidence.ln_density
    }

    /// P h, h P h and the residual.
    fn compare(&self, observation: &OneWayDifference) -> ([f64; STATES], f64, f64) {
        let base = observation.way.base();
        let (one, tau) = match observation.way {
            PathDirection::Forward => (1.0, observation.tau),
            PathDirection::Backward => (-1.0, -observation.tau),
        };
        let ph: [f64; STATES] =
            core::array::from_fn(|i| one * self.p[i][0] + tau * self.p[i][1] + self.p[i][base]);
        let variance = (one * ph[0] + tau * ph[1] + ph[base]).max(MIN_VARIANCE);
        let expected = one * self.z[0] + tau * self.z[1] + self.z[base];
        (ph, variance, observation.difference - expected)
    }

    /// Offset and frequency at `dt` seconds after the state's instant, with variance of both, for this
    /// wander.
    pub(super) fn clock(&self, dt: f64, wander: f64) -> ClockEstimate {
        let q = wander * wander * dt.max(0.0);
        let p = &self.p;
        ClockEstimate {
            x: self.z[0] + self.z[1] * dt,
            f: self.z[1],
            xx: p[0][0] + 2.0 * dt * p[0][1] + dt * dt * p[1][1] + q * dt * dt / 3.0,
            ff: p[1][1] + q,
        }
    }

    /// The moments of a weighted mixture of filters; the weights add up to one.
    pub(super) fn mixture(parts: &[(f64, &Filter)]) -> Filter {
        let mut merged = Filter { z: [0.0; STATES], p: [[0.0; STATES]; STATES] };
        for (weight, filter) in parts {
            for i in 0..STATES {
                merged.z[i] += weight * filter.z[i];
            }
        }
        for (weight, filter) in parts {
            let apart: [f64; STATES] = core::array::from_fn(|i| filter.z[i] - merged.z[i]);
            for i in 0..STATES {
                for j in 0..STATES {
                    merged.p[i][j] += weight * (filter.p[i][j] + apart[i] * apart[j]);
                }
            }
        }
        merged
    }
}

/// The clock's part of an estimate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockEstimate {
    /// The oscillator's lead over cluster time, in seconds.
    pub x: f64,
    /// Its frequency, positive if it runs fast.
    pub f: f64,
    /// Variance of x.
    pub xx: f64,
    /// Variance of f.
    pub ff: f64,
}

impl ClockEstimate {
    /// Whether an oscillator can have this state.
    pub(super) fn is_plausible(&self) -> bool {
        let known = self.x.is_finite() && self.xx.is_finite() && self.ff.is_finite();
        known && self.f.abs() <= FASTEST_FREQUENCY
    }

    /// The moments of a weighted mixture; the weights add up to one.
    pub(super) fn mixture(parts: impl Iterator<Item = (f64, ClockEstimate)> + Clone) -> ClockEstimate {
        let mut merged = ClockEstimate::default();
        for (weight, clock) in parts.clone() {
            merged.x += weight * clock.x;
            merged.f += weight * clock.f;
        }
        for (weight, clock) in parts {
            merged.xx += weight * (clock.xx + (clock.x - merged.x).powi(2));
            merged.ff += weight * (clock.ff + (clock.f - merged.f).powi(2));
        }
        merged
    }
}

/// The largest difference of two oscillators' frequencies.
const FASTEST_FREQUENCY: f64 = 600e-6;
/// x, f, b_f, b_b.
const STATES: usize = 4;
/// (10 ps)²: keeps divisions finite on perfect links.
const MIN_VARIANCE: f64 = 1e-22;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_state_taken_back_is_the_one_before_with_more_doubt() {
        let mut filter = Filter::start(10e-3, 3e-6, 200e-6);
        let before = filter;
        filter.predict(100.0, 0.0);
        let back = filter.earlier(100.0, 0.0, 4.0);
        for i in 0..STATES {
            assert!((back.z[i] - before.z[i]).abs() < 1e-12);
            for j in 0..STATES {
                assert!((back.p[i][j] - 4.0 * before.p[i][j]).abs() < 1e-12, "{i} {j}");
            }
        }
        assert!(before.is_better_than(&back) && !back.is_better_than(&before));
        assert!(filter.earlier(100.0, 1e-8, 1.0).p[1][1] > before.p[1][1]);
    }

    /// A state whose parts are all correlated: its covariance is L Lᵀ with a random L.
    fn correlated(rng: &mut ChaCha8Rng) -> Filter {
        let mut row = || core::array::from_fn(|_| rng.random_range(-1.0..1.0));
        let (z, l): ([f64; STATES], [[f64; STATES]; STATES]) = (row(), core::array::from_fn(|_| row()));
        let product = |one: &[f64; STATES], other: &[f64; STATES]| -> f64 {
            one.iter().zip(other).map(|(one, other)| one * other).sum()
        };
        Filter { z, p: core::array::from_fn(|i| core::array::from_fn(|j| product(&l[i], &l[j]))) }
    }

    /// Whether a covariance is positive definite: whether all pivots of its elimination are positive.
    fn is_positive_definite(mut p: [[f64; STATES]; STATES]) -> bool {
        (0..STATES).all(|k| {
            let pivots_row = p[k];
            for row in &mut p[k + 1..] {
                let share = row[k] / pivots_row[k];
                row.iter_mut().zip(pivots_row).for_each(|(value, above)| *value -= share * above);
            }
            pivots_row[k] > 0.0
        })
    }

    /// With h for the frequency and R for the variance of the other one, information adds up: P′⁻¹ is
    /// P⁻¹ + h hᵀ/R. Multiplied by P′ and P, that is P′ + P′ h hᵀ P/R = P; and z′ − z is P′ h/R times the
    /// difference of the frequencies.
    #[test]
    fn what_another_knows_of_the_frequency_is_weighed_into_the_whole_state() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for _ in 0..100 {
            let (before, other) = (correlated(&mut rng), correlated(&mut rng));
            let both = before.with_frequency_of(&other);
            let (variance, apart) = (other.p[1][1], other.z[1] - before.z[1]);
            for i in 0..STATES {
                let gain = both.p[i][1] / variance;
                assert!((both.z[i] - before.z[i] - gain * apart).abs() < 1e-9, "{before:?} {other:?}");
                for j in 0..STATES {
                    let sum = both.p[i][j] + gain * before.p[1][j];
                    assert!((sum - before.p[i][j]).abs() < 1e-9, "{before:?} {other:?}");
                    assert!((both.p[i][j] - both.p[j][i]).abs() < 1e-12, "{before:?} {other:?}");
                }
            }
            assert!(is_positive_definite(before.p) && is_positive_definite(both.p), "{before:?} {other:?}");
        }
    }

    #[test]
    fn two_that_know_the_frequency_equally_well_halve_its_variance() {
        let before = Filter::start(10e-3, 3e-6, 200e-6);
        let both = before.with_frequency_of(&before);
        assert!((both.p[1][1] / before.p[1][1] - 0.5).abs() < 1e-9 && both.z[1] == before.z[1]);
    }
}

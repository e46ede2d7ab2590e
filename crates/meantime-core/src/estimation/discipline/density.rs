//! The density of a path's noise: the waiting time of a datagram beyond the minimum delay.
//!
//! Waiting is one-sided, and its law is unknown. So it is learned, as a mixture of [`COMPONENTS`] shapes: an
//! exponential of mean m_k = 64 ns · 2^k, k = 0 … 20, convolved with a Gaussian of deviation g_k, which
//! rounds its edge. Each [`Sharpness`] of the edge is a class of its own: the evidence selects the class,
//! expectation-maximisation learns the weights within a class. Both directions share one density: with two,
//! an uncertain shape would become an error of the offset.
//!
//! For a residual r = observed − expected with V = S + g² (S the variance of the expectation), L = 1/m and
//! u = (L V − r)/√(2V), the density of one component and its derivatives are
//!
//! ```text
//! p(r)  = L/2 · exp(−r²/2V) · erfcx(u)
//! p'/p  = q − L,                 q = √(2/πV) / erfcx(u)
//! p''/p = −(r/V) q − L (q − L)
//! ```

use errorfunctions::RealErrorFunctions;

/// How sharp the edge of the noise is: g_k as a share of m_k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sharpness {
    /// One-sided, with an edge rounded by this share of the component's mean.
    Edge(f64),
    /// No edge at all: Gaussian noise of g_k = 64 ns · 2^k.
    None,
}

/// A learned density of noise.
#[derive(Clone, Debug)]
pub(super) struct Density {
    shapes: [Shape; COMPONENTS],
    weights: [f64; COMPONENTS],
    /// Their logarithms.
    ln_weights: [f64; COMPONENTS],
    /// Observations that the weights rest on.
    observed: f64,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The exponential's mean, in seconds.
    mean: f64,
    /// Its inverse.
    rate: f64,
    /// Its logarithm.
    ln_mean: f64,
    /// The Gaussian's deviation, in seconds.
    deviation: f64,
}

/// The density of one residual, with its derivatives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// The logarithm of the residual's density.
    pub ln_density: f64,
    /// First derivative of that logarithm with respect to the residual.
    pub slope: f64,
    /// Second derivative.
    pub curvature: f64,
}

/// How much of a set of observations each component explains.
pub(super) type Shares = [f64; COMPONENTS];

impl Density {
    /// A density of known sharpness, with equal weights.
    pub(super) fn unknown(sharpness: Sharpness) -> Density {
        let shapes = core::array::from_fn(|k| {
            let scale = 64e-9 * f64::from(1u32 << k);
            let (mean, deviation) = match sharpness {
                Sharpness::Edge(share) => (scale, share * scale),
                Sharpness::None => (1e-3 * scale, scale),
            };
            Shape { mean, rate: 1.0 / mean, ln_mean: mean.ln(), deviation }
        });
        let weight = 1.0 / COMPONENTS as f64;
        Density {
            shapes,
            weights: [weight; COMPONENTS],
            ln_weights: [weight.ln(); COMPONENTS],
            observed: 0.0,
        }
    }

    /// Evaluates a residual whose expectation has the variance `variance`; adds `share` times what each
    /// component explains to `shares`. Left out are components of no more than `rare` weight, and those that
    /// explain less than e^−`depth` of what the best may.
    pub(super) fn evidence(
        &self,
        residual: f64,
        variance: f64,
        (rare, depth): (f64, f64),
        share: f64,
        shares: &mut Shares,
    ) -> Evidence {
        let mut ln_about = [f64::NEG_INFINITY; COMPONENTS];
        let mut highest = f64::NEG_INFINITY;
        for (k, (shape, weight)) in self.shapes.iter().zip(self.weights).enumerate() {
            if weight > rare {
                ln_about[k] = shape.ln_about(residual, variance) + self.ln_weights[k];
                highest = highest.max(ln_about[k]);
            }
        }
        let mut explained = [0.0; COMPONENTS];
        let (mut total, mut slope, mut curvature) = (0.0, 0.0, 0.0);
        for (k, ln_about) in ln_about.into_iter().enumerate() {
            if ln_about < highest - depth {
                continue;
            }
            let term = self.shapes[k].term(residual, variance, highest);
            explained[k] = self.weights[k] * term.density;
            total += explained[k];
            slope += explained[k] * term.slope;
            curvature += explained[k] * term.curvature;
        }
        if share > 0.0 {
            let each = share / total;
            shares.iter_mut().zip(explained).for_each(|(sum, density)| *sum += each * density);
        }
        let slope = slope / total;
        Evidence { ln_density: total.ln() + highest, slope, curvature: curvature / total - slope * slope }
    }

    /// One step of expectation-maximisation: moves the weights towards what the components have explained.
    pub(super) fn learn(&mut self, shares: &Shares) {
        let amount: f64 = shares.iter().sum();
        if amount <= 0.0 {
            return;
        }
        self.observed += amount;
        let gain = (amount / (self.observed + 8.0)).max(LEARNING * amount).min(0.5);
        for (weight, share) in self.weights.iter_mut().zip(shares) {
            *weight = ((1.0 - gain) * *weight + gain * share / amount).max(MIN_WEIGHT);
        }
        let total: f64 = self.weights.iter().sum();
        for (weight, ln_weight) in self.weights.iter_mut().zip(&mut self.ln_weights) {
            *weight /= total;
            *ln_weight = weight.ln();
        }
    }

    /// Moves the weights a part of the way back to equal ones, and resets their number of observations.
    pub(super) fn doubt(&mut self) {
        for (weight, ln_weight) in self.weights.iter_mut().zip(&mut self.ln_weights) {
            *weight += DOUBT * (1.0 / COMPONENTS as f64 - *weight);
            *ln_weight = weight.ln();
        }
        self.observed = 0.0;
    }

    /// Limits the number of observations on which the weights rest.
    pub(super) fn limit_memory(&mut self, observed: f64) {
        self.observed = self.observed.min(observed);
    }

    /// Observations that the weights rest on.
    pub(super) fn observed(&self) -> f64 {
        self.observed
    }

    /// The typical waiting time, in seconds: the geometric mean of the components' scales.
    pub(super) fn scale(&self) -> f64 {
        self.geometric_mean(|shape| shape.mean + shape.deviation)
    }

    /// How round the edge typically is, in seconds.
    pub(super) fn roundness(&self) -> f64 {
        self.geometric_mean(|shape| shape.deviation)
    }

    /// The probability to wait longer than `wait` seconds.
    pub(super) fn survival(&self, wait: f64) -> f64 {
        let parts = self.shapes.iter().zip(self.weights);
        parts.map(|(shape, weight)| weight * (-wait / (shape.mean + shape.deviation)).exp()).sum()
    }

    fn geometric_mean(&self, scale: fn(&Shape) -> f64) -> f64 {
        let parts = self.shapes.iter().zip(self.weights);
        parts.map(|(shape, weight)| weight * scale(shape).ln()).sum::<f64>().exp()
    }
}

/// Limits a residual to [`FARTHEST`] deviations before the edge: the square of hours, in deviations of
/// nanoseconds, would leave no digit of an f64 for the term that is subtracted from it.
fn limited(residual: f64, deviation: f64) -> f64 {
    residual.max(-FARTHEST * deviation)
}

/// Density, in units of e^`highest`, p'/p and p''/p of a component at a residual.
#[derive(Clone, Copy, Debug)]
struct DensityTerm {
    density: f64,
    slope: f64,
    curvature: f64,
}

impl Shape {
    /// The logarithm of the density, to within about one, at the price of a root and a division.
    fn ln_about(&self, residual: f64, variance: f64) -> f64 {
        let v = variance + self.deviation * self.deviation;
        let s = v.sqrt();
        let residual = limited(residual, s);
        let r = residual * self.rate;
        if self.mean < GAUSSIAN * s {
            let (r, v) = (residual.min(FARTHEST * s) - self.mean, v + self.mean * self.mean);
            return -0.5 * r * r / v - ln_about(2.5 * s);
        }
        let edge = v * self.rate * self.rate;
        if r > edge {
            return 0.5 * edge - r - self.ln_mean;
        }
        // erfcx(u) is about 1 / (1 + √π u).
        let inverse = 1.0 / s;
        let z = residual * inverse;
        -0.5 * z * z - self.ln_mean - ln_about(2.0 + 2.5 * (s * self.rate - z))
    }

    fn term(&self, residual: f64, variance: f64, highest: f64) -> DensityTerm {
        let v = variance + self.deviation * self.deviation;
        let s = v.sqrt();
        let residual = limited(residual, s);
        if self.mean < GAUSSIAN * s {
            // The deviation hides the exponential's skewness.
            let (r, v) = (residual.min(FARTHEST * s) - self.mean, v + self.mean * self.mean);
            let slope = -r / v;
            let density = (-0.5 * r * r / v - highest).exp() / (core::f64::consts::TAU * v).sqrt();
            return DensityTerm { density, slope, curvature: slope * slope - 1.0 / v };
        }
        let l = self.rate;
        let u = (l * v - residual) / (core::f64::consts::SQRT_2 * s);
        if u < -5.0 {
            // Far inside the exponential: the edge is out of reach.
            let density = l * (l * (0.5 * l * v - residual) - highest).exp();
            return DensityTerm { density, slope: -l, curvature: l * l };
        }
        let scaled = u.erfcx();
        let q = SQRT_2_OVER_PI / (s * scaled);
        let density = 0.5 * l * scaled * (-0.5 * residual * residual / v - highest).exp();
        DensityTerm { density, slope: q - l, curvature: -(residual / v) * q - l * (q - l) }
    }
}

/// The natural logarithm of a positive number, to within 0.35: from its binary exponent alone.
fn ln_about(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52) as i64 - 1023;
    (exponent as f64 + 0.5) * core::f64::consts::LN_2
}

/// From 64 ns to 67 ms.
pub(super) const COMPONENTS: usize = 21;
/// Where the skewness of an exponential ends to matter: its mean beside the deviation.
const GAUSSIAN: f64 = 0.05;
/// How fast old observations fade, per observation: slow learning lets filters of a wide wander explain a
/// noisy hour by moving the clock.
const LEARNING: f64 = 0.01;
/// How far the weights move back to equal ones before a replay: all the way leaves too little to start from;
/// no move lets early errors last for minutes.
const DOUBT: f64 = 0.3;
/// The minimum weight of a component, so that it can recover.
const MIN_WEIGHT: f64 = 1e-6;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// Its square is still known to a ten-thousandth.
const FARTHEST: f64 = 1e6;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Exp};

    use super::*;

    const DEPTH: (f64, f64) = (0.0, 14.0);

    #[test]
    fn the_density_of_every_class_integrates_to_one() {
        for sharpness in [Sharpness::Edge(0.003), Sharpness::Edge(0.1), Sharpness::Edge(0.6), Sharpness::None]
        {
            let density = Density::unknown(sharpness);
            // Logarithmic steps on both sides, since the components span six decades.
            let at = |k: i32| 1e-10 * 1.01f64.powi(k);
            let area = |sign: f64| -> f64 {
                (0..2_500)
                    .map(|k| {
                        let evidence =
                            density.evidence(sign * at(k), 1e-14, DEPTH, 0.0, &mut [0.0; COMPONENTS]);
                        evidence.ln_density.exp() * (at(k + 1) - at(k))
                    })
                    .sum()
            };
            let total = area(1.0) + area(-1.0);
            assert!((total - 1.0).abs() < 0.02, "{sharpness:?}: {total}");
        }
    }

    #[test]
    fn what_is_hours_off_is_weighed_in_figures_even_where_the_noise_is_known_to_be_nanoseconds() {
        for sharpness in [Sharpness::Edge(0.003), Sharpness::Edge(0.6), Sharpness::None] {
            let mut density = Density::unknown(sharpness);
            for _ in 0..10_000 {
                let mut shares = [0.0; COMPONENTS];
                shares[0] = 8.0;
                density.learn(&shares);
            }
            for hours in [-3.0, -1e-3, 1e-3, 3.0] {
                let mut shares = [0.0; COMPONENTS];
                let found = density.evidence(hours * 3_600.0, 1e-22, (5e-6, 12.0), 1.0, &mut shares);
                let figures = [found.ln_density, found.slope, found.curvature, shares.iter().sum::<f64>()];
                assert!(figures.iter().all(|figure| figure.is_finite()), "{sharpness:?} {hours}: {found:?}");
            }
        }
    }

    #[test]
    fn slope_and_curvature_are_the_derivatives_of_the_logarithm() {
        for sharpness in [Sharpness::Edge(0.003), Sharpness::Edge(0.6), Sharpness::None] {
            let density = Density::unknown(sharpness);
            let at = |r: f64| density.evidence(r, 9e-12, DEPTH, 0.0, &mut [0.0; COMPONENTS]);
            for r in [-8e-6, -1e-6, 0.0, 2e-6, 30e-6, 4e-3] {
                let h = 1e-9;
                let slope = (at(r + h).ln_density - at(r - h).ln_density) / (2.0 * h);
                let curvature = (at(r + h).slope - at(r - h).slope) / (2.0 * h);
                let here = at(r);
                assert!((here.slope / slope - 1.0).abs() < 1e-3, "{sharpness:?} {r}: {} {slope}", here.slope);
                let scale = curvature.abs().max(1e6);
                assert!((here.curvature - curvature).abs() < 1e-2 * scale, "{sharpness:?} {r}");
            }
        }
    }

    #[test]
    fn expectation_maximisation_finds_the_scale_of_the_noise() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let noise = Exp::new(1.0 / 20e-6).unwrap();
        let mut density = Density::unknown(Sharpness::Edge(0.003));
        for _ in 0..2_000 {
            let mut shares = [0.0; COMPONENTS];
            density.evidence(noise.sample(&mut rng), 1e-14, DEPTH, 1.0, &mut shares);
            density.learn(&shares);
        }
        assert!((10e-6..30e-6).contains(&density.scale()), "{}", density.scale());
        assert!((density.survival(20e-6) - (-1.0f64).exp()).abs() < 0.1, "{}", density.survival(20e-6));
    }
}

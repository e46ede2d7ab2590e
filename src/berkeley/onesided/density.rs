//! The density of a path's noise: what a datagram waits on top of the least it has to.
//!
//! Waiting is one-sided, and nobody knows its law. So it is learned, as a mixture of [`COMPONENTS`] shapes: an
//! exponential of mean m_k = 64 ns · 2^k, k = 0 … 20, convolved with a Gaussian of deviation g_k, which rounds its
//! edge. How round the edge is, is a class of its own ([`Sharpness`]): between classes the evidence decides, within a
//! class expectation-maximisation learns the weights. Both directions share one density: two would turn a doubt about
//! the shape into an error of the offset.
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
pub enum Sharpness {
    /// One-sided, with an edge rounded by this share of the component's mean.
    Edge(f64),
    /// No edge at all: Gaussian noise of g_k = 64 ns · 2^k.
    None,
}

/// A learned density of noise.
#[derive(Clone, Debug)]
pub struct Density {
    shapes: [Shape; COMPONENTS],
    weights: [f64; COMPONENTS],
    /// Observations that the weights rest on.
    seen: f64,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The exponential's mean, in seconds.
    mean: f64,
    /// The Gaussian's deviation, in seconds.
    deviation: f64,
}

/// What one observation says about the expectation that it was compared with.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// The logarithm of the residual's density.
    pub ln_density: f64,
    /// First derivative of that logarithm with respect to the residual.
    pub slope: f64,
    /// Second derivative.
    pub curvature: f64,
}

/// How much of a set of observations each component explains.
pub type Shares = [f64; COMPONENTS];

impl Density {
    /// A density of which nothing is known but its sharpness.
    pub fn unknown(sharpness: Sharpness) -> Density {
        let shapes = std::array::from_fn(|k| {
            let scale = 64e-9 * f64::from(1u32 << k);
            match sharpness {
                Sharpness::Edge(share) => Shape { mean: scale, deviation: share * scale },
                Sharpness::None => Shape { mean: 1e-3 * scale, deviation: scale },
            }
        });
        Density { shapes, weights: [1.0 / COMPONENTS as f64; COMPONENTS], seen: 0.0 }
    }

    /// Weighs a residual against an expectation of variance `variance`, with all components of at least `least`
    /// weight; adds `share` times what each component explains to `shares`.
    pub fn evidence(
        &self,
        residual: f64,
        variance: f64,
        least: f64,
        share: f64,
        shares: &mut Shares,
    ) -> Evidence {
        let mut terms = [(0usize, Term::default()); COMPONENTS];
        let mut used = 0;
        let mut highest = f64::NEG_INFINITY;
        for (k, (shape, weight)) in self.shapes.iter().zip(self.weights).enumerate() {
            if weight < least {
                continue;
            }
            let term = shape.term(residual, variance);
            highest = highest.max(term.ln_density);
            terms[used] = (k, term);
            used += 1;
        }
        let (mut total, mut slope, mut curvature) = (0.0, 0.0, 0.0);
        for (k, term) in &mut terms[..used] {
            let p = self.weights[*k] * (term.ln_density - highest).exp();
            term.ln_density = p;
            total += p;
            slope += p * term.slope;
            curvature += p * term.curvature;
        }
        if share > 0.0 {
            for (k, term) in &terms[..used] {
                shares[*k] += share * term.ln_density / total;
            }
        }
        let slope = slope / total;
        Evidence { ln_density: total.ln() + highest, slope, curvature: curvature / total - slope * slope }
    }

    /// One step of expectation-maximisation: moves the weights towards what the components have explained.
    pub fn learn(&mut self, shares: &Shares) {
        let amount: f64 = shares.iter().sum();
        if amount <= 0.0 {
            return;
        }
        self.seen += amount;
        let gain = (amount / (self.seen + 8.0)).max(LEARNING * amount).min(0.5);
        for (weight, share) in self.weights.iter_mut().zip(shares) {
            *weight = ((1.0 - gain) * *weight + gain * share / amount).max(LEAST_WEIGHT);
        }
        let total: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|weight| *weight /= total);
    }

    /// The weights shall rest on at most so many observations.
    pub fn rest_on(&mut self, seen: f64) {
        self.seen = self.seen.min(seen);
    }

    /// Observations that the weights rest on.
    pub fn seen(&self) -> f64 {
        self.seen
    }

    /// The typical waiting time, in seconds: the geometric mean of the components' scales.
    pub fn scale(&self) -> f64 {
        self.geometric_mean(|shape| shape.mean + shape.deviation)
    }

    /// How round the edge typically is, in seconds.
    pub fn roundness(&self) -> f64 {
        self.geometric_mean(|shape| shape.deviation)
    }

    /// The probability to wait longer than `wait` seconds.
    pub fn survival(&self, wait: f64) -> f64 {
        let parts = self.shapes.iter().zip(self.weights);
        parts.map(|(shape, weight)| weight * (-wait / (shape.mean + shape.deviation)).exp()).sum()
    }

    fn geometric_mean(&self, scale: fn(&Shape) -> f64) -> f64 {
        let parts = self.shapes.iter().zip(self.weights);
        parts.map(|(shape, weight)| weight * scale(shape).ln()).sum::<f64>().exp()
    }
}

/// Logarithm of a component's density, p'/p and p''/p, at a residual.
#[derive(Clone, Copy, Debug, Default)]
struct Term {
    ln_density: f64,
    slope: f64,
    curvature: f64,
}

impl Shape {
    fn term(&self, residual: f64, variance: f64) -> Term {
        let v = variance + self.deviation * self.deviation;
        let s = v.sqrt();
        if self.mean < 0.05 * s {
            return gaussian(residual - self.mean, v + self.mean * self.mean);
        }
        let l = 1.0 / self.mean;
        let u = (l * v - residual) / (std::f64::consts::SQRT_2 * s);
        let (ln_density, q) = if u > -5.0 {
            let scaled = u.erfcx();
            let ln_density = (0.5 * l * scaled).ln() - residual * residual / (2.0 * v);
            (ln_density, SQRT_2_OVER_PI / (s * scaled))
        } else {
            // Far inside the exponential: the Gaussian's edge is out of reach.
            let ln_density = l.ln() + 0.5 * l * l * v - l * residual;
            let edge = -residual * residual / (2.0 * v) - ln_density;
            (ln_density, l * edge.exp() * 0.5 * SQRT_2_OVER_PI / s)
        };
        Term { ln_density, slope: q - l, curvature: -(residual / v) * q - l * (q - l) }
    }
}

fn gaussian(residual: f64, v: f64) -> Term {
    let slope = -residual / v;
    Term {
        ln_density: -0.5 * (residual * residual / v + (std::f64::consts::TAU * v).ln()),
        slope,
        curvature: slope * slope - 1.0 / v,
    }
}

/// From 64 ns to 67 ms.
pub const COMPONENTS: usize = 21;
/// How fast old observations fade, per observation: slow learning lets filters of a wide wander explain a noisy
/// hour by moving the clock.
const LEARNING: f64 = 0.01;
/// No component's weight falls below this: it must be able to come back.
const LEAST_WEIGHT: f64 = 1e-6;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Exp};

    use super::*;

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
                            density.evidence(sign * at(k), 1e-14, 0.0, 0.0, &mut [0.0; COMPONENTS]);
                        evidence.ln_density.exp() * (at(k + 1) - at(k))
                    })
                    .sum()
            };
            let total = area(1.0) + area(-1.0);
            assert!((total - 1.0).abs() < 0.02, "{sharpness:?}: {total}");
        }
    }

    #[test]
    fn slope_and_curvature_are_the_derivatives_of_the_logarithm() {
        for sharpness in [Sharpness::Edge(0.003), Sharpness::Edge(0.6), Sharpness::None] {
            let density = Density::unknown(sharpness);
            let at = |r: f64| density.evidence(r, 9e-12, 0.0, 0.0, &mut [0.0; COMPONENTS]);
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
            density.evidence(noise.sample(&mut rng), 1e-14, 0.0, 1.0, &mut shares);
            density.learn(&shares);
        }
        assert!((10e-6..30e-6).contains(&density.scale()), "{}", density.scale());
        assert!((density.survival(20e-6) - (-1.0f64).exp()).abs() < 0.1, "{}", density.survival(20e-6));
    }
}

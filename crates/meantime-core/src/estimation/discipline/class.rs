//! One class: the estimate under the assumption that the noise has one sharpness.
//!
//! It has a learned density, and a bank of filters for different wanders of the oscillator. The filters are
//! weighted by their likelihoods and mixed before each step (interacting multiple models, Blom and
//! Bar-Shalom, 1988). The class's log evidence measures how well its sharpness predicts.

use super::density::{COMPONENTS, Density, Sharpness};
use super::filter::{ClockEstimate, Filter, OneWayDifference, PathDirection};
use crate::estimation::kalman::{PRIOR, WANDERS, transition_probability};
use alloc::vec::Vec;

/// The observations of one burst, in the order of their exchanges' delays.
#[derive(Clone, Debug)]
pub(super) struct ObservedBurst {
    /// Seconds from the state's instant before to this burst's; 0 for a burst that comes late.
    pub dt: f64,
    /// τ counts from this burst's instant; of a late one, from the state's.
    pub observations: Vec<OneWayDifference>,
}

/// Whether a burst also teaches the noise density.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noise {
    /// The density is learned from the burst.
    Learned,
    /// The density stays.
    Fixed,
}

/// Density and filters of one sharpness.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// The logarithm of the evidence for this class, fading.
    pub ln_evidence: f64,
    density: Density,
    filters: [Filter; WANDERS.len()],
    ln_weights: [f64; WANDERS.len()],
}

impl Class {
    /// A class before its first burst, with the initial state `start`.
    pub(super) fn new(sharpness: Sharpness, start: Filter) -> Class {
        Class {
            ln_evidence: 0.0,
            density: Density::unknown(sharpness),
            filters: [start; WANDERS.len()],
            ln_weights: PRIOR.map(f64::ln),
        }
    }

    /// Restarts the filters, and keeps the learned density.
    pub(super) fn restart(&mut self, start: Filter) {
        self.ln_evidence = 0.0;
        self.filters = [start; WANDERS.len()];
        self.ln_weights = PRIOR.map(f64::ln);
    }

    /// The density of the noise, as learned.
    pub(super) fn density(&self) -> &Density {
        &self.density
    }

    /// The density, mutable.
    pub(super) fn density_mut(&mut self) -> &mut Density {
        &mut self.density
    }

    /// The filter of the largest wander. A residual that is impossible for it is impossible for all.
    pub(super) fn widest(&self) -> &Filter {
        &self.filters[WANDERS.len() - 1]
    }

    /// The filter with the largest weight.
    pub(super) fn likeliest(&self) -> &Filter {
        &self.filters[self.likeliest_place()]
    }

    /// Predicts to the burst's instant.
    pub(super) fn predict(&mut self, dt: f64) {
        self.mix();
        let loosening = PATH_WALK * self.density.scale();
        for (filter, wander) in self.filters.iter_mut().zip(WANDERS) {
            if dt > 0.0 {
                filter.predict(dt, wander);
            }
            filter.add_path_noise(loosening);
        }
    }

    /// Learns the noise from a burst with a single filter, which is as good for that as all of them, and
    /// cheaper. The filter assumes the likeliest wander.
    pub(super) fn learn_noise(&mut self, filter: &mut Filter, burst: &ObservedBurst) {
        if burst.dt > 0.0 {
            filter.predict(burst.dt, self.likeliest_wander());
        }
        filter.add_path_noise(PATH_WALK * self.density.scale());
        let mut shares = [0.0; COMPONENTS];
        for observation in &burst.observations {
            filter.assimilate(observation, &self.density, DEPTH, 1.0, &mut shares);
        }
        self.density.learn(&shares);
    }

    /// The wander of the filter with the largest weight.
    pub(super) fn likeliest_wander(&self) -> f64 {
        WANDERS[self.likeliest_place()]
    }

    fn likeliest_place(&self) -> usize {
        let weighed = self.ln_weights.iter().enumerate();
        weighed.max_by(|one, two| one.1.total_cmp(two.1)).map_or(0, |(place, _)| place)
    }

    /// Assimilates a burst's observations.
    pub(super) fn assimilate(&mut self, observations: &[OneWayDifference], noise: Noise) {
        let mut shares = [0.0; COMPONENTS];
        for (filter, ln_weight) in self.filters.iter_mut().zip(&mut self.ln_weights) {
            let weight = ln_weight.exp();
            let depth = if weight < MINOR { MINOR_DEPTH } else { DEPTH };
            let share = if noise == Noise::Learned && weight > 1e-3 { weight } else { 0.0 };
            for observation in observations {
                *ln_weight += filter.assimilate(observation, &self.density, depth, share, &mut shares);
            }
        }
        let evidence = self.normalise();
        self.ln_evidence = FADING * self.ln_evidence + evidence;
        if noise == Noise::Learned {
            self.density.learn(&shares);
        }
    }

    /// Applies a change of variance to every filter.
    pub(super) fn doubt(&mut self, doubt: impl Fn(&mut Filter)) {
        self.filters.iter_mut().for_each(doubt);
    }

    /// The estimate of the clock, `dt` seconds from the state's instant.
    pub(super) fn clock(&self, dt: f64) -> ClockEstimate {
        let parts = self.filters.iter().zip(WANDERS).zip(self.ln_weights);
        ClockEstimate::mixture(
            parts.map(|((filter, wander), ln_weight)| (ln_weight.exp(), filter.clock(dt, wander))),
        )
    }

    /// The mean residual of an observation over all filters.
    pub(super) fn residual(&self, observation: &OneWayDifference) -> f64 {
        let parts = self.filters.iter().zip(self.ln_weights);
        parts.map(|(filter, ln_weight)| ln_weight.exp() * filter.residual(observation).0).sum()
    }

    /// Mixes each filter with its neighbours (moment matching).
    fn mix(&mut self) {
        let old = self.filters;
        let weights = self.ln_weights.map(f64::exp);
        for j in 0..WANDERS.len() {
            let range = j.saturating_sub(1)..(j + 2).min(WANDERS.len());
            let shares: Vec<f64> = range.clone().map(|i| weights[i] * transition_probability(i, j)).collect();
            let total: f64 = shares.iter().sum();
            let parts: [(f64, &Filter); 3] = core::array::from_fn(|k| match shares.get(k) {
                Some(share) => (share / total, &old[range.start + k]),
                None => (0.0, &old[j]),
            });
            self.filters[j] = Filter::mixture(&parts);
            self.ln_weights[j] = total.ln();
        }
    }

    /// Makes the weights add up to one; returns the logarithm of what they added up to.
    fn normalise(&mut self) -> f64 {
        let highest = self.ln_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = self.ln_weights.iter().map(|ln_weight| (ln_weight - highest).exp()).sum();
        let evidence = highest + total.ln();
        for ln_weight in &mut self.ln_weights {
            *ln_weight = (*ln_weight - evidence).max(MIN_LN_WEIGHT);
        }
        evidence
    }
}

impl ObservedBurst {
    /// Minimum and mean residual of one direction's observations.
    pub(super) fn residuals(&self, class: &Class, way: PathDirection) -> Option<(f64, f64)> {
        let of_way = self.observations.iter().filter(|observation| observation.way == way);
        let left: Vec<f64> = of_way.map(|observation| class.residual(observation)).collect();
        let least = left.iter().copied().reduce(f64::min)?;
        Some((least, left.iter().sum::<f64>() / left.len() as f64))
    }
}

/// One class for each sharpness.
pub(super) type Classes = [Class; SHARPNESSES.len()];

/// The class with the most evidence.
pub(super) fn leader(classes: &[Class]) -> &Class {
    let first = &classes[0];
    classes.iter().fold(first, |best, class| if class.ln_evidence > best.ln_evidence { class } else { best })
}

/// A filter of less weight than this evaluates fewer components of the noise.
const MINOR: f64 = 0.2;
/// The components that it leaves out: weights, and log likelihoods below the best; a thousandth each.
const MINOR_DEPTH: (f64, f64) = (1e-3, 7.0);
/// The components that the other filters leave out: some millionths.
const DEPTH: (f64, f64) = (5e-6, 12.0);
/// Evidence is forgotten over a thousand bursts.
const FADING: f64 = 0.999;
/// The minimum log weight of a filter.
const MIN_LN_WEIGHT: f64 = -60.0;
/// How much the minimum delays may walk in one burst, in units of the noise's scale: zero would preserve a
/// wrong estimate forever, ten times as much would lose the edges.
const PATH_WALK: f64 = 5e-4;
/// The sharpnesses of the classes.
pub(super) const SHARPNESSES: [Sharpness; 4] =
    [Sharpness::Edge(0.003), Sharpness::Edge(0.1), Sharpness::Edge(0.6), Sharpness::None];

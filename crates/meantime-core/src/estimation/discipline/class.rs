//! One class: all that is believed if the noise has this sharpness.
//!
//! A density that is learned, and a bank of filters for different wanders of the oscillator, weighted by how
//! well they predicted and mixed a little before each step (interacting multiple models, Blom and Bar-Shalom,
//! 1988). The logarithm of the class's evidence says how well the sharpness itself predicts.

use super::density::{COMPONENTS, Density, Sharpness};
use super::filter::{Clock, Filter, Observation, Way};
use crate::estimation::kalman::{EXPECTED, WANDERS, passing};
use alloc::vec::Vec;

/// The observations of one burst, in the order of their exchanges' delays.
#[derive(Clone, Debug)]
pub(super) struct Burst {
    /// Seconds from the state's instant before to this burst's; 0 for a burst that comes late.
    pub dt: f64,
    /// τ counts from this burst's instant; of a late one, from the state's.
    pub observations: Vec<Observation>,
}

/// A sharpness, with what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// The logarithm of the evidence for this class, fading.
    pub ln_evidence: f64,
    density: Density,
    filters: [Filter; WANDERS.len()],
    ln_weights: [f64; WANDERS.len()],
}

impl Class {
    /// A class before its first burst, of which `start` is what is known.
    pub(super) fn new(sharpness: Sharpness, start: Filter) -> Class {
        Class {
            ln_evidence: 0.0,
            density: Density::unknown(sharpness),
            filters: [start; WANDERS.len()],
            ln_weights: EXPECTED.map(f64::ln),
        }
    }

    /// Begins again, but keeps what was learned about the noise.
    pub(super) fn restart(&mut self, start: Filter) {
        self.ln_evidence = 0.0;
        self.filters = [start; WANDERS.len()];
        self.ln_weights = EXPECTED.map(f64::ln);
    }

    /// The density of the noise, as learned.
    pub(super) fn density(&self) -> &Density {
        &self.density
    }

    /// The same, to be told how much it rests on.
    pub(super) fn density_mut(&mut self) -> &mut Density {
        &mut self.density
    }

    /// The filter that follows the fastest: what it finds impossible is impossible.
    pub(super) fn widest(&self) -> &Filter {
        &self.filters[WANDERS.len() - 1]
    }

    /// The filter that has explained the most so far.
    pub(super) fn likeliest(&self) -> &Filter {
        &self.filters[self.likeliest_place()]
    }

    /// Moves on to the burst's instant.
    pub(super) fn predict(&mut self, dt: f64) {
        self.mix();
        let loosening = PATH_WALK * self.density.scale();
        for (filter, wander) in self.filters.iter_mut().zip(WANDERS) {
            if dt > 0.0 {
                filter.predict(dt, wander);
            }
            filter.loosen_path(loosening);
        }
    }

    /// Learns about the noise from a burst, in the light of a single filter: as good for that as all of them,
    /// and cheaper. The filter assumes the wander that has explained the most so far.
    pub(super) fn study(&mut self, student: &mut Filter, burst: &Burst) {
        if burst.dt > 0.0 {
            student.predict(burst.dt, self.likeliest_wander());
        }
        student.loosen_path(PATH_WALK * self.density.scale());
        let mut shares = [0.0; COMPONENTS];
        for observation in &burst.observations {
            student.assimilate(observation, &self.density, DEPTH, 1.0, &mut shares);
        }
        self.density.learn(&shares);
    }

    fn likeliest_wander(&self) -> f64 {
        WANDERS[self.likeliest_place()]
    }

    fn likeliest_place(&self) -> usize {
        let weighed = self.ln_weights.iter().enumerate();
        weighed.max_by(|one, two| one.1.total_cmp(two.1)).map_or(0, |(place, _)| place)
    }

    /// Takes in a burst's observations; `learn`: learn about the noise as well.
    pub(super) fn assimilate(&mut self, observations: &[Observation], learn: bool) {
        let mut shares = [0.0; COMPONENTS];
        for (filter, ln_weight) in self.filters.iter_mut().zip(&mut self.ln_weights) {
            let weight = ln_weight.exp();
            let depth = if weight < MINOR { MINOR_DEPTH } else { DEPTH };
            let share = if learn && weight > 1e-3 { weight } else { 0.0 };
            for observation in observations {
                *ln_weight += filter.assimilate(observation, &self.density, depth, share, &mut shares);
            }
        }
        let evidence = self.normalise();
        self.ln_evidence = FADING * self.ln_evidence + evidence;
        if learn {
            self.density.learn(&shares);
        }
    }

    /// Applies a doubt to every filter.
    pub(super) fn doubt(&mut self, doubt: impl Fn(&mut Filter)) {
        self.filters.iter_mut().for_each(doubt);
    }

    /// What this class believes of the clock, `dt` seconds from the state's instant.
    pub(super) fn clock(&self, dt: f64) -> Clock {
        let parts = self.filters.iter().zip(WANDERS).zip(self.ln_weights);
        Clock::mixture(parts.map(|((filter, wander), ln_weight)| (ln_weight.exp(), filter.clock(dt, wander))))
    }

    /// The mean of what is left of an observation, over all filters.
    pub(super) fn residual(&self, observation: &Observation) -> f64 {
        let parts = self.filters.iter().zip(self.ln_weights);
        parts.map(|(filter, ln_weight)| ln_weight.exp() * filter.residual(observation).0).sum()
    }

    /// Lets each filter take over a little of its neighbours' belief.
    fn mix(&mut self) {
        let old = self.filters;
        let weights = self.ln_weights.map(f64::exp);
        for j in 0..WANDERS.len() {
            let range = j.saturating_sub(1)..(j + 2).min(WANDERS.len());
            let shares: Vec<f64> = range.clone().map(|i| weights[i] * passing(i, j)).collect();
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

impl Burst {
    /// The least of what is left of the observations of one way, and their mean.
    pub(super) fn residuals(&self, class: &Class, way: Way) -> Option<(f64, f64)> {
        let of_way = self.observations.iter().filter(|observation| observation.way == way);
        let left: Vec<f64> = of_way.map(|observation| class.residual(observation)).collect();
        let least = left.iter().copied().reduce(f64::min)?;
        Some((least, left.iter().sum::<f64>() / left.len() as f64))
    }
}

/// A filter of less weight than this does with fewer components of the noise.
const MINOR: f64 = 0.2;
/// What it leaves out: weights, and the logarithm of what they explain beside the best; a thousandth each.
const MINOR_DEPTH: (f64, f64) = (1e-3, 7.0);
/// What the others leave out: some millionths.
const DEPTH: (f64, f64) = (5e-6, 12.0);
/// Evidence is forgotten over a thousand bursts.
const FADING: f64 = 0.999;
/// No filter's weight falls below e to this.
const MIN_LN_WEIGHT: f64 = -60.0;
/// How much the least delays may walk in one burst, in units of the noise's scale: none at all locks a wrong
/// idea in, ten times as much loses the memory of the edges.
const PATH_WALK: f64 = 5e-4;

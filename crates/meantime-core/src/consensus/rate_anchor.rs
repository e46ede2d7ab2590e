//! The rate anchor: keeps the cluster's rate at the fault-tolerant mean of its members' oscillators.
//!
//! Once every member's frequency is disciplined, nothing holds the cluster's own rate: it would follow the
//! server's oscillator, or wander off by parts per million unnoticed, since all clocks agree.
//! But every member knows its frequency adjustment f_i, the rate of cluster time over its oscillator. If
//! cluster time ran at the oscillators' mean rate, the mean of all f_i would be zero. So each round
//!
//! ```text
//! F  = winsorised mean of all f_i (± 25 ppm about their median)
//! df = clip(−F · T/τ, ± s·T)
//! ```
//!
//! is added to the server's own frequency and to the *cumulative rate command* S, which every probe and
//! correction carries; members add what is new in it to their own frequency at once (feed-forward), so their
//! filters never see the change. Being cumulative it survives losses. A report made before the newest command
//! was applied is put right with the difference, f_i − S_i + S. With that, the loop is a first-order low pass
//! with time constant τ, stable for τ > T/2 whatever the members' filters do.
//!
//! Bad groups, f < g/2 of g, move F by at most 25 ppm · f/g, and the rate by at most s per second.

use crate::consensus::vote::{self, winsorised_mean};
use crate::consensus::weight::Weight;
use crate::time::{Frequency, Span};
use alloc::vec::Vec;

/// Steers the cluster's rate.
#[derive(Clone, Debug, Default)]
pub(super) struct RateAnchor {
    /// The cumulative rate command, in the wire's unit (1e-12): the server applies just what it announces.
    rate_ppt: i32,
    /// Whether the mean has stayed close to zero once: from then on the rate moves gently.
    settled: bool,
    /// For how long it has been close to zero by now.
    close: Span,
    rest: Span,
    /// For how long the rate has been steered.
    steered: Span,
    mean: Option<Frequency>,
    /// Whether references decide the rate.
    led: bool,
    /// How much the rate is still going to change.
    pending: Option<Frequency>,
    /// What members typically know their frequency to, one standard deviation.
    typical_error: Option<Frequency>,
}

impl RateAnchor {
    /// Leaves the rate alone for `rest`, and moves it gently after that: the members have a rate already.
    pub(super) fn rest(&mut self, rest: Span) {
        self.rest = rest;
        self.settled = true;
    }

    /// The cumulative rate command.
    pub(super) fn rate(&self) -> Frequency {
        Frequency::from_ppt(self.rate_ppt)
    }

    /// Whether the rate moves gently from now on.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// The fault-tolerant mean of the members' frequency adjustments, when there was one to be had.
    pub(super) fn mean(&self) -> Option<Frequency> {
        self.mean
    }

    /// Takes note of what members know their frequency to, one standard deviation each.
    pub(super) fn learn_error(&mut self, errors: impl Iterator<Item = (Frequency, Weight)>) {
        let errors = errors.map(|(error, weight)| (error.ratio(), weight));
        self.typical_error = vote::median_ratio(errors).map(Frequency::from_ratio);
    }

    /// How far the rate may be off the one that the members follow, and is going to have: one standard
    /// deviation. `None`: that is not known.
    pub(super) fn error(&self) -> Option<Frequency> {
        let (pending, error) = (self.pending?, self.typical_error?);
        Some(Frequency::from_ratio(pending.ratio().hypot(error.ratio())))
    }

    /// One round has passed, `interval` long. `reports` are f_i − S_i of the members that know theirs, the
    /// server's own among them, each with its weight; `votes` is the weight of all members. Returns the
    /// change of the cluster's rate from now on.
    pub(super) fn steer(
        &mut self,
        reports: &[(Frequency, Weight)],
        votes: Weight,
        interval: Span,
    ) -> Frequency {
        let adjusted: Vec<(f64, Weight)> =
            reports.iter().map(|(report, weight)| ((*report + self.rate()).ratio(), *weight)).collect();
        let heard: Weight = reports.iter().map(|(_, weight)| *weight).sum();
        let heard_enough = heard.is_majority_of(votes) && reports.len() > 1;
        let mean = winsorised_mean(&adjusted, REACH).filter(|_| heard_enough);
        self.mean = mean.map(Frequency::from_ratio);
        if self.led {
            return Frequency::ZERO;
        }
        self.pending = self.mean;
        if self.rest > Span::ZERO {
            self.rest = self.rest - interval;
            return Frequency::ZERO;
        }
        let Some(mean) = mean else {
            return Frequency::ZERO;
        };
        self.steered += interval;
        self.close = if mean.abs() < CLOSE { self.close + interval } else { Span::ZERO };
        self.settled |= self.close >= SETTLED || self.steered > FIRST_FOR;
        let seconds = interval.as_secs_f64();
        let most = if self.settled { GENTLE } else { FIRST } * seconds;
        let change = (-mean * (seconds / TIME_CONSTANT_S).min(1.0)).clamp(-most, most);
        self.change(Frequency::from_ratio(change))
    }

    /// References decide the rate, from now on: it changes by so much, and `pending` is what it is still
    /// going to change by. Returns the change in whole units of the wire.
    pub(super) fn lead(&mut self, change: Frequency, pending: Frequency) -> Frequency {
        (self.led, self.pending) = (true, Some(pending));
        self.change(change)
    }

    fn change(&mut self, change: Frequency) -> Frequency {
        let before = self.rate_ppt;
        self.rate_ppt = before.saturating_add(change.as_ppt());
        Frequency::from_ppt(self.rate_ppt.saturating_sub(before))
    }
}

/// Members' frequencies farther than this from their median count as if they were this far.
const REACH: f64 = 25e-6;
/// τ: long against the members' filters, short against the oscillators' wander.
const TIME_CONSTANT_S: f64 = 300.0;
/// s, per second: false frequencies may ramp the cluster's rate by no more than this.
const GENTLE: f64 = 1e-9;
/// The same until the mean was once close to zero: a new cluster starts tens of ppm off, and would need
/// hours. A member that misses one command at this pace is off by 2.5 µs for a round.
const FIRST: f64 = 100e-9;
/// Two crystals of 100 ppm are brought together in this time; a member that reports more after that is not
/// believed.
const FIRST_FOR: Span = Span::from_secs(1_200);
/// A mean frequency below this is close to zero.
const CLOSE: f64 = 50e-9;
/// After so long close to zero it is no chance: when members that are moved to the reach balance one another,
/// the mean may be zero for the moment until one more of them is heard.
const SETTLED: Span = Span::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const T: Span = Span::from_secs(5);

    fn settled() -> RateAnchor {
        let mut anchor = RateAnchor::default();
        anchor.rest(Span::ZERO);
        anchor
    }

    fn ppm(values: &[f64]) -> Vec<(Frequency, Weight)> {
        values.iter().map(|value| (Frequency::from_ppm(*value), Weight::ONE)).collect()
    }

    /// Runs the loop against members whose oscillators are so much slow; returns the mean at the end.
    fn closed_loop(anchor: &mut RateAnchor, slow: &[f64], rounds: u32) -> f64 {
        for _ in 0..rounds {
            anchor.steer(&ppm(slow), Weight::votes(slow.len()), T);
        }
        anchor.mean().unwrap().ppb()
    }

    #[test]
    fn the_mean_of_the_members_frequencies_is_steered_to_zero() {
        let mut anchor = RateAnchor::default();
        assert!(closed_loop(&mut anchor, &[10.0, 20.0, 36.0], 1_000).abs() < 0.1);
        assert!((anchor.rate().ppm() + 22.0).abs() < 1e-3);
    }

    #[test]
    fn a_settled_cluster_changes_its_rate_by_a_billionth_a_second_at_most() {
        let mut anchor = settled();
        let change = anchor.steer(&ppm(&[50.0, 50.0, 50.0]), Weight::votes(3), T);
        assert!((change.ppb() + 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_mean_that_is_zero_once_by_chance_has_not_settled() {
        let mut anchor = RateAnchor::default();
        // Of four, two are moved up to the reach and two down to it; then the fifth is heard.
        anchor.steer(&ppm(&[0.0, 30.0, -40.0, 51.0, -48.0]), Weight::votes(6), T);
        assert_eq!(anchor.mean(), Some(Frequency::ZERO));
        let change = anchor.steer(&ppm(&[0.0, 30.0, -40.0, 51.0, -48.0, -93.0]), Weight::votes(6), T);
        assert!((change.ppb() - 333.0).abs() < 1.0, "{}", change.ppb());
        closed_loop(&mut anchor, &[0.0, 0.0, 0.0], 150);
        assert!(anchor.is_settled());
    }

    #[test]
    fn liars_cannot_keep_the_fast_rate_limit_of_a_new_cluster() {
        let mut anchor = RateAnchor::default();
        closed_loop(&mut anchor, &[0.0, 0.0, 0.0, 0.0, 500.0], 1_000);
        let change = anchor.steer(&ppm(&[0.0, 0.0, 0.0, 900.0, 900.0]), Weight::votes(5), T);
        assert!((change.ppb() + 5.0).abs() < 1e-9, "{}", change.ppb());
    }

    #[test]
    fn one_liar_of_five_moves_the_mean_by_a_fifth_of_the_reach() {
        let mut anchor = settled();
        anchor.steer(&ppm(&[0.0, 0.0, 0.0, 0.0, 500.0]), Weight::votes(5), T);
        assert!((anchor.mean().unwrap().ppm() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_minority_of_claims_steers_nothing() {
        let mut anchor = RateAnchor::default();
        assert_eq!(anchor.steer(&ppm(&[9.0, 9.0]), Weight::votes(4), T), Frequency::ZERO);
        assert_eq!(anchor.steer(&ppm(&[9.0]), Weight::votes(1), T), Frequency::ZERO);
    }

    #[test]
    fn a_resting_anchor_leaves_the_rate_alone() {
        let mut anchor = RateAnchor::default();
        anchor.rest(T.times(3));
        for _ in 0..3 {
            assert_eq!(anchor.steer(&ppm(&[9.0, 9.0]), Weight::votes(2), T), Frequency::ZERO);
        }
        assert!(anchor.steer(&ppm(&[9.0, 9.0]), Weight::votes(2), T).ratio() < 0.0);
    }
}

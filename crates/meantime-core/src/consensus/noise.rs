//! How noisy the readings of a round are.

use super::reading::PhaseReading;
use super::vote::{self, VoteReading};
use super::weight::Weight;
use crate::time::Span;

/// A plausible reading of one client, and how the vote sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ballot {
    /// The reading.
    pub reading: PhaseReading,
    /// Its offset from the reference of the vote, its error and its weight.
    pub vote: VoteReading,
    /// Whether the vote before this one left the client out.
    pub was_excluded: bool,
}

/// The lower median of the readings' noise: half of all votes are known at least so exactly, and the other
/// half, all of which may be bad, does not raise it.
pub(super) fn typical_noise(ballots: &[Ballot]) -> Span {
    let noises = ballots.iter().map(|ballot| (ballot.reading.noise, ballot.vote.weight));
    vote::lower_median(noises).unwrap_or_default()
}

/// How much more than the typical reading one may be off: by the excess of its delay, and by what its path is
/// noisier than the typical one. Never more than `max`.
pub(super) fn error(reading: &PhaseReading, typical: Span, max: Span) -> Span {
    let noisier = (reading.noise - typical).max(Span::ZERO);
    (reading.excess + noisier.times(NOISE_LIMIT)).min(max.max(reading.excess))
}

/// How much more than usual the median of the server's own clock, which is read exactly, and of these
/// readings may be off: the lower median of their errors. Readings with half of the votes are known at least
/// so exactly. Bad ones, if they are less than half, raise it at most to the largest of the good ones.
pub(super) fn error_of_median(own: Weight, ballots: &[Ballot]) -> Span {
    let errors = ballots.iter().map(|ballot| (ballot.vote.error, ballot.vote.weight));
    vote::lower_median(core::iter::once((Span::ZERO, own)).chain(errors)).unwrap_or_default()
}

/// How much a reading counts where it matters how exactly it is known: less than its weight if it is noisier
/// than the typical one.
pub(super) fn exactness(ballot: &Ballot, typical: Span) -> Weight {
    let ratio = typical.as_nanos().max(1) as f64 / ballot.reading.noise.as_nanos().max(1) as f64;
    ballot.vote.weight.scaled(ratio.powi(2))
}

/// One standard deviation of a median of readings, in seconds: from their scatter where there are enough of
/// them, never less than their own noise allows.
pub(super) fn deviation_of_median(ballots: &[Ballot]) -> f64 {
    let offsets = ballots.iter().map(|ballot| (ballot.vote.offset, ballot.vote.weight));
    let scatter = vote::robust_deviation(offsets).unwrap_or_default();
    let readings = effective_number(ballots.iter().map(|ballot| ballot.vote.weight));
    // A median's deviation is 1.25 times that of a mean.
    1.25 * scatter.max(typical_noise(ballots)).as_secs_f64() / readings.max(1.0).sqrt()
}

/// To how many readings of equal weight these correspond: (Σw)²/Σw².
pub(super) fn effective_number(weights: impl Iterator<Item = Weight> + Clone) -> f64 {
    let sum: f64 = weights.clone().map(Weight::as_f64).sum();
    let squares: f64 = weights.map(|weight| weight.as_f64().powi(2)).sum();
    if squares > 0.0 { sum.powi(2) / squares } else { 0.0 }
}

/// In standard deviations: a reading of usual noise is off by no more.
pub(super) const NOISE_LIMIT: i64 = 4;

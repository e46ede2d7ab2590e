//! How noisy the readings of a round are.

use alloc::vec::Vec;

use super::reading::PhaseReading;
use super::vote;
use crate::time::Span;

/// The median of the readings' noise.
pub(super) fn typical_noise(readings: &[PhaseReading]) -> Span {
    let noises: Vec<Span> = readings.iter().map(|reading| reading.noise).collect();
    vote::median(&noises).unwrap_or_default()
}

/// One standard deviation of a median of readings, in seconds: from their scatter where there are enough of
/// them, never less than their own noise allows.
pub(super) fn deviation_of_median(votes: &[vote::VoteReading], readings: &[PhaseReading]) -> f64 {
    let offsets: Vec<Span> = votes.iter().map(|reading| reading.offset).collect();
    let scatter = vote::robust_deviation(&offsets).unwrap_or_default();
    let noise = typical_noise(readings);
    // A median's deviation is 1.25 times that of a mean.
    1.25 * scatter.max(noise).as_secs_f64() / (votes.len().max(1) as f64).sqrt()
}

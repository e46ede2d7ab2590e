//! What a round found, for programs: the fields of the event `round_ended` and of `last_round` in a status.

use serde::{Deserialize, Serialize};

use super::words::RoundOutcome;
use super::{rounded_ppb, rounded_votes};
use meantime_core::event::RoundReport;
use meantime_core::time::Span;

/// The result of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundSummary {
    /// The number of the round.
    pub round: u32,
    /// How it ended.
    pub outcome: RoundOutcome,
    /// Members with a vote, the server's own clock included.
    pub members: u64,
    /// What these count together: the members of one machine share a vote.
    #[serde(default)]
    pub votes: f64,
    /// Of these, how many were heard in this round.
    pub heard: u64,
    /// Of the members, how many agree within the window.
    pub agreeing: u64,
    /// The median of the readings.
    pub median_offset_ns: i64,
    /// Readings farther than this from the median do not agree.
    pub window_ns: i64,
    /// From the lowest to the highest agreeing reading.
    pub spread_ns: i64,
    /// How many clocks the guarantee covers, the server's own included.
    #[serde(default)]
    pub covered: u64,
    /// How many it does not cover, of all registered clients and the server's own clock.
    #[serde(default)]
    pub not_covered: u64,
    /// The guaranteed maximum difference of any two covered clocks; `None`: fewer than two are covered.
    pub largest_bound_ns: Option<i64>,
    /// The fault-tolerant mean of the members' frequency adjustments; `None`: unknown.
    pub mean_frequency_ppb: Option<f64>,
    /// The cumulative rate command.
    pub rate_ppb: f64,
}

impl From<&RoundReport> for RoundSummary {
    fn from(report: &RoundReport) -> RoundSummary {
        RoundSummary {
            round: report.round,
            outcome: report.outcome.into(),
            members: report.members as u64,
            votes: rounded_votes(report.votes),
            heard: report.heard as u64,
            agreeing: report.agreeing as u64,
            median_offset_ns: report.median.span().as_nanos(),
            window_ns: report.window.as_nanos(),
            spread_ns: report.spread.as_nanos(),
            covered: report.covered as u64,
            not_covered: report.not_covered as u64,
            largest_bound_ns: report.largest_bound.map(Span::as_nanos),
            mean_frequency_ppb: report.mean_frequency.map(rounded_ppb),
            rate_ppb: rounded_ppb(report.rate),
        }
    }
}

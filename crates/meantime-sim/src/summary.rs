//! What a run has shown, in numbers.

use super::calibration::Calibration;
use super::spread::Spreads;
use meantime_core::event::{Exclusion, Outcome};
use meantime_core::time::{Frequency, Span};

/// A member that the vote left out for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Excluded {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: Exclusion,
    /// How often it was reported.
    pub times: u64,
    /// When it was first reported, in true time.
    pub first: Span,
    /// Its distance from the vote's median that first time.
    pub offset: Span,
}

/// How rounds ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// All that ended.
    pub ended: u64,
    /// In agreement.
    pub agreed: u64,
    /// Without a majority.
    pub unsure: u64,
    /// With the server's clock in doubt.
    pub in_doubt: u64,
}

/// What a run has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Disagreement of the good clocks after the time to settle.
    pub spreads: Spreads,
    /// The largest distance of a good clock from true time, which is UTC: after the time to settle, and last.
    pub from_utc: Option<FromUtc>,
    /// Since when all good clocks have been within 1 ms, 100 µs and 10 µs of one another.
    pub agreed: [Option<Span>; 3],
    /// When the first whole minute was over in which the RMS of all pairs was within 10 µs.
    pub calm: Option<Span>,
    /// What nodes stated of their errors after the time to settle, and of their bounds at any time.
    pub calibration: Calibration,
    /// RMS of the cluster's rate minus its members' mean rate, after the time to settle.
    pub rate_rms: Option<Frequency>,
    /// The largest of that.
    pub rate_max: Frequency,
    /// How rounds ended.
    pub rounds: Rounds,
    /// The members that the vote left out.
    pub excluded: Vec<Excluded>,
    /// Datagrams sent and received by a client in a second, on average.
    pub packets_per_client_per_s: f64,
    /// A number that differs as soon as two runs differ.
    pub trace: u64,
}

/// How far the farthest good clock was from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromUtc {
    /// At most.
    pub max: Span,
    /// In the last sample.
    pub last: Span,
}

impl Rounds {
    pub(super) fn count(&mut self, outcome: Outcome) {
        self.ended += 1;
        match outcome {
            Outcome::Agreed => self.agreed += 1,
            Outcome::Unsure => self.unsure += 1,
            Outcome::ServerInDoubt => self.in_doubt += 1,
            Outcome::Listening | Outcome::Following => {}
        }
    }
}

/// The reason for an exclusion in one word, for programs.
pub fn word(reason: Exclusion) -> &'static str {
    match reason {
        Exclusion::OutsideWindow => "outside_window",
        Exclusion::BeforePlausible => "before_plausible",
        Exclusion::AfterPlausible => "after_plausible",
        Exclusion::Removed => "removed",
    }
}

//! What one exchange with a member has measured, and what the member has stated in its report.

use super::quality::ReportedQuality;
use crate::estimation::bound::{STAMP_ALLOWANCE, TOLERANCE};
use crate::estimation::timescale::SLEW_LIMIT;
use crate::time::{Offset, Raw, Span};

/// The result of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measurement {
    /// The report's number.
    pub report: u32,
    /// When the probe was sent, by the server's oscillator.
    pub t1: Raw,
    /// When the report was received, by the server's oscillator.
    pub t4: Raw,
    /// The client's clock minus the server's oscillator.
    pub phase: Span,
    /// The round-trip delay.
    pub delay: Span,
    /// What the report has stated about the client's clock.
    pub quality: ReportedQuality,
}

impl Measurement {
    /// The middle of the exchange: the moment to which its phase belongs.
    pub(super) fn at(&self) -> Raw {
        self.t1 + (self.t4 - self.t1).half()
    }

    /// The client's clock minus cluster time; `cluster_phase` is cluster time minus the server's oscillator
    /// at [`at`](Measurement::at).
    pub(super) fn offset_from(&self, cluster_phase: Span) -> Offset {
        Offset::ahead_by(self.phase - cluster_phase)
    }

    /// How far the client's clock was from cluster time at least when it sent its report, if it is measured
    /// to be off by `offset`: an exchange is wrong by half of its delay at most, its timestamps are wrong by
    /// [`STAMP_ALLOWANCE`] at most, and the clock may have slewed and drifted between t2 and t3. Never
    /// negative.
    pub(super) fn least_distance(&self, offset: Offset) -> Span {
        let processing = (self.t4 - self.t1 - self.delay).max(Span::ZERO);
        let uncertain = self.delay.half() + STAMP_ALLOWANCE + (SLEW_LIMIT + TOLERANCE).over(processing);
        (offset.span().abs() - uncertain).max(Span::ZERO)
    }

    /// By how much the client's clock was measured farther off than the bound that its report states; `None`:
    /// it was not, or the report states no bound.
    pub(super) fn beyond_bound(&self, offset: Offset) -> Option<Span> {
        let beyond = self.least_distance(offset) - self.quality.bound()?;
        (beyond > Span::ZERO).then_some(beyond)
    }
}

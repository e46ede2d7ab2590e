//! What one exchange with a member has measured.

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
}

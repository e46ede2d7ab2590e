//! A machine's reference: a time from outside, with its errors. True time is UTC.

use meantime_core::reference::{NoReference, ReferenceReading};
use meantime_core::time::{Frequency, Raw, Span};

use super::START;

/// What a machine knows of UTC, and what it states of that.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceModel {
    /// Its time minus UTC at true time zero.
    pub error: Span,
    /// How much faster than UTC it runs, …
    pub drift: Frequency,
    /// … from this true time on.
    pub drifts_from: Span,
    /// The maximum distance from UTC that it states, whatever the distance is.
    pub max_error: Span,
    /// When there is none: from the first of each pair of true times to the second.
    pub outages: Vec<(Span, Span)>,
}

impl Default for ReferenceModel {
    /// Exactly UTC, stated to be within a millisecond.
    fn default() -> ReferenceModel {
        ReferenceModel {
            error: Span::ZERO,
            drift: Frequency::ZERO,
            drifts_from: Span::ZERO,
            max_error: Span::from_millis(1),
            outages: Vec::new(),
        }
    }
}

impl ReferenceModel {
    /// A reading at a true time, when the process calls its oscillator's reading `raw`.
    ///
    /// # Errors
    /// There is no reference at that time.
    pub fn read(&self, at: Span, raw: Raw) -> Result<ReferenceReading, NoReference> {
        if self.outages.iter().any(|(from, to)| (*from..*to).contains(&at)) {
            return Err(NoReference::Unsynchronized);
        }
        let drifted = self.drift.over((at - self.drifts_from).max(Span::ZERO));
        let shown = Raw::from_nanos(START.as_nanos()) + at + self.error + drifted;
        Ok(ReferenceReading { at: raw, phase: shown - raw, max_error: self.max_error })
    }
}

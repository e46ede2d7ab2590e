//! What a member says of its own clock in a report.

use super::narrow::{NONE, from_u32_ns, to_u32_ns};
use crate::time::Span;
use crate::wire::Report;

/// A member's estimated error and its bound, as it has stated them in one report. The default: unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReportedQuality {
    error: u32,
    bound: u32,
}

impl Default for ReportedQuality {
    fn default() -> ReportedQuality {
        ReportedQuality { error: NONE, bound: NONE }
    }
}

impl ReportedQuality {
    /// Its estimated error, one standard deviation.
    pub(super) fn error(self) -> Option<Span> {
        from_u32_ns(self.error)
    }

    /// Its bound.
    pub(super) fn bound(self) -> Option<Span> {
        from_u32_ns(self.bound)
    }

    pub(super) fn of(report: &Report) -> ReportedQuality {
        ReportedQuality {
            error: report.error.map_or(NONE, to_u32_ns),
            bound: report.bound.map_or(NONE, to_u32_ns),
        }
    }
}

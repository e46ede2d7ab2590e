//! The errors that the kernel reports of its clock, to every program that asks.
//!
//! The maximum error is the node's guaranteed bound plus the distance from the published time; without a
//! bound, the last one, which grows by 15 ppm (RFC 5905). The estimated error is the node's estimate plus
//! that distance.

use crate::clock::published_time::PublishedTime;
use meantime_core::time::{Frequency, Raw, Span};

/// The last bound that the node has guaranteed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastBound {
    /// When it was guaranteed, and the bound; `None`: never since the oscillator last ran through.
    last: Option<(Raw, Span)>,
}

impl LastBound {
    /// Forgets the bound: nothing from before is guaranteed any more.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }

    /// The maximum and the estimated error of a clock at this distance from the published time.
    pub(super) fn errors(&mut self, now: Raw, published: &PublishedTime, distance: Span) -> (Span, Span) {
        if let Some(bound) = published.bound {
            self.last = Some((now, bound));
        }
        let bound = self.last.map_or(UNKNOWN_ERROR, |(at, bound)| bound + FREE_RUN.over(now - at));
        // Without an estimate, the bound is the best one.
        let estimated = published.error.unwrap_or(bound);
        (distance + bound.max(estimated), distance + estimated)
    }
}

/// RFC 5905 (PHI): how fast the error of a clock may grow without corrections.
const FREE_RUN: Frequency = Frequency::from_ppm(15.0);
/// The error that the kernel reports of a clock that is not synchronized.
const UNKNOWN_ERROR: Span = Span::from_secs(16);

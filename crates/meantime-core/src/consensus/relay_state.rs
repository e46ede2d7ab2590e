//! What the timekeeper of a relay knows besides.

use crate::relayed_time::ExternalTime;
use crate::time::Span;

/// The given time, and how the scale follows it.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenTime {
    /// The given time; `None`: there is none now.
    pub(super) given: Option<ExternalTime>,
    /// For how long the rate has been near the wanted one.
    pub(super) near: Span,
    /// For how long the rate has been steered.
    pub(super) steered: Span,
    /// Whether the rate moves gently from now on.
    pub(super) settled: bool,
}

//! Two clocks of the machine, read together.

use super::reading::HostRaw;
use meantime_core::time::{Span, Timestamp};

/// The oscillator and another clock, read together: the wall clock or a network card's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The oscillator, in the middle of `width`.
    pub raw: HostRaw,
    /// The other clock.
    pub real: Timestamp,
    /// From the oscillator's reading before the other clock's to the one after it: half of it is the error.
    pub width: Span,
}

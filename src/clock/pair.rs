//! Two clocks of the machine, read together.

use super::reading::HostRaw;
use meantime_core::time::{Span, Timestamp};

/// The oscillator and the wall clock, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The oscillator, in the middle of `width`.
    pub raw: HostRaw,
    /// The wall clock.
    pub real: Timestamp,
    /// From the oscillator's reading before the wall clock's to the one after it: half of it is the error.
    pub width: Span,
}

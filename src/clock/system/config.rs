//! How the system's clock is to be steered.

use meantime_core::time::{Frequency, Span};

/// How the system's clock is to be steered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteeringConfig {
    /// Once the clock follows, distances beyond this are stepped, smaller ones slewed.
    pub step_threshold: Span,
    /// The frequency of the fastest slew.
    pub max_slew: Frequency,
    /// What to do while another program sets the clock.
    pub on_conflict: OnConflict,
}

/// What to do while another program sets the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Leave the clock to the other program.
    GiveWay,
    /// Go on.
    Insist,
}

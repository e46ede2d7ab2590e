//! The rate that the server has commanded, as phase over time.

use crate::time::{Frequency, Raw, Span};

/// The rate that the server has commanded: a piecewise linear time line, of which the last piece is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CommandedRate {
    reference: Raw,
    /// Seconds gained until `reference`.
    gained: f64,
    /// The rate from then on, minus one.
    pub(super) rate: f64,
}

impl CommandedRate {
    pub(super) fn change(&mut self, at: Raw, change: Frequency) {
        self.gained = self.phase(at);
        self.reference = at;
        self.rate += change.ratio();
    }

    /// The server's time is ahead by so much from then on.
    pub(super) fn step(&mut self, ahead: Span) {
        self.gained += ahead.as_secs_f64();
    }

    pub(super) fn phase(&self, at: Raw) -> f64 {
        self.gained + self.rate * (at - self.reference).as_secs_f64()
    }
}

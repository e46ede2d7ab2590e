//! What a machine keeps over restarts of its process, as a node with a state directory does: the frequency, and the time by its
//! oscillator.

use crate::berkeley::Reading;
use crate::berkeley::config::PLAUSIBLE_FROM;
use crate::berkeley::kept::{Known, Mark, Recalled};
use crate::time::{Raw, Span};

/// The memory of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    kept: Option<Known>,
    /// For how long the machine has slept.
    slept: Span,
}

impl Memory {
    /// The process's clock shows this when the oscillator reads `raw`. It is kept if it is time, or the `last` occasion.
    pub fn note(&mut self, raw: Raw, reading: &Reading, last: bool) {
        let Some(known) = Known::of(reading, self.mark(raw)) else { return };
        if last || self.kept.is_none_or(|kept| known.replaces(&kept)) {
            self.kept = Some(known);
        }
    }

    /// The machine has slept for so long, and its oscillator with it.
    pub fn sleep(&mut self, slept: Span) {
        self.slept += slept;
    }

    /// What is known of it when the oscillator reads `raw`.
    pub fn recall(&self, raw: Raw) -> Option<Recalled> {
        self.kept.map(|kept| kept.recalled(self.mark(raw), PLAUSIBLE_FROM))
    }

    fn mark(&self, raw: Raw) -> Mark {
        Mark { oscillator: raw, slept: self.slept }
    }
}

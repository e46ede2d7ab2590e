//! What a machine keeps over restarts of its process, as a node with a state directory does: the frequency, and the time by its
//! oscillator.

use crate::berkeley::{Reading, drift};
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::ClientState;

/// The memory of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    kept: Option<Kept>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    /// What the oscillator read then, as if it had run on while the machine has slept since.
    raw: Raw,
    time: Timestamp,
    frequency: Frequency,
    error: Frequency,
}

/// What a process knows when it starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recalled {
    /// The time.
    pub time: Timestamp,
    /// The clock's rate over its oscillator's, minus one.
    pub frequency: Frequency,
    /// One standard deviation of what that is off by now.
    pub error: Frequency,
}

impl Memory {
    /// The process's clock shows this when the oscillator reads `raw`. It is kept if that was not done lately, or at the `last`
    /// occasion.
    pub fn note(&mut self, raw: Raw, reading: &Reading, last: bool) {
        let (frequency, error) = (reading.frequency, reading.frequency_error);
        let Some(error) = error.filter(|error| drift::is_plausible(frequency, *error)) else { return };
        let out_of_date = |kept: Kept| drift::is_out_of_date(raw - kept.raw, reading.time - kept.time);
        let due = self.kept.is_none_or(out_of_date);
        if reading.state == ClientState::Synchronized && (due || last) {
            self.kept = Some(Kept { raw, time: reading.time, frequency, error });
        }
    }

    /// The machine has slept for so long, and its oscillator with it.
    pub fn sleep(&mut self, slept: Span) {
        if let Some(kept) = &mut self.kept {
            kept.raw = kept.raw - slept;
        }
    }

    /// What is known of it when the oscillator reads `raw`.
    pub fn recall(&self, raw: Raw) -> Option<Recalled> {
        let Kept { raw: then, time, frequency, error } = self.kept?;
        let ran = raw - then;
        let time = drift::gone_on(time, frequency, ran);
        Some(Recalled { time, frequency, error: drift::aged(error, ran, true) })
    }
}

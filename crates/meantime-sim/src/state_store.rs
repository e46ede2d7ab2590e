//! What a machine keeps over restarts of its process, as a node with a state directory does: the frequency,
//! and the time by its oscillator.

use meantime_core::ClockReading;
use meantime_core::PlausibleTimes;
use meantime_core::saved_state::{Mark, Recalled, SavedState};
use meantime_core::time::{Raw, Span};

/// The store of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StateStore {
    saved: Option<SavedState>,
    /// For how long the machine has slept.
    slept: Span,
}

impl StateStore {
    /// The process's clock shows this when the oscillator reads `raw`. It is saved if it is due, or the
    /// `last` occasion.
    pub fn note(&mut self, raw: Raw, reading: &ClockReading, last: bool) {
        let Some(known) = SavedState::of(reading, self.mark(raw)) else { return };
        if last || self.saved.is_none_or(|saved| known.replaces(&saved)) {
            self.saved = Some(known);
        }
    }

    /// The machine has slept for so long, and its oscillator with it.
    pub fn sleep(&mut self, slept: Span) {
        self.slept += slept;
    }

    /// What is known of it when the oscillator reads `raw`.
    pub fn recall(&self, raw: Raw) -> Option<Recalled> {
        self.saved.map(|saved| saved.recalled(self.mark(raw), &PlausibleTimes::default()))
    }

    fn mark(&self, raw: Raw) -> Mark {
        Mark { oscillator: raw, slept: self.slept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::plausible::PLAUSIBLE_FROM;
    use meantime_core::time::{Frequency, Timestamp};
    use meantime_core::wire::{ClientState, ClusterId, ManualAdjustment};

    fn raw(s: i64) -> Raw {
        Raw::from_nanos(PLAUSIBLE_FROM.as_nanos()) + Span::from_secs(s)
    }

    /// What a clock shows so many seconds later, and a quarter of a second ahead of its oscillator.
    fn reading(s: i64) -> ClockReading {
        ClockReading {
            cluster: ClusterId(7),
            time: PLAUSIBLE_FROM + Span::from_secs(s) + Span::from_millis(250),
            manual_adjustment: ManualAdjustment::NONE,
            state: ClientState::Synchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: Some(Frequency::from_ppm(0.1)),
        }
    }

    #[test]
    fn the_next_process_knows_the_time_also_if_the_machine_has_slept_in_between() {
        let mut state_store = StateStore::default();
        assert_eq!(state_store.recall(raw(0)), None);
        state_store.note(raw(5), &reading(5), false);
        // Too soon for another word, until the last one.
        state_store.note(raw(10), &reading(10), false);
        state_store.sleep(Span::from_secs(3_600));
        let time = |state_store: StateStore| state_store.recall(raw(20)).and_then(|known| known.time.ok());
        let expected: Timestamp = reading(3_620).time;
        assert_eq!(time(state_store), Some(expected));
        let set = ClockReading { time: reading(3_612).time + Span::from_secs(7), ..reading(0) };
        state_store.note(raw(12), &set, true);
        assert_eq!(time(state_store), Some(expected + Span::from_secs(7)));
    }
}

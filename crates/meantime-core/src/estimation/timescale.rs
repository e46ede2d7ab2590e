//! The time that a node publishes, as a function of its free-running oscillator.
//!
//! Two functions of the oscillator's reading r. The *estimate* is a line:
//!
//! ```text
//! e(r) = r + phase + frequency · (r − reference)
//! ```
//!
//! The *published* time is the estimate plus what is left of a difference that is being slewed away, which
//! shrinks at [`SLEW_LIMIT`] until it is gone. So published time is continuous, never runs backwards, and
//! never runs faster or slower than the estimate by more than the limit — except at a step.

use crate::event::Adjustment;
use crate::time::{Correction, Frequency, Raw, Span, Timestamp};

/// A disciplined clock over a free-running oscillator. Pure arithmetic; reads no clock.
///
/// ```
/// use meantime_core::estimation::timescale::Timescale;
/// use meantime_core::event::Adjustment;
/// use meantime_core::time::{Frequency, Raw, Span};
///
/// let start = Raw::from_nanos(0);
/// let mut clock = Timescale::free_running(start);
/// clock.set(start, Span::from_millis(1), Frequency::ZERO, Adjustment::Slew);
/// // At 500 ppm, a slew of a millisecond takes two seconds.
/// let later = start + Span::from_secs(1);
/// assert_eq!(clock.published(later) - clock.estimate(later), Span::from_micros(-500));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timescale {
    reference: Raw,
    phase: Span,
    frequency: Frequency,
    /// Published minus estimated time at `reference`.
    residue: Span,
}

impl Timescale {
    /// The timescale that shows the oscillator itself, from `raw` on.
    pub fn free_running(raw: Raw) -> Timescale {
        Timescale { reference: raw, phase: Span::ZERO, frequency: Frequency::ZERO, residue: Span::ZERO }
    }

    /// The best estimate of cluster time when the oscillator reads `raw`.
    pub fn estimate(&self, raw: Raw) -> Timestamp {
        Timestamp::from_nanos((raw + self.phase_at(raw)).as_nanos())
    }

    /// The published time when the oscillator reads `raw`.
    pub fn published(&self, raw: Raw) -> Timestamp {
        self.estimate(raw) + self.residue_at(raw)
    }

    /// Estimated cluster time minus the oscillator's reading, at `raw`.
    pub fn phase_at(&self, raw: Raw) -> Span {
        self.phase + self.frequency.over(raw - self.reference)
    }

    /// The estimate's rate over the oscillator's, minus one.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// The rest of the slew at `raw`: published minus estimated time.
    pub fn residue_at(&self, raw: Raw) -> Span {
        let gone = SLEW_LIMIT.over(raw - self.reference).max(Span::ZERO);
        let left = (self.residue.abs() - gone).max(Span::ZERO);
        if self.residue < Span::ZERO { -left } else { left }
    }

    /// Sets the estimate: from `raw` on it is `phase` ahead of the oscillator and runs at `frequency`.
    /// Returns what is added to the published time, at once (step) or over time (slew).
    pub fn set(&mut self, raw: Raw, phase: Span, frequency: Frequency, how: Adjustment) -> Correction {
        let published = self.published(raw);
        let before = self.estimate(raw);
        *self = Timescale { reference: raw, phase, frequency, residue: Span::ZERO };
        if how == Adjustment::Slew {
            self.residue = published - self.estimate(raw);
        }
        Correction::adding(self.estimate(raw) - before)
    }

    /// Sets the published time at `raw`; its difference from the estimate is slewed away.
    pub fn show(&mut self, raw: Raw, published: Timestamp) {
        let phase = self.phase_at(raw);
        let residue = published - self.estimate(raw);
        *self = Timescale { reference: raw, phase, frequency: self.frequency, residue };
    }

    /// From `raw` on the clock runs faster by `change`; its time stays what it is.
    pub fn shift_frequency(&mut self, raw: Raw, change: Frequency) {
        let phase = self.phase_at(raw);
        let residue = self.residue_at(raw);
        *self = Timescale { reference: raw, phase, frequency: self.frequency + change, residue };
    }
}

/// The fastest slew: 500 ppm, what operating systems allow their own clocks.
pub const SLEW_LIMIT: Frequency = Frequency::from_ppm(500.0);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Raw = Raw::from_nanos(1_800_000_000_000_000_000);

    #[test]
    fn a_step_takes_effect_at_once() {
        let mut clock = Timescale::free_running(START);
        clock.set(START, Span::from_secs(-2), Frequency::ZERO, Adjustment::Step);
        assert_eq!(clock.published(START).as_nanos(), START.as_nanos() - 2_000_000_000);
    }

    #[test]
    fn a_slew_takes_two_seconds_for_a_millisecond() {
        let mut clock = Timescale::free_running(START);
        let added = clock.set(START, Span::from_millis(1), Frequency::ZERO, Adjustment::Slew);
        assert_eq!(added.span(), Span::from_millis(1));
        assert_eq!(clock.published(START).as_nanos(), START.as_nanos());
        let later = START + Span::from_secs(1);
        assert_eq!(clock.published(later) - clock.estimate(later), Span::from_micros(-500));
        let done = START + Span::from_secs(2);
        assert_eq!(clock.published(done), clock.estimate(done));
    }

    #[test]
    fn a_shift_of_frequency_does_not_step_the_clock() {
        let mut clock = Timescale::free_running(START);
        clock.set(START, Span::from_millis(3), Frequency::from_ppm(40.0), Adjustment::Slew);
        let later = START + Span::from_secs(1);
        let before = (clock.estimate(later), clock.published(later));
        clock.shift_frequency(later, Frequency::from_ppm(-7.0));
        assert_eq!((clock.estimate(later), clock.published(later)), before);
        assert!((clock.frequency().ppm() - 33.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn published_time_never_runs_backwards_while_it_slews(
            steps in proptest::collection::vec(
                (1i64..5_000_000_000, -20_000_000i64..20_000_000, -200.0..200.0f64), 1..50)
        ) {
            let mut clock = Timescale::free_running(START);
            let (mut raw, mut last) = (START, clock.published(START));
            for (wait, change, ppm) in steps {
                let later = raw + Span::from_nanos(wait);
                let shown = clock.published(later);
                let ran = (shown - last).as_secs_f64() / (later - raw).as_secs_f64();
                prop_assert!(shown > last || wait < 2, "{shown:?} after {last:?}");
                prop_assert!((ran - 1.0).abs() < 0.000_701 || wait < 10_000, "ran at {ran}");
                let phase = clock.phase_at(later) + Span::from_nanos(change);
                clock.set(later, phase, Frequency::from_ppm(ppm), Adjustment::Slew);
                prop_assert!((clock.published(later) - shown).abs() <= Span::from_nanos(1));
                (raw, last) = (later, clock.published(later));
            }
        }
    }
}

//! Whether the machine has slept: `CLOCK_BOOTTIME` counts the time of a suspension, `CLOCK_MONOTONIC` does
//! not, nor does the oscillator.
//!
//! The two cannot be read in one moment, and a process may be held up between two readings for longer than a
//! short sleep. So the monotonic clock is read before and after: the time slept since the boot then lies
//! between two limits, and only what is certain counts.

use meantime_core::time::{Monotonic, Span};

/// Notices that the machine has slept since it last looked.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuspensionDetector {
    /// What the machine had slept at most, the last time that this was looked at.
    most: Option<Span>,
}

impl SuspensionDetector {
    /// The monotonic clock, the clock that counts sleep as well, and the monotonic clock again. Returns how
    /// long the machine has slept since the last call, if that is certain.
    pub fn look(&mut self, before: Monotonic, boottime: Span, after: Monotonic) -> Option<Span> {
        let counted = |monotonic: Monotonic| boottime - Span::from_nanos(monotonic.as_nanos());
        let (least, most) = (counted(after), counted(before));
        let known = self.most.replace(most)?;
        if least - known > MIN_SLEEP {
            return Some(least - known);
        }
        self.most = Some(known.min(most));
        None
    }
}

/// No suspension is shorter than this, and no clocks of one machine differ by it for other reasons.
pub const MIN_SLEEP: Span = Span::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Monotonic {
        Monotonic::from_nanos(Span::from_millis(ms).as_nanos())
    }

    fn look(watch: &mut SuspensionDetector, before: i64, boottime: i64, after: i64) -> Option<i64> {
        let slept = watch.look(ms(before), Span::from_millis(boottime), ms(after));
        slept.map(|slept| slept.as_nanos() / 1_000_000)
    }

    #[test]
    fn a_sleep_is_noticed_once_and_its_length_known() {
        let mut watch = SuspensionDetector::default();
        assert_eq!(
            look(&mut watch, 1_000, 5_000, 1_000),
            None,
            "what was slept before the start is no matter"
        );
        assert_eq!(look(&mut watch, 2_000, 6_000, 2_000), None);
        assert_eq!(look(&mut watch, 3_000, 10_000, 3_000), Some(3_000));
        assert_eq!(look(&mut watch, 4_000, 11_000, 4_000), None);
    }

    #[test]
    fn a_process_that_was_held_up_between_two_readings_has_not_slept() {
        let mut watch = SuspensionDetector::default();
        look(&mut watch, 0, 0, 0);
        assert_eq!(look(&mut watch, 100, 900, 900), None, "held up before the second reading");
        assert_eq!(look(&mut watch, 1_000, 1_000, 1_500), None, "held up before the third");
        assert_eq!(look(&mut watch, 2_000, 2_000, 2_000), None);
    }

    #[test]
    fn a_sleep_shows_in_spite_of_a_first_look_that_was_held_up() {
        let mut watch = SuspensionDetector::default();
        look(&mut watch, 0, 800, 800);
        look(&mut watch, 1_000, 1_000, 1_000);
        assert_eq!(look(&mut watch, 2_000, 2_100, 2_000), Some(100));
    }

    #[test]
    fn ten_milliseconds_are_no_sleep_yet() {
        let mut watch = SuspensionDetector::default();
        look(&mut watch, 0, 0, 0);
        assert_eq!(look(&mut watch, 100, 110, 100), None);
        assert_eq!(look(&mut watch, 200, 211, 200), Some(11));
    }
}

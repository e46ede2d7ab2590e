//! Whether the machine has been suspended: `CLOCK_BOOTTIME` counts the time of a suspension,
//! `CLOCK_MONOTONIC` and the oscillator do not.
//!
//! The two cannot be read at the same instant, and a process may be interrupted between two readings for
//! longer than a short suspension. So the monotonic clock is read before and after: the suspended time since
//! the boot then lies between two limits, and only what is certain counts.

use meantime_core::time::{Monotonic, Span};

/// Detects that the machine has been suspended since the last check.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuspensionDetector {
    /// The upper limit of the suspended time since the boot, at the last check.
    max: Option<Span>,
}

impl SuspensionDetector {
    /// Takes readings of the monotonic clock, of the clock that counts suspensions as well, and of the
    /// monotonic clock again. Returns how long the machine has been suspended since the last call, if that is
    /// certain.
    pub fn check(&mut self, before: Monotonic, boottime: Span, after: Monotonic) -> Option<Span> {
        let counted = |monotonic: Monotonic| boottime - Span::from_nanos(monotonic.as_nanos());
        let (min, max) = (counted(after), counted(before));
        let known = self.max.replace(max)?;
        if min - known > MIN_SUSPENSION {
            return Some(min - known);
        }
        self.max = Some(known.min(max));
        None
    }
}

/// No suspension is shorter than this, and no clocks of one machine differ by it for other reasons.
pub const MIN_SUSPENSION: Span = Span::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Monotonic {
        Monotonic::from_nanos(Span::from_millis(ms).as_nanos())
    }

    fn check(detector: &mut SuspensionDetector, before: i64, boottime: i64, after: i64) -> Option<i64> {
        let suspended = detector.check(ms(before), Span::from_millis(boottime), ms(after));
        suspended.map(|span| span.as_nanos() / 1_000_000)
    }

    #[test]
    fn a_suspension_is_detected_once_with_its_length() {
        let mut detector = SuspensionDetector::default();
        assert_eq!(
            check(&mut detector, 1_000, 5_000, 1_000),
            None,
            "suspensions before the start do not count"
        );
        assert_eq!(check(&mut detector, 2_000, 6_000, 2_000), None);
        assert_eq!(check(&mut detector, 3_000, 10_000, 3_000), Some(3_000));
        assert_eq!(check(&mut detector, 4_000, 11_000, 4_000), None);
    }

    #[test]
    fn an_interruption_between_two_readings_is_no_suspension() {
        let mut detector = SuspensionDetector::default();
        check(&mut detector, 0, 0, 0);
        assert_eq!(check(&mut detector, 100, 900, 900), None, "interrupted before the second reading");
        assert_eq!(check(&mut detector, 1_000, 1_000, 1_500), None, "interrupted before the third");
        assert_eq!(check(&mut detector, 2_000, 2_000, 2_000), None);
    }

    #[test]
    fn a_suspension_is_detected_although_the_first_check_was_interrupted() {
        let mut detector = SuspensionDetector::default();
        check(&mut detector, 0, 800, 800);
        check(&mut detector, 1_000, 1_000, 1_000);
        assert_eq!(check(&mut detector, 2_000, 2_100, 2_000), Some(100));
    }

    #[test]
    fn ten_milliseconds_are_no_suspension_yet() {
        let mut detector = SuspensionDetector::default();
        check(&mut detector, 0, 0, 0);
        assert_eq!(check(&mut detector, 100, 110, 100), None);
        assert_eq!(check(&mut detector, 200, 211, 200), Some(11));
    }
}

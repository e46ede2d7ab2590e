//! Whether a card's clock runs like a clock: it advances, and about as fast as the host's oscillator.
//!
//! A program may step the card's clock at any time, which makes one interval look too fast or too slow. So a
//! clock fails only when several intervals in a row do.

use crate::clock::pair::ClockPair;
use meantime_core::time::{Frequency, Span};

/// What is wrong with a clock's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// It does not advance.
    StandsStill,
    /// Its rate over the oscillator's, minus one.
    Speed(Frequency),
}

/// Watches the readings of one clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpeedCheck {
    /// Where the current interval began.
    base: ClockPair,
    /// How many intervals in a row were too fast or too slow.
    bad: u32,
    /// Whether an interval was as it should be.
    confirmed: bool,
}

impl SpeedCheck {
    /// Begins with `pair`.
    pub(super) fn new(pair: ClockPair) -> SpeedCheck {
        SpeedCheck { base: pair, bad: 0, confirmed: false }
    }

    /// Whether the clock was seen to run as it should.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Takes a later reading, at least `interval` after the one before; one that comes earlier is left out.
    ///
    /// # Errors
    /// When the clock has failed in [`MAX_BAD`] intervals in a row.
    pub(super) fn note(&mut self, pair: ClockPair, interval: Span) -> Result<(), Fault> {
        let elapsed = pair.raw.since(self.base.raw);
        if elapsed < interval {
            return Ok(());
        }
        let advanced = pair.real - self.base.real;
        let allowed = MAX_DEVIATION.over(elapsed) + self.base.width + pair.width + TOLERANCE;
        self.base = pair;
        if (advanced - elapsed).abs() <= allowed {
            (self.bad, self.confirmed) = (0, true);
            return Ok(());
        }
        self.bad += 1;
        match advanced {
            _ if self.bad < MAX_BAD => Ok(()),
            Span::ZERO => Err(Fault::StandsStill),
            _ => {
                let rate = (advanced - elapsed).as_secs_f64() / elapsed.as_secs_f64();
                Err(Fault::Speed(Frequency::from_ratio(rate)))
            }
        }
    }
}

/// A card's oscillator is good to 100 ppm, and PTP programs steer it by less than this.
pub(super) const MAX_DEVIATION: Frequency = Frequency::from_ppm(1_000.0);
/// The error of a comparison beyond the widths of its pairs.
const TOLERANCE: Span = Span::from_micros(1);
/// A step of the clock spoils one interval. No program steps a clock in each of so many.
const MAX_BAD: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HostRaw;
    use meantime_core::time::Timestamp;

    const SECOND: i64 = 1_000_000_000;
    const INTERVAL: Span = Span::from_millis(100);

    fn pair(raw: i64, card: i64) -> ClockPair {
        let (raw, real) = (HostRaw::from_nanos(raw), Timestamp::from_nanos(card));
        ClockPair { raw, real, width: Span::from_micros(3) }
    }

    /// The result of ten seconds of readings of a clock that shows `card` when the oscillator shows its
    /// argument.
    fn watched(card: impl Fn(i64) -> i64) -> Result<(), Fault> {
        let mut check = SpeedCheck::new(pair(0, card(0)));
        (1..=10).try_for_each(|k| check.note(pair(k * SECOND, card(k * SECOND)), INTERVAL))
    }

    #[test]
    fn a_clock_that_is_steered_is_no_fault_and_one_that_stands_still_is() {
        assert_eq!(watched(|raw| raw + raw / 1_001), Ok(()));
        assert_eq!(watched(|raw| raw - raw / 1_001), Ok(()));
        assert_eq!(watched(|_| 77), Err(Fault::StandsStill));
    }

    #[test]
    fn a_clock_of_another_speed_is_a_fault_in_either_direction() {
        for (divisor, ppm) in [(500, 2_000.0), (-500, -2_000.0), (1, 1_000_000.0), (-2, -500_000.0)] {
            let Err(Fault::Speed(speed)) = watched(|raw| raw + raw / divisor) else { panic!("{ppm}") };
            let found = speed.ppm();
            assert!((found - ppm).abs() < 1.0, "{found} for {ppm}");
        }
    }

    #[test]
    fn a_clock_that_is_stepped_now_and_then_is_no_fault() {
        assert_eq!(watched(|raw| if raw < 5 * SECOND { raw } else { raw + 3_600 * SECOND }), Ok(()));
        let twice = |raw: i64| raw + if raw >= 3 * SECOND { SECOND } else { 0 };
        assert_eq!(watched(|raw| twice(raw) + if raw >= 4 * SECOND { SECOND } else { 0 }), Ok(()));
    }

    #[test]
    fn readings_that_follow_too_closely_show_nothing() {
        let mut check = SpeedCheck::new(pair(0, 0));
        assert!((1..1_000).all(|k| check.note(pair(k * 10_000, 0), INTERVAL).is_ok()));
        assert!(!check.is_confirmed());
        check.note(pair(SECOND, SECOND), INTERVAL).unwrap();
        assert!(check.is_confirmed());
    }
}

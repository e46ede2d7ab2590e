//! From the kernel's timestamps to the host's oscillator.
//!
//! The kernel's timestamps are readings of `CLOCK_REALTIME`, which other programs may step or slew at any
//! time; the node measures on the oscillator. A [`ClockPair`] connects the two: both clocks read together,
//! after the timestamp was recorded. A timestamp that is `age` older than the pair belongs to the
//! oscillator's reading
//!
//! ```text
//! raw = pair.raw − age / (1 + rate),    age = pair.real − timestamp
//! ```
//!
//! where `rate` is the frequency of `CLOCK_REALTIME` over the oscillator, from pairs at least a second apart.
//!
//! This holds only if `CLOCK_REALTIME` was not stepped between the timestamp and the pair. So every pair is
//! compared with the previous one. If they differ by more than slewing can explain, no timestamp is converted
//! until all those from before the step must have been consumed. A step that is too small to be distinguished
//! from slewing, exactly between timestamp and pair, moves the timestamp by as much. Four timestamps with
//! such an error may show a negative delay, and are dropped; else they are wrong, and the guaranteed bound
//! assumes that none are.

use super::pair::ClockPair;
use super::reading::HostRaw;
use meantime_core::time::{Frequency, Span, Timestamp};

/// Why a timestamp of the kernel cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// The clocks could not be read closely enough together.
    #[error("the two clocks could not be read closely enough together")]
    Wide,
    /// The wall clock was stepped.
    #[error("the wall clock was stepped")]
    Stepped,
    /// It is too old.
    #[error("it is too old")]
    Old,
    /// It lies in the future.
    #[error("it lies in the future")]
    Future,
}

/// Converts timestamps, and watches the wall clock for steps.
#[derive(Clone, Copy, Debug)]
pub struct TimestampConverter {
    /// The pair by which timestamps are converted, or why none are.
    current: Result<ClockPair, ConversionError>,
    last: ClockPair,
    /// Where the measurement of the rate started.
    base: ClockPair,
    /// The wall clock's rate over the oscillator's, minus one.
    rate: Frequency,
    /// The narrowest pair of the current and of the previous [`WIDTH_WINDOW`] pairs: the clock source may
    /// become a slower one.
    narrowest: [Span; 2],
    pairs: u32,
    stepped_until: Option<HostRaw>,
}

impl TimestampConverter {
    /// A converter that watches the wall clock from `pair` on.
    pub fn new(pair: ClockPair) -> TimestampConverter {
        TimestampConverter {
            current: Ok(pair),
            last: pair,
            base: pair,
            rate: Frequency::ZERO,
            narrowest: [pair.width; 2],
            pairs: 0,
            stepped_until: None,
        }
    }

    /// What the oscillator showed when the wall clock showed `timestamp`, by the latest pair, which was read
    /// after that. Never later than the pair.
    ///
    /// # Errors
    /// When that is unknown: user-space time has to do.
    pub fn convert(&self, timestamp: Timestamp) -> Result<HostRaw, ConversionError> {
        let pair = self.current?;
        let age = pair.real - timestamp;
        match age {
            _ if age > MAX_AGE => Err(ConversionError::Old),
            _ if age < -pair.width => Err(ConversionError::Future),
            _ => Ok(pair.raw.before((age - self.rate.over(age)).max(Span::ZERO))),
        }
    }

    /// Takes a new pair. Timestamps recorded before it are converted by it, until the next one.
    ///
    /// # Errors
    /// When none can be converted by it; [`convert`](TimestampConverter::convert) then returns the same
    /// error.
    pub fn update(&mut self, pair: ClockPair) -> Result<(), ConversionError> {
        let result = self.check(pair);
        self.current = result.map(|()| pair);
        result
    }

    fn check(&mut self, pair: ClockPair) -> Result<(), ConversionError> {
        self.pairs += 1;
        self.narrowest = match self.pairs {
            WIDTH_WINDOW.. => [pair.width, self.narrowest[0]],
            _ => [self.narrowest[0].min(pair.width), self.narrowest[1]],
        };
        self.pairs %= WIDTH_WINDOW;
        if pair.width > self.narrowest[0].min(self.narrowest[1]).times(4) + TOLERANCE {
            return Err(ConversionError::Wide);
        }
        let (last, elapsed) = (self.last, pair.raw.since(self.last.raw));
        let allowed = MAX_SLEW.over(elapsed) + last.width + pair.width + TOLERANCE;
        self.last = pair;
        if gained(last, pair).abs() > allowed {
            (self.base, self.rate) = (pair, Frequency::ZERO);
            self.stepped_until = Some(pair.raw.before(-MAX_AGE));
        } else if pair.raw.since(self.base.raw) >= MIN_RATE_INTERVAL {
            let elapsed = pair.raw.since(self.base.raw).as_secs_f64();
            self.rate = Frequency::from_ratio(gained(self.base, pair).as_secs_f64() / elapsed);
            self.base = pair;
        }
        match self.stepped_until {
            Some(until) if pair.raw < until => Err(ConversionError::Stepped),
            _ => Ok(()),
        }
    }
}

/// By how much the wall clock has run ahead of the oscillator from one pair to another.
fn gained(from: ClockPair, to: ClockPair) -> Span {
    (to.real - from.real) - to.raw.since(from.raw)
}

/// No usual way of slewing is faster: 500 ppm of frequency and 500 ppm of `adjtime`.
const MAX_SLEW: Frequency = Frequency::from_ppm(1_000.0);
/// The error of a comparison beyond the widths of its pairs.
const TOLERANCE: Span = Span::from_micros(1);
/// An older timestamp has waited somewhere; also for how long after a step no timestamp is converted.
const MAX_AGE: Span = Span::from_secs(2);
/// After so many pairs the narrowest width is measured anew.
const WIDTH_WINDOW: u32 = 256;
/// Two pairs so far apart show the rate to a fraction of a ppm, though each may be off by tens of
/// nanoseconds.
const MIN_RATE_INTERVAL: Span = Span::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const REAL: i64 = 1_800_000_000_000_000_000;

    /// The oscillator at `raw`, the wall clock ahead of it by REAL and `ahead`.
    fn pair(raw: i64, ahead: i64) -> ClockPair {
        ClockPair {
            raw: HostRaw::from_nanos(raw),
            real: Timestamp::from_nanos(REAL + raw + ahead),
            width: Span::from_nanos(60),
        }
    }

    /// Converts a timestamp by a pair that is read after it.
    fn convert(
        converter: &mut TimestampConverter,
        pair: ClockPair,
        stamp: Timestamp,
    ) -> Result<HostRaw, ConversionError> {
        converter.update(pair)?;
        converter.convert(stamp)
    }

    fn stamp(raw: i64, ahead: i64) -> Timestamp {
        Timestamp::from_nanos(REAL + raw + ahead)
    }

    /// Converts a timestamp recorded at `raw`, in nanoseconds, while the wall clock is not touched.
    fn undisturbed(raw: i64, now: i64) -> Result<i64, ConversionError> {
        let mut converter = TimestampConverter::new(pair(0, 0));
        convert(&mut converter, pair(now, 0), stamp(raw, 0)).map(HostRaw::as_nanos)
    }

    #[test]
    fn a_timestamp_is_older_than_the_pair_by_the_same_amount_on_both_clocks() {
        assert_eq!(undisturbed(4_999 * MS, 5_000 * MS), Ok(4_999 * MS));
        assert_eq!(undisturbed(5_000 * MS, 5_000 * MS), Ok(5_000 * MS));
    }

    #[test]
    fn timestamps_that_are_too_old_or_in_the_future_are_not_converted() {
        assert_eq!(undisturbed(2_999 * MS, 5_000 * MS), Err(ConversionError::Old));
        assert_eq!(undisturbed(3_000 * MS, 5_000 * MS), Ok(3_000 * MS));
        assert_eq!(undisturbed(5_000 * MS + 61, 5_000 * MS), Err(ConversionError::Future));
        assert_eq!(undisturbed(5_000 * MS + 60, 5_000 * MS), Ok(5_000 * MS), "never later than the pair");
    }

    #[test]
    fn the_frequency_of_the_wall_clock_is_compensated() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        // 400 ppm fast.
        let ahead = |raw: i64| raw / 2_500;
        for second in 1..5 {
            let raw = second * 1_000 * MS;
            convert(&mut converter, pair(raw, ahead(raw)), stamp(raw, ahead(raw))).unwrap();
        }
        let (taken, now) = (4_100 * MS, 4_200 * MS);
        let found = convert(&mut converter, pair(now, ahead(now)), stamp(taken, ahead(taken))).unwrap();
        assert!((found.as_nanos() - taken).abs() < 50, "off by {} ns", found.as_nanos() - taken);
    }

    #[test]
    fn after_a_step_no_timestamp_is_converted_until_the_old_ones_are_consumed() {
        for step in [-3_600_000 * MS, -MS, MS, 3_600_000 * MS] {
            let mut converter = TimestampConverter::new(pair(0, 0));
            let mut convert = |now: i64, taken: Timestamp| convert(&mut converter, pair(now, step), taken);
            // Stepped between the timestamp and the pair: the timestamp is from before the step.
            assert_eq!(convert(100 * MS, stamp(99 * MS, 0)), Err(ConversionError::Stepped), "{step}");
            assert_eq!(convert(200 * MS, stamp(99 * MS, 0)), Err(ConversionError::Stepped), "{step}");
            assert_eq!(convert(2_099 * MS, stamp(2_098 * MS, step)), Err(ConversionError::Stepped), "{step}");
            let trusted = convert(2_100 * MS, stamp(2_099 * MS, step)).map(HostRaw::as_nanos);
            assert_eq!(trusted, Ok(2_099 * MS), "{step}");
        }
    }

    #[test]
    fn a_suspension_counts_as_a_step_of_the_wall_clock() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        assert_eq!(
            convert(&mut converter, pair(MS, 60_000 * MS), stamp(MS, 60_000 * MS)),
            Err(ConversionError::Stepped)
        );
    }

    #[test]
    fn slewing_is_not_a_step() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        let (now, ahead) = (1_000 * MS, MS);
        assert!(convert(&mut converter, pair(now, ahead), stamp(now, ahead)).is_ok());
        let (now, ahead) = (now + MS / 10, ahead + 2_000);
        assert_eq!(
            convert(&mut converter, pair(now, ahead), stamp(now, ahead)),
            Err(ConversionError::Stepped)
        );
    }

    #[test]
    fn a_pair_that_was_interrupted_converts_nothing_and_is_discarded() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        let interrupted = ClockPair { width: Span::from_millis(3), ..pair(100 * MS, MS) };
        assert_eq!(convert(&mut converter, interrupted, stamp(99 * MS, 0)), Err(ConversionError::Wide));
        assert_eq!(
            convert(&mut converter, pair(101 * MS, 0), stamp(99 * MS, 0)).map(HostRaw::as_nanos),
            Ok(99 * MS)
        );
    }

    #[test]
    fn a_clock_source_that_becomes_slow_is_accepted_again_after_a_while() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        let converted = |k: i64| {
            let slow = ClockPair { width: Span::from_nanos(2_500), ..pair(k * 1_000 * MS, 0) };
            convert(&mut converter, slow, stamp(k * 1_000 * MS - 10_000, 0)).is_ok()
        };
        let converted: Vec<bool> = (1..=600).map(converted).collect();
        assert!(!converted[0] && !converted[100] && converted[520..].iter().all(|converted| *converted));
    }
}

//! From the kernel's timestamps to the host's oscillator.
//!
//! The kernel stamps datagrams with `CLOCK_REALTIME`, which anybody may step or bend at any time; the node
//! measures on the oscillator. The bridge is a [`ClockPair`]: both clocks read together, after the stamp was
//! taken. A stamp that is `age` older than the pair belongs to the oscillator's reading
//!
//! ```text
//! raw = pair.raw − age / (1 + rate),    age = pair.real − stamp
//! ```
//!
//! where `rate` is by how much `CLOCK_REALTIME` is bent, as seen between pairs at least a second apart.
//!
//! That holds only if nobody has stepped `CLOCK_REALTIME` between the stamp and the pair. So every pair is
//! compared with the one before it. If they differ by more than slewing can explain, no stamp is believed
//! until all that are older than the step must have been used up. A step too small to be told from slewing,
//! in just the moment between stamp and pair, moves the stamp by as much. Four timestamps with such an error
//! may show a negative delay, and are dropped; else they are wrong, and the guaranteed bound assumes that
//! none are.

use super::HostRaw;
use meantime_core::time::{Frequency, Span, Timestamp};

/// The oscillator and the wall clock, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The oscillator, in the middle of `width`.
    pub raw: HostRaw,
    /// The wall clock.
    pub real: Timestamp,
    /// From the oscillator's reading before the wall clock's to the one after it: half of it is the error.
    pub width: Span,
}

/// Why a timestamp of the kernel's is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionError {
    /// The clocks could not be read closely enough together.
    Wide,
    /// Somebody has stepped the wall clock.
    Stepped,
    /// It is too old.
    Old,
    /// It lies in the future.
    Future,
}

/// Converts stamps, and watches the wall clock for steps.
#[derive(Clone, Copy, Debug)]
pub struct TimestampConverter {
    /// The pair by which stamps are converted, or why none are.
    watched: Result<ClockPair, ConversionError>,
    last: ClockPair,
    /// Where the measurement of the rate began.
    base: ClockPair,
    /// The wall clock's rate over the oscillator's, minus one.
    rate: Frequency,
    /// The narrowest pair of the current and of the last stretch of [`STRETCH`] pairs: the clock source may
    /// become a slower one.
    narrowest: [Span; 2],
    pairs: u32,
    doubt_until: Option<HostRaw>,
}

impl TimestampConverter {
    /// One that watches the wall clock from `pair` on.
    pub fn new(pair: ClockPair) -> TimestampConverter {
        TimestampConverter {
            watched: Ok(pair),
            last: pair,
            base: pair,
            rate: Frequency::ZERO,
            narrowest: [pair.width; 2],
            pairs: 0,
            doubt_until: None,
        }
    }

    /// What the oscillator showed when the wall clock showed `stamp`, by the pair that was watched last,
    /// which was read after that. Never later than the pair.
    ///
    /// # Errors
    /// When that cannot be known: user-space time has to do.
    pub fn convert(&self, stamp: Timestamp) -> Result<HostRaw, ConversionError> {
        let pair = self.watched?;
        let age = pair.real - stamp;
        match age {
            _ if age > OLDEST => Err(ConversionError::Old),
            _ if age < -pair.width => Err(ConversionError::Future),
            _ => Ok(pair.raw.before((age - self.rate.over(age)).max(Span::ZERO))),
        }
    }

    /// Takes in a pair, by which all stamps are converted that were taken before it, until the next one.
    ///
    /// # Errors
    /// When none can be converted by it; also each [`convert`](TimestampConverter::convert) says so then.
    pub fn watch(&mut self, pair: ClockPair) -> Result<(), ConversionError> {
        let judged = self.judge(pair);
        self.watched = judged.map(|()| pair);
        judged
    }

    fn judge(&mut self, pair: ClockPair) -> Result<(), ConversionError> {
        self.pairs += 1;
        self.narrowest = match self.pairs {
            STRETCH.. => [pair.width, self.narrowest[0]],
            _ => [self.narrowest[0].min(pair.width), self.narrowest[1]],
        };
        self.pairs %= STRETCH;
        if pair.width > self.narrowest[0].min(self.narrowest[1]).times(4) + SPARE {
            return Err(ConversionError::Wide);
        }
        let (last, elapsed) = (self.last, pair.raw.since(self.last.raw));
        let allowed = FASTEST_SLEW.over(elapsed) + last.width + pair.width + SPARE;
        self.last = pair;
        if gained(last, pair).abs() > allowed {
            (self.base, self.rate) = (pair, Frequency::ZERO);
            self.doubt_until = Some(pair.raw.before(-OLDEST));
        } else if pair.raw.since(self.base.raw) >= RATE_OVER {
            let elapsed = pair.raw.since(self.base.raw).as_secs_f64();
            self.rate = Frequency::from_ratio(gained(self.base, pair).as_secs_f64() / elapsed);
            self.base = pair;
        }
        match self.doubt_until {
            Some(until) if pair.raw < until => Err(ConversionError::Stepped),
            _ => Ok(()),
        }
    }
}

/// By how much the wall clock has run ahead of the oscillator from one pair to another.
fn gained(from: ClockPair, to: ClockPair) -> Span {
    (to.real - from.real) - to.raw.since(from.raw)
}

/// No slewing that is meant to be gentle is faster: 500 ppm of frequency and 500 ppm of `adjtime`.
const FASTEST_SLEW: Frequency = Frequency::from_ppm(1_000.0);
/// What a comparison may be off beyond the widths of its pairs.
const SPARE: Span = Span::from_micros(1);
/// A stamp that is older has waited somewhere; also how long after a step no stamp is believed.
const OLDEST: Span = Span::from_secs(2);
/// Pairs after which it is learned afresh how narrow they are.
const STRETCH: u32 = 256;
/// Two pairs so far apart show the rate to a fraction of a ppm, though each may be off by tens of
/// nanoseconds.
const RATE_OVER: Span = Span::from_secs(1);

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

    /// What becomes of a stamp by a pair that is read after it.
    fn convert(
        converter: &mut TimestampConverter,
        pair: ClockPair,
        stamp: Timestamp,
    ) -> Result<HostRaw, ConversionError> {
        converter.watch(pair)?;
        converter.convert(stamp)
    }

    fn stamp(raw: i64, ahead: i64) -> Timestamp {
        Timestamp::from_nanos(REAL + raw + ahead)
    }

    /// What becomes of a stamp taken at `raw`, in nanoseconds, when nobody touches the wall clock.
    fn undisturbed(raw: i64, now: i64) -> Result<i64, ConversionError> {
        let mut converter = TimestampConverter::new(pair(0, 0));
        convert(&mut converter, pair(now, 0), stamp(raw, 0)).map(HostRaw::as_nanos)
    }

    #[test]
    fn a_stamp_is_as_much_older_than_the_pair_on_either_clock() {
        assert_eq!(undisturbed(4_999 * MS, 5_000 * MS), Ok(4_999 * MS));
        assert_eq!(undisturbed(5_000 * MS, 5_000 * MS), Ok(5_000 * MS));
    }

    #[test]
    fn what_is_too_old_or_of_the_future_is_not_believed() {
        assert_eq!(undisturbed(2_999 * MS, 5_000 * MS), Err(ConversionError::Old));
        assert_eq!(undisturbed(3_000 * MS, 5_000 * MS), Ok(3_000 * MS));
        assert_eq!(undisturbed(5_000 * MS + 61, 5_000 * MS), Err(ConversionError::Future));
        assert_eq!(undisturbed(5_000 * MS + 60, 5_000 * MS), Ok(5_000 * MS), "never later than the pair");
    }

    #[test]
    fn a_wall_clock_that_is_bent_is_bent_back() {
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
    fn after_a_step_no_stamp_is_believed_until_the_old_ones_are_used_up() {
        for step in [-3_600_000 * MS, -MS, MS, 3_600_000 * MS] {
            let mut converter = TimestampConverter::new(pair(0, 0));
            let mut convert = |now: i64, taken: Timestamp| convert(&mut converter, pair(now, step), taken);
            // Stepped between the stamp and the pair: the stamp is of the time before.
            assert_eq!(convert(100 * MS, stamp(99 * MS, 0)), Err(ConversionError::Stepped), "{step}");
            assert_eq!(convert(200 * MS, stamp(99 * MS, 0)), Err(ConversionError::Stepped), "{step}");
            assert_eq!(convert(2_099 * MS, stamp(2_098 * MS, step)), Err(ConversionError::Stepped), "{step}");
            let trusted = convert(2_100 * MS, stamp(2_099 * MS, step)).map(HostRaw::as_nanos);
            assert_eq!(trusted, Ok(2_099 * MS), "{step}");
        }
    }

    #[test]
    fn a_machine_that_slept_has_stepped_its_wall_clock() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        assert_eq!(
            convert(&mut converter, pair(MS, 60_000 * MS), stamp(MS, 60_000 * MS)),
            Err(ConversionError::Stepped)
        );
    }

    #[test]
    fn slewing_is_no_step() {
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
    fn a_pair_that_was_interrupted_converts_nothing_and_is_forgotten() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        let interrupted = ClockPair { width: Span::from_millis(3), ..pair(100 * MS, MS) };
        assert_eq!(convert(&mut converter, interrupted, stamp(99 * MS, 0)), Err(ConversionError::Wide));
        assert_eq!(
            convert(&mut converter, pair(101 * MS, 0), stamp(99 * MS, 0)).map(HostRaw::as_nanos),
            Ok(99 * MS)
        );
    }

    #[test]
    fn a_clock_source_that_becomes_slow_is_believed_again_after_a_while() {
        let mut converter = TimestampConverter::new(pair(0, 0));
        let believed = |k: i64| {
            let slow = ClockPair { width: Span::from_nanos(2_500), ..pair(k * 1_000 * MS, 0) };
            convert(&mut converter, slow, stamp(k * 1_000 * MS - 10_000, 0)).is_ok()
        };
        let believed: Vec<bool> = (1..=600).map(believed).collect();
        assert!(!believed[0] && !believed[100] && believed[520..].iter().all(|believed| *believed));
    }
}

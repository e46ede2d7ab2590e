//! The types of time: each quantity that could be confused with another has a type of its own.
//!
//! Three timescales exist and never mix. [`Monotonic`] drives timers and nothing else. [`Raw`] is
//! a node's free-running oscillator, which is never adjusted; all measurements are taken on it.
//! [`Timestamp`] is a *disciplined* reading, what the node publishes as cluster time and what
//! travels on the wire. Between them, [`Offset`] and [`Correction`] have opposite signs and
//! therefore opposite types.
//!
//! Everything here is arithmetic on 64-bit nanoseconds and saturates instead of overflowing: values
//! that come from the network can be anything. This module reads no clock.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::{Add, AddAssign, Neg, Sub};

/// A signed length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span, about 292 years.
    pub const MAX: Span = Span(i64::MAX);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: i64) -> Span {
        Span(ns)
    }

    /// A span of `us` microseconds.
    pub const fn from_micros(us: i64) -> Span {
        Span(us.saturating_mul(1_000))
    }

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: i64) -> Span {
        Span(ms.saturating_mul(1_000_000))
    }

    /// A span of `s` seconds.
    pub const fn from_secs(s: i64) -> Span {
        Span(s.saturating_mul(1_000_000_000))
    }

    /// A span of `s` seconds, rounded to the nearest nanosecond and saturating; NaN becomes zero.
    pub fn from_secs_f64(s: f64) -> Span {
        Span((s * 1e9).round() as i64)
    }

    /// This span in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This span in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// The length without its sign.
    pub const fn abs(self) -> Span {
        Span(self.0.saturating_abs())
    }

    /// Half of this span, rounded towards zero.
    pub const fn half(self) -> Span {
        Span(self.0 / 2)
    }

    /// This span `n` times.
    pub const fn times(self, n: i64) -> Span {
        Span(self.0.saturating_mul(n))
    }

    /// This span divided by `n`, rounded towards zero.
    ///
    /// # Panics
    /// When `n` is zero.
    pub const fn over(self, n: i64) -> Span {
        Span(self.0.saturating_div(n))
    }

    /// This span scaled by a factor, rounded to the nearest nanosecond.
    pub fn scaled(self, factor: f64) -> Span {
        Span((self.0 as f64 * factor).round() as i64)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(self.0.saturating_neg())
    }
}

/// Prints the span in a readable unit, with two or three digits: `2.0 s`, `350 µs`, `-1.2 ms`; with `{:+}`
/// always with a sign, for quantities that have a direction: `+2.0 s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.0 {
            ..0 => "-",
            _ if f.sign_plus() => "+",
            _ => "",
        };
        f.pad(&format!("{sign}{}", readable(self.0.unsigned_abs())))
    }
}

/// A length without its sign, in the largest unit of which it is at least one as it is printed.
fn readable(ns: u64) -> String {
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    let in_unit = |&(size, most, unit): &(f64, f64, &'static str)| {
        let value = ns as f64 / size;
        // Three significant digits.
        let tenths = usize::from((value * 10.0).round() < 1_000.0);
        let power = if tenths == 1 { 10.0 } else { 1.0 };
        ((value * power).round() / power < most).then(|| format!("{value:.tenths$} {unit}"))
    };
    UNITS.iter().find_map(in_unit).unwrap_or_else(|| format!("{:.0} d", ns as f64 / 86_400e9))
}

/// Nanoseconds in the unit, how many of it make the next one, and its name. Days are the last.
const UNITS: [(f64, f64, &str); 6] = [
    (1e3, 1e3, "µs"),
    (1e6, 1e3, "ms"),
    (1e9, 60.0, "s"),
    (60e9, 60.0, "min"),
    (3_600e9, 24.0, "h"),
    (86_400e9, 1e6, "d"),
];

macro_rules! instants {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The instant `ns` nanoseconds after this timescale's origin.
            pub const fn from_nanos(ns: i64) -> Self {
                Self(ns)
            }

            /// Nanoseconds since this timescale's origin.
            pub const fn as_nanos(self) -> i64 {
                self.0
            }
        }

        impl From<$name> for i64 {
            fn from(instant: $name) -> i64 {
                instant.0
            }
        }

        impl Add<Span> for $name {
            type Output = Self;
            fn add(self, span: Span) -> Self {
                Self(self.0.saturating_add(span.0))
            }
        }

        impl AddAssign<Span> for $name {
            fn add_assign(&mut self, span: Span) {
                *self = *self + span;
            }
        }

        impl Sub<Span> for $name {
            type Output = Self;
            fn sub(self, span: Span) -> Self {
                Self(self.0.saturating_sub(span.0))
            }
        }

        impl Sub for $name {
            type Output = Span;
            fn sub(self, earlier: Self) -> Span {
                Span(self.0.saturating_sub(earlier.0))
            }
        }
    )*};
}

instants! {
    /// A point on the monotonic timescale, in nanoseconds since an arbitrary origin. For timers only.
    Monotonic;
    /// A reading of a node's free-running oscillator, in nanoseconds. It starts near the Unix time of
    /// the system clock, and is never stepped or steered.
    Raw;
    /// A reading of a disciplined clock: nanoseconds since the Unix epoch (UTC, no leap seconds
    /// counted). Nodes publish it and send it on the wire.
    Timestamp;
}

/// Both clocks of a node, read together. Every input of the core carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for timers.
    pub mono: Monotonic,
    /// The node's oscillator, for measurements.
    pub raw: Raw,
}

/// A member's clock minus the server's clock. Positive: the member is ahead.
///
/// ```
/// use meantime_core::time::{Offset, Span};
///
/// let ahead = Offset::ahead_by(Span::from_millis(3));
/// let correction = ahead.correction_towards(Offset::ZERO);
/// assert_eq!(correction.span(), Span::from_millis(-3), "opposite signs, different types");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(Span);

impl Offset {
    /// No difference.
    pub const ZERO: Offset = Offset(Span::ZERO);

    /// A clock that is ahead by `span` (behind if negative).
    pub const fn ahead_by(span: Span) -> Offset {
        Offset(span)
    }

    /// How far the clock is ahead (negative: behind).
    pub const fn span(self) -> Span {
        self.0
    }

    /// What must be added to a clock with this offset so that it shows `target` instead.
    pub fn correction_towards(self, target: Offset) -> Correction {
        Correction(target.0 - self.0)
    }
}

/// What must be *added* to a clock to correct it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Correction(Span);

impl Correction {
    /// A correction that adds `span`.
    pub const fn adding(span: Span) -> Correction {
        Correction(span)
    }

    /// What is to be added.
    pub const fn span(self) -> Span {
        self.0
    }
}

/// Prints the offset with its sign: `+3.0 ms` is ahead.
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:+}", self.0))
    }
}

/// Prints the correction with its sign: `-3.0 ms` sets the clock back.
impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:+}", self.0))
    }
}

/// A relative frequency: a clock's rate minus one. Dimensionless; positive runs fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Frequency(f64);

impl Frequency {
    /// Exactly the nominal rate.
    pub const ZERO: Frequency = Frequency(0.0);

    /// A relative frequency as a plain ratio (1e-6 is one ppm).
    pub const fn from_ratio(ratio: f64) -> Frequency {
        Frequency(ratio)
    }

    /// A relative frequency in parts per million.
    pub const fn from_ppm(ppm: f64) -> Frequency {
        Frequency(ppm * 1e-6)
    }

    /// A relative frequency from the wire's unit, parts per trillion (1e-12).
    pub const fn from_ppt(ppt: i32) -> Frequency {
        Frequency(ppt as f64 * 1e-12)
    }

    /// The plain ratio.
    pub const fn ratio(self) -> f64 {
        self.0
    }

    /// In parts per million.
    pub const fn ppm(self) -> f64 {
        self.0 * 1e6
    }

    /// In parts per billion.
    pub const fn ppb(self) -> f64 {
        self.0 * 1e9
    }

    /// In the wire's unit, parts per trillion (1e-12); saturates at ± 2147 ppm.
    pub fn as_ppt(self) -> i32 {
        (self.0 * 1e12).round() as i32
    }

    /// The phase that accumulates at this frequency over `span`.
    pub fn over(self, span: Span) -> Span {
        span.scaled(self.0)
    }
}

impl Add for Frequency {
    type Output = Frequency;
    fn add(self, other: Frequency) -> Frequency {
        Frequency(self.0 + other.0)
    }
}

impl Sub for Frequency {
    type Output = Frequency;
    fn sub(self, other: Frequency) -> Frequency {
        Frequency(self.0 - other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_clock_that_is_ahead_is_corrected_backwards() {
        let ahead = Offset::ahead_by(Span::from_millis(3));
        assert_eq!(ahead.correction_towards(Offset::ZERO).span(), Span::from_millis(-3));
    }

    #[test]
    fn arithmetic_saturates_instead_of_overflowing() {
        let end = Timestamp::from_nanos(i64::MAX);
        assert_eq!(end + Span::from_nanos(1), end);
        assert_eq!(Timestamp::from_nanos(i64::MIN) - end, Span::from_nanos(i64::MIN));
        assert_eq!((-Span::from_nanos(i64::MIN)).as_nanos(), i64::MAX);
    }

    #[test]
    fn a_span_prints_in_a_readable_unit() {
        for (ns, shown) in [
            (0, "0 ns"),
            (-7, "-7 ns"),
            (999, "999 ns"),
            (1_000, "1.0 µs"),
            (12_340, "12.3 µs"),
            (99_949, "99.9 µs"),
            (99_950, "100 µs"),
            (350_000, "350 µs"),
            (999_499, "999 µs"),
            (999_500, "1.0 ms"),
            (999_960, "1.0 ms"),
            (-1_500_000, "-1.5 ms"),
            (2_000_000_000, "2.0 s"),
            (59_949_000_000, "59.9 s"),
            (59_950_000_000, "1.0 min"),
            (3_600_000_000_000, "1.0 h"),
            (86_400_000_000_000, "1.0 d"),
            (i64::MIN, "-106752 d"),
        ] {
            assert_eq!(Span::from_nanos(ns).to_string(), shown);
        }
    }

    #[test]
    fn only_quantities_with_a_direction_print_a_plus() {
        let two = Span::from_secs(2);
        assert_eq!(two.to_string(), "2.0 s");
        assert_eq!(format!("{two:+}|{:+}|{:>8}|", -two, Span::from_nanos(64)), "+2.0 s|-2.0 s|   64 ns|");
        let ahead = Offset::ahead_by(two);
        let back = ahead.correction_towards(Offset::ZERO);
        assert_eq!(format!("{ahead}, {back}, {}", Correction::default()), "+2.0 s, -2.0 s, +0 ns");
    }

    #[test]
    fn frequency_keeps_its_value_through_the_unit_of_the_wire() {
        let f = Frequency::from_ppm(-87.125);
        assert_eq!(Frequency::from_ppt(f.as_ppt()).as_ppt(), -87_125_000);
        assert_eq!(Frequency::from_ppm(1e9).as_ppt(), i32::MAX);
    }
}

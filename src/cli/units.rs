//! The values of options as an operator types them: durations (`250ms`, `-2.5s`), frequencies (`50ppm`),
//! sizes (`64MiB`), dates (`2026-01-31`) and addresses.

use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use meantime_core::config::MAX_DELAY;
use meantime_core::time::{Frequency, Span, Timestamp};

/// Why a value that was typed cannot be used, and what to type instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Only a unit, or another word.
    #[error("'{text}' is not a {quantity}; type for example {example}")]
    NoQuantity {
        /// What was typed.
        text: String,
        /// What it should be.
        quantity: &'static str,
        /// A valid value.
        example: &'static str,
    },
    /// The part before the unit is not a number.
    #[error("'{number}' is not a number; type for example {example}")]
    NoNumber {
        /// What was typed.
        number: String,
        /// A valid value.
        example: &'static str,
    },
    /// A number without a unit.
    #[error("a unit is missing; {0}")]
    NoUnit(String),
    /// An unknown unit.
    #[error("'{unit}' is not a unit of {quantity}; use {units}")]
    UnknownUnit {
        /// What was typed.
        unit: String,
        /// What is measured.
        quantity: &'static str,
        /// The known units.
        units: &'static str,
    },
    /// A duration of more than a hundred years, or infinite.
    #[error("{0} makes no sense here; at most 36500d")]
    DurationTooLong(String),
    /// A frequency beyond ± 500 ppm.
    #[error("{0} is more than any clock drifts; at most 500ppm either way")]
    FrequencyTooLarge(String),
    /// A size that is negative, or larger than any disk.
    #[error("{0} makes no sense here")]
    SizeOutOfRange(String),
    /// Zero or negative.
    #[error("must be more than zero")]
    NotPositive,
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// A maximum delay above the protocol's.
    #[error("at most {MAX_DELAY}: a measurement that took longer is never used")]
    DelayTooLong,
    /// A duration below the minimum.
    #[error("too short; at least {0}")]
    TooShort(&'static str),
    /// A duration above the maximum.
    #[error("too long; at most {0}")]
    TooLong(&'static str),
    /// A size below the minimum.
    #[error("too small; at least {0}")]
    TooSmall(&'static str),
    /// Not a date.
    #[error("not a date; type for example 2026-01-31")]
    NoDate,
    /// Not a date with a time of day.
    #[error("not a date with a time of day; type for example '2026-01-31 16:30:00', in UTC")]
    NoMoment,
    /// Not a network or an address.
    #[error("not a network; type for example 192.0.2.0/24 or 2001:db8::/32")]
    NoNetwork,
    /// Not an address to listen on.
    #[error("not an address of this machine with a port; type for example {0} or {1}")]
    NoListenAddress(SocketAddr, SocketAddr),
}

/// Parses a duration with its unit, of either sign: `250ms`, `-2.5s`, `1h`, `0`.
///
/// # Errors
/// When it is not a duration, has no unit, or is longer than a hundred years.
pub fn span(text: &str) -> Result<Span, ValueError> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        "" if number.parse() == Ok(0.0) => 0.0,
        _ if number.is_empty() => {
            let text = unit.to_owned();
            return Err(ValueError::NoQuantity { text, quantity: "duration", example: "250ms" });
        }
        "" if number.parse::<f64>().is_ok() => {
            return Err(ValueError::NoUnit(format!("for seconds type {number}s")));
        }
        "" => 0.0,
        other => {
            let (unit, units) = (other.to_owned(), "one of ns, us, ms, s, min, h and d, as in 250ms");
            return Err(ValueError::UnknownUnit { unit, quantity: "time", units });
        }
    };
    let ns = parse_number(number, "250ms")? * factor;
    if !ns.is_finite() || ns.abs() > MAX_NS {
        return Err(ValueError::DurationTooLong(text.to_owned()));
    }
    Ok(Span::from_nanos(ns.round() as i64))
}

/// Parses a duration above zero.
///
/// # Errors
/// As [`span`], and when it is not positive.
pub fn positive_span(text: &str) -> Result<Span, ValueError> {
    match span(text)? {
        span if span > Span::ZERO => Ok(span),
        _ => Err(ValueError::NotPositive),
    }
}

/// Parses a duration of zero or more.
///
/// # Errors
/// As [`span`], and when it is negative.
pub fn unsigned_span(text: &str) -> Result<Span, ValueError> {
    match span(text)? {
        span if span >= Span::ZERO => Ok(span),
        _ => Err(ValueError::Negative),
    }
}

/// Parses a maximum round-trip delay.
///
/// # Errors
/// As [`positive_span`], and when it is above the protocol's maximum.
pub fn max_delay(text: &str) -> Result<Span, ValueError> {
    match positive_span(text)? {
        span if span <= MAX_DELAY => Ok(span),
        _ => Err(ValueError::DelayTooLong),
    }
}

/// Parses a frequency error of at most ± 500 ppm: `50ppm`, `-20ppb`, or a ratio, `1e-6`. A number that is not
/// a sensible ratio lacks its unit.
///
/// # Errors
/// When it is not a frequency, lacks its unit, or is too large.
pub fn frequency(text: &str) -> Result<Frequency, ValueError> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ppm" => 1e-6,
        "ppb" => 1e-9,
        _ if number.is_empty() => {
            let text = unit.to_owned();
            return Err(ValueError::NoQuantity { text, quantity: "frequency", example: "50ppm" });
        }
        "" => 1.0,
        other => {
            let (unit, units) = (other.to_owned(), "ppm or ppb, as in 50ppm");
            return Err(ValueError::UnknownUnit { unit, quantity: "frequency", units });
        }
    };
    let ratio = parse_number(number, "50ppm")? * factor;
    if unit.is_empty() && ratio.abs() > MAX_RATIO {
        let hint = format!("for parts per million type {number}ppm, per billion {number}ppb");
        return Err(ValueError::NoUnit(hint));
    }
    if ratio.is_nan() || ratio.abs() > MAX_RATIO {
        return Err(ValueError::FrequencyTooLarge(text.to_owned()));
    }
    Ok(Frequency::from_ratio(ratio))
}

/// Parses a frequency error above zero.
///
/// # Errors
/// As [`frequency`], and when it is not positive.
pub fn positive_frequency(text: &str) -> Result<Frequency, ValueError> {
    match frequency(text)? {
        frequency if frequency > Frequency::ZERO => Ok(frequency),
        _ => Err(ValueError::NotPositive),
    }
}

/// Parses a size in bytes with its unit: `64MiB`, `10MB`, `4096B`.
///
/// # Errors
/// When it is not a size, lacks its unit, or is out of range.
pub fn size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split(text);
    let factor = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ if number.is_empty() => {
            let text = unit.to_owned();
            return Err(ValueError::NoQuantity { text, quantity: "size", example: "64MiB" });
        }
        "" => return Err(ValueError::NoUnit(format!("for bytes type {number}B"))),
        other => {
            let (unit, units) = (other.to_owned(), "one of B, kB, MB, GB, KiB, MiB, GiB");
            return Err(ValueError::UnknownUnit { unit, quantity: "size", units });
        }
    };
    match parse_number(number, "64MiB")? * factor {
        // The maximum is larger than any disk, and exact as a floating-point number.
        size if (0.0..=1e15).contains(&size) => Ok(size.round() as u64),
        _ => Err(ValueError::SizeOutOfRange(text.to_owned())),
    }
}

/// Parses a day in UTC, or a moment as in RFC 3339.
///
/// # Errors
/// When it is neither.
pub fn date(text: &str) -> Result<Timestamp, ValueError> {
    let day =
        text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|day| day.and_utc());
    let moment = || DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc));
    let ns = day.or_else(moment).and_then(|moment| moment.timestamp_nanos_opt());
    ns.map(Timestamp::from_nanos).ok_or(ValueError::NoDate)
}

/// Parses a moment: RFC 3339, or a date and a time of day in UTC.
///
/// # Errors
/// When it is neither.
pub fn moment(text: &str) -> Result<Timestamp, ValueError> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc));
    let plain = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let ns = zoned.or(plain.map(|moment| moment.and_utc())).and_then(|moment| moment.timestamp_nanos_opt());
    ns.map(Timestamp::from_nanos).ok_or(ValueError::NoMoment)
}

/// Parses `ADDR:PORT`, or an address alone for the default port. `examples` are shown in the error.
///
/// # Errors
/// When it is neither.
pub fn listen_address(
    text: &str,
    default_port: u16,
    examples: [IpAddr; 2],
) -> Result<SocketAddr, ValueError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, default_port));
    let [first, second] = examples.map(|ip| SocketAddr::new(ip, default_port));
    text.parse().or(alone).map_err(|_| ValueError::NoListenAddress(first, second))
}

fn parse_number(number: &str, example: &'static str) -> Result<f64, ValueError> {
    number.parse().map_err(|_| ValueError::NoNumber { number: number.to_owned(), example })
}

/// Number and unit; a letter e between digits belongs to the number.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| !c.is_alphabetic() || c == 'e' || c == 'E');
    let (number, unit) = text.split_at(text.len() - unit.len());
    (number.trim(), unit)
}

/// 500 ppm, the limit of every mechanism that slews a clock, and a little for rounding.
const MAX_RATIO: f64 = 500.5e-6;

/// A hundred years: a longer duration is a typing error.
const MAX_NS: f64 = 36_500.0 * 86_400e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        assert_eq!(span("250ms"), Ok(Span::from_millis(250)));
        assert_eq!(span("-2.5s"), Ok(Span::from_millis(-2_500)));
        assert_eq!(span("1e3 us"), Ok(Span::from_millis(1)));
        assert_eq!(span("0"), Ok(Span::ZERO));
        assert_eq!(span("1h"), Ok(Span::from_secs(3_600)));
    }

    #[test]
    fn a_date_is_a_day_or_a_moment() {
        let midnight = Timestamp::from_nanos(1_748_736_000_000_000_000);
        for same in ["2025-06-01", "2025-06-01T00:00:00Z", "2025-06-01T02:00:00+02:00"] {
            assert_eq!(date(same), Ok(midnight));
        }
        for wrong in ["", "yesterday", "2025-13-01", "9999-01-01"] {
            assert!(date(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5 kB"), Ok(1_500));
        assert_eq!(size("5").unwrap_err().to_string(), "a unit is missing; for bytes type 5B");
        for wrong in ["", "big", "-1MB", "5Mb", "1e30B", "nanB"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_error_says_which_unit_is_missing() {
        assert_eq!(span("5").unwrap_err().to_string(), "a unit is missing; for seconds type 5s");
        assert_eq!(
            frequency("-50").unwrap_err().to_string(),
            "a unit is missing; for parts per million type -50ppm, per billion -50ppb"
        );
    }

    #[test]
    fn an_error_names_the_wrong_part() {
        for (text, hint) in [
            ("", "'' is not a duration; type for example 250ms"),
            ("soon", "'soon' is not a duration; type for example 250ms"),
            ("1,5s", "'1,5' is not a number; type for example 250ms"),
            ("1:30", "'1:30' is not a number; type for example 250ms"),
            ("5sec", "'sec' is not a unit of time; use one of ns, us, ms, s, min, h and d, as in 250ms"),
        ] {
            assert_eq!(span(text).unwrap_err().to_string(), hint);
        }
        for (text, hint) in [
            ("fast", "'fast' is not a frequency; type for example 50ppm"),
            ("5Hz", "'Hz' is not a unit of frequency; use ppm or ppb, as in 50ppm"),
            ("501ppm", "501ppm is more than any clock drifts; at most 500ppm either way"),
        ] {
            assert_eq!(frequency(text).unwrap_err().to_string(), hint);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "5 parsecs", "1e30s", "inf", "nans", "--3s"] {
            assert!(span(text).is_err(), "{text:?} was read as {:?}", span(text));
        }
        for text in ["", "ppm", "5 ppx", "501ppm", "1e9ppm", "nan"] {
            assert!(frequency(text).is_err(), "{text:?} was read as {:?}", frequency(text));
        }
    }

    #[test]
    fn frequencies_are_parsed() {
        assert!((frequency("-50ppm").unwrap().ppm() + 50.0).abs() < 1e-9);
        assert!((frequency("20ppb").unwrap().ppb() - 20.0).abs() < 1e-9);
        assert!((frequency("1e-6").unwrap().ppm() - 1.0).abs() < 1e-9);
    }
}

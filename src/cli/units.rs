//! Lengths of time, frequencies, sizes and dates as people type them: `250ms`, `-2.5s`, `50ppm`, `64MiB`,
//! `2026-01-31`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use meantime_core::config::MAX_DELAY;
use meantime_core::time::{Frequency, Span, Timestamp};

/// Reads a length of time with its unit, of either sign: `250ms`, `-2.5s`, `1h`, `0`.
///
/// # Errors
/// What is wrong with it, and what to type instead.
pub fn span(text: &str) -> Result<Span, String> {
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
            return Err(format!("'{unit}' is no length of time; type for example 250ms"));
        }
        "" if number.parse::<f64>().is_ok() => {
            return Err(format!("a unit is missing; for seconds type {number}s"));
        }
        "" => 0.0,
        other => {
            let units = "use one of ns, us, ms, s, min, h and d, as in 250ms";
            return Err(format!("'{other}' is not a unit of time; {units}"));
        }
    };
    let value: f64 =
        number.parse().map_err(|_| format!("'{number}' is not a number; type for example 250ms"))?;
    let ns = value * factor;
    if !ns.is_finite() || ns.abs() > MAX_NS {
        return Err(format!("{text} makes no sense here; at most 36500d"));
    }
    Ok(Span::from_nanos(ns.round() as i64))
}

/// Reads a length of time above zero.
///
/// # Errors
/// As [`span`], and when it is not positive.
pub fn positive_span(text: &str) -> Result<Span, String> {
    match span(text)? {
        span if span > Span::ZERO => Ok(span),
        _ => Err("must be more than zero".into()),
    }
}

/// Reads a length of time of zero or more.
///
/// # Errors
/// As [`span`], and when it is negative.
pub fn unsigned_span(text: &str) -> Result<Span, String> {
    match span(text)? {
        span if span >= Span::ZERO => Ok(span),
        _ => Err("must not be negative".into()),
    }
}

/// Reads the longest way there and back that a measurement may have taken.
///
/// # Errors
/// As [`span`], and when it is not more than zero, or more than anybody waits.
pub fn max_delay(text: &str) -> Result<Span, String> {
    match positive_span(text)? {
        span if span <= MAX_DELAY => Ok(span),
        _ => Err(format!("at most {MAX_DELAY}: what takes longer was held up, and is never used")),
    }
}

/// Reads a frequency error of at most ± 500 ppm: `50ppm`, `-20ppb`, or as a ratio, `1e-6`. What would be no
/// sensible ratio lacks its unit.
///
/// # Errors
/// What is wrong with it, and what to type instead.
pub fn frequency(text: &str) -> Result<Frequency, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "ppm" => 1e-6,
        "ppb" => 1e-9,
        _ if number.is_empty() => return Err(format!("'{unit}' is no frequency; type for example 50ppm")),
        "" => 1.0,
        other => return Err(format!("'{other}' is not a unit of frequency; use ppm or ppb, as in 50ppm")),
    };
    let value: f64 =
        number.parse().map_err(|_| format!("'{number}' is not a number; type for example 50ppm"))?;
    let ratio = value * factor;
    if unit.is_empty() && ratio.abs() > MAX_RATIO {
        return Err(format!(
            "a unit is missing; for parts per million type {number}ppm, per billion {number}ppb"
        ));
    }
    if ratio.is_nan() || ratio.abs() > MAX_RATIO {
        return Err(format!("{text} is more than any clock drifts; at most 500ppm either way"));
    }
    Ok(Frequency::from_ratio(ratio))
}

/// Reads a frequency error above zero.
///
/// # Errors
/// As [`frequency`], and when it is not positive.
pub fn positive_frequency(text: &str) -> Result<Frequency, String> {
    match frequency(text)? {
        frequency if frequency > Frequency::ZERO => Ok(frequency),
        _ => Err("must be more than zero".into()),
    }
}

/// Reads a size in bytes with its unit: `64MiB`, `10MB`, `4096B`.
///
/// # Errors
/// What is wrong with it, and what to type instead.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let factor = match unit {
        "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ if number.is_empty() => return Err(format!("'{unit}' is no size; type for example 64MiB")),
        "" => return Err(format!("a unit is missing; for bytes type {number}B")),
        other => {
            return Err(format!("'{other}' is not a unit of size; use one of B, kB, MB, GB, KiB, MiB, GiB"));
        }
    };
    let value: f64 =
        number.parse().map_err(|_| format!("'{number}' is not a number; type for example 64MiB"))?;
    match value * factor {
        // Larger than any disk, and exact as a number.
        size if (0.0..=1e15).contains(&size) => Ok(size.round() as u64),
        _ => Err(format!("{text} makes no sense here")),
    }
}

/// Reads a day in UTC, or a moment as in RFC 3339.
///
/// # Errors
/// What to type instead.
pub fn date(text: &str) -> Result<Timestamp, String> {
    let day =
        text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|day| day.and_utc());
    let moment = || DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc));
    let ns = day.or_else(moment).and_then(|moment| moment.timestamp_nanos_opt());
    ns.map(Timestamp::from_nanos).ok_or_else(|| "not a date; type for example 2026-01-31".into())
}

/// Reads a moment: RFC 3339, or a date and a time of day in UTC.
///
/// # Errors
/// What to type instead.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.with_timezone(&Utc));
    let plain = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let ns = zoned.or(plain.map(|moment| moment.and_utc())).and_then(|moment| moment.timestamp_nanos_opt());
    ns.map(Timestamp::from_nanos)
        .ok_or_else(|| "no date with a time of day; type for example '2026-01-31 16:30:00', in UTC".into())
}

/// Number and unit; a letter e between digits belongs to the number.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| !c.is_alphabetic() || c == 'e' || c == 'E');
    let (number, unit) = text.split_at(text.len() - unit.len());
    (number.trim(), unit)
}

/// 500 ppm, the limit of all that slews clocks, and a little for rounding.
const MAX_RATIO: f64 = 500.5e-6;

/// A hundred years: whoever types more has slipped.
const MAX_NS: f64 = 36_500.0 * 86_400e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_as_they_are_written() {
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
    fn sizes_read_as_they_are_written() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5 kB"), Ok(1_500));
        assert_eq!(size("5").unwrap_err(), "a unit is missing; for bytes type 5B");
        for wrong in ["", "big", "-1MB", "5Mb", "1e30B", "nanB"] {
            assert!(size(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_missing_unit_is_asked_for() {
        assert_eq!(span("5").unwrap_err(), "a unit is missing; for seconds type 5s");
        assert_eq!(
            frequency("-50").unwrap_err(),
            "a unit is missing; for parts per million type -50ppm, per billion -50ppb"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, hint) in [
            ("", "'' is no length of time; type for example 250ms"),
            ("soon", "'soon' is no length of time; type for example 250ms"),
            ("1,5s", "'1,5' is not a number; type for example 250ms"),
            ("1:30", "'1:30' is not a number; type for example 250ms"),
            ("5sec", "'sec' is not a unit of time; use one of ns, us, ms, s, min, h and d, as in 250ms"),
        ] {
            assert_eq!(span(text).unwrap_err(), hint);
        }
        for (text, hint) in [
            ("fast", "'fast' is no frequency; type for example 50ppm"),
            ("5Hz", "'Hz' is not a unit of frequency; use ppm or ppb, as in 50ppm"),
            ("501ppm", "501ppm is more than any clock drifts; at most 500ppm either way"),
        ] {
            assert_eq!(frequency(text).unwrap_err(), hint);
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for text in ["", "s", "5 parsecs", "1e30s", "inf", "nans", "--3s"] {
            assert!(span(text).is_err(), "{text:?} was read as {:?}", span(text));
        }
        for text in ["", "ppm", "5 ppx", "501ppm", "1e9ppm", "nan"] {
            assert!(frequency(text).is_err(), "{text:?} was read as {:?}", frequency(text));
        }
    }

    #[test]
    fn frequencies_read_as_they_are_written() {
        assert!((frequency("-50ppm").unwrap().ppm() + 50.0).abs() < 1e-9);
        assert!((frequency("20ppb").unwrap().ppb() - 20.0).abs() < 1e-9);
        assert!((frequency("1e-6").unwrap().ppm() - 1.0).abs() < 1e-9);
    }
}

//! How single values are written: times as RFC 3339, frequencies in ppb, names of variants in snake case.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use meantime_core::consensus::Weight;
use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Timestamp};

/// A frequency in ppb, to a thousandth: finer than any clock is known.
pub fn rounded_ppb(frequency: Frequency) -> f64 {
    (frequency.ppb() * 1e3).round() / 1e3
}

/// A weight in votes, to a ten-thousandth.
pub fn rounded_votes(weight: Weight) -> f64 {
    (weight.as_f64() * 1e4).round() / 1e4
}

/// A count with its noun: `1 client`, `2 clients`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// The place of a server in the list of servers, as people count: from 1 on.
pub fn place_of(server: Rank) -> u8 {
    server.place() + 1
}

/// A time for programs: `2025-08-21T16:30:12.123456789Z`.
pub fn rfc3339(time: Timestamp) -> String {
    utc(time).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A time as the classic demonstration prints it: `2025-08-21 16:30:12.123456`, in UTC.
pub fn classic_time(time: Timestamp) -> String {
    utc(time).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// The name of a variant for programs: `OutsideWindow` becomes `outside_window`.
pub fn snake_case(variant: impl fmt::Debug) -> String {
    let mut name = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(time.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_programs_and_for_people() {
        let time = Timestamp::from_nanos(1_755_793_812_000_000_007);
        assert_eq!(rfc3339(time), "2025-08-21T16:30:12.000000007Z");
        assert_eq!(classic_time(time), "2025-08-21 16:30:12.000000");
        assert_eq!(rfc3339(Timestamp::from_nanos(i64::MIN)), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn a_noun_has_its_number() {
        assert_eq!([counted(0u32, "member"), counted(1u32, "member")], ["0 members", "1 member"]);
    }

    #[test]
    fn variants_are_written_in_snake_case() {
        assert_eq!(snake_case(meantime_core::event::Outcome::ServerInDoubt), "server_in_doubt");
        assert_eq!(snake_case(meantime_core::wire::ClientState::Holdover), "holdover");
    }
}

//! The rows of a record's files, sorted by member.
//!
//! Rounds before the cluster had a time are left out: their offsets have no reference, and a server that
//! starts with a wrong clock would stretch the time axis of a plot back to 1970.

use std::collections::{HashMap, HashSet};

use super::reader::RecordedRow;

/// Every member's clock over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordHistory {
    /// The time of the first row, in nanoseconds since 1970.
    pub begin_ns: i64,
    /// The time of the last row, in nanoseconds since 1970.
    pub end_ns: i64,
    /// The number of rounds.
    pub rounds: usize,
    /// The members: the node that has written the record first, the others by name.
    pub members: Vec<MemberHistory>,
}

/// A member's clock over time.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberHistory {
    /// Its name, with its address if another member has the same name in the same round.
    pub name: String,
    /// Whether it is the node that has written the record.
    pub own: bool,
    /// Its clock in each round, in the order of time.
    pub points: Vec<HistoryPoint>,
}

/// A member's clock in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistoryPoint {
    /// The time of the row, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Whether it was also recorded in the round before.
    pub joined: bool,
    /// Whether the clock was in holdover.
    pub holdover: bool,
    /// Its clock minus cluster time, in nanoseconds.
    pub offset_ns: Option<f64>,
    /// The round-trip delay, in nanoseconds.
    pub delay_ns: Option<f64>,
    /// The clock's rate over its oscillator's, minus one, in parts per billion.
    pub frequency_ppb: Option<f64>,
    /// What the cluster's clocks show minus UTC, in nanoseconds; only in the points of a server's own clock.
    pub utc_offset_ns: Option<f64>,
    /// The maximum error of that, in nanoseconds.
    pub utc_error_ns: Option<f64>,
}

impl RecordHistory {
    /// The history in the files of a record, in any order; `None`: they have no round with a cluster time.
    pub fn of(mut files: Vec<Vec<RecordedRow>>) -> Option<RecordHistory> {
        files.sort_by_key(|file| file.first().map(|row| row.time_ns));
        let rows: Vec<RecordedRow> = files.into_iter().flatten().collect();
        let rounds: Vec<&[RecordedRow]> = rows.chunk_by(same_round).filter(|round| has_time(round)).collect();
        let times = || rounds.iter().map(|round| round[0].time_ns);
        let shared = shared_names(&rounds);
        let mut members: HashMap<String, (usize, MemberHistory)> = HashMap::new();
        let (mut turn, mut last): (usize, Option<&RecordedRow>) = (0, None);
        for round in &rounds {
            turn += if last.is_none_or(|last| follows(last, &round[0])) { 1 } else { 2 };
            last = Some(&round[0]);
            for row in *round {
                let name = name(row, &shared);
                let member = MemberHistory { name: name.clone(), own: row.own, points: Vec::new() };
                let (seen, member) = members.entry(name).or_insert((0, member));
                let joined = *seen + 1 == turn && !member.points.is_empty();
                *seen = turn;
                member.points.push(point(row, joined));
            }
        }
        let mut members: Vec<MemberHistory> = members.into_values().map(|(_, member)| member).collect();
        members.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| natural(&a.name).cmp(&natural(&b.name))));
        let numbers: Vec<u32> = rounds.iter().filter_map(|round| round[0].round).collect();
        Some(RecordHistory {
            begin_ns: times().min()?,
            end_ns: times().max()?,
            rounds: numbers.chunk_by(u32::eq).count(),
            members,
        })
    }
}

fn same_round(a: &RecordedRow, b: &RecordedRow) -> bool {
    // The node's own row is the first of each round.
    (a.time_ns, a.round) == (b.time_ns, b.round) && !b.own
}

/// Whether the node that writes the record had the cluster's time.
fn has_time(round: &[RecordedRow]) -> bool {
    round.first().is_some_and(|first| first.own && first.state != "unsynchronized")
}

/// Whether a round comes right after another. Rows between rounds are no gap.
fn follows(before: &RecordedRow, after: &RecordedRow) -> bool {
    let next = match (before.round, after.round) {
        // A client may get several corrections in a round.
        (Some(before), Some(after)) => after == before || after == before.wrapping_add(1).max(1),
        _ => true,
    };
    next && after.time_ns >= before.time_ns
}

/// The names that more than one member has in the same round.
fn shared_names(rounds: &[&[RecordedRow]]) -> HashSet<String> {
    let mut shared = HashSet::new();
    for round in rounds {
        let mut seen = HashSet::new();
        let twice = round.iter().filter(|row| !seen.insert(row.name.as_str()));
        shared.extend(twice.map(|row| row.name.clone()));
    }
    shared
}

fn name(row: &RecordedRow, shared: &HashSet<String>) -> String {
    match row.name.as_str() {
        "" if row.own => "this node".to_owned(),
        "" => row.address.clone(),
        name if shared.contains(name) && !row.own => format!("{name} ({})", row.address),
        name => name.to_owned(),
    }
}

fn point(row: &RecordedRow, joined: bool) -> HistoryPoint {
    HistoryPoint {
        time_ns: row.time_ns,
        joined,
        holdover: row.state == "holdover",
        offset_ns: row.offset_ns,
        delay_ns: row.delay_ns,
        frequency_ppb: row.frequency_ppb,
        utc_offset_ns: row.utc_offset_ns,
        utc_error_ns: row.utc_error_ns,
    }
}

/// The key by which names are sorted, so that `client-10` comes after `client-9`.
fn natural(name: &str) -> (&str, u64, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(s: i64, round: u32, name: &str) -> RecordedRow {
        RecordedRow {
            time_ns: s * 1_000_000_000,
            round: Some(round),
            own: name == "hub",
            name: name.into(),
            address: format!("192.0.2.1:{s}"),
            state: "synchronized".into(),
            offset_ns: Some(1.0),
            delay_ns: None,
            frequency_ppb: None,
            utc_offset_ns: None,
            utc_error_ns: None,
        }
    }

    fn joined(history: &RecordHistory, name: &str) -> Vec<bool> {
        let member = history.members.iter().find(|member| member.name == name).unwrap();
        member.points.iter().map(|point| point.joined).collect()
    }

    /// Rounds with these numbers and members, each beginning with the server.
    fn rounds(rounds: &[(u32, &[&str])]) -> Vec<RecordedRow> {
        let of = |(at, (round, names)): (usize, &(u32, &[&str]))| {
            let names = ["hub"].into_iter().chain(names.iter().copied());
            names.map(|name| row(at as i64, *round, name)).collect::<Vec<_>>()
        };
        rounds.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn a_member_without_a_row_in_a_round_has_a_gap() {
        let rows = rounds(&[(1, &["a", "b"]), (2, &["b"]), (3, &["a", "b"]), (4, &["a", "b"])]);
        let history = RecordHistory::of(vec![rows]).unwrap();
        assert_eq!(joined(&history, "a"), [false, false, true]);
        assert_eq!(joined(&history, "b"), [false, true, true, true]);
        assert_eq!((history.rounds, history.begin_ns, history.end_ns), (4, 0, 3_000_000_000));
    }

    #[test]
    fn a_round_that_was_not_recorded_is_a_gap_for_all_members() {
        let rows = rounds(&[(1, &["a"]), (2, &["a"]), (1, &["a"]), (2, &["a"]), (4, &["a"])]);
        let history = RecordHistory::of(vec![rows]).unwrap();
        for name in ["hub", "a"] {
            assert_eq!(joined(&history, name), [false, true, false, true, false]);
        }
    }

    #[test]
    fn rotated_files_are_one_record_in_any_order() {
        let rows = rounds(&[(1, &["a"]), (2, &["a"]), (3, &["a"])]);
        let (older, newer) = rows.split_at(2);
        let history = RecordHistory::of(vec![newer.to_vec(), older.to_vec(), Vec::new()]).unwrap();
        assert_eq!(joined(&history, "a"), [false, true, true]);
    }

    #[test]
    fn rounds_without_a_cluster_time_are_left_out() {
        let mut rows = rounds(&[(1, &["a"]), (2, &["a"])]);
        rows[0].state = "unsynchronized".into();
        let history = RecordHistory::of(vec![rows.clone()]).unwrap();
        assert_eq!((history.rounds, history.begin_ns), (1, 1_000_000_000));
        rows[2].state = "unsynchronized".into();
        assert_eq!(RecordHistory::of(vec![rows]), None);
    }

    #[test]
    fn members_of_the_same_name_are_distinguished_and_all_are_sorted() {
        let mut rows = rounds(&[(1, &["c-10", "c-9", "x", "x", ""])]);
        for (port, row) in rows.iter_mut().enumerate() {
            row.address = format!("[::1]:{port}");
        }
        let history = RecordHistory::of(vec![rows]).unwrap();
        let names: Vec<_> = history.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["hub", "[::1]:5", "c-9", "c-10", "x ([::1]:3)", "x ([::1]:4)"]);
    }
}

//! What a record tells, sorted by members.
//!
//! Rounds before the cluster had a time are left out: their offsets are to nobody's time, and a server that
//! starts with a wrong clock would stretch the picture to 1970.

use std::collections::{HashMap, HashSet};

use super::read::Entry;

/// Every member's clock over time.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The first moment, in nanoseconds since 1970.
    pub begin_ns: i64,
    /// The last.
    pub end_ns: i64,
    /// How many rounds are in it.
    pub rounds: usize,
    /// The members: the node that has written the record first, the others by name.
    pub members: Vec<Member>,
}

/// A member's clock over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What it is called; with its address if another has the same name at the same time.
    pub name: String,
    /// Whether it is the node that has written the record.
    pub own: bool,
    /// What is known of it, in order.
    pub points: Vec<Point>,
}

/// A member's clock in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Whether it was there in the round before, too.
    pub joined: bool,
    /// Whether it ran on its own.
    pub holdover: bool,
    /// Its clock minus the cluster's time, in nanoseconds.
    pub offset_ns: Option<f64>,
    /// The round-trip delay, in nanoseconds.
    pub delay_ns: Option<f64>,
    /// The clock's rate over its oscillator's, minus one, in parts per billion.
    pub frequency_ppb: Option<f64>,
}

impl History {
    /// The history in the files of a record; `None`: there is nothing in them.
    pub fn of(mut files: Vec<Vec<Entry>>) -> Option<History> {
        files.sort_by_key(|file| file.first().map(|entry| entry.time_ns));
        let entries: Vec<Entry> = files.into_iter().flatten().collect();
        let rounds: Vec<&[Entry]> = entries.chunk_by(same_round).filter(|round| has_time(round)).collect();
        let times = || rounds.iter().map(|round| round[0].time_ns);
        let shared = shared_names(&rounds);
        let mut members: HashMap<String, (usize, Member)> = HashMap::new();
        let (mut turn, mut last): (usize, Option<&Entry>) = (0, None);
        for round in &rounds {
            turn += if last.is_none_or(|last| follows(last, &round[0])) { 1 } else { 2 };
            last = Some(&round[0]);
            for entry in *round {
                let name = name(entry, &shared);
                let member = Member { name: name.clone(), own: entry.own, points: Vec::new() };
                let (seen, member) = members.entry(name).or_insert((0, member));
                let joined = *seen + 1 == turn && !member.points.is_empty();
                *seen = turn;
                member.points.push(point(entry, joined));
            }
        }
        let mut members: Vec<Member> = members.into_values().map(|(_, member)| member).collect();
        members.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| natural(&a.name).cmp(&natural(&b.name))));
        let numbers: Vec<u32> = rounds.iter().filter_map(|round| round[0].round).collect();
        Some(History {
            begin_ns: times().min()?,
            end_ns: times().max()?,
            rounds: numbers.chunk_by(u32::eq).count(),
            members,
        })
    }
}

fn same_round(a: &Entry, b: &Entry) -> bool {
    // The node's own row is the first of each round.
    (a.time_ns, a.round) == (b.time_ns, b.round) && !b.own
}

/// Whether the node that writes the record had the cluster's time.
fn has_time(round: &[Entry]) -> bool {
    round.first().is_some_and(|first| first.own && first.state != "unsynchronized")
}

/// Whether a round comes right after another. What is between rounds is no gap.
fn follows(before: &Entry, after: &Entry) -> bool {
    let next = match (before.round, after.round) {
        // A client that is measured often gets several corrections in a round.
        (Some(before), Some(after)) => after == before || after == before.wrapping_add(1).max(1),
        _ => true,
    };
    next && after.time_ns >= before.time_ns
}

/// The names that more than one member has in the same round.
fn shared_names(rounds: &[&[Entry]]) -> HashSet<String> {
    let mut shared = HashSet::new();
    for round in rounds {
        let mut seen = HashSet::new();
        let twice = round.iter().filter(|entry| !seen.insert(entry.name.as_str()));
        shared.extend(twice.map(|entry| entry.name.clone()));
    }
    shared
}

fn name(entry: &Entry, shared: &HashSet<String>) -> String {
    match entry.name.as_str() {
        "" if entry.own => "this node".to_owned(),
        "" => entry.address.clone(),
        name if shared.contains(name) && !entry.own => format!("{name} ({})", entry.address),
        name => name.to_owned(),
    }
}

fn point(entry: &Entry, joined: bool) -> Point {
    Point {
        time_ns: entry.time_ns,
        joined,
        holdover: entry.state == "holdover",
        offset_ns: entry.offset_ns,
        delay_ns: entry.delay_ns,
        frequency_ppb: entry.frequency_ppb,
    }
}

/// A name so that `client-10` comes after `client-9`.
fn natural(name: &str) -> (&str, u64, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(s: i64, round: u32, name: &str) -> Entry {
        Entry {
            time_ns: s * 1_000_000_000,
            round: Some(round),
            own: name == "hub",
            name: name.into(),
            address: format!("192.0.2.1:{s}"),
            state: "synchronized".into(),
            offset_ns: Some(1.0),
            delay_ns: None,
            frequency_ppb: None,
        }
    }

    fn joined(history: &History, name: &str) -> Vec<bool> {
        let member = history.members.iter().find(|member| member.name == name).unwrap();
        member.points.iter().map(|point| point.joined).collect()
    }

    /// Rounds with these numbers and members, each beginning with the server.
    fn rounds(rounds: &[(u32, &[&str])]) -> Vec<Entry> {
        let of = |(at, (round, names)): (usize, &(u32, &[&str]))| {
            let names = ["hub"].into_iter().chain(names.iter().copied());
            names.map(|name| entry(at as i64, *round, name)).collect::<Vec<_>>()
        };
        rounds.iter().enumerate().flat_map(of).collect()
    }

    #[test]
    fn a_member_that_was_away_has_a_gap() {
        let entries = rounds(&[(1, &["a", "b"]), (2, &["b"]), (3, &["a", "b"]), (4, &["a", "b"])]);
        let history = History::of(vec![entries]).unwrap();
        assert_eq!(joined(&history, "a"), [false, false, true]);
        assert_eq!(joined(&history, "b"), [false, true, true, true]);
        assert_eq!((history.rounds, history.begin_ns, history.end_ns), (4, 0, 3_000_000_000));
    }

    #[test]
    fn a_server_that_was_away_is_a_gap_for_all() {
        let entries = rounds(&[(1, &["a"]), (2, &["a"]), (1, &["a"]), (2, &["a"]), (4, &["a"])]);
        let history = History::of(vec![entries]).unwrap();
        for name in ["hub", "a"] {
            assert_eq!(joined(&history, name), [false, true, false, true, false]);
        }
    }

    #[test]
    fn rotated_files_are_one_record_in_any_order() {
        let entries = rounds(&[(1, &["a"]), (2, &["a"]), (3, &["a"])]);
        let (older, newer) = entries.split_at(2);
        let history = History::of(vec![newer.to_vec(), older.to_vec(), Vec::new()]).unwrap();
        assert_eq!(joined(&history, "a"), [false, true, true]);
    }

    #[test]
    fn what_was_before_the_cluster_had_a_time_is_left_out() {
        let mut entries = rounds(&[(1, &["a"]), (2, &["a"])]);
        entries[0].state = "unsynchronized".into();
        let history = History::of(vec![entries.clone()]).unwrap();
        assert_eq!((history.rounds, history.begin_ns), (1, 1_000_000_000));
        entries[2].state = "unsynchronized".into();
        assert_eq!(History::of(vec![entries]), None);
    }

    #[test]
    fn two_of_the_same_name_are_told_apart_and_all_are_in_order() {
        let mut entries = rounds(&[(1, &["c-10", "c-9", "x", "x", ""])]);
        for (port, entry) in entries.iter_mut().enumerate() {
            entry.address = format!("[::1]:{port}");
        }
        let history = History::of(vec![entries]).unwrap();
        let names: Vec<_> = history.members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["hub", "[::1]:5", "c-9", "c-10", "x ([::1]:3)", "x ([::1]:4)"]);
    }
}

//! The page of a server: the cluster and its members.

use std::net::SocketAddr;

use super::client;
use super::servers;
use super::table::{self, Cell, Side, lines};
use super::text::{Paint, pending_adjustment, ppm, signed, span, words};
use super::utc;
use crate::cli::guarantee;
use crate::control::protocol::{ClientRow, ClientStatus, LastRound, ReplicaStatus, ServerStatus, Vote};
use crate::report::undecided::{self, Figures};
use crate::report::{ClockCoverage, ExclusionReason, RoundOutcome, RoundSummary, counted};
use meantime_core::coverage::Coverage;
use meantime_core::time::Span;

/// The lines of the cluster, then one line for each member; without the addresses if they do not fit into
/// `width` columns.
pub(crate) fn page(server: &ServerStatus, clients: &[ClientRow], paint: Paint, width: usize) -> String {
    let mut page = head(server, clients, paint);
    if !clients.is_empty() {
        page.push('\n');
        page += &members(clients, paint, width);
    }
    // Of a standby server's clients the active server's vote judges.
    if server.replica.as_ref().is_none_or(|replica| replica.is_active()) {
        page += &excluded(clients);
        page += &not_covered(clients);
    }
    let offered = clients
        .iter()
        .filter_map(|client| Some((label(&client.name, client.address), client.reference.as_ref()?)));
    page += &utc::references(server.utc.as_ref(), offered);
    page += &utc::missing(&server.missing_references);
    for gone in &server.removed_and_gone {
        page += &format!("{gone} is removed from the vote by hand, and not registered now\n");
    }
    for banned in &server.banned {
        page += &format!("{banned} is banned\n");
    }
    page
}

/// The lines of the cluster.
pub(crate) fn head(server: &ServerStatus, clients: &[ClientRow], paint: Paint) -> String {
    let state = paint.state(server.state.as_str());
    let mut page = format!(
        "Server {state}, {}, a round each {}",
        counted(clients.len(), "client"),
        span(Some(server.interval_ns))
    );
    page += &match &server.excluded {
        Some(reason) => {
            format!("; its own clock is left out of the vote: {}\n", why_excluded(reason))
        }
        None => "\n".to_owned(),
    };
    let round = server.last_round.as_ref();
    page += &upstream_lines(server, paint);
    if let Some(replica) = &server.replica {
        page += &servers::role_lines(replica, paint);
        page += &servers::table(&replica.others, paint);
        if !replica.is_active() {
            return page + &standby_lines(server, replica);
        }
    }
    page += &undecided_lines(server);
    let Some(round) = round else {
        return page + "No round is over yet\n";
    };
    page += &last_round(round, paint);
    page += &guarantee_line(round, guarantee::by_now(server, clients));
    page += &pending_adjustment(server.manual_adjustment.as_ref());
    page += &utc::utc_line(server.utc.as_ref());
    page + &format!(
        "The cluster's rate over the server's oscillator: {} ppm\n",
        ppm(Some(server.frequency_ppb))
    )
}

/// What a standby server knows of its clock. The vote, and what is guaranteed, the active server knows.
fn standby_lines(server: &ServerStatus, replica: &ReplicaStatus) -> String {
    let holdover = replica.holdover.as_ref().map(|why| format!(": {}", words(why.as_str())));
    let clock = match server.own_bound_ns {
        Some(bound) => format!("within {} of the cluster's time", span(Some(bound))),
        None => "not known to be near the cluster's time".to_owned(),
    };
    let clock =
        format!("Its clock is {}{}, {clock}\n", words(server.state.as_str()), holdover.unwrap_or_default());
    clock + &pending_adjustment(server.manual_adjustment.as_ref())
}

/// How a relay follows the server above.
fn upstream_lines(server: &ServerStatus, paint: Paint) -> String {
    let Some(upstream) = &server.upstream else { return String::new() };
    let level = upstream.server_level.map_or(String::new(), |level| format!(" of level {}", level + 1));
    let state = paint.state(upstream.state.as_str());
    format!(
        "A relay{level}, its clock {state}{}; above it {}\n{}{}{}",
        client::why_in_holdover(upstream),
        client::registration(upstream),
        client::not_followed(upstream),
        undecided_above(upstream),
        upstream.refused_correction.as_ref().map_or(String::new(), client::refusal),
    )
}

/// A line if the server above has no time.
fn undecided_above(upstream: &ClientStatus) -> &'static str {
    match upstream.server_undecided {
        Some(true) => "The server above has no time yet; `meantime status` on its machine says why\n",
        Some(false) | None => "",
    }
}

/// Why the cluster has no time, and what to do.
fn undecided_lines(server: &ServerStatus) -> String {
    let Some(cause) = &server.undecided else { return String::new() };
    let round = server.last_round.as_ref().map(|round| &round.summary);
    let figures = Figures::of(round, server.waits_ns);
    let (why, advice) = (undecided::why(cause, figures), undecided::advice(cause, figures));
    format!("The cluster has no time: {why}.\n{advice}. Offsets are from the server's own clock.\n")
}

fn last_round(LastRound { summary: round, ago_ns }: &LastRound, paint: Paint) -> String {
    let line = format!(
        "Round {}, {} ago: {}; {}{}, {} heard{}\n",
        round.round,
        span(*ago_ns),
        paint.state(round.outcome.as_str()).replace('_', " "),
        counted(round.members, "member"),
        votes(round),
        round.heard,
        agreeing(round),
    );
    line + single_group(round)
}

/// How far any two covered clocks may be apart at the moment of the answer.
fn guarantee_line(LastRound { summary: round, .. }: &LastRound, bound: Option<Span>) -> String {
    match bound {
        Some(bound) => format!(
            "Any two of the {} covered clocks differ by {bound} at most now, guaranteed\n",
            round.covered
        ),
        None => "How far any two clocks may differ is not known: fewer than two are covered\n".to_owned(),
    }
}

/// How many members agree, and how closely, where some do and the cluster has a time.
fn agreeing(round: &RoundSummary) -> String {
    match round.outcome {
        RoundOutcome::Listening => String::new(),
        _ if round.agreeing == 0 => String::new(),
        _ => format!(", {} agree within {}", round.agreeing, span(Some(round.spread_ns))),
    }
}

/// How many votes the members have, where they share some; one vote has a line of its own.
fn votes(round: &RoundSummary) -> String {
    let shared = (round.votes - round.members as f64).abs() > SHOWN_VOTES / 2.0;
    match round.votes {
        votes if !shared || is_one(votes) => String::new(),
        votes => format!(" ({} votes)", (votes / SHOWN_VOTES).round() * SHOWN_VOTES),
    }
}

/// What it means if all members share one vote.
fn single_group(round: &RoundSummary) -> &'static str {
    match round.members > 1 && is_one(round.votes) {
        true => "All clocks share one vote: they are in one group, such as one machine\n",
        false => "",
    }
}

fn is_one(votes: f64) -> bool {
    (votes - 1.0).abs() < SHOWN_VOTES / 2.0
}

fn members(clients: &[ClientRow], paint: Paint, width: usize) -> String {
    let mut header = columns().to_vec();
    let rows: Vec<Vec<Cell>> = clients.iter().map(|client| row(client, paint)).collect();
    while table::width(&header, &rows) > width && header.len() > NEEDED_COLUMNS {
        header.pop();
    }
    lines(&header, &rows)
}

/// The columns of the table of members; the last two are left out where there is no room, the last one first.
pub(crate) fn columns() -> [(&'static str, Side); 12] {
    [
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("OFFSET", Side::Right),
        ("ERROR", Side::Right),
        ("BOUND", Side::Right),
        ("DELAY", Side::Right),
        ("PPM", Side::Right),
        ("ROUNDS", Side::Right),
        ("VOTE", Side::Left),
        ("HEARD", Side::Right),
        ("GROUP", Side::Left),
        ("ADDRESS", Side::Left),
    ]
}

fn row(client: &ClientRow, paint: Paint) -> Vec<Cell> {
    let dress = |(text, word): (String, String)| match word.is_empty() {
        true => Cell::from(text),
        false => Cell::dressed(text.clone(), paint.state(&word).replace(&word, &text)),
    };
    cells(client).into_iter().map(dress).collect()
}

/// The cells of a member's line, each with the state that its colour shows; empty: it shows none.
pub(crate) fn cells(client: &ClientRow) -> Vec<(String, String)> {
    let word = |word: &str| (short(word).to_owned(), word.to_owned());
    let plain = |text: String| (text, String::new());
    vec![
        plain(client.name.clone()),
        word(client.state.as_str()),
        plain(signed(client.offset_ns)),
        plain(span(client.offset_error_ns)),
        plain(span(client.bound_ns)),
        plain(span(client.delay_ns)),
        plain(ppm(client.frequency_ppb)),
        plain(format!("{}/{}", client.heard, client.rounds)),
        word(client.vote.as_str()),
        plain(span(Some(client.heard_ago_ns))),
        plain(group(client)),
        plain(client.address.to_string()),
    ]
}

/// The unit whose votes a member shares, with the label that counts, the one that it has stated if that is
/// another, and its part of a vote if it shares it.
fn group(client: &ClientRow) -> String {
    let stated = match client.label.is_empty() || client.label == client.counted_label {
        true => String::new(),
        false => format!(" (stated {})", client.label),
    };
    let label = match client.counted_label.is_empty() && stated.is_empty() {
        true => String::new(),
        false => format!("{}: ", format!("{}{stated}", client.counted_label).trim_start()),
    };
    let shared = client.vote == Vote::In && client.weight < 1.0;
    let part = if shared { format!(", {:.2} votes", client.weight) } else { String::new() };
    format!("{label}{}{part}", client.group)
}

/// A short form of a state.
fn short(state: &str) -> &str {
    match state {
        "synchronized" => "sync",
        "unsynchronized" => "unsync",
        other => other,
    }
}

/// A line for each member that the vote leaves out: the reasons are too long for a column.
fn excluded(clients: &[ClientRow]) -> String {
    let line = |client: &ClientRow| {
        let (label, reason) = (label(&client.name, client.address), client.excluded.as_ref()?);
        Some(format!("{label} is left out of the vote: {}\n", why_excluded(reason)))
    };
    let lines: Vec<String> = clients.iter().filter_map(line).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// A line for each member that the guarantee does not cover, unless the vote leaves it out, which has its own
/// line.
fn not_covered(clients: &[ClientRow]) -> String {
    let is_told = |client: &ClientRow| {
        client.coverage == ClockCoverage::Covered
            || (client.coverage == ClockCoverage::Falseticker && client.excluded.is_some())
    };
    let line = |client: &ClientRow| {
        let (label, reason) = (label(&client.name, client.address), why_not_covered(&client.coverage));
        format!("{label} is not covered by the guarantee: {reason}\n")
    };
    let lines: Vec<String> = clients.iter().filter(|client| !is_told(client)).map(line).collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

/// Why the guarantee does not cover a clock, as a clause.
pub(crate) fn why_not_covered(coverage: &ClockCoverage) -> String {
    let known = Coverage::ALL.into_iter().find(|known| ClockCoverage::from(*known) == *coverage);
    known.map_or_else(|| words(coverage.as_str()), |known| known.to_string())
}

/// Why the vote leaves a clock out, as a clause.
fn why_excluded(reason: &ExclusionReason) -> String {
    match reason {
        ExclusionReason::Removed => "removed by an operator".to_owned(),
        reason => words(reason.as_str()),
    }
}

/// To which part of a vote the number of votes is shown.
const SHOWN_VOTES: f64 = 0.01;
/// The columns that are never left out.
const NEEDED_COLUMNS: usize = 10;

/// A client's name, or its address if it has none.
pub(crate) fn label(name: &str, address: SocketAddr) -> String {
    if name.is_empty() { address.to_string() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::examples;

    #[test]
    fn a_member_is_shown_with_the_label_that_counts_and_another_that_it_has_stated() {
        let shown = |counted: &str, stated: &str| {
            let (counted_label, label) = (counted.into(), stated.into());
            group(&ClientRow { counted_label, label, ..examples::row("a", 1) })
        };
        assert_eq!(shown("", ""), "192.0.2.7");
        assert_eq!(shown("rack1", "rack1"), "rack1: 192.0.2.7");
        assert_eq!(shown("rack1", ""), "rack1: 192.0.2.7");
        assert_eq!(shown("rack1", "rack2"), "rack1 (stated rack2): 192.0.2.7");
        assert_eq!(shown("", "rack2"), "(stated rack2): 192.0.2.7");
    }

    /// The line of a round of so many members with so many votes.
    fn line(members: u64, votes: f64) -> String {
        let mut round = examples::round();
        (round.summary.members, round.summary.votes) = (members, votes);
        last_round(&round, Paint::Plain)
    }

    #[test]
    fn votes_that_are_shared_are_shown() {
        assert!(line(3, 3.0).contains("; 3 members, 3 heard"));
        assert!(line(7, 4.9999).contains("; 7 members (5 votes), "));
        let one = line(4, 0.9999);
        assert!(one.contains("; 4 members, ") && one.contains("All clocks share one vote"));
        assert!(!line(1, 1.0).contains("group"), "a server alone");
    }

    #[test]
    fn a_round_of_a_server_that_listens_states_no_agreement() {
        let mut round = examples::round();
        assert!(last_round(&round, Paint::Plain).contains(" heard, 2 agree within "));
        round.summary.outcome = RoundOutcome::Listening;
        assert!(last_round(&round, Paint::Plain).contains(" heard\n"));
    }
}

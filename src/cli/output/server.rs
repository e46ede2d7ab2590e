//! A server's events as JSON and text. The words are those of the classic demonstration of the Berkeley
//! algorithm.

use std::net::SocketAddr;

use log::Level;
use serde_json::Value;

use super::Tell;
use super::record::{Record, state, time_set};
use super::utc::{reference_gained, reference_lost, utc_changed};
use crate::report::ClockSnapshot;
use crate::report::undecided::{self, Figures};
use crate::report::{counted, rounded_ppb, rounded_votes, snake_case};
use meantime_core::ServerEvent::{self, *};
use meantime_core::event::{self, Adjustment, Outcome, Peer, RoundReport, UndecidedReason};
use meantime_core::peer::{ClientSelector, ClientsChange};
use meantime_core::reference::UtcState;
use meantime_core::time::{Correction, Offset, Span};
use meantime_core::wire::{ClientState, KeyId, Name, RejectReason, VERSION};

impl Tell for ServerEvent {
    fn kind(&self) -> &'static str {
        match self {
            Connected { .. } => "connected",
            Left { .. } => "left",
            Lost { .. } => "lost",
            Refused { .. } => "refused",
            Unauthentic { .. } => "unauthentic",
            Replaced { .. } => "replaced",
            LabelOverridesVotes { .. } => "label_overrides_votes",
            RoundStarted { .. } => "round_started",
            BurstAdapted { .. } => "burst_adapted",
            Updated { .. } => "updated",
            RoundEnded(_) => "round_ended",
            Falseticker(_) => "falseticker",
            Truechimer { .. } => "truechimer",
            Removed(_) => "removed",
            Pinned(_) => "pinned",
            Banned(_) => "banned",
            Unbanned(_) => "unbanned",
            Expelled { .. } => "expelled",
            TimeSet { .. } => "time_set",
            TimeAgreed { .. } => "time_agreed",
            TimeFounded { .. } => "time_founded",
            Undecided { .. } => "undecided",
            TimeAdopted { .. } => "time_adopted",
            Deposed { .. } => "deposed",
            Resumed => "resumed",
            BoundsBroken { .. } => "bounds_broken",
            Utc { .. } => "utc",
            ReferenceFalseticker { .. } => "reference_falseticker",
            ReferenceTruechimer { .. } => "reference_truechimer",
            ReferenceGained { .. } => "reference_gained",
            ReferenceLost { .. } => "reference_lost",
            ReferenceMissing { .. } => "reference_missing",
            ReferenceFound { .. } => "reference_found",
            Suspended { .. } => "suspended",
            OwnClockCorrected { .. } => "own_clock",
            CorrectionSent { .. } => "correction_sent",
        }
    }

    fn fields(&self, record: &mut Record) {
        match self {
            Connected { client, state: clock_state } => {
                record.client(client);
                record.put("state", state(*clock_state));
            }
            Left { client } | Expelled { client } => record.client(client),
            Removed(change) | Pinned(change) | Banned(change) | Unbanned(change) => {
                change_fields(record, change);
            }
            Lost { client, silent } => {
                record.client(client);
                record.span("silent_ns", *silent);
            }
            Refused { address, reason, version } => refused_fields(record, address, *reason, *version),
            Unauthentic { address, key, known, name } => {
                unauthentic_fields(record, address, *key, *known, name);
            }
            Replaced { client, by, silent } => {
                record.client(client);
                record.put("by", by.to_string());
                record.span("silent_ns", *silent);
            }
            LabelOverridesVotes { client, label, votes } => {
                record.client(client);
                record.put("label", label.as_str());
                record.put("votes_per_address", *votes);
            }
            RoundEnded(report) => report_fields(report, &mut |name, value| record.put(name, value)),
            Falseticker(falseticker) => falseticker_fields(record, falseticker),
            Truechimer { voter } => record.voter(voter),
            TimeSet { manual_adjustment } => record.manual_adjustment(manual_adjustment),
            Resumed => {}
            ReferenceFalseticker { .. }
            | ReferenceTruechimer { .. }
            | ReferenceGained { .. }
            | ReferenceLost { .. }
            | ReferenceMissing { .. }
            | ReferenceFound { .. } => reference_fields(self, record),
            RoundStarted { .. }
            | BurstAdapted { .. }
            | Updated { .. }
            | OwnClockCorrected { .. }
            | CorrectionSent { .. } => round_fields(self, record),
            TimeAgreed { .. }
            | Undecided { .. }
            | TimeFounded { .. }
            | TimeAdopted { .. }
            | Deposed { .. }
            | BoundsBroken { .. }
            | Utc { .. }
            | Suspended { .. } => time_fields(self, record),
        }
    }

    fn text(&self, at: &ClockSnapshot) -> Option<String> {
        Some(match self {
            Connected { client, .. } => format!("{client} got connected successfully"),
            Left { client } => format!("{client} has left"),
            Lost { client, silent } => format!("{client} is lost: not heard for {silent}"),
            Refused { address, reason: RejectReason::Version, version } => format!(
                "{address} refused: it speaks version {version} of the protocol, this server version {VERSION}; \
                 run the same meantime on both"
            ),
            Refused { address, reason, .. } => format!("{address} refused: {reason}"),
            Unauthentic { address, key, known, name } => unauthentic(address, *key, *known, name),
            BurstAdapted { clients, burst, wanted } => {
                let each = counted(*clients, "client");
                format!("Bursts adapted: {burst} of {wanted} exchanges with each of {each} fit into a round")
            }
            RoundStarted { round, clients, .. } => started(*round, *clients, at.reading.state),
            Updated { client, offset, delay, heard, bound, .. } => {
                updated(client, *offset, *delay, *heard, *bound)
            }
            RoundEnded(report) => ended(report),
            Falseticker(falseticker) => format!(
                "Falseticker: {} is {} from the median: {}",
                falseticker.voter, falseticker.offset, falseticker.reason
            ),
            Removed(_)
            | Pinned(_)
            | Banned(_)
            | Unbanned(_)
            | Expelled { .. }
            | TimeSet { .. }
            | TimeFounded { .. } => {
                return operator_text(self);
            }
            Replaced { .. } | Suspended { .. } | BoundsBroken { .. } | LabelOverridesVotes { .. } => {
                return disturbance_text(self);
            }
            Truechimer { voter } => format!("Truechimer: {voter} agrees again"),
            TimeAgreed { .. } | TimeAdopted { .. } | Deposed { .. } => return time_text(self),
            Undecided { members, agreeing, reason } => undecided(*members, *agreeing, *reason),
            Utc { state, offset, error, explained } => utc_changed(*state, *offset, *error, *explained),
            ReferenceFalseticker { .. }
            | ReferenceTruechimer { .. }
            | ReferenceGained { .. }
            | ReferenceLost { .. }
            | ReferenceMissing { .. }
            | ReferenceFound { .. } => return reference_text(self),
            Resumed => "Resumed: the server knows the cluster's time again and corrects the members".into(),
            OwnClockCorrected { added, adjustment, .. } => {
                return own_clock(*added, *adjustment, at.reading.state);
            }
            CorrectionSent { client, correction, verdict, .. } => {
                format!("Time sent to {client}: correction {correction} ({verdict})")
            }
        })
    }

    fn level(&self) -> Option<Level> {
        match self {
            Lost { .. }
            | Replaced { .. }
            | LabelOverridesVotes { .. }
            | Refused { .. }
            | Unauthentic { .. }
            | Falseticker(_)
            | Removed(_)
            | Banned(_)
            | TimeSet { .. }
            | Undecided { .. }
            | TimeFounded { .. }
            | BurstAdapted { .. }
            | Deposed { .. }
            | BoundsBroken { .. }
            | ReferenceFalseticker { .. }
            | ReferenceLost { .. }
            | ReferenceMissing { .. }
            | Suspended { .. } => Some(Level::Warn),
            Utc { state: UtcState::Learning | UtcState::Leading, .. } => Some(Level::Info),
            Utc { .. } => Some(Level::Warn),
            Connected { .. }
            | ReferenceTruechimer { .. }
            | ReferenceGained { .. }
            | ReferenceFound { .. }
            | Left { .. }
            | Truechimer { .. }
            | Pinned(_)
            | Unbanned(_)
            | Expelled { .. }
            | TimeAgreed { .. }
            | TimeAdopted { .. }
            | Resumed => Some(Level::Info),
            _ => None,
        }
    }
}

/// A correction of the server's own clock; a server that listens prints none of zero.
fn own_clock(added: Correction, adjustment: Adjustment, state: ClientState) -> Option<String> {
    let prints = is_decided(state) || added.span() != Span::ZERO;
    prints.then(|| format!("Time set at the server itself: correction {added} ({adjustment})"))
}

/// The fields of the events of a round: of bursts and corrections.
fn round_fields(event: &ServerEvent, record: &mut Record) {
    match event {
        RoundStarted { round, clients, burst } => {
            record.put("round", *round);
            burst_fields(record, *clients, *burst);
        }
        BurstAdapted { clients, burst, wanted } => {
            burst_fields(record, *clients, *burst);
            record.put("burst_wanted", *wanted);
        }
        Updated { client, round, offset, delay, heard, error, bound } => {
            record.client(client);
            record.put("round", *round);
            measured_fields(record, *offset, *delay, *heard);
            record.known_span("client_error_ns", *error);
            record.known_span("client_bound_ns", *bound);
        }
        OwnClockCorrected { round, correction, added, adjustment } => {
            record.round_correction(*round, *correction);
            record.correction("added_ns", *added);
            record.put("adjustment", snake_case(adjustment));
            record.system();
        }
        CorrectionSent { client, round, correction, verdict } => {
            record.client(client);
            record.round_correction(*round, *correction);
            record.put("verdict", snake_case(verdict));
        }
        _ => {}
    }
}

/// The fields of the events about references.
fn reference_fields(event: &ServerEvent, record: &mut Record) {
    match event {
        ReferenceFalseticker { voter, offset } => {
            record.voter(voter);
            record.offset("offset_ns", *offset);
        }
        ReferenceTruechimer { voter } => record.voter(voter),
        ReferenceGained { max_error } => record.span("max_error_ns", *max_error),
        ReferenceLost { reason } => record.put("reason", snake_case(reason)),
        ReferenceMissing { member, reason } => {
            record.put("member", member.as_str());
            record.put("reason", snake_case(reason));
        }
        ReferenceFound { member } => record.put("member", member.as_str()),
        _ => {}
    }
}

/// The fields of the events about the cluster's time.
fn time_fields(event: &ServerEvent, record: &mut Record) {
    match event {
        TimeAgreed { cluster, agreeing, members } => {
            record.cluster(*cluster);
            majority_fields(record, *agreeing, *members);
        }
        Undecided { members, agreeing, reason } => {
            majority_fields(record, *agreeing, *members);
            record.put("reason", snake_case(reason));
        }
        TimeFounded { cluster, correction, added } => {
            record.cluster(*cluster);
            record.correction("correction_ns", *correction);
            record.correction("added_ns", *added);
        }
        TimeAdopted { cluster, members } => {
            record.cluster(*cluster);
            record.put("members", *members);
        }
        Deposed { offset } => record.offset("offset_ns", *offset),
        BoundsBroken { members, largest } => {
            record.put("members", *members);
            record.span("largest_ns", *largest);
        }
        Utc { state, offset, error, explained } => {
            record.put("state", snake_case(state));
            record.known_span("utc_offset_ns", offset.map(Offset::span));
            record.known_span("utc_error_ns", *error);
            record.span("explained_ns", *explained);
        }
        Suspended { slept } => record.span("slept_ns", *slept),
        _ => {}
    }
}

/// What has happened to a reference.
fn reference_text(event: &ServerEvent) -> Option<String> {
    Some(match event {
        ReferenceFalseticker { voter, offset } => {
            format!("Falseticker among the references: that of {voter} is {offset} from UTC, as most say")
        }
        ReferenceTruechimer { voter } => format!("The reference of {voter} agrees again"),
        ReferenceGained { max_error } => reference_gained(*max_error),
        ReferenceLost { reason } => reference_lost(*reason),
        ReferenceMissing { member, reason } => {
            format!("The reference of {member}, which the server is to follow, is missing: {reason}")
        }
        ReferenceFound { member } => format!("The reference of {member} is there"),
        _ => return None,
    })
}

/// Where the server has its time from.
fn time_text(event: &ServerEvent) -> Option<String> {
    Some(match event {
        TimeAgreed { agreeing, members, .. } => {
            format!("The cluster has a time: the mean of {agreeing} clocks of {members}")
        }
        TimeAdopted { members, .. } => {
            format!("The cluster's time was adopted from {}", counted(*members, "member"))
        }
        Deposed { offset } => {
            format!("Deposed: the server's own clock is {offset} from its members, and takes their time")
        }
        _ => return None,
    })
}

/// What has disturbed a session, the server or the bounds.
fn disturbance_text(event: &ServerEvent) -> Option<String> {
    Some(match event {
        Replaced { client, by, silent } => format!(
            "Replaced: {by} has registered with the name and key of {client}, heard {silent} ago, whose session ends; \
             if both run, give each node a name of its own"
        ),
        LabelOverridesVotes { client, label, votes } => format!(
            "The machine of {client} has the label {label}: all machines with that label share one vote, so the \
             {votes} votes of --votes-per-address do not count at it"
        ),
        Suspended { slept } => format!(
            "Suspended: the machine slept for {slept}; the server listens, and takes its members' time",
        ),
        BoundsBroken { members, largest } => format!(
            "Bounds broken: the time that the server sends from now on is beyond the bounds of {}, by up to \
             {largest}",
            counted(*members, "member")
        ),
        _ => return None,
    })
}

/// What an operator has done.
fn operator_text(event: &ServerEvent) -> Option<String> {
    Some(match event {
        Removed(change) => {
            format!("Removed from the vote by hand: {}; still measured and corrected", whom(change))
        }
        Pinned(change) => format!("Pinned to the vote again: {}", whom(change)),
        Banned(change) => format!("Banned by an operator: {}", whom(change)),
        Unbanned(change) => format!("No longer banned: {}", lifted(change)),
        Expelled { client } => format!("{client} is banned: its session has ended"),
        TimeSet { manual_adjustment } => time_set(manual_adjustment),
        TimeFounded { added, .. } => format!(
            "The cluster has a time: it was founded by an operator or by references; correction of the server's own \
             clock {added}"
        ),
        _ => return None,
    })
}

/// What an operator has changed, and for how many registered clients; the client, if it is one.
fn change_fields(record: &mut Record, change: &ClientsChange) {
    let alone = if let [client] = change.clients.as_slice() { Some(client) } else { None };
    record.put("client", alone.map_or(Value::Null, |client| client.name.as_str().into()));
    record.put("address", alone.map_or(Value::Null, |client| client.address.to_string().into()));
    record.put("member", change.selector.to_string());
    record.put("clients", change.clients.len());
}

/// The bans that an operator has lifted.
fn lifted(change: &ClientsChange) -> String {
    let lifted: Vec<String> = change.lifted.iter().map(ToString::to_string).collect();
    lifted.join(", ")
}

/// The clients that an operator has changed.
fn whom(change: &ClientsChange) -> String {
    match change.clients.as_slice() {
        [client] if ClientSelector::Name(client.name) == change.selector => client.to_string(),
        [] => format!("{} (no client now)", change.selector),
        [client] => format!("{}, now {client}", change.selector),
        clients => format!("{}, now {} clients", change.selector, clients.len()),
    }
}

fn refused_fields(record: &mut Record, address: &SocketAddr, reason: RejectReason, version: u8) {
    record.put("address", address.to_string());
    record.put("reason", snake_case(reason));
    record.put("protocol_version", version);
}

fn unauthentic_fields(record: &mut Record, address: &SocketAddr, key: KeyId, known: bool, name: &Name) {
    record.put("address", address.to_string());
    record.put("calls_itself", name.as_str());
    record.put("key", key.0);
    record.put("key_known", known);
}

fn falseticker_fields(record: &mut Record, falseticker: &event::Falseticker) {
    record.voter(&falseticker.voter);
    record.offset("offset_ns", falseticker.offset);
    record.put("reason", snake_case(falseticker.reason));
}

fn burst_fields(record: &mut Record, clients: usize, burst: u8) {
    record.put("clients", clients);
    record.put("burst", burst);
}

fn measured_fields(record: &mut Record, offset: Offset, delay: Span, heard: u8) {
    record.offset("offset_ns", offset);
    record.span("delay_ns", delay);
    record.put("heard", heard);
}

fn majority_fields(record: &mut Record, agreeing: usize, members: usize) {
    record.put("agreeing", agreeing);
    record.put("members", members);
}

fn undecided(members: usize, agreeing: usize, reason: UndecidedReason) -> String {
    let figures = Figures { members: members as u64, agreeing: agreeing as u64, ..Figures::default() };
    let cause = reason.into();
    format!(
        "Undecided: {}; no clock is corrected. {}",
        undecided::why(&cause, figures),
        undecided::advice(&cause, figures)
    )
}

fn unauthentic(address: &SocketAddr, key: KeyId, known: bool, name: &Name) -> String {
    let what = match (key, known) {
        (KeyId::NONE, _) => {
            "it uses no key, and this server requires one: start it with --key-file".to_owned()
        }
        (_, true) => format!("its key {key} is not the one that this server has for its name"),
        (_, false) => format!("it uses key {key}, which this server does not have"),
    };
    match name.as_str() {
        "" => format!("{address} is not answered: {what}"),
        name => format!("{name} ({address}) is not answered: {what}"),
    }
}

fn updated(client: &Peer, offset: Offset, delay: Span, heard: u8, bound: Option<Span>) -> String {
    let bound = bound.map_or(String::new(), |bound| format!(", bound {bound}"));
    format!("Client Data updated with: {client}: offset {offset}, delay {delay}, {heard} exchanges{bound}")
}

/// Whether a server in this state knows the cluster's time, so that it corrects clocks.
fn is_decided(state: ClientState) -> bool {
    state == ClientState::Synchronized
}

/// The classic lines about a new round; a server that listens synchronizes nobody.
fn started(round: u32, clients: usize, state: ClientState) -> String {
    let whom = match is_decided(state) {
        true => format!("\nNumber of clients to be synchronized: {clients}"),
        false => String::new(),
    };
    format!("New synchronization cycle started: round {round}{whom}")
}

fn ended(report: &RoundReport) -> String {
    let RoundReport { round, outcome, members, heard, agreeing, spread, .. } = report;
    let covered = report.covered;
    let bound = report.largest_bound.map_or(String::new(), |bound| {
        format!("; any two of {covered} covered clocks differ by {bound} at most")
    });
    let agreed = match outcome {
        Outcome::Listening => String::new(),
        _ if *agreeing == 0 => String::new(),
        _ => format!(", {agreeing} agree within {spread}"),
    };
    let members = counted(*members, "member");
    format!("Round {round} ended: {outcome}; {members}, {heard} heard{agreed}{bound}")
}

/// The fields of a round's result.
pub fn report_fields(report: &RoundReport, put: &mut impl FnMut(&str, Value)) {
    let known_span = |span: Option<Span>| span.map_or(Value::Null, |span| span.as_nanos().into());
    put("round", report.round.into());
    put("outcome", snake_case(report.outcome).into());
    put("members", report.members.into());
    put("votes", rounded_votes(report.votes).into());
    put("heard", report.heard.into());
    put("agreeing", report.agreeing.into());
    put("median_offset_ns", report.median.span().as_nanos().into());
    put("window_ns", report.window.as_nanos().into());
    put("spread_ns", report.spread.as_nanos().into());
    put("covered", report.covered.into());
    put("not_covered", report.not_covered.into());
    put("largest_bound_ns", known_span(report.largest_bound));
    put(
        "mean_frequency_ppb",
        report.mean_frequency.map_or(Value::Null, |frequency| rounded_ppb(frequency).into()),
    );
    put("rate_ppb", rounded_ppb(report.rate).into());
}

#[cfg(test)]
mod tests {
    use super::super::OutputFormat;
    use super::super::reference;
    use super::super::tests::{observation, printed};
    use super::*;
    use meantime_core::wire::{Name, Verdict};

    fn alice() -> Peer {
        Peer { name: Name::new("alice"), address: "192.0.2.7:4000".parse().unwrap() }
    }

    #[test]
    fn the_words_of_the_classic_demonstration_are_kept() {
        let text = |event| printed(OutputFormat::Text, &event);
        let (correction, verdict) = (Correction::adding(Span::from_millis(-3)), Verdict::Agrees);
        let state = meantime_core::wire::ClientState::Unsynchronized;
        assert_eq!(
            text(Connected { client: alice(), state }),
            "alice (192.0.2.7:4000) got connected successfully\n"
        );
        assert_eq!(
            text(RoundStarted { round: 7, clients: 3, burst: 4 }),
            "New synchronization cycle started: round 7\nNumber of clients to be synchronized: 3\n"
        );
        let (offset, delay) = (Offset::ahead_by(Span::from_millis(3)), Span::from_micros(80));
        assert_eq!(
            text(Updated {
                client: alice(),
                round: 7,
                offset,
                delay,
                heard: 4,
                error: None,
                bound: Some(delay)
            }),
            "Client Data updated with: alice (192.0.2.7:4000): offset +3.0 ms, delay 80.0 µs, 4 exchanges, bound \
             80.0 µs\n"
        );
        assert_eq!(
            text(CorrectionSent { client: alice(), round: 7, correction, verdict }),
            "Time sent to alice (192.0.2.7:4000): correction -3.0 ms (agrees)\n"
        );
    }

    /// The text of this event while the server's clock is in this state.
    fn text_while(state: ClientState, event: &ServerEvent) -> Option<String> {
        let mut at = observation();
        at.reading.state = state;
        event.text(&at)
    }

    #[test]
    fn a_server_that_listens_prints_no_clock_that_it_corrects() {
        let started = RoundStarted { round: 7, clients: 1, burst: 4 };
        let own = |added| OwnClockCorrected {
            round: 7,
            correction: Correction::adding(added),
            added: Correction::adding(added),
            adjustment: Adjustment::Slew,
        };
        for state in [ClientState::Unsynchronized, ClientState::Holdover] {
            let text = |event: &ServerEvent| text_while(state, event);
            assert_eq!(text(&started).unwrap(), "New synchronization cycle started: round 7");
            assert_eq!(text(&own(Span::ZERO)), None);
            assert!(text(&own(Span::from_secs(1))).is_some());
        }
        let text = |event: &ServerEvent| text_while(ClientState::Synchronized, event);
        assert!(text(&started).unwrap().ends_with("\nNumber of clients to be synchronized: 1"));
        assert_eq!(text(&own(Span::ZERO)).unwrap(), "Time set at the server itself: correction +0 ns (slew)");
    }

    #[test]
    fn a_round_in_which_no_clocks_agree_states_no_agreement() {
        let text = |outcome, agreeing| {
            let report =
                RoundReport { round: 7, outcome, members: 2, heard: 2, agreeing, ..reference::report() };
            text_while(ClientState::Synchronized, &RoundEnded(report)).unwrap()
        };
        assert_eq!(text(Outcome::Listening, 2), "Round 7 ended: listening; 2 members, 2 heard");
        assert_eq!(text(Outcome::Unsure, 0), "Round 7 ended: unsure; 2 members, 2 heard");
        assert_eq!(
            text(Outcome::Agreed, 2),
            "Round 7 ended: agreed; 2 members, 2 heard, 2 agree within 0 ns"
        );
    }

    #[test]
    fn a_refusal_for_the_version_names_both_versions() {
        let address = "192.0.2.7:4000".parse().unwrap();
        let refused = Refused { address, reason: RejectReason::Version, version: 2 };
        assert!(
            printed(OutputFormat::Text, &refused)
                .contains("speaks version 2 of the protocol, this server version 1")
        );
        assert_eq!(refused.level(), Some(Level::Warn));
    }

    #[test]
    fn durations_are_whole_nanoseconds_in_json() {
        let sent = CorrectionSent {
            client: alice(),
            round: 7,
            correction: Correction::adding(Span::from_nanos(i64::MIN)),
            verdict: Verdict::Minority,
        };
        assert!(printed(OutputFormat::Json, &sent).ends_with(
            "\"client\":\"alice\",\"address\":\"192.0.2.7:4000\",\"round\":7,\
             \"correction_ns\":-9223372036854775808,\"verdict\":\"minority\"}\n"
        ));
    }
}

//! docs/reference/events.md lists every event with every JSON field: the page is compared with what is
//! printed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tests::observation;
use super::{Listening, Record, Tell, Tick};
use crate::clock::{ForeignAdjustment, SystemClockEvent};
use meantime_core::event::{Adjustment, Exclusion, Falseticker, HoldoverReason, Outcome, Peer, Refusal};
use meantime_core::event::{RoundReport, UndecidedReason, UpstreamFault, Voter};
use meantime_core::peer::{ClientSelector, ClientsChange};
use meantime_core::reference::{NoReference, ReferenceAbsence, UtcState};
use meantime_core::roles::rank::Rank;
use meantime_core::roles::server_role::RoleChange;
use meantime_core::roles::term::Term;
use meantime_core::time::{Correction, Frequency, Offset, Span, Timestamp};
use meantime_core::wire::{ClientState, ClusterId, KeyId, ManualAdjustment, Name, RejectReason, Verdict};
use meantime_core::{ClientEvent, ReplicaEvent, ServerEvent};

const PAGE: &str = include_str!("../../../docs/reference/events.md");

/// The fields that the page lists in a section, below each heading: (heading, fields).
fn listed(section: &str) -> Vec<(String, BTreeSet<String>)> {
    let section = PAGE.split("\n## ").find(|part| part.starts_with(section)).expect("a section");
    let events = section.split("\n### `").skip(1);
    events.map(|event| (event.split('`').next().unwrap().to_owned(), fields_in(event))).collect()
}

fn fields_in(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

/// The fields that an event prints beyond those of every event.
fn printed(event: &dyn Tell) -> (String, BTreeSet<String>) {
    let mut at = observation();
    at.system = Some(Timestamp::from_nanos(1));
    let mut record = Record::new(event.kind(), &at);
    event.fields(&mut record);
    let object: serde_json::Map<String, Value> = serde_json::from_str(&record.to_string()).unwrap();
    let common = fields_in(PAGE.split("\n## ").nth(1).unwrap());
    assert!(common.iter().all(|name| object.contains_key(name)), "{record}");
    (event.kind().to_owned(), object.keys().filter(|name| !common.contains(*name)).cloned().collect())
}

fn check(section: &str, events: &[&dyn Tell]) {
    let printed: Vec<_> = events.iter().map(|event| printed(*event)).collect();
    assert_eq!(listed(section), printed, "docs/reference/events.md, {section}");
}

fn peer() -> Peer {
    Peer { name: Name::new("alice"), address: "192.0.2.7:4000".parse().unwrap() }
}

pub(super) fn report() -> RoundReport {
    RoundReport {
        round: 1,
        outcome: Outcome::Agreed,
        members: 3,
        heard: 3,
        votes: meantime_core::consensus::Weight::votes(3),
        agreeing: 3,
        median: Offset::ZERO,
        window: Span::ZERO,
        spread: Span::ZERO,
        covered: 0,
        not_covered: 1,
        largest_bound: None,
        mean_frequency: None,
        rate: Frequency::ZERO,
    }
}

/// One of each event of a server, in the order of the page.
fn server_events() -> Vec<ServerEvent> {
    let (client, address, round) = (peer(), peer().address, 1);
    let (offset, correction) = (Offset::ZERO, Correction::adding(Span::ZERO));
    let (cluster, adjustment, verdict) = (ClusterId(7), Adjustment::Slew, Verdict::Agrees);
    let reason = Exclusion::OutsideWindow;
    let selector = ClientSelector::Name(client.name);
    let change = ClientsChange { selector, clients: vec![client], changed: true, lifted: vec![] };
    vec![
        ServerEvent::Connected { client, state: ClientState::Unsynchronized },
        ServerEvent::Left { client },
        ServerEvent::Lost { client, silent: Span::ZERO },
        ServerEvent::Refused { address, reason: RejectReason::Full, version: 1 },
        ServerEvent::Unauthentic { address, key: KeyId(1), known: true, name: client.name },
        ServerEvent::Replaced { client, by: address, silent: Span::ZERO },
        ServerEvent::LabelOverridesVotes { client, label: client.name, votes: 2 },
        ServerEvent::RoundStarted { round, clients: 3, burst: 4 },
        ServerEvent::BurstAdapted { clients: 3, burst: 3, wanted: 4 },
        ServerEvent::Updated { client, round, offset, delay: Span::ZERO, heard: 4, error: None, bound: None },
        ServerEvent::RoundEnded(report()),
        ServerEvent::Falseticker(Falseticker { voter: Voter::Client(client), offset, reason }),
        ServerEvent::Truechimer { voter: Voter::Server },
        ServerEvent::Removed(change.clone()),
        ServerEvent::Pinned(change.clone()),
        ServerEvent::Banned(change.clone()),
        ServerEvent::Unbanned(change),
        ServerEvent::Expelled { client },
        ServerEvent::TimeSet { manual_adjustment: ManualAdjustment::NONE },
        ServerEvent::TimeAgreed { cluster, agreeing: 3, members: 3 },
        ServerEvent::Undecided { members: 2, agreeing: 1, reason: UndecidedReason::TwoDiffer },
        ServerEvent::TimeFounded { cluster, correction, added: correction },
        ServerEvent::TimeAdopted { cluster, members: 3 },
        ServerEvent::Deposed { offset },
        ServerEvent::Resumed,
        ServerEvent::BoundsBroken { members: 2, largest: Span::ZERO },
        ServerEvent::OwnClockCorrected { round, correction, added: correction, adjustment },
        ServerEvent::Utc { state: UtcState::Leading, offset: None, error: None, explained: Span::ZERO },
        ServerEvent::ReferenceFalseticker { voter: Voter::Client(client), offset },
        ServerEvent::ReferenceTruechimer { voter: Voter::Server },
        ServerEvent::ReferenceGained { max_error: Span::ZERO },
        ServerEvent::ReferenceLost { reason: NoReference::Unsynchronized },
        ServerEvent::ReferenceMissing { member: peer().name, reason: ReferenceAbsence::NotOffered },
        ServerEvent::ReferenceFound { member: peer().name },
        ServerEvent::Suspended { slept: Span::ZERO },
        ServerEvent::CorrectionSent { client, round, correction, verdict },
    ]
}

/// One of each event of a client, in the order of the page.
fn client_events() -> Vec<ClientEvent> {
    let (server, round, adjustment) = (peer().address, 1, Adjustment::Slew);
    let correction = Correction::adding(Span::ZERO);
    let (rank, term) = (Rank::FIRST, Term::NONE);
    vec![
        ClientEvent::Registering { server, attempt: 1 },
        ClientEvent::Unresolved { rank, attempt: 1 },
        ClientEvent::Registered { server, cluster: ClusterId(7), interval: Span::ZERO },
        ClientEvent::Refused { server, reason: RejectReason::Full, version: 1 },
        ClientEvent::UpstreamRefused { server, reason: UpstreamFault::Loop },
        ClientEvent::Follows { server, rank, term },
        ClientEvent::ListDiffers { server, own: rank, rank, servers: 3 },
        ClientEvent::Doubts { rank, gap: Span::ZERO },
        ClientEvent::Distrusts { server, rank },
        ClientEvent::Trusts { server, rank },
        ClientEvent::Corrected {
            round,
            correction,
            added: correction,
            manual: correction,
            adjustment,
            delay: Span::ZERO,
            frequency: Frequency::ZERO,
            error: Span::ZERO,
            bound: None,
            verdict: Verdict::Agrees,
            first: true,
        },
        ClientEvent::Ignored { round, correction, in_a_row: 1 },
        ClientEvent::RefusedCorrection {
            round,
            correction,
            refused: Some(correction),
            reason: Refusal::StepTooLarge,
        },
        ClientEvent::TimeSet { manual_adjustment: ManualAdjustment::NONE, late: correction, adjustment },
        ClientEvent::BoundBroken { gap: Span::ZERO },
        ClientEvent::Suspended { slept: Span::ZERO },
        ClientEvent::Holdover { reason: HoldoverReason::ServerLeft },
        ClientEvent::Recovered,
        ClientEvent::ReferenceGained { max_error: Span::ZERO },
        ClientEvent::ReferenceLost { reason: NoReference::Unsynchronized },
    ]
}

/// One of each event of the role of a server of several, in the order of the page.
fn replica_events() -> Vec<ReplicaEvent> {
    vec![ReplicaEvent::Role(RoleChange::Shunned), ReplicaEvent::HandsOver(Rank::FIRST)]
}

/// The compiler refuses this when an event is added: then it belongs into the list above and on the page.
fn is_in_the_lists_above(
    server: &ServerEvent,
    client: &ClientEvent,
    replica: &ReplicaEvent,
    system: &SystemClockEvent,
) {
    use ServerEvent as S;
    match server {
        S::Connected { .. } | S::Left { .. } | S::Lost { .. } | S::Refused { .. } | S::Unauthentic { .. } => {
        }
        S::Replaced { .. } | S::LabelOverridesVotes { .. } => {}
        S::RoundStarted { .. } | S::BurstAdapted { .. } | S::Updated { .. } | S::RoundEnded(_) => {}
        S::Falseticker(_) | S::Truechimer { .. } | S::Removed(_) | S::Pinned(_) => {}
        S::Banned(_) | S::Unbanned(_) | S::Expelled { .. } => {}
        S::TimeSet { .. } | S::TimeAgreed { .. } | S::Undecided { .. } | S::TimeAdopted { .. } => {}
        S::TimeFounded { .. } => {}
        S::Utc { .. } | S::ReferenceFalseticker { .. } | S::ReferenceTruechimer { .. } => {}
        S::ReferenceGained { .. } | S::ReferenceLost { .. } => {}
        S::ReferenceMissing { .. } | S::ReferenceFound { .. } => {}
        S::Deposed { .. } | S::Resumed | S::OwnClockCorrected { .. } | S::Suspended { .. } => {}
        S::CorrectionSent { .. } | S::BoundsBroken { .. } => {}
    }
    use ClientEvent as C;
    match client {
        C::Registering { .. } | C::Unresolved { .. } | C::Registered { .. } | C::Refused { .. } => {}
        C::Corrected { .. } | C::Ignored { .. } | C::RefusedCorrection { .. } | C::TimeSet { .. } => {}
        C::UpstreamRefused { .. } | C::Follows { .. } | C::ListDiffers { .. } => {}
        C::Doubts { .. } | C::Distrusts { .. } | C::Trusts { .. } => {}
        C::BoundBroken { .. } | C::Suspended { .. } | C::Holdover { .. } | C::Recovered => {}
        C::ReferenceGained { .. } | C::ReferenceLost { .. } => {}
    }
    match replica {
        ReplicaEvent::Client(_) | ReplicaEvent::Server(_) | ReplicaEvent::Role(_) => {}
        ReplicaEvent::HandsOver(_) => {}
    }
    use SystemClockEvent as Y;
    match system {
        Y::Following { .. } | Y::Stepped { .. } | Y::Disturbed { .. } | Y::GivenUp | Y::Failed { .. } => {}
    }
}

#[test]
fn the_page_lists_every_field_of_every_server_event() {
    let listening = Listening { address: peer().address, name: Name::new("hub") };
    let events = server_events();
    let all: Vec<&dyn Tell> =
        [&listening as &dyn Tell].into_iter().chain(events.iter().map(|event| event as &dyn Tell)).collect();
    check("Events of a server\n", &all);
}

#[test]
fn the_page_lists_every_field_of_the_events_of_a_role() {
    let events = replica_events();
    let all: Vec<&dyn Tell> = events.iter().map(|event| event as &dyn Tell).collect();
    check("Events of a server of several\n", &all);
}

#[test]
fn the_page_lists_every_field_of_every_client_event() {
    let events = client_events();
    check("Events of a client\n", &events.iter().map(|event| event as &dyn Tell).collect::<Vec<_>>());
    check("Events of server and client\n", &[&Tick]);
}

#[test]
fn the_page_lists_every_field_of_every_system_clock_event() {
    let zero = Correction::adding(Span::ZERO);
    let events = [
        SystemClockEvent::Following { missing: zero },
        SystemClockEvent::Stepped { added: zero },
        SystemClockEvent::Disturbed { how: ForeignAdjustment::Step(zero) },
        SystemClockEvent::GivenUp,
        SystemClockEvent::Failed { error: "EPERM".into() },
    ];
    check("Events of the system clock\n", &events.iter().map(|event| event as &dyn Tell).collect::<Vec<_>>());
    is_in_the_lists_above(&server_events()[0], &client_events()[0], &replica_events()[0], &events[0]);
}

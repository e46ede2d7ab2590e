//! Complete answers for tests, which change the fields that they are about.

use std::net::SocketAddr;

use super::*;

/// The header of a status.
fn header() -> EventHeader {
    EventHeader {
        event: "status".into(),
        time: "2026-01-31T16:30:00.000000000Z".into(),
        raw_ns: 77,
        cluster_ns: 1_769_877_000_000_000_000,
        error_ns: Some(250),
        bound_ns: Some(110_000),
    }
}

/// The result of a round in which two of three clocks agree.
pub(crate) fn round() -> LastRound {
    LastRound {
        summary: RoundSummary {
            round: 3,
            outcome: RoundOutcome::Agreed,
            members: 3,
            votes: 2.5,
            heard: 3,
            agreeing: 2,
            median_offset_ns: -20,
            window_ns: 1_000_000,
            spread_ns: 400,
            covered: 2,
            not_covered: 1,
            largest_bound_ns: Some(41_000),
            mean_frequency_ppb: Some(0.5),
            rate_ppb: -1.5,
        },
        ago_ns: Some(1),
    }
}

/// A server with rounds of five seconds, whose clock is synchronized.
pub(crate) fn server_status() -> ServerStatus {
    ServerStatus {
        name: "harbour".into(),
        state: ClockState::Synchronized,
        cluster: "00000000000000ff".into(),
        undecided: None,
        waits_ns: None,
        interval_ns: 5_000_000_000,
        frequency_ppb: -1_500.0,
        frequency_error_ppb: Some(0.25),
        excluded: None,
        removed_and_gone: vec![],
        banned: vec![],
        own_bound_ns: Some(2_000),
        bounds_broken: 0,
        burst: 4,
        datagrams_lost: 0,
        manual_adjustment: None,
        timestamps: Timestamping::Kernel,
        last_round: Some(round()),
        utc: None,
        missing_references: vec![],
        upstream: None,
        replica: None,
    }
}

/// The first of three servers, which is active in the term 7.
pub(crate) fn active_replica() -> ReplicaStatus {
    ReplicaStatus {
        rank: 1,
        name: "a.lan:5525".into(),
        servers: 3,
        quorum: QuorumWord::Any,
        role: RoleWord::Active,
        term: 7,
        term_of: Some(1),
        service: ServiceWord::Served,
        successor: None,
        members: 8,
        known_members: 8,
        standbys: 2,
        holdover: None,
        others: vec![listed_server(2, RoleWord::Standby), listed_server(3, RoleWord::Standby)],
    }
}

/// The second of these servers, which follows the first.
pub(crate) fn standby_replica() -> ReplicaStatus {
    let followed = ListedServerStatus { followed: true, ..listed_server(1, RoleWord::Active) };
    ReplicaStatus {
        rank: 2,
        name: "b.lan:5525".into(),
        role: RoleWord::Standby,
        standbys: 0,
        others: vec![followed, listed_server(3, RoleWord::Standby)],
        ..active_replica()
    }
}

/// A server of these three that is heard, and is active in the term 7 or follows it.
pub(crate) fn listed_server(rank: u8, role: RoleWord) -> ListedServerStatus {
    let bound_ns = Some(if role == RoleWord::Active { 0 } else { 42_000 });
    ListedServerStatus {
        rank,
        name: format!("{}.lan:5525", char::from(b'a' + rank - 1)),
        address: Some(SocketAddr::new([192, 0, 2, rank].into(), 5_525)),
        registered: true,
        role: Some(role),
        term: Some(7),
        term_of: Some(1),
        service: Some(ServiceWord::Served),
        followed: false,
        distrusted: false,
        bound_ns,
        heard_ago_ns: Some(1_200_000_000),
    }
}

/// The status of that server.
pub(crate) fn server() -> Status {
    let node = NodeStatus::Server(Box::new(server_status()));
    Status { header: header(), version: VERSION, newest_event: 7, node }
}

/// A registered client that has followed a correction.
pub(crate) fn client_status() -> ClientStatus {
    ClientStatus {
        state: ClockState::Synchronized,
        server: Some(address(5_525)),
        registered: true,
        servers: vec![],
        cluster: "00000000000000ff".into(),
        interval_ns: Some(5_000_000_000),
        server_undecided: Some(false),
        server_level: Some(0),
        upstream_fault: None,
        frequency_ppb: 1_500.0,
        frequency_error_ppb: None,
        holdover: None,
        heard_ago_ns: Some(1_000),
        last_correction: Some(correction()),
        refused_correction: None,
        manual_adjustment: None,
        timestamps: Timestamping::User,
        system_ns: None,
    }
}

/// The status of that client.
pub(crate) fn client() -> Status {
    let node = NodeStatus::Client(Box::new(client_status()));
    Status { header: header(), version: VERSION, newest_event: 7, node }
}

/// A correction that was followed.
pub(crate) fn correction() -> LastCorrection {
    let adjustment = AdjustmentMethod::Slew;
    LastCorrection { round: 9, added_ns: -3, adjustment, delay_ns: 1, ago_ns: 2 }
}

/// A first step of two hours that was refused.
pub(crate) fn refused_correction() -> RefusedCorrection {
    RefusedCorrection {
        round: 9,
        correction_ns: 7_200_000_000_001,
        refused_ns: Some(7_200_000_000_000),
        limit_ns: Some(600_000_000_000),
        reason: RefusalCause::FirstStepTooLarge,
        ago_ns: 1_000_000_000,
    }
}

/// A manual adjustment that has not begun.
pub(crate) fn manual_adjustment() -> ManualAdjustmentStatus {
    let adjustment = AdjustmentMethod::Step;
    ManualAdjustmentStatus { amount_ns: 5, adjustment, starts_in_ns: 1, ends_in_ns: 1 }
}

/// A cluster whose time is led to UTC.
pub(crate) fn utc() -> UtcStatus {
    let (offset_ns, error_ns) = (Some(-120_000), Some(1_100_000));
    UtcStatus { state: UtcWord::Leading, offset_ns, error_ns, offered: 3, agreeing: 2, own: None }
}

/// A reference that agrees.
pub(crate) fn reference() -> ReferenceStatus {
    let standing = ReferenceWord::Agrees;
    ReferenceStatus { offset_ns: 150_000, error_ns: 1_100_000, ago_ns: 1, standing }
}

/// A client that was heard in all of the last eight rounds.
pub(crate) fn row(name: &str, port: u16) -> ClientRow {
    ClientRow {
        name: name.into(),
        address: address(port),
        key: 0,
        group: "192.0.2.7".into(),
        label: String::new(),
        counted_label: String::new(),
        weight: 1.0,
        state: ClockState::Synchronized,
        offset_ns: Some(-583),
        offset_error_ns: Some(40),
        delay_ns: Some(80_000),
        measured_ago_ns: Some(1),
        error_ns: Some(300),
        bound_ns: Some(2_300),
        coverage: ClockCoverage::Covered,
        frequency_ppb: Some(12.0),
        frequency_error_ppb: Some(0.5),
        heard: 8,
        rounds: 8,
        heard_rounds: HeardRounds(0xff),
        vote: Vote::In,
        excluded: None,
        reference: None,
        admitted_ago_ns: 60_000_000_000,
        heard_ago_ns: 1,
    }
}

/// An event of the log.
pub(crate) fn event(number: u64, kind: &'static str) -> EventEntry {
    EventEntry {
        number,
        time: "t".into(),
        event: kind.into(),
        level: EventLevel::Info,
        text: "x".into(),
        client: None,
        address: None,
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

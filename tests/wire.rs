//! The wire from outside: whatever is written is read back, and whatever is read is safe.

use std::net::{Ipv4Addr, Ipv6Addr};

use meantime_core::roles::rank::{MAX_SERVERS, Rank};
use meantime_core::roles::statement::{MemberStatement, Role, ServerStatement, Service};
use meantime_core::roles::term::{MAX_COUNTER, Term};
use meantime_core::time::{self, Frequency, Span, Timestamp};
use meantime_core::wire::{
    Body, Challenge, ClientState, ClusterId, CorrectionMessage, DATAGRAM_LEN, DecidedClients, Decision,
    DecisionProgress, DecodeError, Flags, Header, Heartbeat, HeartbeatAck, KeyId, Kind, Label, Leave,
    LeaveReason, Lineage, ManualAdjustment, Message, Name, NodeId, Probe, Reference, Register, Reject,
    RejectReason, RelayLead, RelayedTime, Report, RoleMessage, Ruling, SessionId, Stamps, StatedReference,
    VERSION, Verdict, Welcome,
};
use proptest::prelude::*;

#[test]
fn a_datagram_of_any_other_length_is_refused_with_its_length() {
    for message in one_of_each() {
        let mut bytes = message.encode().to_vec();
        bytes.extend([0; 1500]);
        for length in (0..DATAGRAM_LEN).chain(DATAGRAM_LEN + 1..bytes.len()) {
            assert_eq!(Message::decode(&bytes[..length]), Err(DecodeError::Length(length)));
        }
        assert_eq!(Message::decode(&bytes[..DATAGRAM_LEN]), Ok(message));
    }
}

#[test]
fn reserved_bytes_are_ignored_when_read_and_zero_when_written() {
    for message in one_of_each() {
        let (kind, written) = (message.body.kind(), message.encode());
        let mut noisy = [0xa5; DATAGRAM_LEN];
        noisy[..4].copy_from_slice(&written[..4]);
        for bytes in constrained(kind) {
            noisy[bytes.clone()].copy_from_slice(&written[bytes]);
        }
        let read = Message::decode(&noisy).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let again = read.encode();
        for (at, byte) in again.iter().enumerate() {
            let expected = if reserved(kind, at) { noisy[at] & flag_bits(at) } else { noisy[at] };
            assert_eq!(*byte, expected, "{kind:?}, byte {at}");
        }
        assert_eq!(Message::decode(&again), Ok(read), "{kind:?}");
    }
}

#[test]
fn every_byte_that_is_not_reserved_means_something() {
    for message in one_of_each() {
        let (kind, written) = (message.body.kind(), message.encode());
        for at in (0..DATAGRAM_LEN).filter(|at| !reserved(kind, *at) || flag_bits(*at) != 0) {
            let mut changed = written;
            changed[at] ^= 1;
            assert_ne!(Message::decode(&changed), Ok(message), "{kind:?}, byte {at}");
        }
    }
}

#[test]
fn magic_and_kind_are_checked_to_the_bit() {
    let written = one_of_each()[0].encode();
    for bit in 0..16 {
        let mut changed = written;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Message::decode(&changed), Err(DecodeError::Magic));
    }
    for kind in (0..=255).filter(|kind| !(1..=17).contains(kind)) {
        let mut changed = written;
        changed[3] = kind;
        assert_eq!(Message::decode(&changed), Err(DecodeError::Kind(kind)));
    }
}

#[test]
fn another_version_is_told_with_all_that_its_refusal_needs_and_nothing_else_is_read() {
    let mut bytes = [0xff; DATAGRAM_LEN];
    bytes[..2].copy_from_slice(b"MT");
    bytes[16..24].copy_from_slice(&7u64.to_be_bytes());
    bytes[32..40].copy_from_slice(&9u64.to_be_bytes());
    for version in (0..=255).filter(|version| *version != VERSION) {
        bytes[2] = version;
        let expected = DecodeError::Version { version, kind: 0xff, session: SessionId(7), nonce: 9 };
        assert_eq!(Message::decode(&bytes), Err(expected));
    }
}

#[test]
fn values_outside_of_an_enumeration_are_refused() {
    let refused = |message: &Message, at: usize, valid: std::ops::RangeInclusive<u8>, field| {
        for value in 0..=255 {
            let mut bytes = message.encode();
            bytes[at] = value;
            match Message::decode(&bytes) {
                Ok(_) => assert!(valid.contains(&value), "{field} {value}"),
                Err(error) => {
                    assert!(!valid.contains(&value), "{field} {value}");
                    assert_eq!(error, DecodeError::Field(field));
                }
            }
        }
    };
    for message in one_of_each() {
        match message.body {
            Body::Reject(_) => refused(&message, 40, 1..=5, "reason"),
            Body::Correction(_) => refused(&message, 72, 0..=2, "verdict"),
            Body::Leave(_) => refused(&message, 40, 1..=1, "reason"),
            Body::ManualAdjustment(_) => {
                refused(&message, 64, 1..=255, "adjustment number");
                refused(&message, 65, 0..=1, "step");
            }
            Body::Reference(_) => refused(&message, 56, 0..=1, "available"),
            Body::Welcome(_) => refused(&message, 76, 0..=1, "relay"),
            Body::Lineage(_) => refused(&message, 72, 0..=5, "level"),
            Body::Heartbeat(_) => {
                refused(&message, 48, 0..=3, "service");
                refused(&message, 49, 0..=1, "decisions");
            }
            Body::Decision(decision) => {
                let only = Decision { index: 0, last: true, ..decision };
                refused(&Message { body: Body::Decision(only), ..message }, 36, 0..=2, "ruling");
            }
            Body::Role(_) => {
                let role = RoleMessage { statement: a_statement(Role::Active, None), ..a_role(3) };
                refused(&Message { body: Body::Role(role), ..message }, 42, 0..=1, "role");
                refused(&message, 43, 1..=3, "service");
            }
            _ => {}
        }
        let mut bytes = message.encode();
        bytes[5] |= 0b11;
        assert_eq!(Message::decode(&bytes), Err(DecodeError::Field("client state")));
    }
}

#[test]
fn a_role_names_only_servers_of_its_list() {
    for servers in 2..=MAX_SERVERS {
        let active = a_role(servers);
        let standby = RoleMessage { statement: a_statement(Role::Standby, None), ..active };
        for place in 0..=u8::MAX {
            let read = |role: RoleMessage, at: usize| {
                let mut bytes = Message { header: header(), body: Body::Role(role) }.encode();
                bytes[at] = place;
                Message::decode(&bytes).map(drop)
            };
            let (in_list, own) = (place < servers, active.rank.place());
            assert_eq!(read(standby, 40).is_ok(), in_list, "rank {place} of {servers}");
            assert_eq!(read(active, 40).is_ok(), place == own, "of an active server the rank is in the term");
            assert_eq!(read(standby, 39).is_ok(), in_list, "a term of rank {place} of {servers}");
            assert_eq!(read(active, 39).is_ok(), place == own, "an active server claims a term of its own");
            let is_length = (2..=MAX_SERVERS).contains(&place);
            assert_eq!(read(standby, 41).is_ok(), is_length, "{place} servers");
            let (another, none) = (in_list && place != own, place == u8::MAX);
            assert_eq!(read(active, 44).is_ok(), another || none, "successor {place} of {servers}");
            assert_eq!(read(standby, 44).is_ok(), none, "a standby server has no successor");
        }
    }
}

#[test]
fn a_term_has_a_counter_and_a_rank_or_neither() {
    let standby = RoleMessage { statement: a_statement(Role::Standby, None), ..a_role(MAX_SERVERS) };
    let heartbeat = Message { header: header(), body: Body::Heartbeat(a_heartbeat()) };
    let role = Message { header: header(), body: Body::Role(standby) };
    for (message, at) in [(heartbeat, 40), (role, 32)] {
        let read = |bits: u64| {
            let mut bytes = message.encode();
            bytes[at..at + 8].copy_from_slice(&bits.to_be_bytes());
            Message::decode(&bytes).map(drop)
        };
        let last_rank = u64::from(MAX_SERVERS) - 1;
        for good in [0, 0x100, 0x100 + last_rank, MAX_COUNTER << 8 | last_rank] {
            assert_eq!(read(good), Ok(()), "{good:#x}");
        }
        for bad in [1, last_rank, 0xff, 0x101 + last_rank, u64::MAX] {
            assert_eq!(read(bad), Err(DecodeError::Field("term")), "{bad:#x}");
        }
    }
}

#[test]
fn who_follows_no_term_is_lost() {
    let mut bytes = Message { header: header(), body: Body::Heartbeat(a_heartbeat()) }.encode();
    bytes[40..48].fill(0);
    for service in 1..=3 {
        bytes[48] = service;
        let refused = Err(DecodeError::Field("service"));
        assert_eq!(Message::decode(&bytes).map(drop), if service == 2 { Ok(()) } else { refused });
    }
}

#[test]
fn a_heartbeat_that_states_nothing_has_no_term() {
    let mut bytes = one_of_each()[7].encode();
    bytes[40..48].fill(0xff);
    bytes[48] = 0;
    let read = Message::decode(&bytes).unwrap();
    assert_eq!(read.body, Body::Heartbeat(Heartbeat { statement: None, ..a_heartbeat() }));
    assert_eq!(read.encode()[40..49], [0; 9]);
}

#[test]
fn a_decision_is_about_a_name_or_a_network_and_its_list_has_a_number() {
    let read = |at: usize, value: &[u8]| {
        let mut bytes = Message { header: header(), body: Body::Decision(a_decision()) }.encode();
        bytes[at..at + value.len()].copy_from_slice(value);
        Message::decode(&bytes).map(drop)
    };
    assert_eq!(read(32, &[0, 0]), Err(DecodeError::Field("generation")));
    for prefix in 0..=u8::MAX {
        let good = [96..=128, u8::MAX..=u8::MAX].iter().any(|good| good.contains(&prefix));
        let refused = Err(DecodeError::Field("network"));
        let port = [0, 0];
        assert_eq!(read(37, &[prefix, port[0], port[1]]), if good { Ok(()) } else { refused }, "{prefix}");
    }
    assert_eq!(read(37, &[127]), Err(DecodeError::Field("port")), "a port in a network");
    assert_eq!(read(37, &[u8::MAX]), Err(DecodeError::Field("port")), "a port of a name");
    let nobody: Vec<u8> = [&[u8::MAX, 0, 0][..], &[0; 40]].concat();
    assert_eq!(read(37, &nobody), Err(DecodeError::Field("name")));
    assert_eq!(read(36, &[0]), Err(DecodeError::Field("index")), "an empty list has no second entry");
}

#[test]
fn the_bound_of_a_role_saturates_to_unknown() {
    let sent = |bound: Option<i64>| {
        let role = RoleMessage { bound: bound.map(Span::from_nanos), ..a_role(3) };
        match Message::decode(&Message { header: header(), body: Body::Role(role) }.encode()).unwrap().body {
            Body::Role(read) => read.bound.map(Span::as_nanos),
            other => panic!("{other:?}"),
        }
    };
    let most = i64::from(u32::MAX) - 1;
    assert_eq!((sent(None), sent(Some(-1)), sent(Some(0)), sent(Some(1))), (None, Some(0), Some(0), Some(1)));
    assert_eq!((sent(Some(most)), sent(Some(most + 1)), sent(Some(i64::MAX))), (Some(most), None, None));
}

#[test]
fn report_numbers_are_never_zero() {
    for message in one_of_each() {
        let mut bytes = message.encode();
        match message.body {
            Body::Report(_) => bytes[24..28].fill(0),
            Body::Correction(_) => bytes[32..36].fill(0),
            _ => continue,
        }
        assert_eq!(Message::decode(&bytes), Err(DecodeError::Field("report number")));
    }
}

#[test]
fn stamps_of_no_report_are_no_stamps() {
    let probe = Probe { before: Some(Stamps::default()), ..Probe::default() };
    let read = Message::decode(&Message { header: header(), body: Body::Probe(probe) }.encode()).unwrap();
    assert_eq!(read.body, Body::Probe(Probe::default()));
}

#[test]
fn the_extremes_of_time_survive() {
    for ns in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
        let at = Timestamp::from_nanos(ns);
        let probe = Probe { before: Some(Stamps { report: u32::MAX, t1: at, t4: at }), ..Probe::default() };
        let report = Report { t2: at, ..Report::default() };
        let correction = time::Correction::adding(Span::from_nanos(ns));
        let correction = CorrectionMessage { correction, ..a_correction() };
        for body in [Body::Probe(probe), Body::Report(report), Body::Correction(correction)] {
            let message = Message { header: header(), body };
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }
}

#[test]
fn the_window_of_a_correction_saturates() {
    let sent = |ns| {
        let body = Body::Correction(CorrectionMessage { window: Span::from_nanos(ns), ..a_correction() });
        match Message::decode(&Message { header: header(), body }.encode()).unwrap().body {
            Body::Correction(read) => read.window.as_nanos(),
            other => panic!("{other:?}"),
        }
    };
    let most = i64::from(u32::MAX);
    assert_eq!((sent(-1), sent(0), sent(1)), (0, 0, 1));
    assert_eq!((sent(most - 1), sent(most), sent(most + 1), sent(i64::MAX)), (most - 1, most, most, most));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(message in messages()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn bytes_are_read_without_panic_and_what_was_read_stays_the_same(bytes: [u8; DATAGRAM_LEN]) {
        prop_assert!(stays_the_same(&bytes));
    }

    #[test]
    fn bytes_with_a_good_start_are_read_without_panic(mut bytes: [u8; DATAGRAM_LEN], kind in 0..=17u8) {
        bytes[..4].copy_from_slice(&[b'M', b'T', VERSION, kind]);
        prop_assert!(stays_the_same(&bytes));
    }

    #[test]
    fn mutated_messages_are_read_without_panic(
        message in messages(),
        changes in prop::collection::vec((0..DATAGRAM_LEN, any::<u8>()), 1..5),
        length in 0..=2 * DATAGRAM_LEN,
    ) {
        let mut bytes = message.encode();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        prop_assert!(stays_the_same(&bytes));
        let mut bytes = bytes.to_vec();
        bytes.resize(length, 0xa5);
        prop_assert!(length == DATAGRAM_LEN || Message::decode(&bytes) == Err(DecodeError::Length(length)));
    }
}

/// Reads bytes; if they are a message, writes it, and reads *what was written*: that must be the same
/// message again, in the same bytes.
fn stays_the_same(bytes: &[u8]) -> bool {
    let Ok(message) = Message::decode(bytes) else { return true };
    let written = message.encode();
    let Ok(again) = Message::decode(&written) else { return false };
    again == message && again.encode() == written
}

/// The bytes of a kind that cannot hold just any value, its first four aside.
fn constrained(kind: Kind) -> [std::ops::Range<usize>; 2] {
    let name = 56..80;
    match kind {
        Kind::Register | Kind::Label => [name, 0..0],
        Kind::Heartbeat => [40..50, name],
        Kind::Welcome => [48..77, 0..0],
        Kind::Reject | Kind::Leave => [40..41, 0..0],
        Kind::Correction => [72..75, 0..0],
        Kind::ManualAdjustment => [64..66, 0..0],
        Kind::Reference => [48..57, 0..0],
        Kind::Lineage => [32..73, 0..0],
        Kind::Role => [32..45, 0..0],
        Kind::Decision => [36..38, name],
        _ => [0..0, 0..0],
    }
}

/// Whether a byte of a kind is reserved, in whole or (the flags) in part.
fn reserved(kind: Kind, at: usize) -> bool {
    let in_body = match kind {
        Kind::Register | Kind::Report | Kind::Correction => false,
        Kind::Challenge => at >= 48,
        Kind::Welcome => at >= 77,
        Kind::Reject => at >= 42,
        Kind::Probe => (66..72).contains(&at),
        Kind::Heartbeat => (54..56).contains(&at),
        Kind::HeartbeatAck => at >= 40,
        Kind::Leave => at != 40,
        Kind::ManualAdjustment => at >= 66,
        Kind::Reference => at >= 57,
        Kind::Label => at < 56,
        Kind::RelayedTime | Kind::Decision => false,
        Kind::Lineage => at >= 73,
        Kind::Role => (45..48).contains(&at) || at >= 52,
    };
    at == 5 || at >= 80 || (at >= 32 && in_body)
}

/// The bits of a partly reserved byte that have a meaning.
fn flag_bits(at: usize) -> u8 {
    if at == 5 { 0b11_1111 } else { 0 }
}

fn header() -> Header {
    Header {
        flags: Flags {
            state: ClientState::Synchronized,
            manual_adjustment: 0xa5,
            relay_lead: RelayLead::covering(Span::from_secs(20)).unwrap(),
        },
        key_id: KeyId(0x0102),
        sender: NodeId(0x0304_0506_0708_090a),
        session: SessionId(0x0b0c_0d0e_0f10_1112),
        sequence: 0x1314_1516,
        round: 0x1718_191a,
    }
}

fn a_correction() -> CorrectionMessage {
    CorrectionMessage {
        about: 3,
        correction: time::Correction::adding(Span::from_nanos(-5)),
        last: Some(stamps()),
        rate: Frequency::from_ppt(-6),
        window: Span::from_micros(57),
        verdict: Verdict::Minority,
        learning: true,
        brisk: true,
        heard: 4,
        members: 9,
    }
}

fn a_relayed_time() -> RelayedTime {
    RelayedTime {
        cluster: ClusterId(1),
        at: Timestamp::from_nanos(2),
        difference: Span::from_nanos(-3),
        rate: Frequency::from_ppt(-4),
        bound: Some(Span::from_nanos(5)),
        growth: Frequency::from_ppt(6),
        acceleration: Frequency::from_ppt(7),
        error: Some(Span::from_nanos(8)),
        frequency_error: Frequency::from_ppt(9),
    }
}

fn a_lineage(servers: &[u64]) -> Lineage {
    servers.iter().fold(Lineage::NONE, |above, server| above.below(NodeId(*server)).unwrap())
}

fn a_heartbeat() -> Heartbeat {
    let follows = Term::new(3, rank_of(2)).unwrap();
    let statement = Some(MemberStatement { follows, service: Service::Lost });
    let decisions = Some(DecisionProgress { generation: 4, entries: 5 });
    Heartbeat { nonce: 1, name: Name::new("lab-7"), statement, decisions }
}

fn a_decision() -> Decision {
    let (network, name) = (Some("192.0.2.7/32".parse().unwrap()), Name::new("pump"));
    let decided = Some(DecidedClients { ruling: Ruling::Banned, network, port: 4_000, name });
    Decision { generation: 7, index: 3, last: false, decided }
}

/// A server in a list of this length hands over to the first.
fn a_role(servers: u8) -> RoleMessage {
    let statement = a_statement(Role::Active, Some(Rank::FIRST));
    RoleMessage { rank: rank_of(1), servers, statement, bound: Some(Span::from_nanos(7)) }
}

/// What a server states in a term of the second server.
fn a_statement(role: Role, successor: Option<Rank>) -> ServerStatement {
    let term = Term::new(4, rank_of(1)).unwrap();
    ServerStatement { role, term, service: Service::Served, successor }
}

fn stamps() -> Stamps {
    Stamps { report: 4, t1: Timestamp::from_nanos(1_000), t4: Timestamp::from_nanos(2_000) }
}

fn a_probe() -> Probe {
    Probe {
        nonce: 1,
        before: Some(stamps()),
        index: 2,
        burst: 3,
        rate: Frequency::from_ppt(-4),
        cluster: ClusterId(5),
    }
}

/// A message of every kind, with no field zero.
fn one_of_each() -> [Message; 17] {
    let second = Span::from_secs(1);
    let register =
        Register {
            nonce: 1, cookie: 2, cluster: ClusterId(3), name: Name::new("24 bytes: änderungswürdi")
        };
    let terms = (second, second.times(2), second.times(7));
    let report = Report {
        nonce: 1,
        t2: Timestamp::from_nanos(-2),
        processing: Span::from_nanos(3),
        transmit_latency: Span::from_nanos(-4),
        frequency: Frequency::from_ppt(-5),
        frequency_error: Frequency::from_ppt(6),
        rate: Frequency::from_ppt(-7),
        applied: 8,
        bound: Some(Span::from_nanos(9)),
        error: Some(Span::from_nanos(10)),
    };
    let welcome = Welcome {
        nonce: 1,
        cluster: ClusterId(2),
        interval: terms.0,
        heartbeat: terms.1,
        lifetime: terms.2,
        rate: Frequency::from_ppt(-3),
        relay: true,
    };
    let setting = ManualAdjustment {
        cluster: ClusterId(1),
        number: 2,
        before: Span::from_nanos(-3),
        amount: Span::from_nanos(-4),
        start: Timestamp::from_nanos(5),
        step: true,
    };
    let (at, max_error) = (Timestamp::from_nanos(6), Span::from_nanos(8));
    let reference = StatedReference { at, offset: Span::from_nanos(-7), max_error };
    [
        Body::Register(register),
        Body::Challenge(Challenge { nonce: 1, cookie: 2 }),
        Body::Welcome(welcome),
        Body::Reject(Reject { nonce: 1, reason: RejectReason::Full, version: 1 }),
        Body::Probe(a_probe()),
        Body::Report(report),
        Body::Correction(a_correction()),
        Body::Heartbeat(a_heartbeat()),
        Body::HeartbeatAck(HeartbeatAck { nonce: 2 }),
        Body::Leave(Leave { reason: LeaveReason::Shutdown }),
        Body::ManualAdjustment(setting),
        Body::Reference(Reference { stated: Some(reference) }),
        Body::Label(Label { label: Name::new("rack-2") }),
        Body::RelayedTime(a_relayed_time()),
        Body::Lineage(a_lineage(&[1, 2, 3, 4, 5])),
        Body::Role(a_role(3)),
        Body::Decision(a_decision()),
    ]
    .map(|body| Message { header: header(), body })
}

fn messages() -> impl Strategy<Value = Message> {
    (headers(), bodies()).prop_map(|(mut header, body)| {
        if let Body::Report(_) = body {
            header.sequence = header.sequence.max(1);
        }
        Message { header, body }
    })
}

fn headers() -> impl Strategy<Value = Header> {
    let states = prop_oneof![
        Just(ClientState::Unsynchronized),
        Just(ClientState::Synchronized),
        Just(ClientState::Holdover)
    ];
    let leads = (0i64..=4_096).prop_map(|s| RelayLead::covering(Span::from_secs(s)).unwrap());
    (states, leads, any::<(u8, u16)>(), any::<(u64, u64)>(), any::<(u32, u32)>()).prop_map(
        |(state, relay_lead, (setting, key_id), (sender, session), (sequence, round))| Header {
            flags: Flags { state, manual_adjustment: setting, relay_lead },
            key_id: KeyId(key_id),
            sender: NodeId(sender),
            session: SessionId(session),
            sequence,
            round,
        },
    )
}

fn bodies() -> impl Strategy<Value = Body> {
    let register =
        (any::<(u64, u64, u64)>(), any::<String>()).prop_map(|((nonce, cookie, cluster), name)| {
            Body::Register(Register { nonce, cookie, cluster: ClusterId(cluster), name: Name::new(&name) })
        });
    let challenge =
        any::<(u64, u64)>().prop_map(|(nonce, cookie)| Body::Challenge(Challenge { nonce, cookie }));
    let reasons = prop_oneof![
        Just(RejectReason::Version),
        Just(RejectReason::UnknownSession),
        Just(RejectReason::Full),
        Just(RejectReason::Replaced),
        Just(RejectReason::Banned)
    ];
    let reject = (any::<u64>(), reasons, any::<u8>())
        .prop_map(|(nonce, reason, version)| Body::Reject(Reject { nonce, reason, version }));
    let probe = (any::<(u64, u8, u8, u64)>(), some_stamps(), rates()).prop_map(
        |((nonce, index, burst, cluster), before, rate)| {
            Body::Probe(Probe { nonce, before, index, burst, rate, cluster: ClusterId(cluster) })
        },
    );
    prop_oneof![
        register,
        challenge,
        welcomes(),
        reject,
        probe,
        reports(),
        corrections(),
        heartbeats(),
        any::<u64>().prop_map(|nonce| Body::HeartbeatAck(HeartbeatAck { nonce })),
        Just(Body::Leave(Leave { reason: LeaveReason::Shutdown })),
        settings(),
        references(),
        Just(Body::Label(Label { label: Name::new("rack-2") })),
        relayed_times(),
        prop::collection::vec(1..=u64::MAX, 0..=Lineage::MAX)
            .prop_map(|servers| Body::Lineage(a_lineage(&servers))),
        roles(),
        decisions(),
    ]
}

fn heartbeats() -> impl Strategy<Value = Body> {
    let statement = (terms(MAX_SERVERS), services()).prop_map(|(follows, service)| {
        let service = if follows.is_none() { Service::Lost } else { service };
        MemberStatement { follows, service }
    });
    let progress =
        any::<(u16, u16)>().prop_map(|(generation, entries)| DecisionProgress { generation, entries });
    (any::<u64>(), prop::option::of(statement), prop::option::of(progress)).prop_map(
        |(nonce, statement, decisions)| {
            Body::Heartbeat(Heartbeat { nonce, name: Name::new("lab-7"), statement, decisions })
        },
    )
}

fn decisions() -> impl Strategy<Value = Body> {
    let rulings = prop_oneof![Just(Ruling::Removed), Just(Ruling::Banned)];
    let networks = prop_oneof![
        (any::<Ipv4Addr>(), 0..=32u8).prop_map(|(address, prefix)| format!("{address}/{prefix}")),
        (any::<Ipv6Addr>(), 0..=128u8)
            .prop_filter("it is one of IPv4", |(address, _)| address.to_ipv4_mapped().is_none())
            .prop_map(|(address, prefix)| format!("{address}/{prefix}")),
    ];
    let decided = (rulings, prop::option::of(networks), any::<u16>()).prop_map(|(ruling, network, port)| {
        let is_host = network.as_ref().is_some_and(|it| it.ends_with("/32") && !it.contains(':'));
        let network = network.map(|network| network.parse().unwrap());
        DecidedClients { ruling, network, port: if is_host { port } else { 0 }, name: Name::new("pump") }
    });
    (1..=u16::MAX, 0..0x8000u16, any::<bool>(), prop::option::of(decided)).prop_map(
        |(generation, index, last, decided)| {
            let (index, last) = if decided.is_none() { (0, true) } else { (index, last) };
            Body::Decision(Decision { generation, index, last, decided })
        },
    )
}

fn roles() -> impl Strategy<Value = Body> {
    let active = |servers: u8| {
        let (counters, successors) = (1..=MAX_COUNTER, prop::option::of(0..servers));
        (0..servers, counters, successors).prop_map(move |(place, counter, successor)| {
            let (rank, role) = (rank_of(place), Role::Active);
            let successor = successor.filter(|other| *other != place).map(rank_of);
            let term = Term::new(counter, rank).unwrap();
            (rank, ServerStatement { role, term, service: Service::Served, successor })
        })
    };
    let standby = |servers: u8| {
        (0..servers, terms(servers), services()).prop_map(move |(place, term, service)| {
            let (role, successor) = (Role::Standby, None);
            (rank_of(place), ServerStatement { role, term, service, successor })
        })
    };
    let stated = move |servers: u8| (Just(servers), prop_oneof![active(servers), standby(servers)]);
    let bounds = prop::option::of((0..u32::MAX).prop_map(|ns| Span::from_nanos(ns.into())));
    ((2..=MAX_SERVERS).prop_flat_map(stated), bounds).prop_map(|((servers, (rank, statement)), bound)| {
        Body::Role(RoleMessage { rank, servers, statement, bound })
    })
}

fn rank_of(place: u8) -> Rank {
    Rank::new(place).unwrap()
}

fn terms(servers: u8) -> impl Strategy<Value = Term> {
    let some = (1..=MAX_COUNTER, 0..servers)
        .prop_map(|(counter, place)| Term::new(counter, rank_of(place)).unwrap());
    prop_oneof![1 => Just(Term::NONE), 9 => some]
}

fn services() -> impl Strategy<Value = Service> {
    prop_oneof![Just(Service::Served), Just(Service::Lost), Just(Service::Distrusted)]
}

fn relayed_times() -> impl Strategy<Value = Body> {
    let span = || prop::option::of((0..u32::MAX).prop_map(|ns| Span::from_nanos(ns.into())));
    let ppt = || any::<i32>().prop_map(|ppt| Frequency::from_ppt(ppt.saturating_abs()));
    (any::<(u64, i64, i64)>(), rates(), (span(), span()), (ppt(), ppt(), ppt())).prop_map(
        |((cluster, at, difference), rate, (bound, error), (growth, acceleration, frequency_error))| {
            let (at, difference) = (Timestamp::from_nanos(at), Span::from_nanos(difference));
            let cluster = ClusterId(cluster);
            Body::RelayedTime(RelayedTime {
                cluster,
                at,
                difference,
                rate,
                bound,
                growth,
                acceleration,
                error,
                frequency_error,
            })
        },
    )
}

fn references() -> impl Strategy<Value = Body> {
    (any::<(bool, i64, i64)>(), 0..=i64::MAX).prop_map(|((available, at, offset), max_error)| {
        let (at, max_error) = (Timestamp::from_nanos(at), Span::from_nanos(max_error));
        let stated = StatedReference { at, offset: Span::from_nanos(offset), max_error };
        Body::Reference(Reference { stated: available.then_some(stated) })
    })
}

fn settings() -> impl Strategy<Value = Body> {
    (any::<(u64, i64, i64, i64, bool)>(), 1..=u8::MAX).prop_map(
        |((cluster, before, amount, start, step), number)| {
            let (before, amount) = (Span::from_nanos(before), Span::from_nanos(amount));
            let (cluster, start) = (ClusterId(cluster), Timestamp::from_nanos(start));
            Body::ManualAdjustment(ManualAdjustment { cluster, number, before, amount, start, step })
        },
    )
}

fn welcomes() -> impl Strategy<Value = Body> {
    let terms = || Welcome::TERMS.start().as_nanos()..=Welcome::TERMS.end().as_nanos();
    (any::<(u64, u64)>(), terms(), terms(), terms(), rates())
        .prop_filter("no heartbeat can keep it up", |(_, _, heartbeat, lifetime, _)| heartbeat < lifetime)
        .prop_map(|((nonce, cluster), interval, heartbeat, lifetime, rate)| {
            Body::Welcome(Welcome {
                nonce,
                cluster: ClusterId(cluster),
                interval: Span::from_nanos(interval),
                heartbeat: Span::from_nanos(heartbeat),
                lifetime: Span::from_nanos(lifetime),
                rate,
                relay: false,
            })
        })
}

fn reports() -> impl Strategy<Value = Body> {
    let known = || prop::option::of((0..u32::MAX).prop_map(|ns| Span::from_nanos(ns.into())));
    let spans = (any::<(u64, i64, u32, i32)>(), known(), known());
    (spans, rates(), any::<u32>(), rates(), any::<u32>()).prop_map(
        |(((nonce, t2, processing, lag), bound, error), frequency, frequency_error, rate, applied)| {
            Body::Report(Report {
                nonce,
                t2: Timestamp::from_nanos(t2),
                processing: Span::from_nanos(processing.into()),
                transmit_latency: Span::from_nanos(lag.into()),
                frequency,
                frequency_error: Frequency::from_ratio(f64::from(frequency_error) * 1e-12),
                rate,
                applied,
                bound,
                error,
            })
        },
    )
}

fn corrections() -> impl Strategy<Value = Body> {
    let verdicts = prop_oneof![Just(Verdict::Unjudged), Just(Verdict::Agrees), Just(Verdict::Minority)];
    (1..=u32::MAX, any::<(i64, u32, u32, bool, bool, u8)>(), some_stamps(), rates(), verdicts).prop_map(
        |(about, (correction, window, members, learning, brisk, heard), last, rate, verdict)| {
            Body::Correction(CorrectionMessage {
                about,
                correction: time::Correction::adding(Span::from_nanos(correction)),
                last,
                rate,
                window: Span::from_nanos(window.into()),
                verdict,
                learning,
                brisk,
                heard,
                members,
            })
        },
    )
}

fn some_stamps() -> impl Strategy<Value = Option<Stamps>> {
    prop::option::of((1..=u32::MAX, any::<i64>(), any::<i64>()).prop_map(|(report, t1, t4)| Stamps {
        report,
        t1: Timestamp::from_nanos(t1),
        t4: Timestamp::from_nanos(t4),
    }))
}

fn rates() -> impl Strategy<Value = Frequency> {
    any::<i32>().prop_map(Frequency::from_ppt)
}

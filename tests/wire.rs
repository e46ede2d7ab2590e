//! The wire from outside: whatever is written is read back, and whatever is read is safe.

use meantime_core::time::{self, Frequency, Span, Timestamp};
use meantime_core::wire::{
    Body, Challenge, ClientState, ClusterId, CorrectionMessage, DATAGRAM_LEN, DecodeError, Flags, Header,
    Heartbeat, HeartbeatAck, KeyId, Kind, Label, Leave, LeaveReason, Lineage, ManualAdjustment, Message,
    Name, NodeId, Probe, Reference, Register, Reject, RejectReason, RelayLead, RelayedTime, Report,
    SessionId, Stamps, StatedReference, VERSION, Verdict, Welcome,
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
        noisy[constrained(kind)].copy_from_slice(&written[constrained(kind)]);
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
    for kind in (0..=255).filter(|kind| !(1..=15).contains(kind)) {
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
            _ => {}
        }
        let mut bytes = message.encode();
        bytes[5] |= 0b11;
        assert_eq!(Message::decode(&bytes), Err(DecodeError::Field("client state")));
    }
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
    fn bytes_with_a_good_start_are_read_without_panic(mut bytes: [u8; DATAGRAM_LEN], kind in 0..=15u8) {
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
fn constrained(kind: Kind) -> std::ops::Range<usize> {
    match kind {
        Kind::Register | Kind::Heartbeat => 56..80,
        Kind::Welcome => 48..77,
        Kind::Reject | Kind::Leave => 40..41,
        Kind::Correction => 72..75,
        Kind::ManualAdjustment => 64..66,
        Kind::Reference => 48..57,
        Kind::Label => 56..80,
        Kind::Lineage => 32..73,
        _ => 0..0,
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
        Kind::Heartbeat => (40..56).contains(&at),
        Kind::HeartbeatAck => at >= 40,
        Kind::Leave => at != 40,
        Kind::ManualAdjustment => at >= 66,
        Kind::Reference => at >= 57,
        Kind::Label => at < 56,
        Kind::RelayedTime => false,
        Kind::Lineage => at >= 73,
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
fn one_of_each() -> [Message; 15] {
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
        Body::Heartbeat(Heartbeat { nonce: 1, name: Name::new("lab-7") }),
        Body::HeartbeatAck(HeartbeatAck { nonce: 2 }),
        Body::Leave(Leave { reason: LeaveReason::Shutdown }),
        Body::ManualAdjustment(setting),
        Body::Reference(Reference { stated: Some(reference) }),
        Body::Label(Label { label: Name::new("rack-2") }),
        Body::RelayedTime(a_relayed_time()),
        Body::Lineage(a_lineage(&[1, 2, 3, 4, 5])),
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
        any::<u64>().prop_map(|nonce| Body::Heartbeat(Heartbeat { nonce, name: Name::new("lab-7") })),
        any::<u64>().prop_map(|nonce| Body::HeartbeatAck(HeartbeatAck { nonce })),
        Just(Body::Leave(Leave { reason: LeaveReason::Shutdown })),
        settings(),
        references(),
        Just(Body::Label(Label { label: Name::new("rack-2") })),
        relayed_times(),
        prop::collection::vec(1..=u64::MAX, 0..=Lineage::MAX)
            .prop_map(|servers| Body::Lineage(a_lineage(&servers))),
    ]
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

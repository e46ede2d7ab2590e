//! The protocol as stories: a server and a client, pure state machines, with every datagram in the test's
//! hands.

use meantime_core::event::{Adjustment, HoldoverReason, Refusal};
use meantime_core::roles::rank::Rank;
use meantime_core::time::{Correction, Frequency, Raw, Span};
use meantime_core::wire::{
    Body, ClientState, ClusterId, DATAGRAM_LEN, Datagram, Flags, Header, Heartbeat, Kind, Leave, LeaveReason,
    ManualAdjustment, Message, NodeId, Reject, RejectReason, RelayLead, Report, SessionId, VERSION,
};
use meantime_core::{
    Client, ClientConfig, ClientEvent, ExternalTime, Fate, Node, Server, ServerConfig, ServerEvent,
};
use meantime_sim::testkit::by_hand::*;
use meantime_sim::testkit::{Pair, drain, events};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn two_clocks_meet_in_the_middle_and_stay_together() {
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
    pair.run(5.5);
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
    let middle = pair.server.read(pair.server_now().raw).time - pair.server_oscillator();
    assert!((middle - Span::from_secs(1)).abs() < Span::from_millis(1), "{middle}");
    pair.run(3_600.0);
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
}

#[test]
fn a_forged_register_gets_one_datagram_for_one_and_is_forgotten() {
    let mut server = default_server();
    for k in 0..1_000 {
        let answers = ask(&mut server, 1.0, from(STRANGER), &register(k, 0, k));
        assert!(matches!(answers[..], [Message { body: Body::Challenge(_), .. }]), "{answers:?}");
    }
    assert_eq!(server.clients(), 0);
    assert!(events(&mut server).is_empty());
}

#[test]
fn a_cookie_is_good_at_its_own_address_only() {
    let mut server = default_server();
    let challenged = ask(&mut server, 1.0, from(CLIENT), &register(1, 0, 9));
    let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
    let answers = ask(&mut server, 1.0, from(STRANGER), &register(1, challenge.cookie, 9));
    assert!(matches!(answers[..], [Message { body: Body::Challenge(_), .. }]), "{answers:?}");
    assert_eq!((server.clients(), server.counters().of(Fate::Cookie)), (0, 1));
}

#[test]
fn a_repeated_register_gets_the_same_welcome_and_a_new_one_replaces_the_member() {
    let mut server = default_server();
    let session = enter(&mut server, from(CLIENT), 1, 9);
    assert_eq!(enter_again(&mut server, 1, 9), session);
    assert_ne!(enter_at(&mut server, 2.5, from(CLIENT), 2, 9), session);
    assert_eq!(server.clients(), 1);
    enter_at(&mut server, 4.0, from(STRANGER), 3, 9);
    assert_eq!(server.clients(), 1, "one process is one member, wherever it is");
}

fn enter_again(server: &mut Server, nonce: u64, sender: u64) -> SessionId {
    enter(server, from(CLIENT), nonce, sender)
}

#[test]
fn a_client_that_registers_again_and_again_gets_a_session_once_a_second() {
    let mut server = default_server();
    let challenged = ask(&mut server, 1.0, from(CLIENT), &register(1, 0, 9));
    let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
    for nonce in 2..10_000 {
        let answers = ask(&mut server, 1.0, from(CLIENT), &register(nonce, challenge.cookie, 9));
        assert!(answers.len() <= 1);
    }
    let let_in =
        events(&mut server).iter().filter(|event| matches!(event, ServerEvent::Connected { .. })).count();
    assert_eq!((let_in, server.counters().of(Fate::TooSoon)), (1, 9_997));
}

#[test]
fn who_registers_from_two_ports_in_turn_is_let_in_once_a_second_too() {
    let mut server = default_server();
    let ports = [from(CLIENT), from("192.0.2.7:40001")];
    let cookies = ports.map(|port| {
        let challenged = ask(&mut server, 1.0, port, &register(1, 0, 9));
        let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
        challenge.cookie
    });
    for nonce in 2..1_000 {
        let turn = nonce as usize % 2;
        ask(&mut server, 1.0, ports[turn], &register(nonce, cookies[turn], 9));
    }
    let let_in =
        events(&mut server).iter().filter(|event| matches!(event, ServerEvent::Connected { .. })).count();
    assert_eq!((let_in, server.counters().of(Fate::TooSoon)), (1, 997));
}

#[test]
fn a_client_that_joins_and_leaves_all_the_time_keeps_no_other_out() {
    let mut server = default_server();
    let mut let_in = 0;
    for nonce in 1..200 {
        let challenged = ask(&mut server, 1.0, from(STRANGER), &register(nonce, 0, nonce));
        let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
        let answers = ask(&mut server, 1.0, from(STRANGER), &register(nonce, challenge.cookie, nonce));
        let Some(Message { header, body: Body::Welcome(_) }) = answers.first() else { continue };
        let_in += 1;
        let leave = Body::Leave(Leave { reason: LeaveReason::Shutdown });
        let header = Header { sender: NodeId(nonce), session: header.session, ..Header::default() };
        ask(&mut server, 1.0, from(STRANGER), &Message { header, body: leave });
    }
    assert_eq!((let_in, server.clients()), (16, 0), "sixteen a second from one machine");
    enter(&mut server, from(CLIENT), 1_000, 1_000);
    assert_eq!(server.clients(), 1);
}

#[test]
fn a_full_server_says_so_and_tells_it_once() {
    let config = ServerConfig { max_clients: 1, ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    enter(&mut server, from(CLIENT), 1, 1);
    for sender in 2..50 {
        let challenged = ask(&mut server, 1.0, from(STRANGER), &register(sender, 0, sender));
        let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
        let answers = ask(&mut server, 1.0, from(STRANGER), &register(sender, challenge.cookie, sender));
        let [Message { body: Body::Reject(reject), .. }] = answers[..] else { panic!("{answers:?}") };
        assert_eq!((reject.reason, reject.nonce), (RejectReason::Full, sender));
    }
    let told = events(&mut server);
    let refusals = told.iter().filter(|event| matches!(event, ServerEvent::Refused { .. })).count();
    assert_eq!((server.clients(), refusals), (1, 1));
}

#[test]
fn a_forged_refusal_costs_no_more_than_a_lost_datagram() {
    let mut pair = Pair::new(ServerConfig::default(), Span::ZERO);
    pair.run_through(0.1, |_| false);
    let Some(Message { body: Body::Register(asked), .. }) = pair.seen.last() else {
        panic!("{:?}", pair.seen)
    };
    for reason in [RejectReason::Full, RejectReason::Version] {
        let reject = Body::Reject(Reject { nonce: asked.nonce, reason, version: VERSION });
        let datagram = Message { header: Header::default(), body: reject }.encode();
        pair.client.handle_datagram(pair.client_now(), from(SERVER), &datagram);
    }
    assert_eq!(events(&mut pair.client).iter().filter(|event| is_refusal(event)).count(), 2);
    pair.run(1.0);
    assert_eq!(pair.server.clients(), 1);
}

fn is_refusal(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Refused { .. })
}

#[test]
fn who_is_refused_asks_ever_more_seldom() {
    let full = ServerConfig { max_clients: 0, ..ServerConfig::default() };
    let mut pair = Pair::new(full, Span::ZERO);
    let asked = |pair: &Pair| pair.seen.iter().filter(|sent| matches!(sent.body, Body::Register(_))).count();
    pair.run(120.0);
    let before = asked(&pair);
    assert!(before > 10, "{before}");
    pair.run(300.0);
    // Each attempt is of two: without a cookie that is still good, and with one.
    let since = asked(&pair) - before;
    assert!((7..50).contains(&since), "{since}");
}

/// A datagram in which a relay states that the nodes below it need a minute.
fn with_lead(Message { header, body }: Message) -> Message {
    let relay_lead = RelayLead::covering(Span::from_secs(60)).expect("a minute can be stated");
    Message { header: Header { flags: Flags { relay_lead, ..header.flags }, ..header }, body }
}

/// How much longer a server announces an adjustment for the sake of relays, so many seconds after the
/// beginning.
fn extra_announcement(server: &Server, seconds: f64) -> Span {
    server.relay_lead(at(seconds, Span::ZERO)) - Span::from_secs(22)
}

#[test]
fn the_lead_of_a_relay_counts_from_the_register_that_admits_it_until_it_is_silent() {
    let config = ServerConfig { max_relay_lead: Span::from_secs(3_600), ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    let challenged = ask(&mut server, 100.0, from(CLIENT), &with_lead(register(1, 0, 9)));
    let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
    assert_eq!(extra_announcement(&server, 100.0), Span::ZERO, "its address is not proved");
    ask(&mut server, 100.0, from(CLIENT), &with_lead(register(1, challenge.cookie, 9)));
    assert_eq!(server.clients(), 1);
    assert_eq!(extra_announcement(&server, 134.9), Span::from_secs(64));
    assert_eq!(extra_announcement(&server, 135.0), Span::ZERO);
}

#[test]
fn only_datagrams_that_are_accepted_state_the_lead_of_a_relay() {
    let config = ServerConfig { max_relay_lead: Span::from_secs(3_600), ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    let session = enter(&mut server, from(CLIENT), 1, 9);
    let header = Header { sender: NodeId(9), session, sequence: 1, ..Header::default() };
    let bodies = [Body::Report(Report::default()), Body::Heartbeat(Heartbeat::default())];
    let [unsolicited, heartbeat] = bodies.map(|body| with_lead(Message { header, body }));
    ask(&mut server, 2.0, from(CLIENT), &unsolicited);
    assert_eq!(server.counters().of(Fate::Unsolicited), 1);
    assert_eq!(extra_announcement(&server, 2.0), Span::ZERO);
    ask(&mut server, 2.0, from(CLIENT), &heartbeat);
    assert_eq!(extra_announcement(&server, 2.0), Span::from_secs(64));
}

#[test]
fn an_unknown_session_is_told_at_once() {
    let mut server = default_server();
    let header = Header { session: SessionId(77), ..Header::default() };
    let heartbeat = Message { header, body: Body::Heartbeat(Heartbeat { nonce: 5, ..Heartbeat::default() }) };
    let answers = ask(&mut server, 1.0, from(STRANGER), &heartbeat);
    let [Message { header, body: Body::Reject(reject) }] = answers[..] else { panic!("{answers:?}") };
    assert_eq!((header.session, reject.nonce), (SessionId(77), 5));
    assert_eq!(reject.reason, RejectReason::UnknownSession);
}

#[test]
fn another_version_is_rejected_each_time_and_told_once() {
    let mut server = default_server();
    let mut datagram = register(42, 0, 1).encode();
    datagram[2] = 2;
    for _ in 0..100 {
        server.handle_datagram(at(1.0, Span::ZERO), from(STRANGER), &datagram);
        let answers = drain(&mut server, at(1.0, Span::ZERO));
        let Body::Reject(reject) = decoded(&answers[0].datagram).body else { panic!("{answers:?}") };
        assert_eq!((answers.len(), reject.reason, reject.nonce), (1, RejectReason::Version, 42));
    }
    let told = events(&mut server);
    assert!(
        matches!(told[..], [ServerEvent::Refused { reason: RejectReason::Version, version: 2, .. }]),
        "{told:?}"
    );
    datagram[3] = Kind::Reject as u8;
    server.handle_datagram(at(1.0, Span::ZERO), from(STRANGER), &datagram);
    assert!(drain(&mut server, at(1.0, Span::ZERO)).is_empty(), "a Reject is never answered");
}

#[test]
fn a_client_of_another_version_says_so_once_and_goes_on_trying_slowly() {
    let mut client = Client::new(ClientConfig::default(), [2; 32], at(0.0, Span::ZERO));
    let mut told = Vec::new();
    let mut tries = 0;
    for second in 0..300 {
        let now = at(f64::from(second), Span::ZERO);
        while client.poll_action().is_some() {
            client.handle_resolved(now, Rank::FIRST, Some(address(SERVER)));
        }
        if client.poll_timeout().is_some_and(|due| due <= now.mono) {
            client.handle_timeout(now);
        }
        for transmit in drain(&mut client, now) {
            tries += 1;
            let Body::Register(register) = decoded(&transmit.datagram).body else { panic!("{transmit:?}") };
            let reject = meantime_core::wire::Reject {
                nonce: register.nonce,
                reason: RejectReason::Version,
                version: 2,
            };
            let mut datagram = Message { header: Header::default(), body: Body::Reject(reject) }.encode();
            datagram[2] = 2;
            client.handle_datagram(now, from(SERVER), &datagram);
        }
        told.extend(events(&mut client));
    }
    let refusals =
        told.iter().filter(|event| matches!(event, ClientEvent::Refused { version: 2, .. })).count();
    assert_eq!(refusals, 1);
    assert!((5..=25).contains(&tries), "{tries} tries in five minutes");
}

#[test]
fn a_correction_that_comes_again_or_late_does_nothing() {
    let mut pair = Pair::agreed();
    let corrections: Vec<Message> =
        pair.seen.iter().filter(|message| message.body.kind() == Kind::Correction).copied().collect();
    let before = pair.client.read(pair.client_now().raw);
    for correction in &corrections {
        pair.client.handle_datagram(pair.client_now(), from(SERVER), &correction.encode());
    }
    assert_eq!(pair.client.read(pair.client_now().raw), before);
    assert_eq!(pair.client.counters().of(Fate::Superseded), corrections.len() as u64);
}

#[test]
fn a_correction_that_was_lost_is_sent_again() {
    let mut pair = Pair::agreed();
    let mut lost = None;
    pair.run_through(5.0, |message| match message.body {
        Body::Correction(correction) if lost.is_none() => {
            lost = Some(correction.about);
            false
        }
        _ => true,
    });
    pair.run(5.0);
    let abouts: Vec<u32> = pair
        .seen
        .iter()
        .filter_map(|message| match message.body {
            Body::Correction(correction) => Some(correction.about),
            _ => None,
        })
        .collect();
    assert_eq!(abouts.iter().filter(|about| Some(**about) == lost).count(), 2, "{abouts:?}");
}

#[test]
fn only_the_servers_address_is_believed() {
    let mut pair = Pair::agreed();
    let mut correction = pair.last(Kind::Correction);
    if let Body::Correction(body) = &mut correction.body {
        body.about += 1;
    }
    let before = pair.client.read(pair.client_now().raw);
    pair.client.handle_datagram(pair.client_now(), from(STRANGER), &correction.encode());
    assert_eq!(pair.client.read(pair.client_now().raw), before);
    assert_eq!(pair.client.counters().of(Fate::UnknownAddress), 1);
}

#[test]
fn a_probe_that_comes_twice_is_answered_once() {
    let mut pair = Pair::agreed();
    let probe = pair.last(Kind::Probe);
    pair.client.handle_datagram(pair.client_now(), from(SERVER), &probe.encode());
    let now = pair.client_now();
    assert!(drain(&mut pair.client, now).is_empty());
    assert_eq!(pair.client.counters().of(Fate::Unsolicited), 1);
}

#[test]
fn a_report_that_comes_twice_counts_once() {
    let mut pair = Pair::agreed();
    let report = pair.last(Kind::Report);
    pair.server.handle_datagram(pair.server_now(), from(CLIENT), &report.encode());
    assert_eq!(pair.server.counters().of(Fate::Unsolicited), 1);
}

#[test]
fn a_silent_server_is_given_up_after_three_rounds_and_found_again() {
    let mut pair = Pair::agreed();
    events(&mut pair.client);
    let before = pair.difference();
    pair.run_through(60.0, |_| false);
    let told = events(&mut pair.client);
    assert!(told.contains(&ClientEvent::Holdover { reason: HoldoverReason::ServerSilent }), "{told:?}");
    assert!(events(&mut pair.server).iter().any(|event| matches!(event, ServerEvent::Lost { .. })));
    assert!((pair.difference() - before).abs() < Span::from_micros(1), "holdover carries the time on");
    pair.run(10.0);
    assert_eq!(pair.server.clients(), 1, "a former member is back within two heartbeats");
    pair.run(10.0);
    assert!(events(&mut pair.client).contains(&ClientEvent::Recovered));
}

#[test]
fn a_restarted_server_is_joined_within_two_heartbeats_and_no_time_jumps() {
    let mut pair = Pair::agreed();
    let cluster_minus_raw = pair.client.read(pair.client_now().raw).time;
    let begun = pair.client_now().raw;
    events(&mut pair.client);
    // The new server believes in the old clock, two seconds behind its client's.
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    pair.run(10.1);
    assert_eq!(pair.server.clients(), 1);
    pair.run(200.0);
    let told = events(&mut pair.client);
    assert!(told.contains(&ClientEvent::Holdover { reason: HoldoverReason::ServerForgot }), "{told:?}");
    assert!(told.contains(&ClientEvent::Recovered), "{told:?}");
    let steps = told
        .iter()
        .filter(|event| matches!(event, ClientEvent::Corrected { adjustment: Adjustment::Step, .. }))
        .count();
    assert_eq!(steps, 0, "{told:?}");
    let ran = pair.client.read(pair.client_now().raw).time - cluster_minus_raw;
    assert!((ran - (pair.client_now().raw - begun)).abs() < Span::from_micros(5));
    assert!(pair.difference().abs() < Span::from_micros(1));
}

#[test]
fn a_server_that_restarts_before_its_members_know_their_clusters_name_takes_their_time() {
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
    while pair.client.read(pair.client_now().raw).state != ClientState::Synchronized {
        pair.run(0.1);
        assert!(pair.now_s() < 22.0);
    }
    let Body::Probe(probe) = pair.last(Kind::Probe).body else { unreachable!("it is a Probe") };
    assert_eq!(probe.cluster, ClusterId(0), "its first Correction came in the round that agreed");
    let (shown, begun) = (pair.client.read(pair.client_now().raw).time, pair.client_now().raw);
    events(&mut pair.client);
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    pair.run(200.0);
    let ran = pair.client.read(pair.client_now().raw).time - shown;
    let more = ran - (pair.client_now().raw - begun);
    assert!(more.abs() < Span::from_millis(1), "{more}: {:?}", events(&mut pair.client));
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
}

/// The bounds of client and server at this moment.
fn bounds(pair: &Pair) -> (Option<Span>, Option<Span>) {
    (pair.client.read(pair.client_now().raw).bound, pair.server.read(pair.server_now().raw).bound)
}

#[test]
fn a_client_states_a_bound_that_holds_and_grows_in_holdover() {
    let mut pair = Pair::agreed();
    pair.run(200.0);
    let (Some(bound), Some(server)) = bounds(&pair) else { panic!("no bound: {:?}", bounds(&pair)) };
    assert_eq!(server, Span::ZERO, "the server's clock carries the cluster's time");
    assert!(bound >= pair.difference().abs() && bound < Span::from_micros(300), "{bound}");
    let mut reports = events(&mut pair.server).into_iter().filter_map(|event| match event {
        ServerEvent::RoundEnded(report) => report.largest_bound,
        _ => None,
    });
    let largest = reports.next_back().expect("the server states how far any two may be apart");
    assert!((largest - bound).abs() < Span::from_micros(20), "{largest} and {bound}");
    pair.run_through(100.0, |_| false);
    let later = bounds(&pair).0.expect("holdover has a bound");
    assert!(later > bound + Span::from_micros(90), "a ppm for 100 s: {bound}, then {later}");
}

/// By how much a client says that its bound was broken, each time.
fn broken(pair: &mut Pair) -> Vec<Span> {
    let gap = |event| if let ClientEvent::BoundBroken { gap } = event { Some(gap) } else { None };
    events(&mut pair.client).into_iter().filter_map(gap).collect()
}

/// The time of another cluster, which an oscillator shows exactly.
fn shown_by_the_oscillator(at: Raw) -> ExternalTime {
    ExternalTime {
        cluster: ClusterId(99),
        state: ClientState::Synchronized,
        at,
        phase: Span::ZERO,
        frequency: Frequency::ZERO,
        bound: Some(Span::ZERO),
        bound_until: None,
        growth: Frequency::ZERO,
        acceleration: Frequency::ZERO,
        error: Span::ZERO,
        frequency_error: Frequency::ZERO,
        residue: Span::ZERO,
        manual_adjustment: ManualAdjustment::NONE,
    }
}

/// A pair that has agreed, whose server is replaced by that of another cluster, which is ahead by so much.
fn moved_to_another_cluster(ahead: Span) -> Pair {
    let mut pair = Pair::agreed();
    pair.run(200.0);
    let time = pair.server.read(pair.server_now().raw).time;
    pair.server_ahead = pair.server_ahead + (time - pair.server_oscillator()) + ahead;
    let config = ServerConfig { relay: true, ..ServerConfig::default() };
    let now = pair.server_now();
    pair.server = Server::new(config, [9; 32], now);
    pair.server.set_external_time(now, Some(shown_by_the_oscillator(now.raw)));
    assert_eq!(broken(&mut pair), []);
    pair.run(200.0);
    assert!(pair.difference().abs() < Span::from_millis(1), "{}", pair.difference());
    pair
}

#[test]
fn a_client_that_another_server_moves_beyond_its_bound_says_so_once() {
    for ahead in [Span::from_secs(5), Span::from_millis(-50)] {
        let mut pair = moved_to_another_cluster(ahead);
        let gaps = broken(&mut pair);
        let [gap] = gaps[..] else { panic!("{ahead}: {gaps:?}") };
        assert!((gap - ahead.abs()).abs() < Span::from_millis(1), "{gap}");
    }
}

#[test]
fn a_client_that_moves_to_a_server_with_the_same_time_has_no_broken_bound() {
    let mut pair = moved_to_another_cluster(Span::from_micros(20));
    assert_eq!(broken(&mut pair), []);
}

#[test]
fn a_line_that_a_client_does_not_show_yet_counts_for_its_bound() {
    let mut pair = moved_to_another_cluster(Span::from_micros(20));
    let (now, jump) = (pair.server_now(), Span::from_millis(300));
    let jumped = ExternalTime { phase: jump, ..shown_by_the_oscillator(now.raw) };
    pair.server.set_external_time(now, Some(jumped));
    for _ in 0..3 {
        pair.run_altering(6.0, |message| !matches!(message.body, Body::Correction(_)));
        let (client, server) =
            (pair.client.read(pair.client_now().raw), pair.server.read(pair.server_now().raw));
        let (bound, apart) = (client.bound.expect("it has a bound"), (client.time - server.time).abs());
        assert!(apart > Span::from_millis(299), "it waits for the correction: {apart}");
        assert!(bound >= apart && bound < apart + Span::from_millis(1), "{bound} for {apart}");
        let given = pair.client.external_time(pair.client_now()).and_then(|time| time.bound);
        assert!(given.is_some_and(|given| given >= apart), "{given:?} for {apart}");
    }
    assert_eq!(broken(&mut pair).len(), 1, "the relay's time has jumped once");
    pair.run(12.0);
    let apart =
        (pair.client.read(pair.client_now().raw).time - pair.server.read(pair.server_now().raw).time).abs();
    assert!(apart < Span::from_micros(100), "{apart}");
    assert!(pair.client.read(pair.client_now().raw).bound < Some(Span::from_millis(2)));
}

/// A relay tells by its lines that no manual time adjustment begins that its clients do not know.
#[test]
fn a_client_has_no_bound_four_rounds_after_what_it_knows_where_a_new_relay_tells_no_line() {
    for (was_relay, interval) in [(false, 5), (false, 60), (true, 5), (true, 60)] {
        let mut pair = match was_relay {
            true => moved_to_another_cluster(Span::from_micros(20)),
            false => Pair::agreed(),
        };
        pair.run(200.0);
        let (cluster, now) = (pair.client.cluster(), pair.server_now());
        let phase = pair.server.read(now.raw).time - pair.server_oscillator();
        let interval = Span::from_secs(interval);
        let config = ServerConfig { relay: true, interval, ..ServerConfig::default() };
        pair.server = Server::new(config, [10; 32], now);
        pair.run(14.0);
        assert!(pair.client.view(pair.client_now()).registered);
        assert!(bounds(&pair).0.is_some(), "it was told 19 s ago at most");
        pair.run(7.0);
        assert_eq!(bounds(&pair).0, None, "relay before: {was_relay}, then rounds of {interval}");
        let now = pair.server_now();
        let time = ExternalTime { cluster, phase, ..shown_by_the_oscillator(now.raw) };
        pair.server.set_external_time(now, Some(time));
        pair.run(13.0);
        let bound = bounds(&pair).0.expect("it was told a line");
        assert!(bound >= pair.difference().abs() && bound < Span::from_millis(1), "{bound}");
    }
}

/// Gives the relay of a pair the time of its oscillator with this adjustment, and waits for half a minute.
/// The client has that adjustment then, and has refused nothing.
fn follow_adjustment(pair: &mut Pair, manual_adjustment: ManualAdjustment) {
    let now = pair.server_now();
    let time = ExternalTime { manual_adjustment, ..shown_by_the_oscillator(now.raw) };
    pair.server.set_external_time(now, Some(time));
    pair.run(30.0);
    assert_eq!(refusals(&events(&mut pair.client)), []);
    let reading = pair.client.read(pair.client_now().raw);
    let added = reading.manual_adjustment.added_at(pair.server_oscillator());
    assert_eq!(added, manual_adjustment.added_at(pair.server_oscillator()));
    assert_eq!(reading.state, ClientState::Synchronized);
    assert!(pair.difference().abs() < Span::from_millis(1), "{}", pair.difference());
    assert!(reading.bound.is_some_and(|bound| bound >= pair.difference().abs()));
}

/// A step by two seconds of the time that a relay is given, in ten seconds.
fn step_to_come(pair: &Pair) -> ManualAdjustment {
    ManualAdjustment {
        cluster: ClusterId(99),
        number: 1,
        amount: Span::from_secs(2),
        start: pair.server_oscillator() + Span::from_secs(10),
        step: true,
        ..ManualAdjustment::NONE
    }
}

#[test]
fn a_client_drops_an_adjustment_of_its_relay_that_the_server_above_has_overruled() {
    let mut pair = moved_to_another_cluster(Span::from_micros(20));
    events(&mut pair.client);
    let made = step_to_come(&pair);
    for manual_adjustment in [made, ManualAdjustment::NONE, made] {
        follow_adjustment(&mut pair, manual_adjustment);
    }
}

#[test]
fn a_client_drops_an_adjustment_that_its_new_relay_does_not_have() {
    let mut pair = moved_to_another_cluster(Span::from_micros(20));
    events(&mut pair.client);
    let made = step_to_come(&pair);
    follow_adjustment(&mut pair, made);
    let config = ServerConfig { relay: true, ..ServerConfig::default() };
    pair.server = Server::new(config, [10; 32], pair.server_now());
    follow_adjustment(&mut pair, ManualAdjustment::NONE);
}

/// A relay whose server is gone goes on serving as before.
#[test]
fn a_relay_in_holdover_gives_its_clients_the_timestamps_of_all_exchanges() {
    let mut pair = moved_to_another_cluster(Span::from_micros(20));
    let now = pair.server_now();
    let time = ExternalTime { state: ClientState::Holdover, ..shown_by_the_oscillator(now.raw) };
    pair.server.set_external_time(now, Some(time));
    pair.seen.clear();
    pair.run(10.0);
    let probes = pair.seen.iter().filter_map(|message| match message.body {
        Body::Probe(probe) => Some(probe),
        _ => None,
    });
    assert!(probes.clone().count() >= 8);
    assert!(probes.into_iter().all(|probe| probe.before.is_some()));
}

#[test]
fn a_server_that_proves_nothing_cannot_step_a_client_silently() {
    for learning in [true, false] {
        let mut pair = Pair::agreed();
        pair.run(200.0);
        assert_eq!(broken(&mut pair), []);
        let begun = pair.client.read(pair.client_now().raw).time - pair.server_oscillator();
        pair.run_altering(60.0, |message| {
            match &mut message.body {
                Body::Probe(probe) => probe.before = None,
                Body::Correction(message) => {
                    (message.learning, message.last) = (learning, None);
                    message.correction = Correction::adding(Span::from_secs(10));
                }
                _ => {}
            }
            true
        });
        let moved = pair.client.read(pair.client_now().raw).time - pair.server_oscillator() - begun;
        let gaps = broken(&mut pair);
        match learning {
            // It may be another server's time, so nothing holds the clock to the old one.
            true => {
                assert!(
                    moved > Span::from_secs(9) && gaps.iter().any(|gap| *gap > Span::from_secs(9)),
                    "{moved} {gaps:?}"
                );
            }
            false => assert!(moved.abs() < Span::from_millis(1) && gaps.is_empty(), "{moved} {gaps:?}"),
        }
    }
}

#[test]
fn a_new_cluster_states_no_bound_before_it_has_a_time() {
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
    pair.run(1.0);
    assert_eq!(bounds(&pair), (None, None));
}

#[test]
fn a_client_whose_machine_slept_has_no_bound_and_no_vote_and_joins_again() {
    let mut pair = Pair::agreed();
    events(&mut pair.client);
    let slept = Span::from_secs(30);
    pair.ahead = pair.ahead - slept;
    pair.client.handle_suspended(pair.client_now(), slept);
    let reading = pair.client.read(pair.client_now().raw);
    assert_eq!((reading.state, reading.bound), (ClientState::Unsynchronized, None));
    assert_eq!(events(&mut pair.client)[0], ClientEvent::Suspended { slept });
    pair.run(1.0);
    let told = events(&mut pair.client);
    assert!(told.iter().any(|event| matches!(event, ClientEvent::Corrected { first: true, .. })), "{told:?}");
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
    assert!(bounds(&pair).0.is_some());
    assert_eq!(pair.server.clients(), 1);
}

#[test]
fn a_server_whose_machine_slept_takes_its_members_time() {
    let mut pair = Pair::agreed();
    pair.run(100.0);
    let cluster_minus_raw = pair.client.read(pair.client_now().raw).time;
    let begun = pair.client_now().raw;
    events(&mut pair.server);
    pair.server_ahead = pair.server_ahead - Span::from_secs(3_600);
    // The machine knows only roughly for how long.
    pair.server.handle_suspended(pair.server_now(), Span::from_secs(3_599));
    assert_eq!(bounds(&pair).1, None);
    pair.run(60.0);
    let told = events(&mut pair.server);
    assert!(told.iter().any(|event| matches!(event, ServerEvent::Suspended { .. })), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, ServerEvent::TimeAdopted { .. })), "{told:?}");
    pair.run(200.0);
    assert_eq!(bounds(&pair).1.map(|bound| bound < Span::from_micros(1)), Some(true));
    let ran = pair.client.read(pair.client_now().raw).time - cluster_minus_raw;
    assert!((ran - (pair.client_now().raw - begun)).abs() < Span::from_micros(5), "the client was moved");
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
}

fn refusals(told: &[ClientEvent]) -> Vec<Refusal> {
    let reason = |event: &ClientEvent| match event {
        ClientEvent::RefusedCorrection { reason, .. } => Some(*reason),
        _ => None,
    };
    told.iter().filter_map(reason).collect()
}

#[test]
fn a_step_beyond_the_limit_is_refused_and_told_now_and_then() {
    let client = ClientConfig { max_step: Span::from_secs(1), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), client, Span::from_secs(2));
    pair.run(60.0);
    let before = pair.client.read(pair.client_now().raw);
    let begun = pair.client_now().raw;
    events(&mut pair.client);
    // The server's clock jumps; of two members neither can show which is right.
    pair.server_ahead = Span::from_secs(10);
    pair.run(400.0);
    let told = events(&mut pair.client);
    let refused = refusals(&told);
    assert!(!refused.is_empty() && refused.len() <= 8, "{refused:?}");
    assert!(refused.iter().all(|reason| *reason == Refusal::StepTooLarge));
    let after = pair.client.read(pair.client_now().raw);
    assert_eq!(after.state, ClientState::Holdover);
    let ran = after.time - before.time;
    assert!((ran - (pair.client_now().raw - begun)).abs() < Span::from_micros(50), "the clock was moved");
    assert!(
        after.bound > Some(Span::from_secs(9)),
        "it is that far from the server's time: {:?}",
        after.bound
    );
    pair.server_ahead = Span::ZERO;
    pair.run(400.0);
    assert!(events(&mut pair.client).contains(&ClientEvent::Recovered));
}

/// A pair of which the client has had nothing but one Correction, and that says so much too much.
fn misled(client: ClientConfig, by: Span) -> Pair {
    let mut pair =
        Pair::with_client(ServerConfig { burst: 1, ..ServerConfig::default() }, client, Span::from_secs(2));
    let mut told = false;
    while !told {
        pair.run_through(0.01, |message| {
            told |= message.body.kind() == Kind::Correction;
            !told
        });
    }
    let mut garbled = pair.last(Kind::Correction);
    let Body::Correction(body) = &mut garbled.body else { panic!("{garbled:?}") };
    let last = body.last.as_mut().expect("stamps");
    (last.t1, last.t4) = (last.t1 + by, last.t4 + by);
    pair.client.handle_datagram(pair.client_now(), from(SERVER), &garbled.encode());
    pair
}

#[test]
fn a_first_correction_that_was_garbled_locks_no_client_out() {
    const WRONG: Span = Span::from_secs(191 * 86_400);
    let mut pair = misled(ClientConfig::default(), WRONG);
    assert!((pair.difference() - WRONG).abs() < Span::from_micros(1), "{}", pair.difference());
    pair.run(600.0);
    let told = events(&mut pair.client);
    assert_eq!(refusals(&told), []);
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
}

#[test]
fn until_it_is_confirmed_a_first_step_is_held_to_where_the_clock_came_from() {
    // What is right is a second away from there, on the other side.
    let client = ClientConfig { panic: Some(Span::from_millis(1_500)), ..ClientConfig::default() };
    let mut pair = misled(client.clone(), Span::from_secs(2));
    pair.run(600.0);
    assert_eq!(refusals(&events(&mut pair.client)), []);
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
}

#[test]
fn a_first_step_beyond_the_panic_threshold_is_refused() {
    let client = ClientConfig { panic: Some(Span::from_millis(900)), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), client, Span::from_secs(2));
    pair.run(60.0);
    let told = events(&mut pair.client);
    assert_eq!(refusals(&told), [Refusal::FirstStepTooLarge], "told once a minute");
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
}

#[test]
fn a_rate_command_beyond_the_limit_is_refused() {
    let client = ClientConfig { max_frequency: Frequency::from_ppm(1.0), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), client, Span::from_secs(2));
    pair.run(100.0);
    let mut probe = pair.last(Kind::Probe);
    probe.header.sequence += 1_000;
    let Body::Probe(body) = &mut probe.body else { panic!("{probe:?}") };
    (body.nonce, body.rate) = (body.nonce + 1, Frequency::from_ppm(1.5));
    events(&mut pair.client);
    let before = pair.client.read(pair.client_now().raw).frequency;
    pair.client.handle_datagram(pair.client_now(), from(SERVER), &probe.encode());
    let after = pair.client.read(pair.client_now().raw);
    assert_eq!((after.frequency, after.state), (before, ClientState::Holdover));
    assert_eq!(refusals(&events(&mut pair.client)), [Refusal::ImplausibleFrequency]);
}

#[test]
fn a_known_asymmetry_is_taken_out_of_both_sides_view() {
    let run = |asymmetry| {
        let client = ClientConfig { asymmetry, ..ClientConfig::default() };
        let mut pair = Pair::with_client(ServerConfig::default(), client, Span::from_secs(2));
        pair.run(200.0);
        let mut offsets = events(&mut pair.server).into_iter().filter_map(|event| match event {
            ServerEvent::Updated { offset, .. } => Some(offset.span()),
            _ => None,
        });
        let seen = offsets.next_back().expect("the client is measured");
        (pair.difference(), seen, bounds(&pair).0.expect("a bound"))
    };
    // The path is symmetric; an operator who configures 60 µs more for the way to the client moves the clock
    // by half.
    let (plain, plain_seen, plain_bound) = run(Span::ZERO);
    let (moved, moved_seen, moved_bound) = run(Span::from_micros(60));
    let by = moved - plain;
    assert!((by.abs() - Span::from_micros(30)).abs() < Span::from_micros(1), "{by}");
    assert!(by > Span::ZERO, "what came later than it seemed was read too early: {by}");
    assert!(
        plain_seen.abs() < Span::from_micros(1) && moved_seen.abs() < Span::from_micros(1),
        "{moved_seen}"
    );
    let more = moved_bound - plain_bound;
    assert!((more - Span::from_micros(30)).abs() < Span::from_micros(2), "a proof is no knowledge: {more}");
}

#[test]
fn goodbyes_are_heard_on_both_sides() {
    let mut pair = Pair::agreed();
    pair.client.handle_shutdown(pair.client_now());
    pair.run(0.01);
    assert!(events(&mut pair.server).iter().any(|event| matches!(event, ServerEvent::Left { .. })));
    assert_eq!(pair.server.clients(), 0);

    let mut pair = Pair::agreed();
    events(&mut pair.client);
    pair.server.handle_shutdown(pair.server_now());
    pair.run(0.01);
    let told = events(&mut pair.client);
    assert!(told.contains(&ClientEvent::Holdover { reason: HoldoverReason::ServerLeft }), "{told:?}");
}

#[test]
fn a_client_that_has_registered_again_lacks_corrections_and_no_server() {
    let mut pair = Pair::agreed();
    let holdover = |pair: &Pair| pair.client.view(pair.client_now()).holdover;
    pair.server.handle_shutdown(pair.server_now());
    pair.run(0.01);
    assert_eq!(holdover(&pair), Some(HoldoverReason::ServerLeft));
    pair.server_ahead = Span::from_secs(3_600);
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    pair.run(60.0);
    assert!(pair.client.view(pair.client_now()).registered);
    assert!(pair.server.read(pair.server_now().raw).state != ClientState::Synchronized);
    assert_eq!(holdover(&pair), Some(HoldoverReason::NoCorrections));
}

#[test]
fn a_client_that_was_stopped_reports_nothing_about_the_past() {
    let mut pair = Pair::agreed();
    let probe = pair.last(Kind::Probe);
    let mut late = probe;
    if let Body::Probe(body) = &mut late.body {
        body.nonce += 1;
    }
    pair.client.handle_datagram(pair.client_now(), from(SERVER), &late.encode());
    pair.skip(10.0);
    let now = pair.client_now();
    assert!(drain(&mut pair.client, now).is_empty());
}

#[test]
fn a_healthy_cluster_sends_nine_datagrams_a_round_and_no_heartbeats() {
    let mut pair = Pair::agreed();
    // A newcomer is measured more often for 36 rounds.
    pair.run(185.0);
    pair.seen.clear();
    pair.run(100.0);
    assert_eq!(pair.count(Kind::Heartbeat), 0);
    assert_eq!(
        (pair.count(Kind::Probe), pair.count(Kind::Report), pair.count(Kind::Correction)),
        (80, 80, 20)
    );
}

/// One million datagrams, random ones and mutations of genuine ones, at both sides, from strangers and from
/// the right addresses: no panic, nothing piles up, the cluster goes on.
#[test]
fn a_million_bad_datagrams_change_nothing() {
    let mut pair = Pair::agreed();
    pair.run(10.0);
    let genuine: Vec<Datagram> = pair.seen.iter().map(Message::encode).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for k in 0..500_000 {
        let datagram = bad_datagram(&mut rng, &genuine);
        let (peer, server) = if k % 2 == 0 { (CLIENT, SERVER) } else { (STRANGER, STRANGER) };
        let (server_now, client_now) = (pair.server_now(), pair.client_now());
        pair.server.handle_datagram(server_now, from(peer), &datagram);
        pair.client.handle_datagram(client_now, from(server), &datagram);
        assert!(drain(&mut pair.server, server_now).len() <= 2);
        assert!(drain(&mut pair.client, client_now).len() <= 2);
        events(&mut pair.server);
        events(&mut pair.client);
        if k % 100 == 0 {
            pair.run(0.01);
        }
    }
    assert!(pair.server.clients() <= 1);
    pair.run(120.0);
    assert_eq!(pair.server.clients(), 1);
    assert!(pair.difference().abs() < Span::from_millis(1), "{}", pair.difference());
    assert!(pair.server.counters().received() > 500_000);
}

/// Mutations keep off the session and the nonces now and then, so that some are genuine but for a field.
fn bad_datagram(rng: &mut ChaCha8Rng, genuine: &[Datagram]) -> Vec<u8> {
    let mut datagram = genuine[rng.random_range(0..genuine.len())].to_vec();
    match rng.random_range(0..4) {
        0 => rng.fill_bytes(&mut datagram),
        1 => datagram.truncate(rng.random_range(0..DATAGRAM_LEN)),
        _ => {
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..DATAGRAM_LEN);
                datagram[at] = rng.random();
            }
        }
    }
    datagram
}

proptest! {
    #[test]
    fn an_unproven_address_gets_no_more_bytes_than_it_sent(
        bytes in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut server = default_server();
        let now = at(1.0, Span::ZERO);
        server.handle_datagram(now, from(STRANGER), &bytes);
        let sent: usize = drain(&mut server, now).iter().map(|transmit| transmit.datagram.len()).sum();
        prop_assert!(sent <= bytes.len());
    }
}

#[test]
fn a_correction_says_how_many_reports_of_its_burst_were_heard() {
    let mut pair = Pair::agreed();
    // Until it is no newcomer any more: then there is one burst a round.
    pair.run(220.0);
    pair.seen.clear();
    let mut round = 0;
    pair.run_through(30.0, |message| {
        let is_first = message.body.kind() == Kind::Report && message.header.round != round;
        if is_first {
            round = message.header.round;
        }
        !is_first
    });
    let heard = |message: &Message| match &message.body {
        Body::Correction(correction) => Some(correction.heard),
        _ => None,
    };
    let told: Vec<u8> = pair.seen.iter().filter_map(heard).collect();
    assert!(told.len() >= 5 && told.iter().all(|heard| *heard == 3), "{told:?}");
    // One that is lost is sent again, and says nothing then.
    pair.seen.clear();
    let mut lost = 0;
    pair.run_through(12.0, |message| {
        let falls = message.body.kind() == Kind::Correction && lost == 0;
        lost += u32::from(falls);
        !falls
    });
    let told: Vec<u8> = pair.seen.iter().filter_map(heard).collect();
    assert_eq!(told[..2], [4, 0], "{told:?}");
}

#[test]
fn an_address_that_is_found_late_does_not_end_the_session_that_has_begun() {
    let mut pair = Pair::agreed();
    events(&mut pair.client);
    let now = pair.client_now();
    let before = pair.client.view(now).server;
    pair.client.handle_resolved(now, Rank::FIRST, Some("192.0.2.99:5525".parse().unwrap()));
    pair.run(60.0);
    assert_eq!(pair.client.view(pair.client_now()).server, before);
    let seen = events(&mut pair.client);
    assert!(seen.iter().any(|event| matches!(event, ClientEvent::Corrected { .. })), "{seen:?}");
    assert!(!seen.iter().any(|event| matches!(event, ClientEvent::Holdover { .. })), "{seen:?}");
}

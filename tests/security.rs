//! Which datagrams are accepted: keys, replays, forgeries and limits, with a server, a client and an attacker
//! between them.
//!
//! A client's or a server's clock that is wrong changes nothing of this: nothing of it looks at a clock that
//! can be wrong.

use meantime_core::roles::rank::Rank;
use meantime_core::time::{Frequency, Span};
use meantime_core::wire::{
    Body, Challenge, ClientState, CorrectionMessage, DATAGRAM_LEN, Datagram, Direction, Header, Heartbeat,
    HeartbeatAck, KeyId, Kind, Leave, LeaveReason, Master, Message, Name, NodeId, NodeKey, Probe, Reject,
    RejectReason, Report, SessionId, VERSION, Verdict, Welcome,
};
use meantime_core::{
    Client, ClientConfig, ClientEvent, Fate, Keyring, Node, Server, ServerConfig, ServerEvent,
};
use meantime_sim::testkit::by_hand::*;
use meantime_sim::testkit::{Pair, drain, events};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The name that a pair's client has.
fn lab_7() -> Name {
    Name::new("lab-7")
}

fn master(secret: u8) -> Master {
    Master::new(&[secret; 32])
}

fn server_with(secrets: &[(u16, u8)]) -> ServerConfig {
    let keys = secrets.iter().map(|(id, secret)| (KeyId(*id), master(*secret)));
    ServerConfig { keys: Keyring::new(keys.collect()), ..ServerConfig::default() }
}

fn client_with(secrets: &[(u16, u8)]) -> ClientConfig {
    let keys = secrets.iter().map(|(id, secret)| (KeyId(*id), master(*secret).node(&lab_7())));
    ClientConfig { keys: vec![Keyring::new(keys.collect())], ..ClientConfig::default() }
}

/// A pair with these keys, two seconds apart.
fn keyed(server: &[(u16, u8)], client: &[(u16, u8)]) -> Pair {
    Pair::with_client(server_with(server), client_with(client), Span::from_secs(2))
}

/// A pair with a key that has agreed.
fn agreed() -> Pair {
    let mut pair = keyed(&[(1, 7)], &[(1, 7)]);
    pair.run(22.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
    pair
}

/// Whether a datagram was sent by a client. Only a Leave can come from either.
fn is_clients(message: &Message) -> bool {
    matches!(message.body.kind(), Kind::Register | Kind::Report | Kind::Heartbeat)
}

/// What the server answers to this datagram.
fn answers(pair: &mut Pair, path: &str, datagram: &Datagram) -> usize {
    let now = pair.server_now();
    pair.server.handle_datagram(now, from(path), datagram);
    drain(&mut pair.server, now).len()
}

fn give_client(pair: &mut Pair, datagram: &Datagram) -> usize {
    let now = pair.client_now();
    pair.client.handle_datagram(now, from(SERVER), datagram);
    drain(&mut pair.client, now).len()
}

fn signed(key: &NodeKey, id: u16, direction: Direction, mut message: Message) -> Datagram {
    message.header.key_id = KeyId(id);
    let mut datagram = message.encode();
    key.sign(direction, &mut datagram);
    datagram
}

fn server_fate(pair: &Pair, fate: Fate) -> u64 {
    pair.server.counters().of(fate)
}

fn client_fate(pair: &Pair, fate: Fate) -> u64 {
    pair.client.counters().of(fate)
}

fn unauthentic(told: &[ServerEvent]) -> Vec<(KeyId, bool)> {
    let of = |event: &ServerEvent| match event {
        ServerEvent::Unauthentic { key, known, .. } => Some((*key, *known)),
        _ => None,
    };
    told.iter().filter_map(of).collect()
}

#[test]
fn with_a_key_a_pair_agrees_and_every_datagram_is_tagged() {
    let mut pair = agreed();
    pair.run(100.0);
    assert!(pair.difference().abs() < Span::from_micros(1), "{}", pair.difference());
    let key = master(7).node(&lab_7());
    for (message, datagram) in pair.seen.iter().zip(&pair.wire) {
        let direction = if is_clients(message) { Direction::ToServer } else { Direction::ToClient };
        assert_eq!(message.header.key_id, KeyId(1));
        assert!(key.verify(direction, datagram), "{message:?}");
    }
    let bad: u64 = [Fate::Tag, Fate::Replayed]
        .map(|fate| server_fate(&pair, fate) + client_fate(&pair, fate))
        .iter()
        .sum();
    assert_eq!(bad, 0);
}

#[test]
fn a_client_with_another_key_or_none_gets_no_answer_has_no_influence_and_is_reported_once_a_minute() {
    for (server, client, told) in [
        (&[(1, 7)][..], &[(1, 8)][..], (KeyId(1), true)),
        (&[(1, 7)], &[(2, 7)], (KeyId(2), false)),
        (&[(1, 7)], &[], (KeyId::NONE, false)),
        (&[], &[(1, 7)], (KeyId(1), false)),
    ] {
        let mut pair = keyed(server, client);
        pair.run(170.0);
        assert_eq!(pair.server.clients(), 0);
        assert!(pair.seen.iter().all(is_clients), "the server has answered");
        assert_eq!(unauthentic(&events(&mut pair.server)), [told; 3]);
        assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
        assert!(server_fate(&pair, Fate::Tag) > 10);
    }
}

#[test]
fn one_way_of_being_wrong_does_not_hide_another() {
    let mut pair = keyed(&[(1, 7)], &[]);
    pair.run(10.0);
    pair.client.set_keys(pair.client_now(), client_with(&[(1, 8)]).keys);
    pair.run(10.0);
    assert_eq!(unauthentic(&events(&mut pair.server)), [(KeyId::NONE, false), (KeyId(1), true)]);
}

#[test]
fn a_server_with_another_key_is_not_believed() {
    let mut pair = agreed();
    let before = pair.client.read(pair.client_now().raw);
    let (mut corrections, genuine) = (pair.last(Kind::Correction), pair.last(Kind::Probe));
    if let Body::Correction(body) = &mut corrections.body {
        body.about += 1;
    }
    for message in [corrections, genuine] {
        for forged in [
            message.encode(),
            Message { header: Header { key_id: KeyId::NONE, ..message.header }, ..message }.encode(),
            signed(&master(8).node(&lab_7()), 1, Direction::ToClient, message),
            signed(&master(7).node(&Name::new("lab-8")), 1, Direction::ToClient, message),
            signed(&master(7).node(&lab_7()), 2, Direction::ToClient, message),
        ] {
            assert_eq!(give_client(&mut pair, &forged), 0);
        }
    }
    assert_eq!(client_fate(&pair, Fate::Tag), 10);
    assert_eq!(pair.client.read(pair.client_now().raw), before);
}

#[test]
fn one_changed_bit_anywhere_makes_a_datagram_worthless() {
    let mut pair = agreed();
    let newest: Vec<Datagram> = pair.wire.iter().rev().take(20).copied().collect();
    let (server, client) = (pair.server.clients(), pair.client.read(pair.client_now().raw));
    for datagram in newest {
        for bit in 0..DATAGRAM_LEN * 8 {
            let mut changed = datagram;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(answers(&mut pair, CLIENT, &changed) + give_client(&mut pair, &changed), 0);
        }
    }
    assert_eq!((pair.server.clients(), pair.client.read(pair.client_now().raw)), (server, client));
    assert_eq!(
        pair.server.counters().of(Fate::Accepted),
        pair.seen.iter().filter(|it| is_clients(it)).count() as u64
    );
}

#[test]
fn what_a_node_has_sent_is_worth_nothing_when_it_is_sent_back_to_it() {
    let mut pair = agreed();
    pair.client.handle_shutdown(pair.client_now());
    let now = pair.client_now();
    let leave = drain(&mut pair.client, now)[0].datagram;
    let before = client_fate(&pair, Fate::Tag);
    assert_eq!(give_client(&mut pair, &leave), 0);
    assert_eq!(client_fate(&pair, Fate::Tag), before + 1);
    let servers: Vec<Datagram> =
        pair.seen.iter().zip(&pair.wire).filter(|(it, _)| !is_clients(it)).map(|(_, it)| *it).collect();
    for datagram in servers {
        assert_eq!(answers(&mut pair, CLIENT, &datagram), 0);
    }
    assert_eq!(pair.server.clients(), 1);
}

#[test]
fn a_stolen_client_can_play_neither_the_server_nor_another_client() {
    let mut pair = agreed();
    let stolen = master(7).node(&Name::new("lab-8"));
    let victim = pair.last(Kind::Report).header.sender.0;
    // Its thief registers in the other's name, by his key or by the other's process number.
    let mut ask = |name: &str, sender, key: &NodeKey| {
        let mut message = register(77, 0, sender);
        let Body::Register(body) = &mut message.body else { panic!("{message:?}") };
        body.name = Name::new(name);
        let now = pair.server_now();
        pair.server.handle_datagram(now, from(STRANGER), &signed(key, 1, Direction::ToServer, message));
        drain(&mut pair.server, now)
    };
    assert!(ask("lab-7", 5, &stolen).is_empty());
    let challenged = ask("lab-8", 5, &stolen);
    let answer = challenged[0].datagram;
    assert!(stolen.verify(Direction::ToClient, &answer), "as himself he is welcome");
    assert!(ask("lab-8", victim, &stolen).is_empty(), "he would take the other's place");
    // What he signs is nothing to the other client; what is signed for the other is nothing to him.
    let probe = pair.last(Kind::Probe);
    assert_eq!(give_client(&mut pair, &signed(&stolen, 1, Direction::ToClient, probe)), 0);
    assert_eq!(client_fate(&pair, Fate::Tag), 1);
    let genuine = *pair.wire.last().expect("something was sent");
    assert!(!stolen.verify(Direction::ToClient, &genuine) && !stolen.verify(Direction::ToServer, &genuine));
}

#[test]
fn a_stolen_clients_heartbeat_counts_nothing_in_another_clients_session() {
    let mut pair = agreed();
    let stolen = master(7).node(&Name::new("lab-8"));
    let report = pair.last(Kind::Report).header;
    let heartbeat = Heartbeat { nonce: 5, name: Name::new("lab-8"), ..Heartbeat::default() };
    let header = Header { sender: NodeId(77), session: report.session, sequence: 1 << 30, ..report };
    let forged =
        signed(&stolen, 1, Direction::ToServer, Message { header, body: Body::Heartbeat(heartbeat) });
    assert_eq!(answers(&mut pair, CLIENT, &forged), 0);
    assert_eq!(server_fate(&pair, Fate::Tag), 1);
    // The session goes on, and what its own client says counts.
    pair.run(60.0);
    assert_eq!((pair.server.clients(), server_fate(&pair, Fate::Replayed)), (1, 0));
}

#[test]
fn a_copied_datagram_causes_no_refusal_of_a_living_session() {
    let mut pair = agreed();
    pair.client.set_keys(pair.client_now(), client_with(&[(1, 7)]).keys);
    pair.run(10.0);
    let copied: Vec<Datagram> =
        pair.seen.iter().zip(&pair.wire).filter(|(it, _)| is_clients(it)).map(|(_, it)| *it).collect();
    let session = pair.last(Kind::Report).header.session;
    for datagram in copied.iter().filter(|datagram| decoded(datagram).header.session == session) {
        assert_eq!(answers(&mut pair, STRANGER, datagram), 0, "{:?}", decoded(datagram));
    }
}

#[test]
fn keys_are_changed_without_a_moment_in_holdover() {
    let mut pair = agreed();
    events(&mut pair.client);
    pair.server.set_keys(server_with(&[(1, 7), (2, 9)]).keys);
    pair.run(30.0);
    assert_eq!(pair.last(Kind::Report).header.key_id, KeyId(1));
    pair.client.set_keys(pair.client_now(), client_with(&[(1, 7), (2, 9)]).keys);
    pair.run(30.0);
    for kind in [Kind::Report, Kind::Probe, Kind::Correction] {
        assert_eq!(pair.last(kind).header.key_id, KeyId(2), "{kind:?}");
    }
    pair.server.set_keys(server_with(&[(2, 9)]).keys);
    pair.client.set_keys(pair.client_now(), client_with(&[(2, 9)]).keys);
    pair.run(60.0);
    let told = events(&mut pair.client);
    assert!(
        !told
            .iter()
            .any(|event| matches!(event, ClientEvent::Holdover { .. } | ClientEvent::Registered { .. })),
        "{told:?}"
    );
    assert_eq!(server_fate(&pair, Fate::Tag) + client_fate(&pair, Fate::Tag), 0);
}

#[test]
fn the_side_that_gets_the_new_key_first_keeps_the_old_one_until_the_other_has_it() {
    let mut pair = agreed();
    events(&mut pair.client);
    pair.client.set_keys(pair.client_now(), client_with(&[(1, 7), (2, 9)]).keys);
    pair.run(60.0);
    assert_eq!((pair.last(Kind::Report).header.key_id, server_fate(&pair, Fate::Tag)), (KeyId(1), 1));
    let told = events(&mut pair.client);
    assert!(!told.iter().any(|event| matches!(event, ClientEvent::Holdover { .. })), "{told:?}");
    // The server gets the new key and loses the old one at once: the next heartbeat finds out.
    pair.server.set_keys(server_with(&[(2, 9)]).keys);
    pair.run(60.0);
    assert_eq!((pair.last(Kind::Report).header.key_id, pair.server.clients()), (KeyId(2), 1));
    let told = events(&mut pair.client);
    assert!(!told.iter().any(|event| matches!(event, ClientEvent::Holdover { .. })), "{told:?}");
    // And one that starts with both finds out by itself which of them the server knows.
    let mut pair = keyed(&[(1, 7)], &[(1, 7), (2, 9)]);
    pair.run(20.0);
    assert_eq!((pair.last(Kind::Report).header.key_id, pair.server.clients()), (KeyId(1), 1));
}

#[test]
fn a_restarted_server_with_a_key_finds_its_members_within_two_heartbeats() {
    let mut pair = agreed();
    pair.server = Server::new(server_with(&[(1, 7)]), [9; 32], pair.server_now());
    pair.run(10.1);
    assert_eq!(pair.server.clients(), 1);
}

/// Everything that was sent, sent again in the same order to both, as fast as it gets there.
fn replay(pair: &mut Pair, recorded: &[(Message, Datagram)]) {
    for (message, datagram) in recorded {
        match is_clients(message) || message.body.kind() == Kind::Leave {
            // A Challenge or a Reject may go out, one for one, and leads to nothing.
            true => assert!(answers(pair, CLIENT, datagram) <= 1),
            false => assert_eq!(give_client(pair, datagram), 0, "{message:?}"),
        }
    }
}

fn recorded(pair: &Pair) -> Vec<(Message, Datagram)> {
    pair.seen.iter().copied().zip(pair.wire.iter().copied()).collect()
}

/// The client's and the server's clocks, and who is a member.
fn standing(pair: &Pair) -> (meantime_core::ClockReading, meantime_core::ClockReading, usize) {
    let (client, server) = (pair.client_now().raw, pair.server_now().raw);
    (pair.client.read(client), pair.server.read(server), pair.server.clients())
}

#[test]
fn a_recorded_session_does_nothing_in_the_same_session() {
    let mut pair = agreed();
    let tape = recorded(&pair);
    for later in [0.0, 5.0, 60.0] {
        pair.run(later);
        let before = standing(&pair);
        let accepted = (server_fate(&pair, Fate::Accepted), client_fate(&pair, Fate::Accepted));
        replay(&mut pair, &tape);
        assert_eq!(standing(&pair), before, "{later} s later");
        // Only first Registers, which are answered by Challenges, and repeated ones while their cookie is
        // good.
        let registers = tape.iter().filter(|(it, _)| it.body.kind() == Kind::Register).count() as u64;
        assert!(server_fate(&pair, Fate::Accepted) <= accepted.0 + registers);
        assert_eq!(client_fate(&pair, Fate::Accepted), accepted.1);
    }
}

#[test]
fn a_recorded_session_does_nothing_after_the_client_has_restarted() {
    for (clock, wrong) in [("right", Span::ZERO), ("a year off", Span::from_secs(365 * 86_400))] {
        let mut pair = agreed();
        let tape = recorded(&pair);
        pair.ahead += wrong;
        let config = ClientConfig { name: lab_7(), ..client_with(&[(1, 7)]) };
        pair.client = Client::new(config, [55; 32], pair.client_now());
        // It asks, and hears nothing but the tape, in whatever order.
        pair.run_through(2.0, |_| false);
        let before = pair.client.read(pair.client_now().raw);
        for _ in 0..2 {
            for (_, datagram) in &tape {
                give_client(&mut pair, datagram);
            }
        }
        assert_eq!(pair.client.read(pair.client_now().raw), before, "{clock}");
        assert_eq!(client_fate(&pair, Fate::Accepted), 0, "{clock}");
        pair.run(60.0);
        assert!(pair.difference().abs() < Span::from_micros(1), "{clock}: {}", pair.difference());
    }
}

#[test]
fn a_recorded_session_does_nothing_after_the_server_has_restarted() {
    let mut pair = agreed();
    let tape = recorded(&pair);
    pair.server_ahead = pair.server_ahead - Span::from_secs(86_400);
    pair.server = Server::new(server_with(&[(1, 7)]), [9; 32], pair.server_now());
    let before = standing(&pair);
    replay(&mut pair, &tape);
    assert_eq!(standing(&pair), before);
    assert_eq!((pair.server.clients(), events(&mut pair.server)), (0, vec![]));
    pair.run(100.0);
    assert_eq!(pair.server.clients(), 1);
}

#[test]
fn a_member_that_has_left_is_not_let_in_again_by_its_own_register() {
    let mut pair = keyed(&[(1, 7)], &[(1, 7)]);
    pair.run(2.0);
    assert_eq!(pair.server.clients(), 1);
    let tape = recorded(&pair);
    pair.client.handle_shutdown(pair.client_now());
    let now = pair.client_now();
    let leave = drain(&mut pair.client, now)[0].datagram;
    answers(&mut pair, CLIENT, &leave);
    events(&mut pair.server);
    for _ in 0..30 {
        // Its cookie is good for a while yet.
        replay(&mut pair, &tape.iter().filter(|(it, _)| is_clients(it)).copied().collect::<Vec<_>>());
        pair.skip(1.0);
    }
    assert_eq!((pair.server.clients(), events(&mut pair.server)), (0, vec![]));
    assert!(server_fate(&pair, Fate::Replayed) > 5);
}

/// Without a key, too: no attacker puts an older registration of a client in the place of its present one.
#[test]
fn an_older_register_does_not_replace_a_newer_session() {
    let mut server = default_server();
    let challenged = ask(&mut server, 1.0, from(CLIENT), &register(1, 0, 9));
    let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
    let first = register(1, challenge.cookie, 9);
    ask(&mut server, 1.0, from(CLIENT), &first);
    let session = ask(&mut server, 3.0, from(CLIENT), &register(2, challenge.cookie, 9))[0].header.session;
    assert_eq!(ask(&mut server, 5.0, from(CLIENT), &first), []);
    assert_eq!(server.counters().of(Fate::Replayed), 1);
    let header = Header { session, ..Header::default() };
    let alive =
        ask(&mut server, 5.0, from(CLIENT), &Message { header, body: Body::Heartbeat(Heartbeat::default()) });
    assert_eq!(
        alive.iter().map(|it| it.body.kind()).find(|kind| *kind != Kind::Probe),
        Some(Kind::HeartbeatAck)
    );
}

#[test]
fn what_a_relay_has_stated_of_the_nodes_below_it_is_not_prolonged_by_a_replay() {
    let config = ServerConfig { max_relay_lead: Span::from_secs(3_600), ..server_with(&[(1, 7)]) };
    let mut pair = Pair::with_client(config, client_with(&[(1, 7)]), Span::from_secs(2));
    let lead = |pair: &Pair| pair.server.relay_lead(pair.server_now());
    pair.client.set_relay_lead(Span::from_secs(60));
    pair.run(22.0);
    pair.client.set_keys(pair.client_now(), client_with(&[(1, 7)]).keys);
    pair.run(1.0);
    assert_eq!((pair.count(Kind::Heartbeat), lead(&pair)), (1, Span::from_secs(22 + 64)));
    let tape = recorded(&pair);
    pair.client.set_relay_lead(Span::ZERO);
    pair.run(40.0);
    assert_eq!(lead(&pair), Span::from_secs(22));
    replay(&mut pair, &tape);
    assert!(server_fate(&pair, Fate::Replayed) > 0);
    assert_eq!(lead(&pair), Span::from_secs(22));
}

#[test]
fn a_replayed_sign_of_life_keeps_no_session_alive() {
    let mut pair = agreed();
    let tape: Vec<Datagram> =
        recorded(&pair).iter().filter(|(it, _)| is_clients(it)).map(|(_, it)| *it).collect();
    events(&mut pair.server);
    let end = pair.now_s() + 60.0;
    while pair.now_s() < end {
        pair.run_through(1.0, |_| false);
        tape.iter().for_each(|datagram| {
            answers(&mut pair, CLIENT, datagram);
        });
    }
    assert_eq!(pair.server.clients(), 0);
    // Nor a dead server.
    let mut pair = agreed();
    let tape: Vec<Datagram> =
        recorded(&pair).iter().filter(|(it, _)| !is_clients(it)).map(|(_, it)| *it).collect();
    let end = pair.now_s() + 20.0;
    while pair.now_s() < end {
        pair.run_through(1.0, |_| false);
        tape.iter().for_each(|datagram| {
            give_client(&mut pair, datagram);
        });
    }
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Holdover);
}

/// Without a key: an off-path attacker has to guess 64 bits, whatever it forges. It knows all
/// else: addresses, ports, the process numbers, the newest round and report number.
#[test]
fn off_the_path_every_forgery_needs_64_bits_that_cannot_be_guessed() {
    let mut pair = Pair::agreed();
    let (probe, report) = (pair.last(Kind::Probe), pair.last(Kind::Report));
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let before = standing(&pair);
    let accepted = (server_fate(&pair, Fate::Accepted), client_fate(&pair, Fate::Accepted));
    for _ in 0..20_000 {
        let header = Header { session: SessionId(rng.next_u64()), sequence: 1_000_000, ..probe.header };
        for body in to_client(&mut rng) {
            give_client(&mut pair, &Message { header, body }.encode());
        }
        let header = Header { session: header.session, sequence: 1_000_000, ..report.header };
        for body in to_server(&mut rng) {
            assert!(answers(&mut pair, CLIENT, &Message { header, body }.encode()) <= 1);
        }
    }
    assert_eq!(standing(&pair), before);
    assert_eq!((server_fate(&pair, Fate::Accepted), client_fate(&pair, Fate::Accepted)), accepted);
    // The same at a client that is just registering: what it waits for has its nonce.
    let mut client = Client::new(ClientConfig::default(), [2; 32], at(0.0, Span::ZERO));
    client.handle_resolved(at(0.0, Span::ZERO), Rank::FIRST, Some(address(SERVER)));
    for _ in 0..20_000 {
        let header = Header { session: SessionId(rng.next_u64()), ..Header::default() };
        for body in to_client(&mut rng) {
            client.handle_datagram(at(0.1, Span::ZERO), from(SERVER), &Message { header, body }.encode());
        }
    }
    assert_eq!(client.counters().of(Fate::Accepted), 0);
}

fn to_client(rng: &mut ChaCha8Rng) -> Vec<Body> {
    let second = Span::from_secs(1);
    let reject = |nonce, reason| Body::Reject(Reject { nonce, reason, version: VERSION });
    vec![
        Body::Challenge(Challenge { nonce: rng.next_u64(), cookie: rng.next_u64() }),
        Body::Welcome(Welcome {
            nonce: rng.next_u64(),
            interval: second,
            heartbeat: second,
            lifetime: second.times(3),
            ..Welcome::default()
        }),
        reject(rng.next_u64(), RejectReason::Version),
        reject(rng.next_u64(), RejectReason::UnknownSession),
        reject(rng.next_u64(), RejectReason::Full),
        reject(rng.next_u64(), RejectReason::Banned),
        Body::Probe(Probe { nonce: rng.next_u64(), ..Probe::default() }),
        Body::Correction(CorrectionMessage {
            about: rng.random_range(1..200),
            correction: meantime_core::time::Correction::adding(second),
            last: None,
            rate: Frequency::ZERO,
            window: second,
            verdict: Verdict::Minority,
            learning: false,
            brisk: true,
            heard: 0,
            members: 3,
        }),
        Body::HeartbeatAck(HeartbeatAck { nonce: rng.next_u64() }),
        Body::Leave(Leave { reason: LeaveReason::Shutdown }),
    ]
}

fn to_server(rng: &mut ChaCha8Rng) -> Vec<Body> {
    let Body::Register(asked) = register(rng.next_u64(), rng.next_u64().max(1), 9).body else { panic!() };
    vec![
        Body::Register(asked),
        Body::Report(Report { nonce: rng.next_u64(), ..Report::default() }),
        Body::Heartbeat(Heartbeat { nonce: rng.next_u64(), ..Heartbeat::default() }),
        Body::Leave(Leave { reason: LeaveReason::Shutdown }),
    ]
}

#[test]
fn a_cookie_is_worth_nothing_after_twenty_seconds_nor_at_another_server() {
    let mut server = default_server();
    let challenged = ask(&mut server, 1.0, from(CLIENT), &register(1, 0, 9));
    let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
    let mut other = Server::new(ServerConfig::default(), [4; 32], at(0.0, Span::ZERO));
    for server in [&mut other, &mut server] {
        let answers = ask(server, 21.0, from(CLIENT), &register(1, challenge.cookie, 9));
        assert!(matches!(answers[..], [Message { body: Body::Challenge(_), .. }]), "{answers:?}");
        assert_eq!(server.clients(), 0);
    }
}

#[test]
fn nothing_that_comes_from_an_unproven_address_is_answered_with_more_than_it_was() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for config in [ServerConfig::default(), server_with(&[(1, 7)])] {
        let mut pair = Pair::with_client(config, ClientConfig::default(), Span::ZERO);
        pair.server.handle_timeout(pair.server_now());
        let now = pair.server_now();
        drain(&mut pair.server, now);
        let (mut came, mut went) = (0, 0);
        for k in 0..200_000_u32 {
            let mut datagram = [0; DATAGRAM_LEN];
            rng.fill_bytes(&mut datagram);
            datagram[..4].copy_from_slice(&[b'M', b'T', VERSION, (k % 12) as u8]);
            if k % 3 == 0 {
                datagram[4..8].fill(0);
                datagram[56..80].fill(0);
            }
            came += 1;
            let answered = answers(&mut pair, STRANGER, &datagram);
            assert!(answered <= 1);
            went += answered;
        }
        assert!(went <= came && pair.server.clients() == 0);
        assert!(went <= 2_500, "a network is answered so often a second: {went}");
    }
}

#[test]
fn networks_that_are_not_allowed_get_no_answer_and_are_no_members() {
    let deny = vec!["192.0.2.64/28".parse().expect("a network")];
    let mut server =
        Server::new(ServerConfig { deny, ..ServerConfig::default() }, [3; 32], at(0.0, Span::ZERO));
    assert_eq!(ask(&mut server, 1.0, from(STRANGER), &register(1, 0, 9)), []);
    assert_eq!(server.counters().of(Fate::Denied), 1);
    enter(&mut server, from(CLIENT), 1, 9);
    let allow = vec!["198.51.100.0/24".parse().expect("a network")];
    let mut server =
        Server::new(ServerConfig { allow, ..ServerConfig::default() }, [3; 32], at(0.0, Span::ZERO));
    assert_eq!(ask(&mut server, 1.0, from(CLIENT), &register(1, 0, 9)), []);
}

#[test]
fn one_address_does_not_take_all_the_places() {
    let config = ServerConfig { max_clients_per_address: 5, ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    let mut refused = 0;
    for k in 0..20_u16 {
        let path = from(&format!("192.0.2.7:{}", 40_000 + k));
        let nonce = u64::from(k) + 1;
        let challenged = ask(&mut server, 1.0, path, &register(nonce, 0, nonce));
        let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
        let answers = ask(&mut server, 1.0, path, &register(nonce, challenge.cookie, nonce));
        refused +=
            usize::from(matches!(answers[0].body, Body::Reject(Reject { reason: RejectReason::Full, .. })));
    }
    assert_eq!((server.clients(), refused), (5, 15));
    enter(&mut server, from(STRANGER), 99, 99);
}

#[test]
fn no_more_than_so_many_are_let_in_at_a_time() {
    let config = ServerConfig { max_clients: 1_000, ..ServerConfig::default() };
    let mut server = Server::new(config, [3; 32], at(0.0, Span::ZERO));
    for k in 0..400_u16 {
        let path = from(&format!("10.{}.{}.1:4000", k / 200, k % 200));
        let nonce = u64::from(k) + 1;
        let challenged = ask(&mut server, 1.0, path, &register(nonce, 0, nonce));
        let Body::Challenge(challenge) = challenged[0].body else { panic!("{challenged:?}") };
        ask(&mut server, 1.0, path, &register(nonce, challenge.cookie, nonce));
    }
    assert_eq!((server.clients(), server.counters().of(Fate::Busy)), (100, 300));
}

#[test]
fn what_takes_longer_than_is_accepted_measures_nothing() {
    for (server, client) in
        [(Span::from_micros(50), Span::from_secs(2)), (Span::from_secs(2), Span::from_micros(50))]
    {
        // The way there and back takes some 200 µs.
        let config = ServerConfig { max_delay: server, ..ServerConfig::default() };
        let mut pair = Pair::with_client(
            config,
            ClientConfig { max_delay: client, ..ClientConfig::default() },
            Span::from_secs(2),
        );
        pair.run(60.0);
        assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
        assert!(server_fate(&pair, Fate::Implausible) + client_fate(&pair, Fate::Implausible) > 5);
    }
    let config = ServerConfig { max_delay: Span::from_millis(1), ..ServerConfig::default() };
    let client = ClientConfig { max_delay: Span::from_millis(1), ..ClientConfig::default() };
    let mut pair = Pair::with_client(config, client, Span::from_secs(2));
    pair.run(60.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
}

/// The numbers of processes and sessions, nonces and cookies: an attacker who sees some cannot predict the
/// next.
#[test]
fn what_must_not_be_guessed_is_never_the_same_twice() {
    let mut pair = Pair::agreed();
    pair.run(200.0);
    let mut nonces: Vec<u64> = pair
        .seen
        .iter()
        .filter_map(|message| match message.body {
            Body::Probe(probe) => Some(probe.nonce),
            _ => None,
        })
        .collect();
    let all = nonces.len();
    nonces.sort_unstable();
    nonces.dedup();
    assert!(all > 100 && nonces.len() == all);
    assert_ne!(pair.last(Kind::Probe).header.sender, NodeId(0));
}

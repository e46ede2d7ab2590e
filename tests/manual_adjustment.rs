//! The cluster's time, set by hand, as stories: a server and a client, with every datagram in the test's
//! hands.

use meantime_core::consensus::SetTimeError;
use meantime_core::event::{Adjustment, Refusal};
use meantime_core::server::Target;
use meantime_core::time::Span;
use meantime_core::wire::{Body, ClientState, ClusterId, Flags, Header, Kind, ManualAdjustment, Message};
use meantime_core::{Client, ClientConfig, ClientEvent, Fate, Node, Server, ServerConfig};
use meantime_sim::testkit::by_hand::*;
use meantime_sim::testkit::{Pair, events};

/// How far the client's clock is ahead of the server's now, as both show them.
fn ahead_of_server(pair: &Pair) -> Span {
    let (client, server) = (pair.client.read(pair.client_now().raw), pair.server.read(pair.server_now().raw));
    client.time - server.time
}

fn set_by(pair: &mut Pair, by: Span, how: Adjustment) {
    let now = pair.server_now();
    pair.server.set_time(now, Target::By(by), how).expect("the server carries the cluster's time");
}

#[test]
fn a_setting_is_told_before_it_begins_and_both_sides_do_the_same() {
    let mut pair = Pair::agreed();
    let before = pair.server.read(pair.server_now().raw).time;
    set_by(&mut pair, Span::from_millis(4), Adjustment::Slew);
    pair.run(40.0);
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
    let shown = pair.server.read(pair.server_now().raw).time - before;
    let more = shown - Span::from_secs(40) - Span::from_millis(4);
    assert!(more.abs() < Span::from_millis(1), "{shown}");
    let told = pair.seen.iter().filter(|message| message.body.kind() == Kind::ManualAdjustment).count();
    assert!((1..=2).contains(&told), "once a setting is known it is not told again: {told}");
    assert!(pair.seen.last().is_some_and(|message| message.header.flags.manual_adjustment == 1));
}

#[test]
fn a_client_that_has_heard_of_a_setting_and_not_what_it_is_guarantees_nothing_any_more() {
    let mut pair = Pair::agreed();
    events(&mut pair.client);
    set_by(&mut pair, Span::from_secs(1), Adjustment::Slew);
    pair.run_through(14.0, |message| message.body.kind() != Kind::ManualAdjustment);
    assert!(pair.client.read(pair.client_now().raw).bound.is_some(), "it has not begun");
    pair.run_through(14.0, |message| message.body.kind() != Kind::ManualAdjustment);
    assert!(ahead_of_server(&pair) < Span::from_millis(-2));
    assert_eq!(pair.client.read(pair.client_now().raw).bound, None);
    pair.run(30.0);
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
    assert!(pair.client.read(pair.client_now().raw).bound.is_some());
    let late = events(&mut pair.client).into_iter().find_map(|event| match event {
        ClientEvent::TimeSet { late, adjustment, .. } => Some((late.span(), adjustment)),
        _ => None,
    });
    let (late, adjustment) = late.expect("it is told");
    assert!(late > Span::from_millis(2) && late < Span::from_millis(20), "{late}");
    assert_eq!(adjustment, Adjustment::Slew);
}

#[test]
fn a_newcomer_is_not_synchronized_before_it_knows_what_the_time_was_set_by() {
    let mut pair = Pair::agreed();
    set_by(&mut pair, Span::from_secs(3), Adjustment::Step);
    pair.run(30.0);
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
    pair.client = Client::new(ClientConfig::default(), [9; 32], pair.client_now());
    pair.run_through(8.0, |message| message.body.kind() != Kind::ManualAdjustment);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
    pair.run(8.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
    assert!(ahead_of_server(&pair).abs() < Span::from_millis(1), "{}", ahead_of_server(&pair));
}

#[test]
fn a_restarted_client_reports_what_its_clock_was_changed_by_and_not_the_manual_adjustment() {
    let hour = Span::from_secs(3_600);
    let mut pair = Pair::agreed();
    set_by(&mut pair, hour, Adjustment::Step);
    pair.run(40.0);
    // A client with a state directory starts with the time that it has shown, without its parts.
    pair.client = Client::new(ClientConfig::default(), [9; 32], pair.client_now());
    let own = pair.client.read(pair.client_now().raw).time;
    let missing = pair.server.read(pair.server_now().raw).time - own;
    pair.run(10.0);
    let corrected = events(&mut pair.client).into_iter().find_map(|event| match event {
        ClientEvent::Corrected { correction, added, manual, first: true, .. } => {
            Some((correction.span(), added.span(), manual.span()))
        }
        _ => None,
    });
    let (asked, added, manual) = corrected.expect("the clock was synchronized");
    assert_eq!(manual, hour);
    assert!((added - missing).abs() < Span::from_millis(1), "{added} of {missing}");
    assert!((asked + hour - added).abs() < Span::from_millis(1), "{asked}");
}

#[test]
fn a_step_beyond_what_the_client_accepts_is_refused_and_so_is_the_time_after_it() {
    let config = ClientConfig { max_step: Span::from_secs(2), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), config, Span::from_secs(2));
    pair.run(60.0);
    let before = pair.client.read(pair.client_now().raw);
    assert_eq!(before.state, ClientState::Synchronized);
    set_by(&mut pair, Span::from_secs(3), Adjustment::Step);
    events(&mut pair.client);
    pair.run(40.0);
    let told = events(&mut pair.client);
    let refused = |event: &ClientEvent| {
        matches!(event, ClientEvent::RefusedCorrection { reason: Refusal::StepTooLarge, .. })
    };
    assert!(told.iter().any(refused), "{told:?}");
    let after = pair.client.read(pair.client_now().raw);
    assert_eq!((after.state, after.bound), (ClientState::Holdover, None));
    assert!(
        (after.time - before.time - Span::from_secs(40)).abs() < Span::from_millis(1),
        "it has not moved"
    );
}

#[test]
fn nothing_is_not_set() {
    let mut pair = Pair::agreed();
    let now = pair.server_now();
    for how in [Adjustment::Slew, Adjustment::Step] {
        assert_eq!(pair.server.set_time(now, Target::By(Span::ZERO), how), Err(SetTimeError::Zero));
    }
}

#[test]
fn who_misses_a_setting_guarantees_nothing_before_it_begins() {
    let mut pair = Pair::agreed();
    set_by(&mut pair, Span::from_secs(1), Adjustment::Slew);
    pair.run_through(20.9, |message| message.body.kind() != Kind::ManualAdjustment);
    assert_eq!(pair.client.read(pair.client_now().raw).bound, None);
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
}

/// A client that has taken two settings, 3 s and 5 s, and then a new server that takes over from the
/// cluster's other members what they carry: so much was said to them, and no more. That server's life begins
/// `after` seconds since the second setting.
fn overruled(after: f64, carried: impl Fn(ManualAdjustment) -> Option<ManualAdjustment>) -> Pair {
    let mut pair = Pair::agreed();
    set_by(&mut pair, Span::from_secs(3), Adjustment::Step);
    pair.run(40.0);
    let Body::ManualAdjustment(first) = pair.last(Kind::ManualAdjustment).body else {
        unreachable!("it is a ManualAdjustment")
    };
    set_by(&mut pair, Span::from_secs(5), Adjustment::Step);
    pair.run(after);
    assert_eq!(pair.last(Kind::Report).header.flags.manual_adjustment, 2);
    events(&mut pair.client);
    let carried = carried(first);
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    let mut decided = false;
    pair.run_altering(200.0, |message| {
        if let Body::Probe(probe) = message.body {
            decided |= probe.cluster != ClusterId(0);
        }
        if decided || message.header.flags.state == ClientState::Unsynchronized {
            return true;
        }
        message.header.flags.manual_adjustment = carried.map_or(0, |setting| setting.number);
        if let Body::ManualAdjustment(setting) = &mut message.body {
            *setting = carried.unwrap_or(ManualAdjustment::NONE);
        }
        carried.is_some() || message.body.kind() != Kind::ManualAdjustment
    });
    assert!(decided);
    pair
}

/// Both show the same, and the client says so.
fn assert_agreed(pair: &Pair) {
    let reading = pair.client.read(pair.client_now().raw);
    assert_eq!(reading.state, ClientState::Synchronized);
    let ahead = ahead_of_server(pair).abs();
    assert!(ahead < Span::from_micros(60), "{ahead}");
    assert!(reading.bound.is_some_and(|bound| bound >= ahead), "{ahead}, {:?}", reading.bound);
    let number = |kind| pair.last(kind).header.flags.manual_adjustment;
    assert_eq!(number(Kind::Report), number(Kind::Probe));
}

#[test]
fn a_client_takes_the_word_of_a_server_that_the_others_have_told_something_else() {
    let older = |first: ManualAdjustment| Some(first);
    let far = |first: ManualAdjustment| Some(ManualAdjustment { number: 200, ..first });
    let none = |_: ManualAdjustment| None;
    let other = |first: ManualAdjustment| Some(ManualAdjustment { number: 2, ..first });
    let all: [&dyn Fn(ManualAdjustment) -> Option<ManualAdjustment>; 4] = [&older, &far, &none, &other];
    for (carried, after) in all.into_iter().flat_map(|carried| [(carried, 6.0), (carried, 60.0)]) {
        let mut pair = overruled(after, carried);
        let late = events(&mut pair.client).into_iter().filter_map(|event| match event {
            ClientEvent::TimeSet { late, .. } => Some(late.span().abs()),
            _ => None,
        });
        // Until the second begins, the first shows the same.
        let late: Vec<Span> = late.collect();
        assert_eq!(late.len(), 1, "it is told once");
        assert!(after < 60.0 || late[0] > Span::from_secs(4), "{late:?}");
        assert_agreed(&pair);
        // The next one may have the number of one that this client has taken before.
        set_by(&mut pair, Span::from_secs(-1), Adjustment::Step);
        pair.run(60.0);
        assert_agreed(&pair);
    }
}

#[test]
fn a_new_clusters_time_is_not_set_by_what_the_old_ones_was() {
    let mut pair = Pair::agreed();
    set_by(&mut pair, Span::from_secs(3), Adjustment::Step);
    pair.run(40.0);
    events(&mut pair.client);
    // A server whose clock happens to show the old cluster's base time, and which most believe to be new
    // themselves.
    pair.server_ahead = Span::from_secs(1);
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    let mut joined = false;
    for _ in 0..2_000 {
        pair.run_altering(0.1, |message| {
            if message.header.flags.state != ClientState::Unsynchronized && !joined {
                message.header.flags = Flags::default();
            }
            joined || message.body.kind() != Kind::ManualAdjustment
        });
        let told = events(&mut pair.client);
        let corrected = told.iter().any(|event| matches!(event, ClientEvent::Corrected { .. }));
        if corrected && !joined {
            joined = true;
            assert!(ahead_of_server(&pair).abs() < Span::from_millis(1), "{}", ahead_of_server(&pair));
        }
    }
    assert!(joined);
    assert_agreed(&pair);
}

#[test]
fn a_new_server_that_knows_the_same_is_no_news() {
    for after in [6.0, 60.0] {
        let mut pair = Pair::agreed();
        set_by(&mut pair, Span::from_secs(5), Adjustment::Step);
        pair.run(after);
        events(&mut pair.client);
        pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
        pair.run(200.0);
        assert_agreed(&pair);
        let told = events(&mut pair.client);
        assert!(!told.iter().any(|event| matches!(event, ClientEvent::TimeSet { .. })), "{told:?}");
    }
}

#[test]
fn a_setting_cannot_be_taken_back_behind_a_clients_limits() {
    let config = ClientConfig { max_step: Span::from_secs(2), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), config, Span::from_secs(2));
    pair.run(60.0);
    for _ in 0..2 {
        set_by(&mut pair, Span::from_millis(1_900), Adjustment::Step);
        pair.run(40.0);
    }
    assert_agreed(&pair);
    // The new server knows of neither.
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    let mut decided = false;
    let before = pair.client.read(pair.client_now().raw);
    pair.run_altering(200.0, |message| {
        if let Body::Probe(probe) = message.body {
            decided |= probe.cluster != ClusterId(0);
        }
        if !decided && message.header.flags.state != ClientState::Unsynchronized {
            message.header.flags.manual_adjustment = 0;
            return message.body.kind() != Kind::ManualAdjustment;
        }
        true
    });
    let after = pair.client.read(pair.client_now().raw);
    assert_eq!((after.state, after.bound), (ClientState::Holdover, None));
    assert!((after.time - before.time - Span::from_secs(200)).abs() < Span::from_millis(1));
}

#[test]
fn a_newcomer_takes_no_step_that_is_still_to_come_beyond_its_limit() {
    let mut pair = Pair::agreed();
    set_by(&mut pair, Span::from_secs(3), Adjustment::Step);
    pair.run(1.0);
    let config = ClientConfig { max_step: Span::ZERO, ..ClientConfig::default() };
    pair.client = Client::new(config, [9; 32], pair.client_now());
    pair.run(16.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
    let told = events(&mut pair.client);
    let refused = |event: &ClientEvent| {
        matches!(event, ClientEvent::RefusedCorrection { reason: Refusal::StepTooLarge, .. })
    };
    assert!(told.iter().any(refused), "{told:?}");
    // Once it is over, it is as any first time.
    pair.run(60.0);
    assert_agreed(&pair);
}

/// A Setting that the server has not sent.
fn forge(pair: &mut Pair, setting: ManualAdjustment) {
    let session = pair.last(Kind::Probe).header.session;
    let flags = Flags { manual_adjustment: setting.number, ..Flags::default() };
    let header = Header { flags, session, ..Header::default() };
    let forged = Message { header, body: Body::ManualAdjustment(setting) }.encode();
    pair.client.handle_datagram(pair.client_now(), from(SERVER), &forged);
}

#[test]
fn a_time_that_is_not_decided_yet_cannot_be_set() {
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(2));
    while !pair.seen.iter().any(|message| message.body.kind() == Kind::Probe) {
        pair.run(0.1);
    }
    let start = pair.server_oscillator();
    forge(
        &mut pair,
        ManualAdjustment {
            number: 1,
            amount: Span::from_secs(1),
            start,
            step: true,
            ..ManualAdjustment::NONE
        },
    );
    assert_eq!(pair.client.counters().of(Fate::Unsolicited), 1);
}

#[test]
fn a_slew_that_no_server_makes_is_refused() {
    let mut pair = Pair::agreed();
    let Body::Probe(probe) = pair.last(Kind::Probe).body else { unreachable!("it is a Probe") };
    events(&mut pair.client);
    let start = pair.server_oscillator() + Span::from_secs(1);
    for amount in [Span::from_secs(86_400), Span::from_secs(-35)] {
        forge(
            &mut pair,
            ManualAdjustment { cluster: probe.cluster, number: 1, amount, start, ..ManualAdjustment::NONE },
        );
    }
    let told = events(&mut pair.client);
    assert_eq!(told.len(), 2, "{told:?}");
    let refused = |event: &ClientEvent| {
        matches!(event, ClientEvent::RefusedCorrection { reason: Refusal::SlewTooLong, .. })
    };
    assert!(told.iter().any(refused), "{told:?}");
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Holdover);
}

/// A client whose clock follows a manual adjustment by so much that has been made after 7 s, and a server
/// that has lost its memory `restart` seconds later. The operator gives it the client's time after `found`
/// more seconds. The client may guarantee nothing that is not so.
fn founded_from_client(by: Span, how: Adjustment, restart: f64, found: f64) {
    let config = || ServerConfig { interval: Span::from_secs(1), ..ServerConfig::default() };
    let mut pair = Pair::new(config(), Span::from_secs(20));
    pair.run(7.0);
    set_by(&mut pair, by, how);
    pair.run(restart);
    pair.server_ahead = Span::from_secs(3_600);
    pair.server = Server::new(config(), [9; 32], pair.server_now());
    pair.run(found);
    let now = pair.server_now();
    pair.server.set_time_from(now, "lab-7", Adjustment::Step).expect("the server is undecided");
    events(&mut pair.client);
    for _ in 0..300 {
        pair.run(0.1);
        let (ahead, client) = (ahead_of_server(&pair).abs(), pair.client.read(pair.client_now().raw));
        if client.cluster == pair.server.cluster() {
            assert!(client.bound.is_some_and(|bound| ahead <= bound), "{found}: {ahead}, {client:?}");
            assert!(client.frequency.ppm().abs() < 1.0, "{found}: {client:?}");
        }
    }
    assert_agreed(&pair);
    let doubtful =
        |event: &ClientEvent| !matches!(event, ClientEvent::Recovered | ClientEvent::Corrected { .. });
    let told: Vec<_> = events(&mut pair.client).into_iter().filter(doubtful).collect();
    assert!(told.is_empty(), "{found}: {told:?}");
}

#[test]
fn a_cluster_is_founded_on_what_a_slewing_clock_shows_now_and_not_at_its_last_reading() {
    let mut pair = Pair::new(ServerConfig::default(), Span::from_secs(20));
    pair.run(60.0);
    set_by(&mut pair, Span::from_secs(20), Adjustment::Slew);
    pair.run(40.0);
    pair.server_ahead = Span::from_secs(3_600);
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    pair.run(40.0);
    let last_measured = |pair: &Pair| pair.server.view(pair.server_now()).members[0].measured;
    while last_measured(&pair).is_none_or(|measured| measured.ago < Span::from_millis(500)) {
        pair.run(0.1);
    }
    let now = pair.server_now();
    pair.server.set_time_from(now, "lab-7", Adjustment::Step).expect("the server is undecided");
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
}

#[test]
fn a_slew_that_ends_because_a_cluster_is_founded_teaches_no_frequency() {
    for tenths in 90..102 {
        founded_from_client(Span::from_secs(20), Adjustment::Slew, 9.0, f64::from(tenths) * 0.1);
        founded_from_client(Span::from_secs(-20), Adjustment::Slew, 9.0, f64::from(tenths) * 0.1);
    }
}

#[test]
fn an_adjustment_that_is_made_while_a_cluster_is_founded_breaks_no_bound() {
    for tenths in 30..70 {
        founded_from_client(Span::from_secs(3), Adjustment::Step, 1.0, f64::from(tenths) * 0.1);
        founded_from_client(Span::from_micros(400), Adjustment::Slew, 1.0, f64::from(tenths) * 0.1);
    }
}

//! A cluster's first time where no majority of clocks can decide it: an operator founds it.

mod support;

use meantime_core::consensus::SetTimeError;
use meantime_core::event::{Adjustment, UndecidedReason};
use meantime_core::server::{Target, TimeChange};
use meantime_core::time::{Span, Timestamp};
use meantime_core::wire::ClientState;
use meantime_core::{ClientConfig, Node, Server, ServerConfig, ServerEvent};
use meantime_sim::testkit::by_hand::CLIENT;
use meantime_sim::testkit::{Pair, events};
use serde_json::Value;
use support::{Process, ask_until, client, meantime, scratch, server};

const HOUR: Span = Span::from_secs(3_600);
const EPOCH: Timestamp = Timestamp::from_nanos(0);

/// A server and a client that is ahead of it by `ahead`, after some rounds.
fn undecided(ahead: Span) -> Pair {
    let mut pair = Pair::new(ServerConfig::default(), ahead);
    pair.run(20.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Unsynchronized);
    pair
}

fn reason(pair: &Pair) -> Option<UndecidedReason> {
    pair.server.overview(pair.server_now()).undecided
}

/// How far the client's clock is ahead of the server's now, as both show them.
fn ahead_of_server(pair: &Pair) -> Span {
    let (client, server) = (pair.client.read(pair.client_now().raw), pair.server.read(pair.server_now().raw));
    client.time - server.time
}

#[test]
fn two_clocks_an_hour_apart_take_the_time_that_the_operator_names() {
    let mut pair = undecided(HOUR);
    assert_eq!(reason(&pair), Some(UndecidedReason::TwoDiffer));
    let now = pair.server_now();
    let to = pair.server.read(now.raw).time + HOUR.times(24);
    let change = pair.server.set_time(now, Target::To(to), Adjustment::Slew);
    assert!(
        matches!(change, Ok(TimeChange::Founded { founded, .. }) if founded.added.span() == HOUR.times(24))
    );
    assert_eq!(pair.server.read(now.raw).time, to);
    assert_eq!(reason(&pair), None);
    let told = events(&mut pair.server);
    assert!(told.iter().any(|event| matches!(event, ServerEvent::TimeFounded { .. })), "{told:?}");
    pair.run(10.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Synchronized);
    assert!(ahead_of_server(&pair).abs() < Span::from_millis(1), "{}", ahead_of_server(&pair));
    pair.run(120.0);
    assert!(ahead_of_server(&pair).abs() < Span::from_micros(60), "{}", ahead_of_server(&pair));
    let told = events(&mut pair.server);
    assert!(!told.iter().any(|event| matches!(event, ServerEvent::Deposed { .. })), "{told:?}");
}

#[test]
fn the_operator_says_whose_clock_is_right() {
    for (whose, expected) in [(CLIENT, HOUR), ("server", Span::ZERO)] {
        let mut pair = undecided(HOUR);
        let now = pair.server_now();
        let before = pair.server.read(now.raw).time;
        pair.server.set_time_from(now, whose, Adjustment::Slew).expect("it was measured");
        let moved = pair.server.read(now.raw).time - before - expected;
        assert!(moved.abs() < Span::from_millis(5), "{whose}: {moved}");
        pair.run(10.0);
        assert!(ahead_of_server(&pair).abs() < Span::from_millis(1), "{}", ahead_of_server(&pair));
    }
}

#[test]
fn what_cannot_found_a_time_is_refused() {
    let mut pair = undecided(HOUR);
    let now = pair.server_now();
    let by = pair.server.set_time(now, Target::By(HOUR), Adjustment::Step);
    assert_eq!(by, Err(SetTimeError::NoClusterTime));
    let early = pair.server.set_time(now, Target::To(EPOCH), Adjustment::Step);
    assert_eq!(early, Err(SetTimeError::Implausible));
    let nobody = pair.server.set_time_from(now, "carol", Adjustment::Step);
    assert_eq!(nobody, Err(SetTimeError::UnknownMember("carol".into())));
    assert_eq!(reason(&pair), Some(UndecidedReason::TwoDiffer));
}

#[test]
fn a_server_that_takes_its_clients_time_over_is_not_founded_anew_without_a_word() {
    let mut pair = Pair::agreed();
    pair.server = Server::new(ServerConfig::default(), [9; 32], pair.server_now());
    while pair.server.clients() == 0 {
        pair.run(0.1);
    }
    let now = pair.server_now();
    let to = Target::To(pair.server.read(now.raw).time + HOUR);
    let taking_over = SetTimeError::TakingOver { carriers: 1, clients: 1 };
    assert_eq!(pair.server.set_time(now, to, Adjustment::Slew), Err(taking_over));
    assert!(matches!(pair.server.set_time(now, to, Adjustment::Step), Ok(TimeChange::Founded { .. })));
    pair.run(30.0);
    assert!(ahead_of_server(&pair).abs() < Span::from_millis(1), "{}", ahead_of_server(&pair));
}

#[test]
fn the_time_of_a_cluster_is_set_to_what_a_member_shows() {
    let config = ClientConfig { max_step: Span::from_secs(2), ..ClientConfig::default() };
    let mut pair = Pair::with_client(ServerConfig::default(), config, Span::from_secs(2));
    pair.run(60.0);
    let now = pair.server_now();
    assert_eq!(pair.server.set_time_from(now, "server", Adjustment::Step), Err(SetTimeError::Zero));
    // The client refuses this, and shows what it has shown.
    let too_far = Target::By(Span::from_secs(3));
    pair.server.set_time(now, too_far, Adjustment::Step).expect("the server carries the cluster's time");
    pair.run(40.0);
    assert_eq!(pair.client.read(pair.client_now().raw).state, ClientState::Holdover);
    let now = pair.server_now();
    let change = pair.server.set_time_from(now, CLIENT, Adjustment::Step);
    let back = |amount: Span| (amount + Span::from_secs(3)).abs() < Span::from_millis(1);
    assert!(matches!(change, Ok(TimeChange::Adjusted(setting)) if back(setting.amount)), "{change:?}");
}

/// A server and two clients, all of them `offset` from this machine's clock.
fn cluster(socket: &str, offset: &str, arguments: &[&str]) -> (Process, [Process; 2]) {
    let common = [&["--simulate-offset", offset], arguments].concat();
    let of_server = [&["--interval", "300ms", "--control", socket], &common[..]].concat();
    let server = server("127.0.0.1:0", &of_server);
    let address = server.address();
    let clients = ["alice", "bob"].map(|name| client(&address, name, &common));
    (server, clients)
}

fn year(event: &Value) -> &str {
    &event["time"].as_str().expect("a time")[..4]
}

/// 2026-06-01, at which these tests set clocks.
const TODAY: &str = "2026-06-01 12:00:00";

#[test]
fn machines_that_start_at_1970_are_brought_to_today() {
    let (_dir, dir) = scratch();
    let socket = dir.join("s").display().to_string();
    // Half a century before this machine's clock.
    let (server, clients) = cluster(&socket, "-18500d", &[]);
    let told = server.wait_for_any("undecided");
    assert_eq!(told["reason"], "before_plausible");
    // One client may have registered later than the other.
    let page = ask_until(
        "both clients to be measured",
        || meantime(&["status", "--control", &socket]).1,
        |page| page.contains("The cluster has no time: too few of 3 clocks show a plausible time"),
    );
    assert!(page.contains("meantime set-time TIME"), "{page}");
    assert!(page.contains("alice is left out of the vote: before plausible"), "{page}");
    let (fine, check) = meantime(&["check", "--max", "1s", "--control", &socket]);
    assert!(!fine && check.contains("UNKNOWN: the cluster has no time"), "{check}");
    let (fine, said) = meantime(&["set-time", "+1h", "--control", &socket]);
    assert!(!fine && said.contains("say what time it is") && said.lines().count() == 1, "{said}");
    let (fine, said) = meantime(&["set-time", "1990-01-31 16:30:00", "--control", &socket]);
    assert!(!fine && said.contains("of the server allow 2025-06-01 to 2075-06-01"), "{said}");
    let (fine, said) = meantime(&["set-time", TODAY, "--control", &socket]);
    assert!(fine && said.contains("The cluster's time is founded"), "{said}");
    server.wait_for_any("time_founded");
    for client in &clients {
        let corrected = client.wait_for("corrected", 3, |_| true);
        assert_eq!(year(&corrected), "2026");
    }
    server.wait_for("round_ended", 0, |round| round["outcome"] == "agreed" && round["agreeing"] == 3);
}

#[test]
fn a_cluster_that_has_a_time_in_1970_is_brought_to_today_in_one_step() {
    let (_dir, dir) = scratch();
    let socket = dir.join("s").display().to_string();
    let (server, clients) = cluster(&socket, "-18500d", &["--plausible-from", "1970-01-01"]);
    server.wait_for_any("time_agreed");
    clients.iter().for_each(|client| drop(client.wait_for("corrected", 5, |_| true)));
    server.wait_for("round_ended", 0, |round| round["outcome"] == "agreed" && round["agreeing"] == 3);
    let (fine, said) = meantime(&["set-time", TODAY, "--step", "--control", &socket]);
    assert!(fine, "{said}");
    for client in &clients {
        client.wait_for("tick", 0, |tick| year(tick) == "2026");
        assert!(client.events_of("refused_correction").is_empty());
    }
}

#[test]
fn a_client_and_its_server_that_disagree_are_told_whom_to_believe() {
    let (_dir, dir) = scratch();
    let socket = dir.join("s").display().to_string();
    let server = server("127.0.0.1:0", &["--interval", "300ms", "--control", &socket]);
    let alice = client(&server.address(), "alice", &["--simulate-offset", "2h"]);
    assert_eq!(server.wait_for_any("undecided")["reason"], "two_differ");
    let (_, page) = meantime(&["status", "--control", &socket]);
    assert!(page.contains("meantime set-time --from NAME"), "{page}");
    let (fine, said) = meantime(&["set-time", "--from", "alice", "--control", &socket]);
    assert!(fine && said.contains("founded: the server's own clock was set by +2.0 h"), "{said}");
    let corrected = alice.wait_for_any("corrected");
    let correction = corrected["correction_ns"].as_i64().expect("a number");
    assert!(correction.abs() < 100_000_000, "{corrected}");
}

#[test]
fn a_clients_status_says_that_the_server_is_undecided_and_what_the_client_has_refused() {
    let (_dir, dir) = scratch();
    let socket = |name: &str| dir.join(name).display().to_string();
    let options = ["--interval", "300ms", "--name", "harbour", "--control", &socket("server")];
    let server = server("127.0.0.1:0", &options);
    let options = ["--simulate-offset", "2h", "--panic", "10min", "--control", &socket("alice")];
    let alice = client(&server.address(), "alice", &options);
    server.wait_for_any("undecided");
    let status = |arguments: &[&str]| {
        let (fine, said) = meantime(&[&["status", "--control", &socket("alice")], arguments].concat());
        assert!(fine, "{said}");
        said
    };
    let object = || serde_json::from_str::<serde_json::Value>(&status(&["--json"])).expect("an object");
    assert_eq!((&object()["server_undecided"], &object()["refused_correction"]), (&true.into(), &().into()));
    let page = status(&[]);
    assert!(page.contains("Cluster          no time yet, so the server corrects no clock"), "{page}");
    let (fine, said) = meantime(&["set-time", "--from", "harbour", "--control", &socket("server")]);
    assert!(fine, "{said}");
    let event = alice.wait_for_any("refused_correction");
    let refused = &object()["refused_correction"];
    assert_eq!((&refused["reason"], &refused["limit_ns"]), (&event["reason"], &600_000_000_000_i64.into()));
    // The first correction may arrive before the first probe that says so.
    support::wait_until(support::PATIENCE, "a probe", || object()["server_undecided"] == false);
    let page = status(&[]);
    assert!(page.contains("ago: the first step is larger than --panic 10.0 min\n"), "{page}");
    assert!(page.contains("If the server's time is right, set this machine's clock, or start"), "{page}");
}

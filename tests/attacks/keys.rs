//! Stolen keys of nodes. A key lets its thief be that node, in one session.

use meantime_core::ClientEvent;
use meantime_core::event::{HoldoverReason, ServerEvent};
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId, Name};

use crate::attacker::Plan;
use crate::island::{Island, KEY, NOISE, keyed, master, s};

/// The thief of the keys of these names.
fn steal(island: &mut Island, names: impl Iterator<Item = String>, plan: Plan) {
    for (number, name) in names.enumerate() {
        let key = master().node(&Name::new(&name));
        island.attacker.add_keyed(&format!("198.51.100.{}", number + 1), &name, Some((KEY, key)), plan);
    }
}

/// g = 5: the server and four nodes; f = 1. Whoever has the key is that node, in one session at a time.
#[test]
fn a_stolen_node_key_has_one_session_and_its_holder_comes_back() {
    let mut island = Island::new(keyed(), 4);
    let plan = Plan { begin: s(200), jump: Some((s(240), s(10))), end: s(290), ..Plan::default() };
    steal(&mut island, (0..200).map(|_| String::from("good-1")), plan);
    island.run(195);
    island.mark_synchronized();
    for _ in 0..95 {
        island.run(1);
        assert!(island.server.node.clients() <= 4, "a name with a key has one session");
    }
    let replaced = |event: &ServerEvent| matches!(event, ServerEvent::Replaced { .. });
    assert!(island.count(replaced) > 20, "{}", island.count(replaced));
    assert!(island.named() > 0 && island.no_good_clock_is_named());
    let holdover =
        |event: &ClientEvent| matches!(event, ClientEvent::Holdover { reason: HoldoverReason::Replaced, .. });
    assert!(island.clients_told[0].iter().any(holdover));
    // The thief is gone. The holder asks again every 30 s (15 s to 45 s).
    island.run(100);
    let at = island.now();
    assert_eq!(island.good[0].read(at).state, ClientState::Synchronized);
    assert_eq!((island.server.node.clients(), island.voters()), (4, 5));
    assert!(island.moved() < NOISE, "{}", island.moved());
}

/// g = 9: the server and eight nodes. Of their keys three, and then four, are stolen: f < g/2.
#[test]
fn fewer_than_half_of_the_keys_move_no_good_clock() {
    for stolen in [3, 4] {
        let mut island = Island::new(keyed(), 8 - stolen);
        let plan = Plan { jump: Some((s(240), s(-10))), ..Plan::default() };
        steal(&mut island, (0..stolen).map(|k| format!("stolen-{k}")), plan);
        island.run(235);
        island.mark_synchronized();
        island.run(100);
        assert!(island.moved() < NOISE, "{stolen}: {}", island.moved());
        assert_eq!((island.named(), island.voters()), (stolen, 9));
        assert!(island.no_good_clock_is_named());
    }
}

/// g = 9, f = 5: the guarantee ends at half of the groups.
#[test]
fn more_than_half_of_the_keys_set_the_time() {
    let mut island = Island::new(keyed(), 3);
    island.may_be_taken_over();
    let plan = Plan { jump: Some((s(240), s(10))), ..Plan::default() };
    steal(&mut island, (0..5).map(|k| format!("stolen-{k}")), plan);
    island.run(235);
    island.mark_synchronized();
    island.run(200);
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
    assert_eq!(island.count(|event| matches!(event, ServerEvent::Deposed { .. })), 1);
    assert_eq!(island.count(|event| matches!(event, ServerEvent::BoundsBroken { .. })), 1);
}

/// The server's file makes any number of names: f is what its thief likes.
#[test]
fn a_stolen_file_of_the_server_makes_any_number_of_groups() {
    let mut island = Island::new(keyed(), 3);
    island.may_be_taken_over();
    let plan = Plan { begin: s(60), jump: Some((s(400), s(10))), ..Plan::default() };
    steal(&mut island, (0..12).map(|k| format!("invented-{k}")), plan);
    island.run(395);
    island.mark_synchronized();
    island.run(200);
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
}

/// A liar that says it has a cluster's time, an hour ahead.
fn an_hour_ahead() -> Plan {
    let state = Some(ClientState::Synchronized);
    Plan { ahead: s(3_600), state, cluster: Some(ClusterId(77)), ..Plan::default() }
}

/// g = 2 at first: the server, and one stolen key in one or many sessions, for five minutes. Then four good
/// nodes: g = 6, f = 1.
#[test]
fn a_stolen_key_that_is_first_at_a_fresh_server_founds_no_time() {
    for sessions in [1, 10] {
        let mut island = Island::new(keyed(), 4);
        steal(&mut island, (0..sessions).map(|_| String::from("stolen")), an_hour_ahead());
        island.start_good_at(s(300));
        island.run(300);
        assert_eq!(island.server.node.cluster(), ClusterId(0), "{sessions}");
        island.run(120);
        let at = island.now();
        for ahead in island.ahead(at) {
            let ahead = ahead.unwrap_or_else(|| panic!("{sessions}: no time at {at}"));
            assert!(ahead.abs() < s(2), "{sessions}: {ahead}");
        }
        assert!(island.named() > 0 && island.no_good_clock_is_named(), "{sessions}: {}", island.named());
    }
}

/// g = 9: the server, five good nodes and three stolen keys, a third of all, from the first moment.
#[test]
fn a_third_of_the_keys_moves_the_first_vote_by_its_share_of_the_radius_at_most() {
    let radius = keyed().radius;
    for state in [None, Some(ClientState::Unsynchronized), Some(ClientState::Synchronized)] {
        for ahead in [s(3_600), s(29), s(-29)] {
            let mut island = Island::new(keyed(), 5);
            let cluster = state.filter(|state| state.has_cluster_time()).map(|_| ClusterId(77));
            let plan = Plan { ahead, state, cluster, ..Plan::default() };
            steal(&mut island, (0..3).map(|k| format!("stolen-{k}")), plan);
            island.run(60);
            let limit = s(2) + radius.scaled(3.0 / 9.0);
            let at = island.now();
            for now in island.ahead(at) {
                let now = now.unwrap_or_else(|| panic!("{state:?}, {ahead}: no time at {at}"));
                assert!(now.abs() <= limit, "{state:?}, {ahead}: {now}");
            }
            let far = ahead.abs() > radius;
            assert!(island.no_good_clock_is_named() && (island.named() == 3 || !far), "{state:?}, {ahead}");
            // From then on they move nothing.
            island.mark_synchronized();
            island.run(30);
            assert!(island.moved() < NOISE, "{state:?}, {ahead}: {}", island.moved());
        }
    }
}

//! Attackers at a server that has no time yet.

use meantime_core::ServerConfig;
use meantime_core::event::{ServerEvent, UndecidedReason};
use meantime_core::time::Span;
use meantime_core::wire::{ClientState, ClusterId};

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

const HOUR: Span = s(3_600);

/// A liar that says it has a cluster's time, an hour ahead.
fn an_hour_ahead(begin: Span) -> Plan {
    let state = Some(ClientState::Synchronized);
    Plan { begin, ahead: HOUR, state, cluster: Some(ClusterId(77)), ..Plan::default() }
}

/// Whether the good clocks have a time, which is one of their own: they are apart by two seconds.
fn have_a_time_of_their_own(island: &mut Island) {
    let at = island.now();
    for ahead in island.ahead(at) {
        let ahead = ahead.unwrap_or_else(|| panic!("no time at {at}"));
        assert!(ahead.abs() < s(2), "{ahead}");
    }
    assert_eq!(island.count(|event| matches!(event, ServerEvent::TimeAdopted { .. })), 0);
}

/// Whether the server says that most clients carry a time which it does not take.
fn undecided(event: &ServerEvent) -> bool {
    matches!(event, ServerEvent::Undecided { reason: UndecidedReason::Carried, .. })
}

/// g = 2 at first: the server, and one address with one or two sessions, for five minutes. Then four honest
/// clients: g = 6, f = 1.
#[test]
fn a_liar_that_is_first_at_a_fresh_server_founds_no_time() {
    for sessions in [1, 2] {
        let mut island = Island::new(ServerConfig::default(), 4);
        (0..sessions).for_each(|_| island.attacker.add("198.51.100.66", an_hour_ahead(s(0))));
        island.start_good_at(s(300));
        island.run(300);
        assert_eq!(island.count(undecided), 1);
        assert_eq!(island.server.node.cluster(), ClusterId(0));
        island.run(60);
        have_a_time_of_their_own(&mut island);
        assert_eq!(island.named(), 1);
    }
}

/// The same when the honest clients were there before: g = 6, f = 1.
#[test]
fn a_liar_that_comes_a_little_later_founds_no_time() {
    for late in [s(1), s(4), s(8), s(60)] {
        let mut island = Island::new(ServerConfig::default(), 4);
        (0..2).for_each(|_| island.attacker.add("198.51.100.66", an_hour_ahead(late)));
        island.run(120);
        have_a_time_of_their_own(&mut island);
        assert!(island.named() == 1 && island.no_good_clock_is_named());
    }
}

/// g = 9: the server and four honest clients; f = 4 from the first moment. They claim to have a time already,
/// or to have none, and to be an hour or almost the radius ahead.
#[test]
fn a_minority_of_groups_moves_the_first_vote_by_its_share_of_the_radius_at_most() {
    let radius = ServerConfig::default().radius;
    for state in [None, Some(ClientState::Unsynchronized), Some(ClientState::Synchronized)] {
        for ahead in [HOUR, s(29), s(-29)] {
            let mut island = Island::new(ServerConfig::default(), 4);
            for k in 0..4 {
                let plan = Plan { ahead, state, ..Plan::default() };
                (0..=k).for_each(|_| island.attacker.add(&format!("198.51.{k}.1"), plan));
            }
            island.run(60);
            let mut limit = s(2) + radius.scaled(4.0 / 9.0);
            if state == Some(ClientState::Synchronized) && ahead.abs() <= radius {
                // Half of the clients carry a time that the others' clocks do not rule out. It is taken
                // after a minute.
                assert!(island.server.node.cluster() == ClusterId(0) && island.count(undecided) == 0);
                island.run(20);
                limit = s(2) + radius;
            }
            let at = island.now();
            for ahead in island.ahead(at) {
                let ahead = ahead.unwrap_or_else(|| panic!("no time at {at}"));
                assert!(ahead.abs() <= limit, "{ahead}");
            }
            if ahead.abs() > radius + s(4) {
                assert_eq!(island.named(), 4, "{state:?}, {ahead}");
                have_a_time_of_their_own(&mut island);
            }
            // From then on they move nothing.
            island.mark_synchronized();
            island.run(30);
            assert!(island.moved() < NOISE, "{}", island.moved());
        }
    }
}

/// The groups that count in a first vote are those that are there: two liars alone with a fresh server are
/// f = 2 of g = 3. Honest clients that come later get their time.
#[test]
fn a_majority_that_is_first_at_a_fresh_server_founds_its_time() {
    let mut island = Island::new(ServerConfig::default(), 4);
    let plan = Plan { ahead: HOUR, ..Plan::default() };
    island.attacker.add("198.51.100.1", plan);
    island.attacker.add("198.51.100.2", plan);
    island.start_good_at(s(60));
    island.run(150);
    let at = island.now();
    for ahead in island.ahead(at) {
        let ahead = ahead.expect("the cluster has a time");
        assert!((ahead - HOUR).abs() < s(2), "{ahead}");
    }
}

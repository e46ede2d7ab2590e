//! Patient attackers: they agree for long, and then leave together; and those that are not patient.

use meantime_core::ServerConfig;
use meantime_core::event::ServerEvent;
use meantime_core::time::Span;

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// An island that has four good clients, and so many bad machines that do this.
fn island(bad: usize, plan: impl Fn(usize) -> Plan) -> Island {
    let mut island = Island::new(ServerConfig::default(), 4);
    (0..bad).for_each(|k| island.attacker.add(&format!("198.51.{k}.1"), plan(k)));
    island
}

/// g = 9: the server and four good clients; f = 4, which agree for so long, and then jump together.
fn jump_together(after: Span) {
    for by in [s(-3_600), Span::from_millis(3)] {
        let mut island = island(4, |_| Plan { jump: Some((after, by)), ..Plan::default() });
        let settled = after.as_nanos() / 1_000_000_000 - 5;
        island.run(settled);
        island.mark_synchronized();
        assert_eq!(island.server.node.clients(), 8);
        island.run(150);
        assert!(island.moved() < NOISE, "{by}: {}", island.moved());
        assert_eq!((island.named(), island.voters()), (4, 9), "{by}");
        assert!(island.no_good_clock_is_named(), "{by}");
    }
}

#[test]
fn four_of_nine_groups_that_jump_together_after_four_minutes_move_nothing() {
    jump_together(s(240));
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn four_of_nine_groups_that_jump_together_after_an_hour_move_nothing() {
    jump_together(s(3_600));
}

/// g = 9, f = 4: one after the other they go a little farther than the one before.
#[test]
fn groups_that_leave_one_after_the_other_move_nothing() {
    let plan = |k: usize| {
        let (at, by) = (s(240 + 20 * k as i64), Span::from_micros(40 << k));
        Plan { jump: Some((at, by)), ..Plan::default() }
    };
    let mut island = island(4, plan);
    island.run(235);
    island.mark_synchronized();
    island.run(300);
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert!(island.named() >= 2 && island.no_good_clock_is_named(), "{}", island.named());
}

/// g = 5 with a vote; 20 newcomers are more than half of all, and jump before they have a vote.
#[test]
fn newcomers_that_jump_in_less_than_two_minutes_have_no_vote() {
    let mut island = island(20, |_| Plan { begin: s(120), jump: Some((s(220), s(10))), ..Plan::default() });
    island.run(118);
    island.mark_synchronized();
    for _ in 0..60 {
        island.run(5);
        assert_eq!(island.voters(), 5);
    }
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert_eq!(island.named(), 20);
    assert!(island.no_good_clock_is_named());
}

/// They are more than the good ones once they have agreed for two minutes: f = 6 of g = 11.
#[test]
fn newcomers_that_agree_for_two_minutes_have_a_vote() {
    let mut island = island(6, |_| Plan { begin: s(120), jump: Some((s(300), s(10))), ..Plan::default() });
    island.run(290);
    island.mark_synchronized();
    assert_eq!(island.server.node.clients(), 10);
    island.run(100);
    assert_eq!(island.count(|event| matches!(event, ServerEvent::Deposed { .. })), 1);
    assert!((island.moved() - s(10)).abs() < Span::from_millis(50), "{}", island.moved());
}

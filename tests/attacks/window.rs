//! Attackers that answer late, to widen the window within which a clock agrees.

use meantime_core::ServerConfig;
use meantime_core::event::ServerEvent;
use meantime_core::time::Span;

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// g = 9: the server, `8 - late - 1` good clients, `late` that answer late by up to 200 ms from minute four
/// to minute nine, and one whose clock jumps by 2 ms at this time.
fn attack(late: usize, jump: Span) -> Island {
    let mut island = Island::new(ServerConfig::default(), 8 - late - 1);
    let answers_late = Plan { late: Some((s(240), Span::from_millis(200))), end: s(540), ..Plan::default() };
    (0..late).for_each(|k| island.attacker.add(&format!("198.51.{k}.1"), answers_late));
    let off = Plan { jump: Some((jump, Span::from_millis(2))), ..Plan::default() };
    island.attacker.add("198.51.100.66", off);
    island.run(235);
    island.mark_synchronized();
    island
}

/// The widest window since the mark.
fn widest(island: &Island) -> Span {
    let window = |event: &ServerEvent| match event {
        ServerEvent::RoundEnded(report) => Some(report.window),
        _ => None,
    };
    island.told.iter().filter_map(window).max().expect("a round has ended")
}

/// The window before the attack. The first round after the mark is before it, too.
fn before(island: &mut Island) -> Span {
    island.run(5);
    widest(island)
}

#[test]
fn late_members_do_not_widen_the_window_and_a_clock_2_ms_off_is_named() {
    for (late, jump) in [(3, s(400)), (3, s(600))] {
        let mut island = attack(late, jump);
        let before = before(&mut island);
        island.run(500);
        let widest = widest(&island);
        assert!(widest <= before.times(2), "{late} late: {before} before, {widest} then");
        let off = "198.51.100.66".parse().expect("an address");
        assert!(island.is_named(off), "{late} late, jumped at {jump}");
        assert!(island.moved() < NOISE, "{late} late: {}", island.moved());
        assert!(island.no_good_clock_is_named());
    }
}

/// f = 4 of g = 9, half of the clients.
#[test]
fn four_late_members_of_nine_do_not_widen_the_window() {
    let mut island = Island::new(ServerConfig::default(), 4);
    let plan = Plan { late: Some((s(240), Span::from_millis(200))), ..Plan::default() };
    (0..4).for_each(|k| island.attacker.add(&format!("198.51.{k}.1"), plan));
    island.run(235);
    island.mark_synchronized();
    let before = before(&mut island);
    island.run(300);
    let widest = widest(&island);
    assert!(widest <= before.times(2), "{before} before, {widest} then");
    assert!(island.moved() < NOISE, "{}", island.moved());
    assert!(island.no_good_clock_is_named());
}

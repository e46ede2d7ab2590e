//! Attackers that answer late, to widen the window within which a clock agrees.

use meantime_core::ServerConfig;
use meantime_core::event::ServerEvent;
use meantime_core::time::Span;

use crate::attacker::Plan;
use crate::island::{Island, NOISE, s};

/// g = 9: the server, good clients, `late` clients that answer so late from minute four to minute nine, and
/// one whose clock jumps by 2 ms at this time.
fn attack(late: usize, by: [Span; 2], jump: Option<Span>) -> Island {
    let others = usize::from(jump.is_some());
    let mut island = Island::new(ServerConfig::default(), 8 - late - others);
    let answers_late = Plan { late: Some((s(240), by)), end: s(540), ..Plan::default() };
    (0..late).for_each(|k| island.attacker.add(&format!("198.51.{k}.1"), answers_late));
    if let Some(jump) = jump {
        let off = Plan { jump: Some((jump, Span::from_millis(2))), ..Plan::default() };
        island.attacker.add(OFF, off);
    }
    island.run(235);
    island.mark_synchronized();
    island.run(5);
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

/// Three that are late by random times, and three that are late by the same time always, which makes their
/// paths noisy. The clock jumps while they are there, or when they have left.
#[test]
fn late_members_do_not_widen_the_window_and_a_clock_2_ms_off_is_named() {
    for late in [RANDOM, ALWAYS] {
        for jump in [s(400), s(600)] {
            let mut island = attack(3, late, Some(jump));
            let before = widest(&island);
            island.run(500);
            let widest = widest(&island);
            assert!(widest <= before.times(2), "{before} before, {widest} then, {late:?} late");
            assert!(island.is_named(OFF.parse().expect("an address")), "jumped at {jump}");
            assert!(island.moved() < NOISE, "{}", island.moved());
            assert!(island.no_good_clock_is_named());
        }
    }
}

/// f = 4 of g = 9, half of the clients.
#[test]
fn four_late_members_of_nine_do_not_widen_the_window() {
    for late in [RANDOM, ALWAYS] {
        let mut island = attack(4, late, None);
        let before = widest(&island);
        island.run(300);
        let widest = widest(&island);
        assert!(widest <= before.times(2), "{before} before, {widest} then, {late:?} late");
        assert!(island.moved() < NOISE, "{}", island.moved());
        assert!(island.named() == 4 && island.no_good_clock_is_named(), "{late:?}: {}", island.named());
    }
}

/// The address of the clock that jumps.
const OFF: &str = "198.51.100.66";
/// How late they answer, at least and at most.
const RANDOM: [Span; 2] = [Span::ZERO, Span::from_millis(200)];
/// No later than a server waits for an answer.
const ALWAYS: [Span; 2] = [Span::from_millis(50); 2];

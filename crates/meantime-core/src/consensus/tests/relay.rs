//! A timekeeper whose time is given from outside.

use super::*;
use crate::relayed_time::ExternalTime;
use crate::wire::RelayedTime;

/// A relay that was given no time yet.
fn relay() -> Story {
    let Story { timekeeper, now, round } = Story::begin();
    let config = TimekeeperConfig { relay: true, ..timekeeper.config };
    Story { timekeeper: Timekeeper::new(config, now), now, round }
}

/// A time that is so far ahead of the oscillator at `at`, and faster by so much.
pub(super) fn given(at: Raw, phase: Span, frequency: Frequency) -> ExternalTime {
    ExternalTime {
        cluster: CLUSTER,
        state: ClientState::Synchronized,
        at,
        phase,
        frequency,
        bound: Some(Span::from_micros(80)),
        bound_until: None,
        growth: Frequency::from_ppm(1.0),
        acceleration: Frequency::from_ppm(0.001),
        error: Span::from_micros(1),
        frequency_error: Frequency::from_ppm(0.01),
        residue: Span::ZERO,
        manual_adjustment: ManualAdjustment::NONE,
    }
}

#[test]
fn a_relay_without_a_time_founds_none_and_corrects_nobody() {
    let mut story = relay();
    for _ in 0..10 {
        let conclusion = story.round(&[new_member(Span::from_millis(1)); 4]);
        assert_eq!(conclusion.report.outcome, Outcome::Listening);
    }
    assert_eq!(story.timekeeper.cluster(), ClusterId(0));
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    assert_eq!(*story.timekeeper.relayed(), RelayedTime::NONE);
    assert!(!story.timekeeper.wants_round_soon(3), "no round makes the time known");
}

#[test]
fn a_relays_time_is_the_given_one_whatever_its_members_say() {
    let (mut story, frequency) = (relay(), Frequency::from_ppm(20.0));
    let begun = story.now;
    let time = given(begun, Span::from_secs(3), frequency);
    assert!(story.timekeeper.set_external_time(begun, Some(time)), "it has time from now on");
    assert!(!story.timekeeper.set_external_time(begun, Some(time)), "it has had it before");
    for _ in 0..40 {
        let conclusion = story.round(&[new_member(Span::from_millis(50)); 4]);
        assert_eq!(conclusion.report.outcome, Outcome::Agreed);
        assert_eq!(story.timekeeper.recipients(), Recipients::All);
        let shown = story.timekeeper.shown(story.now) - Timestamp::from_nanos(story.now.as_nanos());
        assert!((shown - time.phase_at(story.now)).abs() <= Span::from_nanos(2), "{shown}");
    }
    let bound = story.timekeeper.own_bound(story.now).unwrap();
    // A ppm for 200 s, and what the steering of the root and of the relay may add.
    assert!((280..20_000).contains(&(bound.as_nanos() / 1_000)), "{bound}");
    assert_eq!(story.timekeeper.state(), ClientState::Synchronized);
}

#[test]
fn a_change_of_the_given_time_is_told_and_moves_no_scale() {
    let mut story = relay();
    story.timekeeper.set_external_time(story.now, Some(given(story.now, Span::ZERO, Frequency::ZERO)));
    let scale = *story.timekeeper.timescale();
    let change = Span::from_micros(-300);
    story.timekeeper.set_external_time(story.now, Some(given(story.now, change, Frequency::from_ppm(0.1))));
    assert_eq!(*story.timekeeper.timescale(), scale);
    assert_eq!(story.timekeeper.relayed().difference, change);
    assert!((story.timekeeper.relayed().rate.ppm() - 0.1).abs() < 1e-9);
}

#[test]
fn the_scale_is_led_to_the_given_time_and_never_faster_than_it_says() {
    let mut story = relay();
    let begun = story.now;
    story.timekeeper.set_external_time(begun, Some(given(begun, Span::ZERO, Frequency::from_ppm(10.0))));
    // The relay's estimate of its frequency was wrong by 2 ppm.
    let (phase, frequency) = (Span::from_micros(120), Frequency::from_ppm(12.0));
    story.timekeeper.set_external_time(begun, Some(given(begun, phase, frequency)));
    let mut before = story.timekeeper.timescale().frequency();
    for _ in 0..2_000 {
        let most = if story.timekeeper.is_brisk() { 100e-9 } else { 1e-9 } * 5.0;
        story.round(&[]);
        let after = story.timekeeper.timescale().frequency();
        assert!((after - before).ratio().abs() <= most + 1e-12, "{}", (after - before).ppb());
        before = after;
    }
    let left = story.timekeeper.relayed().difference_at(story.timekeeper.timescale().estimate(story.now));
    assert!(left.abs() < Span::from_micros(5), "{left}");
    assert!((before - frequency).ppb().abs() < 10.0);
    assert!(!story.timekeeper.is_brisk());
}

#[test]
fn manual_adjustments_are_counted_by_the_relay_itself() {
    let mut story = relay();
    let made = |number, before, amount| ManualAdjustment {
        cluster: CLUSTER,
        number,
        before: Span::from_secs(before),
        amount: Span::from_secs(amount),
        start: Timestamp::from_nanos(story.now.as_nanos()) - HOUR,
        step: true,
    };
    let now = story.now;
    let time =
        |manual_adjustment| ExternalTime { manual_adjustment, ..given(now, Span::ZERO, Frequency::ZERO) };
    let number = |story: &Story| story.timekeeper.manual_adjustment().number;
    let steps = [(made(3, 0, 5), 1), (made(3, 0, 5), 1), (made(1, 0, 5), 1), (made(2, 5, -1), 2)];
    for (adjustment, expected) in steps {
        story.timekeeper.set_external_time(now, Some(time(adjustment)));
        assert_eq!(number(&story), expected, "{adjustment:?}");
    }
    assert_eq!(
        story.timekeeper.set_time(now, Span::from_secs(1), Adjustment::Step, Span::ZERO),
        Err(SetTimeError::Relay)
    );
}

#[test]
fn an_adjustment_that_the_server_above_overrules_is_followed_by_one_that_adds_nothing() {
    let mut story = relay();
    let now = story.now;
    let (before, amount) = (Span::from_secs(2), Span::from_secs(5));
    let start = Timestamp::from_nanos(now.as_nanos()) - HOUR;
    let made = ManualAdjustment { cluster: CLUSTER, number: 3, before, amount, start, step: true };
    for (manual_adjustment, number) in [(made, 1), (ManualAdjustment::NONE, 2), (ManualAdjustment::NONE, 2)] {
        let time = ExternalTime { manual_adjustment, ..given(now, Span::ZERO, Frequency::ZERO) };
        story.timekeeper.set_external_time(now, Some(time));
        assert_eq!(story.timekeeper.manual_adjustment().number, number);
    }
    let (shown, base) = (story.timekeeper.shown(now), story.timekeeper.base_time(now));
    assert_eq!(shown, base);
    assert_eq!(story.timekeeper.manual_adjustment().start, start, "clients refuse one of 1970");
}

#[test]
fn a_relay_whose_time_is_not_known_any_more_corrects_nobody() {
    let mut story = relay();
    story.timekeeper.set_external_time(story.now, Some(given(story.now, Span::ZERO, Frequency::ZERO)));
    story.round(&[]);
    story.timekeeper.set_external_time(story.now, None);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    assert_eq!(
        (story.timekeeper.state(), story.timekeeper.own_bound(story.now)),
        (ClientState::Holdover, None)
    );
    assert!(story.timekeeper.undecided().is_none(), "it has no time to decide");
    assert!(
        story.timekeeper.set_external_time(story.now, Some(given(story.now, Span::ZERO, Frequency::ZERO)))
    );
}

#[test]
fn a_relay_that_slept_has_no_line_and_then_a_scale_that_begins_at_the_given_time() {
    let mut story = relay();
    story
        .timekeeper
        .set_external_time(story.now, Some(given(story.now, Span::ZERO, Frequency::from_ppm(3.0))));
    (0..300).for_each(|_| drop(story.round(&[])));
    let moved = given(story.now, Span::from_micros(40), Frequency::from_ppm(3.5));
    story.timekeeper.set_external_time(story.now, Some(moved));
    assert!(!story.timekeeper.is_brisk());
    let shown = story.timekeeper.base_time(story.now);
    story.timekeeper.wake_up(story.now, Span::from_secs(60), Weight::ZERO);
    assert_eq!(story.timekeeper.base_time(story.now) - shown, Span::from_secs(60));
    assert_eq!(*story.timekeeper.relayed(), RelayedTime::NONE);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    let time = given(story.now, Span::from_secs(61), Frequency::from_ppm(4.0));
    assert!(story.timekeeper.set_external_time(story.now, Some(time)));
    let relayed = story.timekeeper.relayed();
    assert_eq!((relayed.difference, relayed.rate), (Span::ZERO, Frequency::ZERO));
    assert!(story.timekeeper.is_brisk(), "its frequency is learned anew");
}

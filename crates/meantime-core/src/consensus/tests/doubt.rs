//! A server whose own clock the clients contradict.

use super::*;

#[test]
fn clients_do_not_follow_a_server_that_has_jumped_while_newcomers_keep_it_from_being_deposed() {
    for jump_ms in [1, 20, 60, 99, 400] {
        let mut story = Story::steady(3);
        let phase = story.timekeeper.timescale.phase_at(story.now);
        let rate = story.timekeeper.timescale.frequency();
        let jumped = phase + Span::from_millis(jump_ms);
        story.timekeeper.timescale.set(story.now, jumped, rate, Adjustment::Step);
        let mut clients = vec![member(phase); 3];
        clients.extend(vec![new_member(phase); 3]);
        for round in 0..80 {
            story.round(&clients);
            let off = (story.timekeeper.timescale.phase_at(story.now) - phase).abs();
            let corrects = story.timekeeper.recipients() == Recipients::All;
            assert!(!corrects || off < Span::from_millis(1), "{jump_ms} ms, round {round}: {off}");
        }
        assert!(story.timekeeper.cluster() == CLUSTER && !story.timekeeper.is_relay());
    }
}

#[test]
fn doubt_that_newcomers_keep_from_being_decided_ends() {
    for newcomers in [2, 3, 6] {
        let mut story = Story::steady(3);
        // The clients are where they were; the server's clock has jumped.
        let phase = story.timekeeper.timescale.phase_at(story.now);
        let rate = story.timekeeper.timescale.frequency();
        story.timekeeper.timescale.set(story.now, phase + SECOND, rate, Adjustment::Step);
        let mut clients = vec![member(phase); 3];
        clients.extend(vec![new_member(phase); newcomers]);
        let first = story.round(&clients);
        assert_eq!(first.report.outcome, Outcome::ServerInDoubt);
        let mut told = Vec::new();
        for _ in 0..80 {
            told.extend(story.round(&clients).transition);
            // A following server corrects the newcomers.
            if told == [PhaseTransition::Adopted] {
                clients.fill(member(phase));
            }
        }
        assert_eq!(told, [PhaseTransition::Adopted, PhaseTransition::Resumed], "{newcomers} newcomers");
        let off = story.timekeeper.timescale.phase_at(story.now) - phase;
        assert!(off.abs() < Span::from_millis(1), "{newcomers} newcomers: {off}");
    }
}

/// One round of clients at this phase, and a last one on a path that takes longer by twice `excess` one way.
fn round_with_a_slow_path(story: &mut Story, phase: Span, excess: Span) -> Conclusion {
    story.round += 1;
    story.now += SECOND.times(5);
    let mut readings = [member(phase); 3].map(|client| client.reading_at(story.now));
    readings[2].reading = readings[2].reading.map(|it| PhaseReading { excess, ..it });
    conclude(story, &readings)
}

#[test]
fn clients_do_not_follow_a_server_that_has_jumped_while_one_of_them_cannot_tell() {
    let mut story = Story::steady(3);
    let phase = story.timekeeper.timescale.phase_at(story.now);
    let rate = story.timekeeper.timescale.frequency();
    story.timekeeper.timescale.set(story.now, phase + Span::from_millis(5), rate, Adjustment::Step);
    let mut told = Vec::new();
    for round in 0..80 {
        told.extend(round_with_a_slow_path(&mut story, phase, Span::from_millis(6)).transition);
        let off = (story.timekeeper.timescale.phase_at(story.now) - phase).abs();
        let corrects = story.timekeeper.recipients() != Recipients::None;
        assert!(!corrects || off < Span::from_millis(1), "round {round}: {off}");
        let states_bound = story.timekeeper.own_bound(story.now).is_some();
        assert!(!states_bound || off < Span::from_millis(1), "round {round}: {off}");
    }
    assert_eq!(told, [PhaseTransition::Adopted, PhaseTransition::Resumed]);
}

#[test]
fn one_round_of_doubt_does_not_end_that_a_server_carries_on() {
    let mut story = Story::steady(3);
    let phase = story.timekeeper.timescale.phase_at(story.now);
    // No two agree.
    let scattered = [member(phase + SECOND), member(phase - SECOND), member(phase + HOUR)];
    for _ in 0..40 {
        story.round(&scattered);
    }
    assert!(story.timekeeper.carries_on());
    story.round(&[member(phase + SECOND); 3]);
    assert!(story.timekeeper.doubted > 0);
    for _ in 0..40 {
        story.round(&scattered);
    }
    assert_eq!((story.timekeeper.phase, story.timekeeper.doubted), (Phase::Steady, 0));
}

#[test]
fn two_bad_groups_of_five_do_not_make_a_server_doubt_itself_beside_slow_paths() {
    let mut story = Story::steady(4);
    let phase = story.timekeeper.timescale.phase_at(story.now);
    let lie = Span::from_millis(3);
    for _ in 0..80 {
        story.round += 1;
        story.now += SECOND.times(5);
        // A path takes longer one way, and one both ways.
        let now = story.now;
        let slow = |off| {
            let reading = member(phase + off).reading_at(now);
            MemberReading { reading: reading.reading.map(|it| PhaseReading { excess: lie, ..it }), ..reading }
        };
        let bad = member(phase + lie).reading_at(now);
        let end = conclude(&mut story, &[slow(lie), slow(Span::ZERO), bad, bad]);
        assert!(end.transition.is_none() && end.report.outcome != Outcome::ServerInDoubt);
    }
    assert_eq!(story.timekeeper.timescale.phase_at(story.now), phase);
}

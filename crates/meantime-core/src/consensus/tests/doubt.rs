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

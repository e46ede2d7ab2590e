//! A server that has kept its time over a restart, exactly, among clients that do not support it.

use super::*;

/// A server that has kept the time of `CLUSTER` to a millisecond.
fn keeper() -> Story {
    let mut story = Story::with_prior(Some((Frequency::ZERO, Frequency::from_ppm(0.1))));
    story.timekeeper.kept = Some(kept_time(CLUSTER, Span::from_millis(1)));
    story
}

/// The transitions in so many rounds.
fn transitions(story: &mut Story, rounds: u32, clients: &[TestClient]) -> Vec<PhaseTransition> {
    (0..rounds).filter_map(|_| story.round(clients).transition).collect()
}

#[test]
fn the_clusters_time_goes_on_with_newcomers_if_the_carriers_come_late() {
    let mut story = keeper();
    let newcomers = [new_member(SECOND.times(20)); 2];
    assert_eq!(transitions(&mut story, 6, &newcomers), [PhaseTransition::Agreed]);
    assert_eq!(story.timekeeper.cluster(), CLUSTER);
    assert_eq!(story.timekeeper.shown_phase(story.now), Span::ZERO);
    // The good carriers find their own time.
    let clients = [member(Span::ZERO); 3];
    for _ in 0..30 {
        assert_eq!(story.round(&clients).report.outcome, Outcome::Agreed);
    }
}

#[test]
fn a_manual_adjustment_goes_on_with_the_kept_time() {
    let mut story = Story::begin();
    let start = Timestamp::from_nanos(story.now.as_nanos()) - HOUR;
    let (amount, before) = (SECOND, Span::ZERO);
    let manual_adjustment =
        ManualAdjustment { cluster: CLUSTER, number: 1, before, amount, start, step: true };
    story.timekeeper.kept =
        Some(KeptTime { cluster: CLUSTER, error: Span::from_millis(1), manual_adjustment });
    let before = story.timekeeper.shown(story.now);
    let began = story.now;
    assert_eq!(transitions(&mut story, 6, &[new_member(SECOND); 2]), [PhaseTransition::Agreed]);
    assert_eq!(story.timekeeper.shown(story.now) - before, story.now - began);
    assert_eq!(*story.timekeeper.manual_adjustment(), manual_adjustment);
}

#[test]
fn newcomers_elsewhere_outvote_a_kept_time() {
    let mut story = keeper();
    // The carriers may be late.
    assert_eq!(transitions(&mut story, 12, &[new_member(HOUR); 3]), []);
    assert_eq!(transitions(&mut story, 1, &[new_member(HOUR); 3]), [PhaseTransition::Agreed]);
    assert_eq!(story.timekeeper.cluster(), FRESH);
}

#[test]
fn nobody_consents_to_a_carrier_that_a_kept_time_contradicts() {
    for (newcomers, apart) in [(0, 29), (2, 29), (4, 29), (2, 5)] {
        let mut story = keeper();
        let mut clients = vec![new_member(Span::ZERO); newcomers];
        clients.push(member(SECOND.times(apart)));
        let told = transitions(&mut story, 40, &clients);
        assert!(!told.contains(&PhaseTransition::Adopted), "{newcomers} newcomers, {apart} s: {told:?}");
        assert!(story.timekeeper.shown_phase(story.now).abs() < SECOND);
        // The good clients were late.
        clients.extend([member(Span::ZERO); 3]);
        transitions(&mut story, 60, &clients);
        let moved = story.timekeeper.shown_phase(story.now).abs();
        assert!(moved < Span::from_millis(1), "{newcomers} newcomers, {apart} s: {moved}");
    }
}

#[test]
fn a_carrier_that_is_far_off_takes_the_kept_time_from_no_server() {
    let mut story = keeper();
    let mut clients = vec![new_member(SECOND.times(20)); 2];
    clients.push(member(HOUR));
    let told = transitions(&mut story, 20, &clients);
    assert_eq!(told, [PhaseTransition::Agreed]);
    assert_eq!((story.timekeeper.cluster(), story.timekeeper.shown_phase(story.now)), (CLUSTER, Span::ZERO));
}

#[test]
fn a_kept_time_that_goes_on_is_no_agreement_of_the_newcomers() {
    let mut story = keeper();
    let ends: Vec<Conclusion> = (0..6).map(|_| story.round(&[new_member(SECOND); 2])).collect();
    let agreed = ends.iter().find(|end| end.transition.is_some()).expect("it goes on");
    assert!(!agreed.gives_votes && agreed.judgements.iter().all(|it| it.is_some_and(|it| it.agrees)));
    let mut fresh = Story::begin();
    assert!(fresh.round(&[new_member(SECOND); 2]).gives_votes);
}

#[test]
fn a_single_carrier_within_the_radius_does_not_keep_a_kept_time_from_going_on() {
    for newcomers in 1..5 {
        let mut story = keeper();
        let mut clients = vec![new_member(Span::ZERO); newcomers];
        clients.push(member(SECOND.times(29)));
        let told = transitions(&mut story, 14, &clients);
        assert_eq!(told.last(), Some(&PhaseTransition::Agreed), "{newcomers} newcomers");
        assert_eq!(
            (story.timekeeper.cluster(), story.timekeeper.shown_phase(story.now)),
            (CLUSTER, Span::ZERO)
        );
    }
}

#[test]
fn two_carriers_of_three_are_no_majority_against_a_kept_time_and_the_third() {
    let mut story = keeper();
    let far = SECOND.times(40);
    let mut clients = vec![member(Span::ZERO), member(far), member(far)];
    clients.extend([new_member(far); 3]);
    let told = transitions(&mut story, 60, &clients);
    assert!(!told.contains(&PhaseTransition::Adopted), "{told:?}");
    assert_eq!(story.timekeeper.shown_phase(story.now), Span::ZERO);
}

#[test]
fn a_kept_time_is_known_less_well_after_a_while() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(kept_time(CLUSTER, Span::from_millis(1)));
    assert!(story.timekeeper.exactly_kept(story.now).is_some());
    transitions(&mut story, 60, &[]);
    let kept = story.timekeeper.kept_now(story.now).expect("it is kept");
    assert_eq!(kept.error, Span::from_millis(1 + 90));
    assert_eq!(story.timekeeper.exactly_kept(story.now), None);
}

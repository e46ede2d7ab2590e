//! Adoption: servers that restart, or whose machine has slept, among clients that carry a time.

use super::*;
use crate::event::UndecidedReason;

#[test]
fn a_restarted_server_adopts_its_members_time_whatever_its_own_clock_shows() {
    let mut story = Story::begin();
    let carriers = [0, 4, 8].map(|us| member(HOUR + Span::from_micros(us)));
    let clients = [carriers[0], carriers[1], carriers[2], new_member(Span::ZERO)];
    assert_eq!(story.round(&clients).report.outcome, Outcome::Listening);
    let end = story.round(&clients);
    assert_eq!(end.transition, Some(PhaseTransition::Adopted));
    assert!((end.correction.span() - HOUR).abs() < Span::from_micros(10));
    assert_eq!(story.timekeeper.cluster(), ClusterId(5));
    assert_eq!(story.timekeeper.recipients(), Recipients::Joining);
}

#[test]
fn what_an_adoption_adds_to_the_shown_time_includes_the_manual_adjustment() {
    let start = PLAUSIBLE_FROM;
    let before = ManualAdjustment { start, before: HOUR, ..ManualAdjustment::NONE };
    let adjustment = ManualAdjustment { cluster: ClusterId(5), number: 1, ..before };
    let mut story = Story::begin();
    for (round, transition) in [(1, None), (2, Some(PhaseTransition::Adopted))] {
        story.now += SECOND.times(5);
        let carrier = |us: i64| MemberReading {
            manual_adjustment: Some(&adjustment),
            ..member(SECOND - HOUR + Span::from_micros(us)).reading_at(story.now)
        };
        let clients = [carrier(0), carrier(4), carrier(8)];
        let shown = story.timekeeper.shown(story.now);
        let end = story.timekeeper.conclude(round, story.now, electorate(&clients), FRESH);
        assert_eq!(end.transition, transition);
        assert_eq!(end.added.span(), story.timekeeper.shown(story.now) - shown);
        let by = if transition.is_some() { SECOND } else { Span::ZERO };
        assert!((end.added.span() - by).abs() < Span::from_micros(10), "{:?}", end.added);
    }
}

#[test]
fn a_time_without_a_cluster_id_is_adopted_too() {
    let mut story = Story::begin();
    let member_readings = |now: Raw| -> Vec<MemberReading> {
        let nameless = |member_reading: MemberReading<'static>| MemberReading {
            cluster: ClusterId(0),
            ..member_reading
        };
        [HOUR, HOUR + Span::from_micros(8)].map(|phase| nameless(member(phase).reading_at(now))).to_vec()
    };
    for (round, transition) in [(1, None), (2, Some(PhaseTransition::Adopted))] {
        story.now += SECOND.times(5);
        let end = story.timekeeper.conclude(round, story.now, electorate(&member_readings(story.now)), FRESH);
        assert_eq!(end.transition, transition);
    }
    assert_eq!(
        (story.timekeeper.cluster(), *story.timekeeper.manual_adjustment()),
        (FRESH, ManualAdjustment::NONE)
    );
}

#[test]
fn the_time_of_one_client_among_three_is_not_adopted() {
    let mut story = Story::begin();
    let clients = [member(HOUR), new_member(Span::ZERO), new_member(SECOND)];
    // Others that carry the time may still be on their way.
    assert_eq!([1, 2].map(|_| story.round(&clients).transition), [None, None]);
    let end = story.round(&clients);
    assert_eq!(end.transition, Some(PhaseTransition::Agreed));
    assert_eq!(end.judgements[0].and_then(|judgement| judgement.exclusion), Some(Exclusion::OutsideWindow));
}

/// The transition of the last of so many rounds, if there was none before.
fn only_transition(story: &mut Story, rounds: u32, clients: &[TestClient]) -> Option<PhaseTransition> {
    for _ in 1..rounds {
        assert_eq!(story.round(clients).transition, None, "round {}", story.round);
    }
    story.round(clients).transition
}

#[test]
fn one_client_that_claims_to_carry_a_time_founds_none() {
    let mut story = Story::begin();
    let liar = member(HOUR);
    assert_eq!(only_transition(&mut story, 13, &[liar]), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 100, &[liar]), None);
    // Two honest clients arrive: the first vote waits for more, and leaves the liar out.
    let clients = [liar, new_member(SECOND), new_member(SECOND.times(2))];
    assert_eq!([0, 1].map(|_| story.round(&clients).transition), [None, None]);
    let end = story.round(&clients);
    assert_eq!(end.transition, Some(PhaseTransition::Agreed));
    assert_eq!(end.correction.span(), SECOND);
    assert_eq!(end.judgements[0].and_then(|judgement| judgement.exclusion), Some(Exclusion::OutsideWindow));
}

#[test]
fn the_time_of_a_single_client_is_adopted_after_a_minute_if_the_servers_clock_is_near() {
    let mut story = Story::begin();
    let client = member(SECOND.times(20));
    assert_eq!(only_transition(&mut story, 13, &[client]), Some(PhaseTransition::Adopted));
    assert_eq!(story.timekeeper.cluster(), ClusterId(5));
}

#[test]
fn a_server_that_has_kept_the_time_adopts_it_from_a_single_client_at_once() {
    for (error, at, adopted) in [
        (Span::from_millis(1), Span::from_millis(40), true),
        (Span::from_millis(1), SECOND, false),
        (SECOND.times(2), SECOND, true),
    ] {
        let mut story = Story::begin();
        story.timekeeper.kept = Some(kept_time(ClusterId(5), error));
        story.round(&[member(at)]);
        let transition = story.round(&[member(at)]).transition;
        assert_eq!(transition == Some(PhaseTransition::Adopted), adopted, "{error} {at}");
    }
}

#[test]
fn between_three_and_three_carriers_there_is_no_first_vote_and_a_kept_time_decides() {
    let (good, bad) = (member(Span::ZERO), member(Span::from_millis(1_690)));
    let clients = [good, bad, good, bad, good, bad];
    let mut story = Story::begin();
    assert_eq!(only_transition(&mut story, 13, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 100, &clients), None);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);

    let mut story = Story::begin();
    let error = Span::from_millis(1);
    story.timekeeper.kept = Some(kept_time(ClusterId(5), error));
    story.round(&clients);
    let end = story.round(&clients);
    assert_eq!(end.transition, Some(PhaseTransition::Adopted));
    let agree: Vec<bool> = end.judgements.iter().map(|it| it.is_some_and(|it| it.agrees)).collect();
    assert_eq!(agree, [true, false, true, false, true, false]);
}

#[test]
fn carriers_that_have_drifted_apart_are_brought_together_amid_their_times() {
    for (times_ms, expected) in [
        (vec![0, 100, 200, 300, 400], Some(200)),
        (vec![0, 100, 200, 90_000, 400], Some(200)),
        (vec![0, 0, 0, 1_690, 1_690, 1_690], None),
        (vec![0, 100, 120, 400], Some(110)),
        (vec![0, 100, 100, 200, 300, 300], Some(150)),
        (vec![0, 10, 150, 160], Some(80)),
        (vec![0, 0, 400, 400], None),
        (vec![0, 200, 400], Some(200)),
        (vec![0, 200], None),
    ] {
        let mut story = Story::begin();
        // So the server's own clock consents to nothing.
        story.timekeeper.timescale.set(story.now, HOUR, Frequency::ZERO, Adjustment::Step);
        let clients: Vec<TestClient> = times_ms.iter().map(|ms| member(Span::from_millis(*ms))).collect();
        let transitions: Vec<_> = (0..14).filter_map(|_| story.round(&clients).transition).collect();
        let adopted = transitions.contains(&PhaseTransition::Adopted);
        let phase = story.timekeeper.timescale.phase_at(story.now);
        assert_eq!(adopted.then_some(phase.as_nanos() / 1_000_000), expected, "{times_ms:?} {transitions:?}");
    }
}

#[test]
fn machines_that_start_in_1970_do_not_outvote_those_that_carry_the_time() {
    let mut story = Story::begin();
    let since_1970 = Span::from_nanos(story.now.as_nanos());
    story.timekeeper.timescale.set(story.now, -since_1970, Frequency::ZERO, Adjustment::Step);
    let lost = new_member(-since_1970);
    let clients = [member(HOUR), member(HOUR), member(HOUR), lost, lost];
    assert_eq!(only_transition(&mut story, 2, &clients), Some(PhaseTransition::Adopted));
}

#[test]
fn a_server_that_slept_keeps_its_cluster_id() {
    let mut story = Story::steady(3);
    story.timekeeper.wake_up(story.now, SECOND, Weight::ZERO);
    for _ in 0..3 {
        story.round += 1;
        story.now += SECOND.times(5);
        // One of them had registered from another cluster, the others as newcomers.
        let mut member_readings: Vec<MemberReading> =
            story.agreeing(3).iter().map(|client| client.reading_at(story.now)).collect();
        member_readings[0].cluster = ClusterId(9);
        member_readings[1..].iter_mut().for_each(|member_reading| member_reading.cluster = ClusterId(0));
        story.timekeeper.conclude(story.round, story.now, electorate(&member_readings), ClusterId(99));
    }
    assert_eq!((story.timekeeper.phase, story.timekeeper.cluster()), (Phase::Following(23), CLUSTER));
}

#[test]
fn half_of_the_carriers_cannot_bring_a_manual_adjustment_of_their_own() {
    let forged = ManualAdjustment {
        cluster: ClusterId(5),
        number: 1,
        before: Span::ZERO,
        amount: HOUR,
        start: PLAUSIBLE_FROM + Span::from_secs(86_400 + 300),
        step: true,
    };
    for (is_kept, adopted) in [(false, false), (true, true)] {
        let mut story = Story::begin();
        story.timekeeper.kept = is_kept.then_some(kept_time(ClusterId(5), Span::from_millis(1)));
        let mut last = None;
        for _ in 0..3 {
            story.now += SECOND.times(5);
            let reading = |index: usize| {
                let reading = member(Span::ZERO).reading_at(story.now);
                let adjustment = if index < 3 { &ManualAdjustment::NONE } else { &forged };
                MemberReading { manual_adjustment: Some(adjustment), has_vote: false, ..reading }
            };
            let readings: Vec<MemberReading<'_>> = (0..6).map(reading).collect();
            last = conclude(&mut story, &readings).transition.or(last);
        }
        assert_eq!(last == Some(PhaseTransition::Adopted), adopted);
        assert_eq!(*story.timekeeper.manual_adjustment(), ManualAdjustment::NONE);
    }
}

/// The transition of the second round of a server that has kept the time of cluster 5 or nothing, among three
/// good carriers of that and three bad ones, all of which show the same.
fn among_two_adjustments(
    kept: Option<Span>,
    good: &ManualAdjustment,
    bad: (ClusterId, &ManualAdjustment),
) -> (Option<PhaseTransition>, Story) {
    let mut story = Story::begin();
    if let Some(shown) = kept {
        story.timekeeper.kept =
            Some(KeptTime { manual_adjustment: *good, ..kept_time(CLUSTER, Span::from_millis(1)) });
        story.timekeeper.timescale.set(story.now, shown, Frequency::ZERO, Adjustment::Step);
    }
    let mut transition = None;
    for _ in 0..2 {
        story.now += SECOND.times(5);
        let readings: Vec<MemberReading<'_>> = (0..6)
            .map(|index| {
                let reading = member(Span::ZERO).reading_at(story.now);
                let (cluster, adjustment) = if index < 3 { (ClusterId(5), good) } else { bad };
                MemberReading { cluster, manual_adjustment: Some(adjustment), has_vote: false, ..reading }
            })
            .collect();
        transition = conclude(&mut story, &readings).transition;
    }
    (transition, story)
}

#[test]
fn half_of_the_carriers_bring_no_adjustment_by_naming_another_cluster() {
    let forged =
        ManualAdjustment { cluster: ClusterId(99), number: 1, before: HOUR, ..ManualAdjustment::NONE };
    let (transition, story) = among_two_adjustments(None, &ManualAdjustment::NONE, (ClusterId(99), &forged));
    assert_eq!((transition, story.timekeeper.cluster()), (None, ClusterId(0)));
}

#[test]
fn a_kept_time_does_not_decide_for_an_adjustment_that_is_still_to_come() {
    let start = PLAUSIBLE_FROM + Span::from_secs(86_400);
    let (cluster, step) = (ClusterId(5), true);
    let two = SECOND.times(2);
    let good =
        ManualAdjustment { cluster, number: 3, before: SECOND, amount: SECOND, start: start - HOUR, step };
    let forged =
        ManualAdjustment { cluster, number: 1, before: two, amount: HOUR, start: start + HOUR, step };
    let (transition, story) = among_two_adjustments(Some(two), &good, (cluster, &forged));
    assert_eq!(transition, Some(PhaseTransition::Adopted));
    assert_eq!(story.timekeeper.manual_adjustment, good);
}

#[test]
fn an_implausible_clock_of_the_server_does_not_make_a_half_of_three_bad_carriers() {
    let mut story = Story::begin();
    story.timekeeper.timescale.set(story.now, -HOUR.times(24 * 365), Frequency::ZERO, Adjustment::Step);
    let (good, bad) = (member(Span::ZERO), member(-HOUR));
    let clients = [good, bad, good, bad, good, bad];
    assert_eq!(only_transition(&mut story, 13, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 20, &clients), None);
}

#[test]
fn clients_without_a_time_do_not_take_it_from_as_many_that_carry_one() {
    let (good, fresh) = (member(Span::ZERO), new_member(SECOND.times(29)));
    let clients = [good, good, fresh, fresh];
    for is_kept in [false, true] {
        let mut story = Story::begin();
        story.timekeeper.kept = is_kept.then_some(kept_time(ClusterId(5), Span::from_millis(1)));
        let transitions: Vec<_> = (0..20).filter_map(|_| story.round(&clients).transition).collect();
        assert_eq!(transitions, [PhaseTransition::Adopted]);
        assert!(story.timekeeper.timescale.phase_at(story.now).abs() < Span::from_millis(1));
    }
}

#[test]
fn carriers_of_which_no_two_agree_are_no_reason_to_wait_for_longer_than_a_minute() {
    let (near, far) = (member(SECOND.times(2)), member(HOUR));
    let clients = [near, far, new_member(SECOND)];
    let mut story = Story::begin();
    assert_eq!(only_transition(&mut story, 13, &clients), Some(PhaseTransition::Agreed));
    assert_eq!(story.timekeeper.timescale.phase_at(story.now), SECOND);
    // Two that agree are.
    let mut story = Story::begin();
    let clients = [near, near, far, far, new_member(SECOND), new_member(SECOND)];
    assert_eq!(only_transition(&mut story, 13, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 50, &clients), None);
}

#[test]
fn a_server_keeps_its_cluster_whatever_other_ones_its_members_name() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(kept_time(ClusterId(5), Span::from_millis(1)));
    for round in 1..3 {
        story.now += SECOND.times(5);
        let reading = |index: usize| {
            let bad = index % 2 == 1;
            let reading = member(if bad { SECOND } else { Span::ZERO }).reading_at(story.now);
            let cluster = if bad { ClusterId(99) } else { ClusterId(5) };
            MemberReading { cluster, has_vote: false, ..reading }
        };
        let readings: Vec<MemberReading<'_>> = (0..6).map(reading).collect();
        let end = conclude(&mut story, &readings);
        assert_eq!(end.transition == Some(PhaseTransition::Adopted), round == 2);
    }
    assert_eq!(story.timekeeper.cluster(), ClusterId(5));
}

#[test]
fn a_server_that_has_kept_the_time_of_another_cluster_adopts_that_of_its_only_client_if_it_is_the_same() {
    for (apart, error, adopts) in [(20, 1, true), (3_000, 1, false), (3_000, 60, true)] {
        let mut story = Story::begin();
        story.timekeeper.kept = Some(kept_time(ClusterId(4), Span::from_millis(error)));
        let client = member(Span::from_millis(apart));
        let transitions: Vec<_> = (0..20).filter_map(|_| story.round(&[client]).transition).collect();
        assert_eq!(
            transitions.contains(&PhaseTransition::Adopted),
            adopts,
            "{apart}, {error}: {transitions:?}"
        );
    }
}

#[test]
fn a_server_that_slept_among_divided_members_says_so_and_can_be_told_the_time() {
    let mut story = Story::steady(4);
    story.timekeeper.wake_up(story.now, HOUR, Weight::ZERO);
    let clients = [Span::ZERO, Span::ZERO, SECOND, SECOND].map(member);
    for rounds in (1..=12).rev() {
        assert_eq!(story.round(&clients).transition, None);
        assert_eq!(story.timekeeper.undecided(), Some(UndecidedReason::WaitingForCarriers));
        assert_eq!(story.timekeeper.waits_rounds(), Some(rounds));
    }
    assert_eq!(story.round(&clients).transition, Some(PhaseTransition::Undecided));
    assert_eq!(story.timekeeper.undecided(), Some(UndecidedReason::Carried));
    assert_eq!(story.timekeeper.waits_rounds(), None);
    let time = PLAUSIBLE_FROM + Span::from_secs(86_400 * 2);
    assert!(story.timekeeper.found(story.now, time, ClusterId(8)).is_ok());
    assert_eq!((story.timekeeper.phase, story.timekeeper.undecided()), (Phase::Steady, None));
}

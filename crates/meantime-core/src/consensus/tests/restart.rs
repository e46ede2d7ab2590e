//! A server that restarts among bad clients that choose the moment, what they say, and when they are silent.

use super::participant::{self, Participant, node};
use super::*;
use crate::event::UndecidedReason;

/// A good or bad client that carries the cluster's time, this far from the good ones'.
fn carrier(phase: Span) -> Participant {
    node(phase, true, 0)
}

fn newcomer(phase: Span) -> Participant {
    node(phase, false, 0)
}

/// One round, `after` the one before.
fn conclude(story: &mut Story, after: Span, nodes: &mut [Participant]) -> Conclusion {
    story.round += 1;
    story.now += after;
    let readings: Vec<MemberReading<'_>> =
        nodes.iter().map(|node| node.reading(story.round, story.now)).collect();
    let end = story.timekeeper.conclude(story.round, story.now, electorate(&readings), FRESH);
    for (node, judgement) in nodes.iter_mut().zip(&end.judgements) {
        if let Some(judgement) = judgement {
            node.judge(*judgement, &end);
        }
    }
    end
}

/// One round, as soon as the timekeeper wants it.
fn round(story: &mut Story, nodes: &mut [Participant]) -> Conclusion {
    let after = if story.timekeeper.wants_round_soon(0) { SECOND } else { SECOND.times(5) };
    conclude(story, after, nodes)
}

/// The time of the cluster as it is shown, minus the server's oscillator.
fn shown(story: &Story) -> Span {
    story.timekeeper.shown(story.now) - Timestamp::from_nanos(story.now.as_nanos())
}

/// A step of an hour that is over.
fn step() -> ManualAdjustment {
    let start = PLAUSIBLE_FROM + SECOND;
    let (before, amount) = (Span::ZERO, HOUR);
    ManualAdjustment { cluster: CLUSTER, number: 2, before, amount, start, step: true }
}

#[test]
fn a_forged_adjustment_does_not_replace_the_one_that_was_kept() {
    let older = ManualAdjustment { number: 1, before: -HOUR, amount: Span::from_nanos(1), ..step() };
    for forged in [ManualAdjustment::NONE, older, ManualAdjustment { number: 3, before: HOUR, ..older }] {
        let mut story = Story::begin();
        let manual_adjustment = step();
        story.timekeeper.kept =
            Some(KeptTime { manual_adjustment, ..kept_time(CLUSTER, Span::from_millis(1)) });
        story.timekeeper.timescale.set(story.now, HOUR, Frequency::ZERO, Adjustment::Step);
        let good = Participant { adjustment: step(), ..carrier(Span::ZERO) };
        let forged_total = forged.before + forged.amount;
        let bad = Participant { adjustment: forged, ..carrier(HOUR - forged_total) };
        let mut nodes = vec![good.clone(), good, bad.clone(), bad];
        let transitions: Vec<_> = (0..3).map(|_| round(&mut story, &mut nodes).transition).collect();
        assert!(transitions.contains(&Some(PhaseTransition::Adopted)), "{transitions:?}");
        assert_eq!(*story.timekeeper.manual_adjustment(), step());
        // The bad ones leave: the server stays with the others.
        for _ in 0..120 {
            round(&mut story, &mut nodes[..2]);
        }
        assert_eq!((story.timekeeper.phase, shown(&story)), (Phase::Steady, HOUR));
    }
}

#[test]
fn a_kept_time_that_may_be_far_off_does_not_decide_between_divided_carriers() {
    let far = Span::from_millis(1_900);
    let mut story = Story::begin();
    story.timekeeper.kept = Some(kept_time(CLUSTER, SECOND.times(2)));
    let unheard_once = Participant { lost: 1 << 3, ..carrier(Span::ZERO) };
    let mut nodes = vec![unheard_once, carrier(Span::ZERO), carrier(far), carrier(far)];
    for _ in 0..200 {
        assert_eq!(round(&mut story, &mut nodes).report.outcome, Outcome::Listening);
    }
    assert_eq!(story.timekeeper.undecided(), Some(UndecidedReason::Carried));
}

#[test]
fn clients_that_are_hardly_heard_do_not_lead_a_following_server_away() {
    for unheard_at_first in [true, false] {
        let mut story = Story::begin();
        let lost = if unheard_at_first { 0b1110 } else { 0 };
        let bad = carrier(if unheard_at_first { Span::ZERO } else { Span::from_micros(99_900) });
        let off = Span::from_micros(-500);
        let mut nodes = vec![carrier(Span::ZERO), Participant { lost, ..carrier(off) }, bad.clone(), bad];
        let mut adopted = None;
        for index in 0..1_000_u32 {
            if let Some((at, phase)) = adopted {
                let speaks = index < 8 || index % 23 == 0;
                for bad in &mut nodes[2..] {
                    bad.phase = phase + Frequency::from_ppm(218.0).over(story.now - at);
                    bad.lost = if speaks { 0 } else { u64::MAX };
                }
            }
            let end = round(&mut story, &mut nodes);
            if end.transition == Some(PhaseTransition::Adopted) {
                adopted = Some((story.now, story.timekeeper.timescale.phase_at(story.now)));
            }
            if story.timekeeper.recipients() == Recipients::All {
                let moved = story.timekeeper.timescale.phase_at(story.now).abs();
                assert!(moved <= Span::from_millis(150), "{unheard_at_first} {moved}");
                break;
            }
        }
        assert_eq!(story.timekeeper.recipients(), Recipients::All, "{unheard_at_first}: decided nothing");
    }
}

#[test]
fn clients_that_agree_at_an_adoption_and_jump_then_do_not_keep_a_server_from_its_time() {
    for (bad, is_kept, stays) in
        [(1, false, false), (2, false, false), (2, true, false), (2, true, true), (1, true, true)]
    {
        let mut story = Story::begin();
        if is_kept {
            story.timekeeper.kept = Some(kept_time(CLUSTER, Span::from_millis(1)));
        }
        let mut nodes = vec![carrier(Span::ZERO); 2 * bad];
        let mut has_followed = false;
        let resumed = (0..200).find(|_| {
            let follows = matches!(story.timekeeper.phase, Phase::Following(_));
            has_followed |= follows;
            let jumps = follows || (stays && has_followed);
            for bad in &mut nodes[bad..] {
                bad.phase = if jumps { HOUR } else { Span::ZERO };
            }
            round(&mut story, &mut nodes).transition == Some(PhaseTransition::Resumed)
        });
        assert!(resumed.is_some(), "{bad} {is_kept} {stays}");
        assert!(story.timekeeper.timescale.phase_at(story.now).abs() < Span::from_millis(1));
    }
}

#[test]
fn a_carrier_that_answers_no_probe_does_not_block_the_first_vote() {
    for lost in [0, u64::MAX] {
        let mut story = Story::begin();
        let liar = Participant { lost, ..carrier(HOUR) };
        let mut nodes =
            vec![carrier(Span::ZERO), newcomer(SECOND), newcomer(SECOND), Participant { lost: 0, ..liar }];
        let agreed = (0..30).find(|_| {
            story.round += 1;
            story.now += SECOND.times(5);
            let mut readings: Vec<MemberReading<'_>> =
                nodes.iter().map(|node| node.reading(story.round, story.now)).collect();
            if lost != 0 {
                (readings[3].reading, readings[3].was_measured) = (None, false);
            }
            let end = story.timekeeper.conclude(story.round, story.now, electorate(&readings), FRESH);
            end.transition == Some(PhaseTransition::Agreed)
        });
        assert!(agreed.is_some(), "{lost}");
        nodes.clear();
    }
}

#[test]
fn a_straggler_of_the_kept_cluster_does_not_block_the_others() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(kept_time(ClusterId(4), Span::from_millis(1)));
    let mut nodes = vec![carrier(SECOND); 9];
    nodes.push(Participant { cluster: ClusterId(4), ..carrier(Span::ZERO) });
    let transitions: Vec<_> = (0..3).map(|_| round(&mut story, &mut nodes).transition).collect();
    assert!(transitions.contains(&Some(PhaseTransition::Adopted)), "{transitions:?}");
    assert_eq!(story.timekeeper.cluster(), CLUSTER);
}

#[test]
fn a_server_that_has_lost_its_clients_counts_its_own_clock_as_it_is_shown() {
    for (newcomer_at, agrees) in [(HOUR + SECOND, true), (SECOND, false)] {
        let mut story = Story::begin();
        let good = Participant { adjustment: step(), ..carrier(Span::ZERO) };
        let mut nodes = vec![good.clone(), good];
        for _ in 0..3 {
            round(&mut story, &mut nodes);
        }
        assert!(matches!(story.timekeeper.phase, Phase::Following(_)));
        while !matches!(story.timekeeper.phase, Phase::Listening(_)) {
            round(&mut story, &mut []);
        }
        let transitions: Vec<_> =
            (0..6).map(|_| round(&mut story, &mut [newcomer(newcomer_at)]).transition).collect();
        assert_eq!(transitions.contains(&Some(PhaseTransition::Agreed)), agrees, "{transitions:?}");
        assert!((shown(&story) - HOUR).abs() < SECOND.times(2), "{}", shown(&story));
    }
}

#[test]
fn clocks_that_were_gathered_vote_together_against_bad_ones() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(kept_time(CLUSTER, Span::from_millis(1)));
    let mut nodes = vec![carrier(Span::ZERO); 2];
    nodes.extend([-HOUR, -HOUR, HOUR, HOUR].map(carrier));
    nodes.extend(vec![newcomer(Span::from_millis(500)); 3]);
    let mut agreed = 0;
    for _ in 0..100 {
        let end = round(&mut story, &mut nodes);
        agreed += u32::from(end.report.outcome == Outcome::Agreed);
        if story.timekeeper.phase != Phase::Steady {
            continue;
        }
        let (phase, recipients) =
            (story.timekeeper.timescale.phase_at(story.now), story.timekeeper.recipients());
        for (index, node) in nodes.iter_mut().enumerate() {
            if (2..6).contains(&index) {
                node.phase = HOUR;
            } else if recipients.includes(node.state) {
                (node.phase, node.state) = (phase, ClientState::Synchronized);
            }
        }
    }
    assert!(agreed > 50, "{agreed}");
    assert!(story.timekeeper.timescale.phase_at(story.now).abs() < Span::from_millis(60));
}

#[test]
fn hastened_rounds_do_not_shorten_the_wait_for_clients_that_are_late() {
    let mut story = Story::begin();
    let mut nodes = vec![carrier(HOUR), carrier(HOUR)];
    conclude(&mut story, SECOND.times(5), &mut nodes);
    for _ in 0..4 {
        assert_eq!(conclude(&mut story, SECOND, &mut nodes).transition, None);
    }
    // Ten seconds after the start, most are here.
    nodes.extend(vec![carrier(Span::ZERO); 3]);
    conclude(&mut story, SECOND, &mut nodes);
    assert!(story.timekeeper.timescale.phase_at(story.now).abs() < SECOND);
}

#[test]
fn a_server_resumes_at_any_interval_whatever_its_oscillator_does() {
    for (interval_s, drift_ppm, good, bad) in
        [(5, 100.0, 1, 0), (60, 100.0, 1, 0), (60, -100.0, 2, 1), (300, 20.0, 1, 0), (3_600, 2.0, 1, 0)]
    {
        let mut story = Story::begin();
        let interval = SECOND.times(interval_s);
        story.timekeeper.config.interval = interval;
        let began = story.now;
        let mut nodes = vec![carrier(Span::ZERO); good + bad];
        let resumed = (0..200).any(|_| {
            let phase = Frequency::from_ppm(drift_ppm).over(story.now + interval - began);
            for (index, node) in nodes.iter_mut().enumerate() {
                let jumps = index >= good && matches!(story.timekeeper.phase, Phase::Following(_));
                node.phase = phase + if jumps { HOUR } else { Span::ZERO };
            }
            conclude(&mut story, interval, &mut nodes).transition == Some(PhaseTransition::Resumed)
        });
        assert!(resumed, "{interval_s} s, {drift_ppm} ppm, {good} good and {bad} bad");
    }
}

#[test]
fn a_server_that_is_there_long_before_its_clients_waits_for_the_late_ones() {
    let mut story = Story::begin();
    for _ in 0..10 {
        round(&mut story, &mut []);
    }
    let mut nodes = vec![newcomer(SECOND.times(8)), newcomer(SECOND.times(8)), carrier(Span::ZERO)];
    assert_eq!(round(&mut story, &mut nodes).transition, None);
    nodes.extend(vec![carrier(Span::ZERO); 4]);
    for _ in 0..30 {
        round(&mut story, &mut nodes);
    }
    assert_eq!(story.timekeeper.cluster(), CLUSTER);
    assert!(story.timekeeper.timescale.phase_at(story.now).abs() < Span::from_millis(1));
}

#[test]
fn one_bad_client_that_is_early_does_not_spend_the_time_for_which_the_others_are_waited_for() {
    let mut story = Story::begin();
    let bad = carrier(HOUR);
    for _ in 0..60 {
        round(&mut story, &mut [bad.clone()]);
    }
    // The others register within some seconds; at first, one of them is measured.
    let good = carrier(SECOND.times(-10));
    let late = Participant { lost: 0b1111 << (story.round % 64), ..good.clone() };
    let mut nodes = vec![bad, good.clone()];
    round(&mut story, &mut nodes);
    nodes.extend([late.clone(), late]);
    let told: Vec<_> = (0..40).filter_map(|_| round(&mut story, &mut nodes).transition).collect();
    assert!(told.contains(&PhaseTransition::Adopted), "{told:?}");
    assert!((shown(&story) - good.phase).abs() < Span::from_millis(1), "{}", shown(&story));
}

#[test]
fn carriers_that_return_after_an_outage_are_waited_for() {
    let mut story = Story::begin();
    let own = SECOND.times(-10);
    story.timekeeper.timescale.set(story.now, own, Frequency::ZERO, Adjustment::Step);
    let (good, bad) = (carrier(Span::ZERO), carrier(HOUR));
    let mut all = [bad.clone(), good.clone(), good, bad, newcomer(Span::ZERO)];
    for present in [vec![5; 20], vec![1; 4], vec![2; 2], vec![5; 20]].concat() {
        let end = round(&mut story, &mut all[..present]);
        assert_eq!(end.report.outcome, Outcome::Listening, "{present} present");
    }
}

#[test]
fn clients_without_a_time_take_no_first_vote_while_carriers_arrive() {
    let mut story = Story::begin();
    let mut nodes = vec![newcomer(SECOND.times(31)), newcomer(SECOND.times(-31))];
    for _ in 0..40 {
        round(&mut story, &mut nodes);
    }
    let good = carrier(SECOND.times(10));
    nodes.push(good.clone());
    assert_eq!(round(&mut story, &mut nodes).report.outcome, Outcome::Listening);
    nodes.extend(vec![good.clone(); 9]);
    for _ in 0..4 {
        round(&mut story, &mut nodes);
    }
    assert!((shown(&story) - good.phase).abs() < Span::from_millis(1), "{}", shown(&story));
}

#[test]
fn two_clients_of_one_group_that_agree_do_not_prevent_the_first_vote() {
    let mut story = Story::begin();
    let bad = participant::group(vec![carrier(HOUR); 2]);
    let mut nodes = [bad, vec![carrier(Span::ZERO), newcomer(Span::ZERO)]].concat();
    let told: Vec<_> = (0..14).filter_map(|_| round(&mut story, &mut nodes).transition).collect();
    assert_eq!(told, [PhaseTransition::Agreed]);
    assert_eq!(shown(&story), Span::ZERO);
}

#[test]
fn a_carrier_that_falls_silent_leaves_the_time_to_no_others() {
    for others in [[59_800, 59_900], [29_000, 29_000]] {
        let good = member(Span::ZERO);
        let bad = others.map(|ms| member(Span::from_millis(ms)));
        let mut story = Story::begin();
        for _ in 0..20 {
            assert_eq!(story.round(&[good, good, bad[0], bad[1]]).report.outcome, Outcome::Listening);
        }
        for silent in [[good.silent(), good], [good.silent(); 2]] {
            let end = story.round(&[silent[0], silent[1], bad[0], bad[1]]);
            assert_eq!(end.report.outcome, Outcome::Listening, "{others:?}");
        }
    }
}

#[test]
fn a_carrier_that_was_not_heard_yet_is_not_outvoted_by_newcomers_within_a_minute() {
    let mut story = Story::begin();
    let (unheard, newcomer) = (member(SECOND.times(20)).unheard(), new_member(SECOND));
    for _ in 0..12 {
        assert_eq!(story.round(&[unheard, newcomer]).transition, None);
    }
    let clients = [member(SECOND.times(20)), newcomer];
    let told: Vec<_> = (0..3).filter_map(|_| story.round(&clients).transition).collect();
    assert_eq!(told, [PhaseTransition::Adopted]);
}

#[test]
fn clients_of_one_group_that_have_drifted_apart_take_a_first_vote() {
    let mut story = Story::begin();
    let apart = [0, 60, 120].map(|ms| carrier(Span::from_millis(ms)));
    let mut nodes = participant::group(apart.to_vec());
    let told: Vec<_> = (0..14).filter_map(|_| round(&mut story, &mut nodes).transition).collect();
    assert_eq!(told, [PhaseTransition::Agreed]);
}

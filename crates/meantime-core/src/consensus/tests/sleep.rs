//! A server whose machine has slept among clients, some of which return late or not at all.

use proptest::collection;
use proptest::prelude::*;

use super::participant::{Participant, node};
use super::properties::{MAX_RATE, bad_node};
use super::*;

/// A server with so many clients with a vote, whose machine has slept.
fn awake(clients: usize) -> Story {
    let mut story = Story::steady(clients);
    story.timekeeper.wake_up(story.now, HOUR, Weight::ZERO);
    story
}

/// A client that carries a cluster time and has no vote.
fn stranger(phase: Span) -> TestClient {
    TestClient { has_vote: false, ..member(phase) }
}

/// What so many rounds have told.
fn transitions(story: &mut Story, rounds: u32, clients: &[TestClient]) -> Vec<PhaseTransition> {
    (0..rounds).filter_map(|_| story.round(clients).transition).collect()
}

#[test]
fn members_that_come_back_late_after_a_sleep_leave_the_time_to_no_few() {
    let mut story = Story::steady(3);
    story.timekeeper.wake_up(story.now, HOUR, Weight::ZERO);
    let (silent, liar) = (member(Span::ZERO).unheard(), member(HOUR.times(5)));
    for _ in 0..4 {
        assert_eq!(story.round(&[silent, silent, liar]).transition, None);
    }
    let told: Vec<_> = (0..60).filter_map(|_| story.round(&[liar]).transition).collect();
    assert_eq!(told, [PhaseTransition::Undecided]);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    let back = member(story.timekeeper.shown_phase(story.now));
    let told: Vec<_> = (0..60).filter_map(|_| story.round(&[back, back, liar]).transition).collect();
    assert_eq!(told, [PhaseTransition::Adopted, PhaseTransition::Resumed]);
}

#[test]
fn newcomers_do_not_found_another_time_before_those_with_a_vote_are_back_after_a_sleep() {
    for early in [0, 1] {
        let mut story = Story::steady(3);
        story.timekeeper.wake_up(story.now, HOUR, Weight::ZERO);
        let silent = member(Span::ZERO).unheard();
        for _ in 0..4 {
            assert_eq!(story.round(&[silent, silent, silent]).transition, None);
        }
        let shown = story.timekeeper.shown_phase(story.now);
        let mut clients = vec![new_member(shown + SECOND); 2];
        clients.extend(vec![member(shown + HOUR); early]);
        for _ in 0..7 {
            assert_eq!(story.round(&clients).transition, None, "{early} early");
        }
        let clients = [member(shown - SECOND); 3];
        assert_eq!(story.round(&clients).transition, Some(PhaseTransition::Adopted), "{early} early");
    }
}

#[test]
fn strangers_bring_no_time_before_those_with_a_vote_may_be_back() {
    let mut story = awake(3);
    let strangers = [stranger(HOUR.times(5)); 2];
    assert_eq!(transitions(&mut story, 12, &strangers), []);
    let back = [member(story.timekeeper.shown_phase(story.now)); 3];
    let clients = [back.as_slice(), &strangers].concat();
    assert_eq!(transitions(&mut story, 40, &clients), [PhaseTransition::Adopted, PhaseTransition::Resumed]);
}

#[test]
fn a_second_sleep_and_a_network_that_was_gone_before_make_no_server_forget_who_had_a_vote() {
    for sleeps in [1, 2] {
        let mut story = Story::steady(3);
        // The clients are gone before the machine sleeps.
        transitions(&mut story, 6, &[]);
        for _ in 0..sleeps {
            story.timekeeper.wake_up(story.now, HOUR, Weight::votes(3));
            transitions(&mut story, 3, &[]);
        }
        let strangers = [stranger(HOUR.times(5)); 2];
        assert_eq!(transitions(&mut story, 12, &strangers), [], "{sleeps} sleeps");
    }
}

#[test]
fn newcomers_never_take_the_time_from_a_client_with_a_vote_that_is_near_the_servers_clock() {
    for others in [HOUR, Span::from_millis(29_500), SECOND.times(40)] {
        let mut story = awake(3);
        let shown = story.timekeeper.shown_phase(story.now);
        let clients = [
            member(shown - SECOND),
            new_member(shown + others),
            new_member(shown + others),
            new_member(shown + others),
        ];
        assert_eq!(transitions(&mut story, 60, &clients), [PhaseTransition::Undecided], "{others}");
        // Another one comes back.
        let clients = [clients.as_slice(), &[member(shown - SECOND); 3]].concat();
        assert_eq!(transitions(&mut story, 4, &clients), [PhaseTransition::Adopted], "{others}");
    }
}

#[test]
fn a_single_liar_with_a_vote_does_not_keep_the_time_from_a_server_and_newcomers() {
    let mut story = awake(3);
    let shown = story.timekeeper.shown_phase(story.now);
    let clients = [member(shown + HOUR), new_member(shown), new_member(shown), new_member(shown)];
    assert_eq!(transitions(&mut story, 14, &clients), [PhaseTransition::Agreed]);
    assert!((story.timekeeper.shown_phase(story.now) - shown).abs() < SECOND);
}

#[test]
fn members_that_have_drifted_apart_take_a_first_vote_once_all_are_back() {
    for (had_votes, silent, waits) in [(2, 0, 12), (3, 0, 36), (3, 1, 36)] {
        let mut story = awake(had_votes);
        let shown = story.timekeeper.shown_phase(story.now);
        let mut clients = vec![member(shown), member(shown + Span::from_millis(250))];
        clients.extend(vec![member(shown).unheard(); silent]);
        assert_eq!(transitions(&mut story, waits, &clients), []);
        assert_eq!(transitions(&mut story, 1, &clients), [PhaseTransition::Agreed]);
        assert!((story.timekeeper.shown_phase(story.now) - shown).abs() < Span::from_millis(250));
    }
}

#[test]
fn strangers_that_agree_do_not_keep_divided_members_from_a_first_vote() {
    let mut story = awake(2);
    let shown = story.timekeeper.shown_phase(story.now);
    let members = [member(shown), member(shown + Span::from_millis(200))];
    let clients = [members.as_slice(), &[stranger(shown + HOUR); 2]].concat();
    assert_eq!(transitions(&mut story, 14, &clients), [PhaseTransition::Agreed]);
    assert!((story.timekeeper.shown_phase(story.now) - shown).abs() < Span::from_millis(200));
}

#[test]
fn strangers_that_agree_with_those_with_a_vote_get_none_by_that() {
    let mut story = awake(2);
    let shown = story.timekeeper.shown_phase(story.now);
    let end = story.round(&[member(shown), member(shown), stranger(shown)]);
    assert_eq!(end.transition, None);
    let end = story.round(&[member(shown), member(shown), stranger(shown)]);
    assert_eq!(end.transition, Some(PhaseTransition::Adopted));
    assert!(!end.gives_votes);
}

#[test]
fn clients_with_a_vote_from_before_that_return_are_outvoted_by_those_that_were_there() {
    let mut story = Story::steady(2);
    // Two were there a while ago, and may return; they are bad.
    story.timekeeper.wake_up(story.now, HOUR, Weight::votes(2));
    let bad = [member(HOUR.times(5)); 2];
    assert_eq!(transitions(&mut story, 12, &bad), []);
}

#[test]
fn a_liar_with_a_vote_does_not_divide_the_members_if_a_stranger_agrees_with_one_of_them() {
    let mut story = awake(2);
    let shown = story.timekeeper.shown_phase(story.now);
    let clients = [member(shown), member(shown + SECOND.times(29)), stranger(shown), new_member(shown)];
    assert_eq!(transitions(&mut story, 60, &clients), [PhaseTransition::Undecided]);
}

/// A server that sleeps among good and bad clients.
#[derive(Clone, Debug)]
struct Sleep {
    /// Those with a vote.
    good: Vec<Participant>,
    bad: Vec<Participant>,
    /// Good ones without a vote, which carry the cluster's time or none.
    newcomers: Vec<Participant>,
    strangers: Vec<Participant>,
    /// So many of the strangers had a vote some time before, and were gone.
    returning: usize,
    /// In which round each of the good ones is back.
    back: Vec<u32>,
    /// How far the server's clock is off after the sleep.
    own: Span,
    /// Before this round it sleeps once more.
    sleeps_again: Option<u32>,
}

fn voter() -> impl Strategy<Value = Participant> {
    (any::<u64>(), any::<u64>(), 0..6).prop_map(|(a, b, silent)| {
        let lost = a & b & a.rotate_left(9);
        let (is_silent, gaps) = (silent == 0, lost & b.rotate_left(5));
        Participant { has_vote: true, is_silent, gaps, ..node(Span::ZERO, true, lost) }
    })
}

fn newcomer() -> impl Strategy<Value = Participant> {
    (-15_000_i64..15_000, any::<bool>())
        .prop_map(|(ms, carries)| node(if carries { Span::ZERO } else { Span::from_millis(ms) }, carries, 0))
}

fn sleep() -> impl Strategy<Value = Sleep> {
    let counts = (2_usize..6, 0_usize..4);
    let counts = counts.prop_flat_map(|(good, newcomers)| (Just(good), Just(newcomers), 0..=good));
    // The good ones had a majority before the sleep, and have it now.
    counts.prop_flat_map(|(good, newcomers, bad)| {
        let most = good + newcomers - bad;
        // The bad ones say the same, or each what it likes.
        let alike = (bad_node(), 0..=most)
            .prop_map(move |(node, count)| (vec![node.clone(); bad], vec![node; count]));
        let each = (collection::vec(bad_node(), bad), collection::vec(bad_node(), 0..=most));
        let bad = prop_oneof![alike, each];
        let back = collection::vec(1_u32..10, good + newcomers);
        let (good, newcomers) = (collection::vec(voter(), good), collection::vec(newcomer(), newcomers));
        let own = (-1_000_i64..1_000).prop_map(Span::from_millis);
        let sleeps = (proptest::option::of(1_u32..12), 0_usize..3);
        (good, newcomers, bad, back, own, sleeps).prop_map(
            |(good, newcomers, (mut bad, mut strangers), back, own, (sleeps_again, returning))| {
                bad.iter_mut().chain(strangers.iter_mut().take(returning)).for_each(|node| {
                    node.has_vote = true;
                });
                Sleep { good, bad, newcomers, strangers, returning, back, own, sleeps_again }
            },
        )
    })
}

impl Sleep {
    /// Whether two of the good ones with a vote are heard, and at least as many as are bad; and bad ones are
    /// fewer than half of all that are heard.
    fn has_enough(&self) -> bool {
        let heard = self.good.iter().filter(|node| !node.is_silent).count();
        let bad = self.bad.len() + self.strangers.len();
        heard >= 2 && heard >= self.bad.len() + self.returning && heard + self.newcomers.len() >= bad
    }

    /// Whether the server must find its time: no client is bad, and all are heard.
    fn is_honest(&self) -> bool {
        self.bad.is_empty() && self.strangers.is_empty() && self.good.iter().all(|node| !node.is_silent)
    }

    /// The largest distance of any good client with a vote from where it was, as after a restart; and what
    /// the server is doing in the end.
    fn run(self) -> (Span, Phase) {
        let voters = self.good.len();
        let mut story = Story::steady(voters + self.bad.len());
        let gone = Weight::votes(self.returning);
        story.timekeeper.wake_up(story.now, HOUR, gone);
        let base = story.timekeeper.shown_phase(story.now);
        let scale = &mut story.timekeeper.timescale;
        scale.set(story.now, base + self.own, scale.frequency(), Adjustment::Step);
        let mut nodes = [self.good, self.newcomers, self.bad, self.strangers].concat();
        nodes.iter_mut().for_each(|node| node.phase += base);
        let first = story.round;
        let (mut moved, mut decided_at) = (Span::ZERO, None);
        for round in 1..=150 {
            if self.sleeps_again == Some(round) {
                story.timekeeper.wake_up(story.now, Span::ZERO, gone);
            }
            story.now += SECOND.times(5);
            let is_here = |index: &usize| self.back.get(*index).is_none_or(|back| round >= *back);
            let here: Vec<usize> = (0..nodes.len()).filter(is_here).collect();
            let readings: Vec<MemberReading<'_>> =
                here.iter().map(|index| nodes[*index].reading(first + round, story.now)).collect();
            let end = story.timekeeper.conclude(first + round, story.now, electorate(&readings), FRESH);
            for (index, judgement) in here.iter().zip(&end.judgements) {
                if let Some(judgement) = judgement {
                    nodes[*index].judge(*judgement, &end);
                }
            }
            let (phase, cluster) =
                (story.timekeeper.timescale.phase_at(story.now), story.timekeeper.cluster());
            for index in here.into_iter().filter(|index| *index < self.back.len()) {
                let node = &mut nodes[index];
                if story.timekeeper.recipients().includes(node.state) {
                    (node.phase, node.state, node.cluster) = (phase, ClientState::Synchronized, cluster);
                }
            }
            let decides = |transition: &PhaseTransition| *transition != PhaseTransition::Undecided;
            decided_at = decided_at.or(end.transition.filter(decides).map(|_| story.now));
            let drift = decided_at.map_or(Span::ZERO, |since| MAX_RATE.over(story.now - since));
            let good = nodes[..voters].iter().map(|node| (node.phase - base).abs());
            moved = moved.max(good.max().unwrap_or_default() - drift);
        }
        (moved, story.timekeeper.phase)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bad_groups_move_no_good_client_with_a_vote_after_a_sleep_if_it_is_back_soon(
        sleep in sleep().prop_filter("too few", Sleep::has_enough)
    ) {
        let is_honest = sleep.is_honest();
        let (moved, phase) = sleep.run();
        prop_assert!(moved <= Span::from_millis(150), "{moved}");
        prop_assert!(!is_honest || phase == Phase::Steady, "{phase:?}");
    }
}

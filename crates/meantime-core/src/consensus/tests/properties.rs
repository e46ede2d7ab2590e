//! What fewer than half of all groups can do, whatever they say: at a server that restarts, and in the steady
//! phase.

use proptest::collection;
use proptest::prelude::*;

use super::participant::{Participant, group, node};
use super::*;

/// A server that restarts among good and bad clients, in groups of several.
#[derive(Clone, Debug)]
struct Restart {
    good: Vec<Participant>,
    bad: Vec<Participant>,
    /// The server's own clock minus what the good carriers show, if it has kept nothing.
    own: Span,
    /// How far a kept time may be off, and is off, as a part of that; `None`: the server has kept none.
    kept: Option<(Span, f64)>,
    /// The manual adjustment of the good carriers, which is over.
    adjustment: ManualAdjustment,
}

/// From a nanosecond to some hours, either way.
fn any_span() -> impl Strategy<Value = Span> {
    (0.0..13.5_f64, any::<bool>()).prop_map(|(exponent, is_ahead)| {
        let span = Span::from_nanos(10_f64.powf(exponent) as i64);
        if is_ahead { span } else { -span }
    })
}

/// Phases that matter: near the window's edges, near the radius, and any.
fn bad_phase() -> impl Strategy<Value = Span> {
    let near = (-110_000_i64..110_000).prop_map(Span::from_micros);
    prop_oneof![near, Just(Span::from_micros(100_040)), Just(Span::from_micros(-100_040)), any_span()]
}

fn any_adjustment() -> impl Strategy<Value = ManualAdjustment> {
    (any_span(), any_span(), 0_i64..900, 1_u8..4, any::<bool>()).prop_map(
        |(before, amount, start, number, step)| {
            let start = PLAUSIBLE_FROM + Span::from_secs(86_400 + start);
            ManualAdjustment { cluster: CLUSTER, number, before, amount, start, step }
        },
    )
}

pub(super) fn bad_node() -> impl Strategy<Value = Participant> {
    let states = [ClientState::Unsynchronized, ClientState::Holdover, ClientState::Synchronized];
    let clusters = [ClusterId(0), CLUSTER, ClusterId(3), ClusterId(99)];
    let adjustment = prop_oneof![3 => Just(ManualAdjustment::NONE), 1 => any_adjustment()];
    let jump = proptest::option::of((1_u32..ROUNDS, any_span()));
    let said = (0_usize..3, 0_usize..4, adjustment, any::<bool>());
    let ramp = prop_oneof![3 => Just(0.0), 1 => -500.0..500.0_f64].prop_map(Frequency::from_ppm);
    (bad_phase(), said, (jump, ramp), any::<u64>(), any::<u64>()).prop_map(
        move |(phase, (state, cluster, adjustment, says_adjustment), (jump, ramp), lost, rarely)| {
            let (state, cluster) = (states[state], clusters[cluster]);
            // An eighth of the rounds.
            let lost = lost & rarely & rarely.rotate_left(7);
            Participant {
                state,
                cluster,
                adjustment,
                says_adjustment,
                jump,
                ramp,
                ..node(phase, false, lost)
            }
        },
    )
}

/// The clients of one bad group, each of which says what it likes.
fn bad_group() -> impl Strategy<Value = Vec<Participant>> {
    prop_oneof![2 => collection::vec(bad_node(), 1), 1 => collection::vec(bad_node(), 2..5)].prop_map(group)
}

fn restart() -> impl Strategy<Value = Restart> {
    (1_usize..7).prop_flat_map(|good| {
        let offset = || (-15_000_i64..15_000).prop_map(Span::from_millis);
        let sizes = prop_oneof![3 => Just(1), 1 => 2_usize..4];
        let losses = (any::<u64>(), any::<u64>());
        let good_group = (offset(), 0_u8..4, losses, sizes).prop_map(|(phase, kind, (a, b), size)| {
            let carries = kind > 0;
            let lost = a & b & a.rotate_left(9);
            let node = node(if carries { Span::ZERO } else { phase }, carries, lost);
            group(vec![Participant { gaps: lost & b.rotate_left(5), ..node }; size])
        });
        // The server is good, too. The bad groups say the same, or each what it likes.
        let alike = (bad_group(), 0..=good).prop_map(|(nodes, count)| vec![nodes; count]);
        let bad = prop_oneof![alike, collection::vec(bad_group(), 0..=good)];
        let kept = proptest::option::of((6.0..10.8_f64, -1.0..1.0_f64)).prop_map(|kept| {
            kept.map(|(exponent, part)| (Span::from_nanos(10_f64.powf(exponent) as i64), part))
        });
        let adjustment = prop_oneof![Just(ManualAdjustment::NONE), adjustment_that_is_over()];
        (collection::vec(good_group, good), bad, offset(), kept, adjustment).prop_map(
            |(good, bad, own, kept, adjustment)| {
                let (good, bad) = (good.concat(), bad.concat());
                Restart { good, bad, own, kept, adjustment }.with_adjustment()
            },
        )
    })
}

fn adjustment_that_is_over() -> impl Strategy<Value = ManualAdjustment> {
    (-7_200_i64..7_200, 1_u8..4).prop_map(|(seconds, number)| ManualAdjustment {
        cluster: CLUSTER,
        number,
        before: Span::ZERO,
        amount: Span::from_secs(seconds),
        start: PLAUSIBLE_FROM + SECOND,
        step: true,
    })
}

impl Restart {
    /// The good clients show the time with its adjustment: carriers as a part of it, newcomers by themselves.
    fn with_adjustment(mut self) -> Restart {
        for node in &mut self.good {
            match node.state.has_cluster_time() {
                true => node.adjustment = self.adjustment,
                false => node.phase += self.adjustment.amount,
            }
        }
        // Bad ones that say the same as the good ones are near them, too.
        for node in self.bad.iter_mut().filter(|node| node.adjustment == ManualAdjustment::NONE) {
            if node.says_adjustment {
                node.adjustment = self.adjustment;
            } else {
                node.phase += self.adjustment.amount;
            }
        }
        self
    }

    /// The largest distance of any good clock that carried the time from where it was. In addition, the rate
    /// of the cluster may be wrong: from the first transition on, [`MAX_RATE`] is subtracted.
    fn run(mut self) -> (Span, ManualAdjustment) {
        let mut story = Story::begin();
        let added = self.adjustment.amount;
        let own = match self.kept {
            Some((error, part)) => {
                let manual_adjustment = self.adjustment;
                story.timekeeper.kept = Some(KeptTime { manual_adjustment, ..kept_time(CLUSTER, error) });
                // A clock that is farther off than the radius is not a good one.
                error.min(SECOND.times(15)).scaled(part)
            }
            None => self.own,
        };
        story.timekeeper.timescale.set(story.now, added + own, Frequency::ZERO, Adjustment::Step);
        let carried: Vec<usize> =
            (0..self.good.len()).filter(|index| self.good[*index].state.has_cluster_time()).collect();
        let (mut moved, mut decided_at) = (Span::ZERO, None);
        let decides = |transition: &PhaseTransition| *transition != PhaseTransition::Undecided;
        for round in 1..=ROUNDS {
            story.now += SECOND.times(5);
            let nodes = self.good.iter().chain(&self.bad);
            let readings: Vec<MemberReading<'_>> = nodes.map(|it| it.reading(round, story.now)).collect();
            let end = story.timekeeper.conclude(round, story.now, electorate(&readings), FRESH);
            let recipients = story.timekeeper.recipients();
            let nodes = self.good.iter_mut().chain(&mut self.bad);
            for (node, judgement) in nodes.zip(&end.judgements) {
                if let Some(judgement) = judgement {
                    node.judge(*judgement, &end);
                }
            }
            let phase = story.timekeeper.timescale.phase_at(story.now);
            for node in self.good.iter_mut().filter(|node| recipients.includes(node.state)) {
                (node.phase, node.state) = (phase, ClientState::Synchronized);
                node.cluster = story.timekeeper.cluster();
                node.adjustment = story.timekeeper.manual_adjustment;
            }
            decided_at = decided_at.or(end.transition.filter(decides).map(|_| story.now));
            let drift = decided_at.map_or(Span::ZERO, |since| MAX_RATE.over(story.now - since));
            let phases = carried.iter().map(|index| (self.good[*index].shown(story.now) - added).abs());
            moved = moved.max(phases.max().unwrap_or_default() - drift);
        }
        (moved, story.timekeeper.manual_adjustment)
    }

    /// Whether the good carriers are half of all clients, and not alone.
    fn has_carriers(&self) -> bool {
        let carriers = self.good.iter().filter(|node| node.state.has_cluster_time());
        let carriers: Weight = carriers.map(|node| node.weight).sum();
        let all = self.good.iter().chain(&self.bad).map(|node| node.weight).sum();
        carriers > Weight::ONE && carriers.is_half_of(all)
    }
}

const ROUNDS: u32 = 150;
/// How wrong the rate of a cluster can be after a restart at which the server has kept nothing.
pub(super) const MAX_RATE: Frequency = Frequency::from_ppm(300.0);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bad_groups_move_no_good_clock_at_a_restart_if_good_carriers_are_half_of_the_clients(
        restart in restart().prop_filter("too few", Restart::has_carriers)
    ) {
        let (moved, adjustment) = restart.clone().run();
        prop_assert!(moved <= Span::from_millis(150), "{moved}");
        let is_kept = adjustment == restart.adjustment || adjustment == ManualAdjustment::NONE;
        prop_assert!(is_kept, "{adjustment:?}");
    }

    #[test]
    fn bad_groups_move_no_clock_by_more_than_a_first_vote_could(restart in restart()) {
        let (moved, _) = restart.run();
        prop_assert!(moved <= SECOND.times(46), "{moved}");
    }

    #[test]
    fn bad_groups_never_depose_a_good_server(
        good in 1_usize..6,
        bad in collection::vec(collection::vec(bad_phase(), 20), 0..6),
        noises in collection::vec(1_u32..8, 6),
    ) {
        let bad = &bad[..bad.len().min(good)];
        let mut story = Story::steady(good + bad.len());
        for round in 0..20 {
            let base = story.timekeeper.timescale.phase_at(story.now + SECOND.times(5));
            let mut clients = story.agreeing(good);
            clients.extend(bad.iter().map(|phases| member(base + phases[round])));
            story.now += SECOND.times(5);
            let noise = |index: usize| Span::from_nanos(10_i64.pow(noises[index % noises.len()]));
            let mut readings: Vec<MemberReading<'_>> =
                clients.iter().map(|client| client.reading_at(story.now)).collect();
            for (index, reading) in readings.iter_mut().skip(good).enumerate() {
                reading.reading = reading.reading.map(|it| PhaseReading { noise: noise(index), ..it });
            }
            let end = conclude(&mut story, &readings);
            prop_assert_eq!(end.transition, None);
            prop_assert_eq!(end.correction.span(), Span::ZERO);
        }
    }
}

//! What fewer than half of all groups can do, whatever they say: at a server that restarts, and in the steady
//! phase.

use proptest::collection;
use proptest::prelude::*;

use super::*;

/// A client, of a group of its own.
#[derive(Clone, Debug)]
struct Participant {
    /// Its clock minus the server's oscillator; the good carriers' time is zero.
    phase: Span,
    state: ClientState,
    cluster: ClusterId,
    adjustment: ManualAdjustment,
    /// From this round on a bad one's clock is so much farther ahead.
    jump: Option<(u32, Span)>,
    /// In these rounds, as bits, it is not heard.
    lost: u64,
    has_vote: bool,
    agreed: u8,
}

/// A server that restarts among good and bad clients.
#[derive(Clone, Debug)]
struct Restart {
    good: Vec<Participant>,
    bad: Vec<Participant>,
    own: Span,
    keeps: bool,
}

fn node(phase: Span, carries: bool, lost: u64) -> Participant {
    let (state, cluster) = match carries {
        true => (ClientState::Holdover, CLUSTER),
        false => (ClientState::Unsynchronized, ClusterId(0)),
    };
    let adjustment = ManualAdjustment::NONE;
    Participant { phase, state, cluster, adjustment, jump: None, lost, has_vote: false, agreed: 0 }
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

fn bad_node() -> impl Strategy<Value = Participant> {
    let states = [ClientState::Unsynchronized, ClientState::Holdover, ClientState::Synchronized];
    let clusters = [ClusterId(0), CLUSTER, ClusterId(3), ClusterId(99)];
    let adjustment = prop_oneof![3 => Just(ManualAdjustment::NONE), 1 => any_adjustment()];
    let jump = proptest::option::of((1_u32..60, any_span()));
    let said = (0_usize..3, 0_usize..4, adjustment);
    (bad_phase(), said, jump, any::<u64>(), any::<u64>()).prop_map(
        move |(phase, (state, cluster, adjustment), jump, lost, rarely)| {
            let (state, cluster) = (states[state], clusters[cluster]);
            // An eighth of the rounds.
            let lost = lost & rarely & rarely.rotate_left(7);
            Participant { state, cluster, adjustment, jump, ..node(phase, false, lost) }
        },
    )
}

fn restart() -> impl Strategy<Value = Restart> {
    (1_usize..7).prop_flat_map(|good| {
        let offset = || (-15_000_i64..15_000).prop_map(Span::from_millis);
        let good_node = (offset(), 0_u8..4, any::<u64>(), any::<u64>()).prop_map(|(phase, kind, a, b)| {
            let carries = kind > 0;
            node(if carries { Span::ZERO } else { phase }, carries, a & b & a.rotate_left(9))
        });
        // The server is good, too. The bad ones say the same, or each what it likes.
        let alike = (bad_node(), 0..=good).prop_map(|(node, count)| vec![node; count]);
        let bad = prop_oneof![alike, collection::vec(bad_node(), 0..=good)];
        (collection::vec(good_node, good), bad, offset(), any::<bool>())
            .prop_map(|(good, bad, own, keeps)| Restart { good, bad, own, keeps })
    })
}

impl Participant {
    fn reading(&self, round: u32, now: Raw) -> MemberReading<'_> {
        let jump = self.jump.filter(|(from, _)| round >= *from).map_or(Span::ZERO, |(_, by)| by);
        let reading = PhaseReading {
            at: now,
            phase: self.phase + jump,
            noise: Span::from_micros(5),
            excess: Span::ZERO,
            fresh: self.lost >> (round % 64) & 1 == 0,
        };
        MemberReading {
            state: self.state,
            cluster: self.cluster,
            manual_adjustment: Some(&self.adjustment),
            reading: Some(reading),
            excluded: false,
            removed: false,
            weight: Weight::ONE,
            has_vote: self.has_vote,
            frequency: None,
        }
    }

    /// What its clock shows, minus the server's oscillator.
    fn shown(&self, now: Raw) -> Span {
        self.phase + self.adjustment.added_at(Timestamp::from_nanos((now + self.phase).as_nanos()))
    }

    /// As the server does after a round.
    fn judge(&mut self, judgement: MemberJudgement, transition: Option<PhaseTransition>) {
        let gives = matches!(transition, Some(PhaseTransition::Agreed | PhaseTransition::Adopted));
        self.agreed = if judgement.agrees { self.agreed.saturating_add(1) } else { 0 };
        self.has_vote |= judgement.agrees && (gives || self.agreed >= 24);
    }
}

impl Restart {
    /// The largest distance of any good clock that carried the time from where it was, in 60 rounds.
    fn run(mut self) -> (Span, ManualAdjustment) {
        let mut story = Story::begin();
        if self.keeps {
            let error = Span::from_millis(1);
            story.timekeeper.kept =
                Some(KeptTime { cluster: CLUSTER, manual_adjustment: ManualAdjustment::NONE, error });
        } else {
            story.timekeeper.timescale.set(story.now, self.own, Frequency::ZERO, Adjustment::Step);
        }
        let carried: Vec<usize> =
            (0..self.good.len()).filter(|index| self.good[*index].state.has_cluster_time()).collect();
        let mut moved = Span::ZERO;
        for round in 1..=60 {
            story.now += SECOND.times(5);
            let nodes = self.good.iter().chain(&self.bad);
            let readings: Vec<MemberReading<'_>> = nodes.map(|it| it.reading(round, story.now)).collect();
            let end = story.timekeeper.conclude(round, story.now, electorate(&readings), FRESH);
            let recipients = story.timekeeper.recipients();
            let nodes = self.good.iter_mut().chain(&mut self.bad);
            for (node, judgement) in nodes.zip(&end.judgements) {
                if let Some(judgement) = judgement {
                    node.judge(*judgement, end.transition);
                }
            }
            let phase = story.timekeeper.timescale.phase_at(story.now);
            for node in self.good.iter_mut().filter(|node| recipients.includes(node.state)) {
                (node.phase, node.state) = (phase, ClientState::Synchronized);
                node.cluster = story.timekeeper.cluster();
                node.adjustment = story.timekeeper.manual_adjustment;
            }
            let phases = carried.iter().map(|index| self.good[*index].shown(story.now).abs());
            moved = moved.max(phases.max().unwrap_or_default());
        }
        (moved, story.timekeeper.manual_adjustment)
    }

    /// Whether the good carriers are half of all clients, and not alone.
    fn has_carriers(&self) -> bool {
        let carriers = self.good.iter().filter(|node| node.state.has_cluster_time()).count();
        carriers > 1 && 2 * carriers >= self.good.len() + self.bad.len()
    }
}

const CLUSTER: ClusterId = ClusterId(5);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn bad_groups_move_no_good_clock_at_a_restart_if_good_carriers_are_half_of_the_clients(
        restart in restart().prop_filter("too few", Restart::has_carriers)
    ) {
        let (moved, adjustment) = restart.clone().run();
        prop_assert!(moved <= Span::from_millis(150), "{moved}");
        prop_assert!(adjustment == ManualAdjustment::NONE, "{adjustment:?}");
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

//! The timekeeper through many rounds: member readings in, conclusions out.

use super::timekeeper::Phase;
use super::*;
use crate::PlausibleTimes;
use crate::config::{LeadingConfig, SILENT_ROUNDS};
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::plausible::PLAUSIBLE_FROM;
use crate::saved_state::KeptTime;
use crate::time::{Frequency, Raw, Span};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};
use alloc::vec;
use alloc::vec::Vec;

mod properties;

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const FRESH: ClusterId = ClusterId(77);
/// The frequency error of the clients here.
const CLIENTS_ERROR: Frequency = Frequency::from_ppm(0.02);

/// A timekeeper whose oscillator starts at a plausible time, and the number of its rounds.
struct Story {
    timekeeper: Timekeeper,
    now: Raw,
    round: u32,
}

impl Story {
    fn begin() -> Story {
        Story::with_prior(None)
    }

    /// A server that knows its frequency from an earlier run, with this error.
    fn with_prior(known: Option<(Frequency, Frequency)>) -> Story {
        let now = Raw::from_nanos((PLAUSIBLE_FROM + Span::from_secs(86_400)).as_nanos());
        let (interval, radius) = (SECOND.times(5), SECOND.times(30));
        let config = TimekeeperConfig {
            interval,
            radius,
            plausible: PlausibleTimes::default(),
            initial_frequency: known,
            external_cluster: None,
            kept: None,
            leading: LeadingConfig::default(),
        };
        Story { timekeeper: Timekeeper::new(config, now), now, round: 0 }
    }

    /// A story in the steady phase: clients have agreed with the server for some rounds.
    fn steady(clients: usize) -> Story {
        let mut story = Story::begin();
        story.round(&vec![new_member(Span::ZERO); clients]);
        for _ in 0..60 {
            story.round(&story.agreeing(clients));
        }
        assert_eq!(story.timekeeper.phase, Phase::Steady);
        story
    }

    fn round(&mut self, clients: &[TestClient]) -> Conclusion {
        self.round += 1;
        self.now += SECOND.times(5);
        let member_readings: Vec<MemberReading> =
            clients.iter().map(|client| client.reading_at(self.now)).collect();
        self.timekeeper.conclude(self.round, self.now, electorate(&member_readings), FRESH)
    }

    /// Clients that show the cluster's time to within a few microseconds.
    fn agreeing(&self, clients: usize) -> Vec<TestClient> {
        let phase = self.timekeeper.timescale.phase_at(self.now + SECOND.times(5));
        (0..clients).map(|k| member(phase + Span::from_micros(5 * (k as i64 % 3) - 5))).collect()
    }
}

/// The server's own clock, with one vote, and these clients.
fn electorate<'a>(clients: &'a [MemberReading<'a>]) -> Electorate<'a> {
    Electorate { own: Weight::ONE, clients }
}

/// A client whose clock is so far ahead of the server's oscillator.
#[derive(Clone, Copy)]
struct TestClient {
    phase: Option<Span>,
    state: ClientState,
    removed: bool,
    adjustment: Frequency,
}

impl TestClient {
    fn reading_at(&self, now: Raw) -> MemberReading<'static> {
        let reading = self.phase.map(|phase| PhaseReading {
            at: now,
            phase,
            noise: Span::from_micros(5),
            excess: Span::ZERO,
            fresh: true,
        });
        let carries = self.state.has_cluster_time();
        MemberReading {
            state: self.state,
            cluster: if carries { ClusterId(5) } else { ClusterId(0) },
            manual_adjustment: Some(&ManualAdjustment::NONE),
            reading,
            excluded: false,
            removed: self.removed,
            weight: Weight::ONE,
            has_vote: true,
            frequency: Some(FrequencyReport { adjustment: self.adjustment, error: CLIENTS_ERROR })
                .filter(|_| carries),
        }
    }

    fn unheard(self) -> TestClient {
        TestClient { phase: None, ..self }
    }

    fn removed(self) -> TestClient {
        TestClient { removed: true, ..self }
    }
}

fn new_member(phase: Span) -> TestClient {
    TestClient { state: ClientState::Unsynchronized, ..member(phase) }
}

fn member(phase: Span) -> TestClient {
    let (state, adjustment) = (ClientState::Synchronized, Frequency::ZERO);
    TestClient { phase: Some(phase), state, removed: false, adjustment }
}

#[test]
fn the_first_vote_is_the_mean_of_all_clocks_the_servers_among_them() {
    let mut story = Story::begin();
    let end = story.round(&[new_member(SECOND.times(3)), new_member(SECOND.times(6))]);
    assert_eq!((end.report.outcome, end.transition), (Outcome::Agreed, Some(PhaseTransition::Agreed)));
    assert_eq!((end.correction.span(), end.adjustment), (SECOND.times(3), Adjustment::Step));
    assert_eq!(story.timekeeper.cluster(), FRESH);
    assert_eq!(story.timekeeper.recipients(), Recipients::All);
}

#[test]
fn a_server_far_from_the_median_is_left_out_of_the_first_vote() {
    let mut story = Story::begin();
    let end = story.round(&[new_member(HOUR), new_member(HOUR + SECOND)]);
    assert_eq!(end.own.and_then(|own| own.exclusion), Some(Exclusion::OutsideWindow));
    assert_eq!(end.correction.span(), HOUR + SECOND.half());
}

#[test]
fn a_clock_from_1970_is_reported_and_does_not_count() {
    let mut story = Story::begin();
    let since_1970 = Span::from_nanos(story.now.as_nanos());
    let end = story.round(&[new_member(-since_1970), new_member(SECOND), new_member(-SECOND)]);
    assert_eq!(end.judgements[0].and_then(|judgement| judgement.exclusion), Some(Exclusion::BeforePlausible));
    assert_eq!(end.correction.span(), Span::ZERO);
    let end = Story::begin().round(&[
        new_member(HOUR.times(24 * 365 * 60)),
        new_member(SECOND),
        new_member(-SECOND),
    ]);
    assert_eq!(end.judgements[0].and_then(|judgement| judgement.exclusion), Some(Exclusion::AfterPlausible));
}

#[test]
fn two_wild_clocks_that_disagree_follow_nothing_and_that_is_said_once() {
    let mut story = Story::begin();
    let end = story.round(&[new_member(HOUR)]);
    assert_eq!((end.report.outcome, end.transition), (Outcome::Listening, Some(PhaseTransition::Undecided)));
    assert_eq!(story.round(&[new_member(HOUR)]).transition, None);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    let end = story.round(&[new_member(HOUR), new_member(HOUR)]);
    assert_eq!(end.transition, Some(PhaseTransition::Agreed));
}

#[test]
fn the_first_vote_waits_for_those_not_heard_but_not_for_ever() {
    let mut story = Story::begin();
    let clients = [new_member(SECOND), new_member(SECOND), new_member(SECOND).unheard()];
    let waited = (0..10).take_while(|_| story.round(&clients).transition.is_none()).count();
    assert_eq!(waited, 5);
    assert_eq!(story.timekeeper.state(), ClientState::Synchronized);
}

#[test]
fn a_server_without_clients_does_not_vote() {
    let mut story = Story::begin();
    assert_eq!(story.round(&[]).report.outcome, Outcome::Listening);
    assert_eq!(story.timekeeper.state(), ClientState::Unsynchronized);
}

#[test]
fn in_steady_state_the_vote_moves_nothing() {
    let mut story = Story::steady(4);
    let mut clients = story.agreeing(4);
    clients[3] = member(story.timekeeper.timescale.phase_at(story.now) + HOUR);
    let end = story.round(&clients);
    assert_eq!(end.report.outcome, Outcome::Agreed);
    assert_eq!(end.correction.span(), Span::ZERO);
    assert_eq!(end.judgements[3].and_then(|judgement| judgement.exclusion), Some(Exclusion::OutsideWindow));
    assert!(end.judgements[..3].iter().flatten().all(|judgement| judgement.exclusion.is_none()));
}

#[test]
fn a_new_member_has_no_vote() {
    let mut story = Story::steady(2);
    let mut clients = story.agreeing(2);
    clients.extend([new_member(HOUR), new_member(HOUR), new_member(HOUR)]);
    let end = story.round(&clients);
    assert_eq!((end.report.outcome, end.report.members), (Outcome::Agreed, 3));
    assert_eq!(end.judgements[2], None);
}

#[test]
fn a_server_that_jumped_is_silent_then_deposed_then_follows_then_resumes() {
    let mut story = Story::steady(3);
    let jumped = |story: &Story| {
        let base = story.timekeeper.timescale.phase_at(story.now) - HOUR;
        [0, 3, -3].map(|us| member(base + Span::from_micros(us)))
    };
    let clients = jumped(&story);
    let end = story.round(&clients);
    assert_eq!((end.report.outcome, end.transition), (Outcome::ServerInDoubt, None));
    assert_eq!(story.timekeeper.recipients(), Recipients::None);
    let end = story.round(&clients);
    let deposed_by = match end.transition {
        Some(PhaseTransition::Deposed(offset)) => offset.span(),
        other => panic!("not deposed: {other:?}"),
    };
    assert!((deposed_by - HOUR).abs() < SECOND);
    assert!((end.correction.span() + HOUR).abs() < Span::from_micros(10));
    for _ in 1..SILENT_ROUNDS {
        let end = story.round(&clients);
        assert_eq!((end.report.outcome, end.transition), (Outcome::Following, None));
        assert!(
            story.timekeeper.recipients() == Recipients::Joining
                && end.correction.span().abs() < Span::from_micros(20)
        );
    }
    assert_eq!(story.round(&clients).transition, Some(PhaseTransition::Resumed));
    assert_eq!(story.round(&clients).report.outcome, Outcome::Agreed);
}

#[test]
fn half_of_the_members_cannot_depose_the_server() {
    let mut story = Story::steady(3);
    for _ in 0..10 {
        let mut clients = story.agreeing(3);
        clients[1] = member(story.timekeeper.timescale.phase_at(story.now) + HOUR);
        clients[2] = clients[1];
        let end = story.round(&clients);
        assert!(end.transition.is_none() && end.report.outcome != Outcome::ServerInDoubt);
        assert_eq!(end.correction.span(), Span::ZERO);
    }
}

#[test]
fn losses_do_not_turn_a_minority_into_a_majority() {
    let mut story = Story::steady(4);
    let wrong = member(story.timekeeper.timescale.phase_at(story.now) + HOUR);
    let silent = wrong.unheard();
    let end = story.round(&[wrong, wrong, silent, silent]);
    assert_eq!(end.report.outcome, Outcome::Unsure);
    assert_eq!(story.timekeeper.recipients(), Recipients::Joining);
}

#[test]
fn members_that_have_drifted_apart_agree_again() {
    let mut story = Story::steady(4);
    let base = story.timekeeper.timescale.phase_at(story.now);
    let apart = [-3, -1, 2, 4].map(|ms| member(base + Span::from_millis(ms)));
    let outcomes: Vec<Outcome> = (0..20).map(|_| story.round(&apart).report.outcome).collect();
    assert_eq!(outcomes[0], Outcome::Unsure);
    assert_eq!(outcomes[19], Outcome::Agreed);
}

#[test]
fn a_server_that_disagrees_with_its_only_client_agrees_with_itself_after_two_minutes() {
    let mut story = Story::steady(1);
    let wrong = member(story.timekeeper.timescale.phase_at(story.now) + HOUR);
    let outcomes: Vec<Outcome> = (0..30).map(|_| story.round(&[wrong]).report.outcome).collect();
    assert_eq!(outcomes[..23], [Outcome::Unsure; 23]);
    assert_eq!(outcomes[23..], [Outcome::Agreed; 7]);
}

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
    assert_eq!(only_transition(&mut story, 7, &[liar]), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 100, &[liar]), None);
    // Two honest clients arrive: the first vote leaves the liar out.
    let end = story.round(&[liar, new_member(SECOND), new_member(SECOND.times(2))]);
    assert_eq!(end.transition, Some(PhaseTransition::Agreed));
    assert_eq!(end.correction.span(), SECOND);
    assert_eq!(end.judgements[0].and_then(|judgement| judgement.exclusion), Some(Exclusion::OutsideWindow));
}

#[test]
fn the_time_of_a_single_client_is_adopted_after_a_minute_if_the_servers_clock_is_near() {
    let mut story = Story::begin();
    let client = member(SECOND.times(20));
    assert_eq!(only_transition(&mut story, 7, &[client]), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 6, &[client]), Some(PhaseTransition::Adopted));
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
        story.timekeeper.kept = Some(KeptTime { cluster: ClusterId(5), error });
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
    assert_eq!(only_transition(&mut story, 7, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 100, &clients), None);
    assert_eq!(story.timekeeper.recipients(), Recipients::None);

    let mut story = Story::begin();
    let error = Span::from_millis(1);
    story.timekeeper.kept = Some(KeptTime { cluster: ClusterId(5), error });
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
        (vec![0, 100, 100, 201, 300, 300], None),
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
fn newcomers_have_no_vote() {
    let mut story = Story::steady(2);
    let mut clients: Vec<MemberReading<'static>> = Vec::new();
    for client in story.agreeing(2) {
        clients.push(client.reading_at(story.now + SECOND.times(5)));
    }
    let wrong = member(story.timekeeper.timescale.phase_at(story.now) + HOUR);
    for _ in 0..6 {
        let newcomer = wrong.reading_at(story.now + SECOND.times(5));
        clients.push(MemberReading { has_vote: false, ..newcomer });
    }
    story.now += SECOND.times(5);
    let end = story.timekeeper.conclude(99, story.now, electorate(&clients), FRESH);
    assert_eq!((end.report.outcome, end.report.members), (Outcome::Agreed, 3));
    assert!(end.judgements[2..].iter().all(|it| it.is_some_and(|it| it.exclusion.is_some())));
}

#[test]
fn slow_members_do_not_widen_the_window_for_the_quick_ones() {
    let mut story = Story::steady(8);
    let before = story.timekeeper.last_window;
    // Three of eight members now answer through a path that scatters by tens of milliseconds.
    for round in 0..200_i64 {
        story.now += SECOND.times(5);
        let clients: Vec<MemberReading<'static>> = story
            .agreeing(8)
            .iter()
            .enumerate()
            .map(|(index, client)| {
                let reading = client.reading_at(story.now);
                let late = Span::from_millis((round * 37 + index as i64 * 61) % 160 - 80);
                let slow = |it: PhaseReading| PhaseReading {
                    phase: it.phase + late,
                    noise: Span::from_millis(40),
                    ..it
                };
                if index < 3 {
                    MemberReading { reading: reading.reading.map(slow), ..reading }
                } else {
                    reading
                }
            })
            .collect();
        let end = story.timekeeper.conclude(round as u32, story.now, electorate(&clients), FRESH);
        assert_eq!(end.report.outcome, Outcome::Agreed, "{round}");
    }
    assert!(story.timekeeper.last_window <= before.times(2), "{}", story.timekeeper.last_window);
}

#[test]
fn a_deposed_server_learns_its_new_frequency_from_the_two_readings_that_deposed_it() {
    let mut story = Story::steady(4);
    // From now on the server's oscillator runs 150 ppm fast: its clients fall behind by 750 µs a round.
    let base = story.timekeeper.timescale.phase_at(story.now);
    let behind = |round: i64| vec![member(base - Span::from_micros(750 * round)); 4];
    story.round(&behind(1));
    assert!(matches!(story.round(&behind(2)).transition, Some(PhaseTransition::Deposed(_))));
    assert!((story.timekeeper.timescale.frequency().ppm() + 150.0).abs() < 2.0);
    let end = story.round(&behind(3));
    assert!(end.correction.span().abs() < Span::from_micros(20), "{:?}", end.correction);
}

const KNOWN: Frequency = Frequency::from_ppm(40.0);
const SURE: Frequency = Frequency::from_ppm(0.1);

#[test]
fn a_server_that_knows_its_frequency_runs_at_it_from_the_start_and_so_does_a_new_cluster() {
    let mut story = Story::with_prior(Some((KNOWN, SURE)));
    assert_eq!(story.timekeeper.timescale.frequency(), KNOWN);
    story.round(&[]);
    assert_eq!(
        (story.timekeeper.state(), story.timekeeper.frequency_error(story.now)),
        (ClientState::Unsynchronized, None)
    );
    story.round(&[new_member(SECOND), new_member(-SECOND)]);
    assert_eq!(story.timekeeper.state(), ClientState::Synchronized);
    assert_eq!(story.timekeeper.timescale.frequency(), KNOWN);
    assert_eq!(story.timekeeper.rate(), Frequency::ZERO, "the rate command is zero");
}

#[test]
fn a_saved_frequency_beyond_the_limit_is_not_used() {
    let story = Story::with_prior(Some((Frequency::from_ppm(450.0), SURE)));
    assert_eq!(story.timekeeper.timescale.frequency(), Frequency::ZERO);
}

/// The members' time, seen from a server over whose oscillator it runs by 40 ppm: `round` rounds later.
fn fast(round: i64) -> Vec<TestClient> {
    vec![member(HOUR + KNOWN.over(SECOND.times(5 * round))); 3]
}

#[test]
fn a_restarted_server_that_knows_its_frequency_has_it_from_the_first_reading() {
    let mut story = Story::with_prior(Some((KNOWN, SURE)));
    story.round(&fast(0));
    assert_eq!(story.round(&fast(1)).transition, Some(PhaseTransition::Adopted));
    assert!((story.timekeeper.timescale.frequency() - KNOWN).ppb().abs() < 1e-6);
    assert!(story.timekeeper.frequency_error(story.now).is_some_and(|error| error.ppm() < 0.11));
    let end = story.round(&fast(2));
    assert!(end.correction.span().abs() < Span::from_micros(1), "{:?}", end.correction);
}

#[test]
fn a_wrong_saved_frequency_is_detected_within_three_rounds() {
    for wrong in [-300.0, -3.0, 300.0] {
        let mut story = Story::with_prior(Some((Frequency::from_ppm(wrong), SURE)));
        let outcomes: Vec<Outcome> = (0..8).map(|round| story.round(&fast(round)).report.outcome).collect();
        assert_eq!(outcomes[4..], [Outcome::Following; 4], "{wrong} ppm: {outcomes:?}");
        let learned = story.timekeeper.timescale.frequency();
        assert!((learned - KNOWN).ppm().abs() < 3.0, "{wrong} ppm: {learned:?}");
    }
}

#[test]
fn the_rate_is_known_as_well_as_the_members_follow_it_and_as_it_is_going_to_stay() {
    let mut story = Story::steady(3);
    assert_eq!(story.timekeeper.frequency_error(story.now), Some(CLIENTS_ERROR));
    // One of the members claims a frequency that makes the mean, towards which the rate goes, another one.
    story.now += SECOND.times(5);
    let mut member_readings: Vec<MemberReading> =
        story.agreeing(3).iter().map(|client| client.reading_at(story.now)).collect();
    let adjustment = Frequency::from_ppm(8.0);
    member_readings[0].frequency = Some(FrequencyReport { adjustment, error: CLIENTS_ERROR });
    story.timekeeper.conclude(100, story.now, electorate(&member_readings), FRESH);
    let error = story.timekeeper.frequency_error(story.now).unwrap();
    assert!((error.ppm() - 2.0).abs() < 0.01, "{error:?}");
}

#[test]
fn a_server_in_doubt_or_unsure_states_no_frequency_error() {
    let mut story = Story::steady(3);
    let base = story.timekeeper.timescale.phase_at(story.now);
    story.round(&[member(base - HOUR); 3]);
    assert_eq!(story.timekeeper.frequency_error(story.now), None);
    let mut story = Story::steady(4);
    let silent = member(Span::ZERO).unheard();
    story.round(&[silent; 4]);
    assert_eq!(story.timekeeper.frequency_error(story.now), None);
}

#[test]
fn a_server_that_slept_still_knows_its_frequency() {
    let mut story = Story::with_prior(Some((KNOWN, SURE)));
    story.round(&fast(0));
    (1..40).for_each(|round| _ = story.round(&fast(round)));
    assert_eq!(story.timekeeper.phase, Phase::Steady);
    story.timekeeper.wake_up(story.now, HOUR);
    (40..42).for_each(|round| _ = story.round(&fast(round)));
    assert_eq!(story.timekeeper.state(), ClientState::Synchronized);
    assert!((story.timekeeper.timescale.frequency() - KNOWN).ppb().abs() < 300.0);
    assert!(story.timekeeper.frequency_error(story.now).unwrap().ppm() < 0.5);
}

#[test]
fn members_that_carry_an_implausible_time_are_not_followed() {
    let mut story = Story::begin();
    let since_1970 = Span::from_nanos(story.now.as_nanos());
    let clients = [member(-since_1970), member(-since_1970), new_member(Span::ZERO)];
    for _ in 0..10 {
        let transition = story.round(&clients).transition;
        assert!(!matches!(transition, Some(PhaseTransition::Adopted)), "{transition:?}");
    }
    let turns: Vec<_> =
        (0..10).filter_map(|_| story.round(&[new_member(Span::ZERO); 3]).transition).collect();
    assert!(story.timekeeper.state().has_cluster_time(), "{turns:?}");
    assert!((story.timekeeper.timescale().phase_at(story.now)).abs() < SECOND);
}

#[test]
fn a_server_that_slept_keeps_its_cluster_id() {
    let mut story = Story::steady(3);
    story.timekeeper.wake_up(story.now, SECOND);
    for _ in 0..3 {
        story.round += 1;
        story.now += SECOND.times(5);
        // One of them had registered from another cluster, the others as newcomers.
        let mut member_readings: Vec<MemberReading> =
            story.agreeing(3).iter().map(|client| client.reading_at(story.now)).collect();
        member_readings[0].cluster = ClusterId(5);
        member_readings[1..].iter_mut().for_each(|member_reading| member_reading.cluster = ClusterId(0));
        story.timekeeper.conclude(story.round, story.now, electorate(&member_readings), ClusterId(99));
    }
    assert_eq!((story.timekeeper.phase, story.timekeeper.cluster()), (Phase::Following(23), FRESH));
}

#[test]
fn a_disagreement_leaves_no_wide_window_behind() {
    let mut story = Story::steady(2);
    for _ in 0..26 {
        let phase = story.timekeeper.timescale.phase_at(story.now + SECOND.times(5));
        story.round(&[member(phase + HOUR), member(phase - HOUR)]);
    }
    (0..12).for_each(|_| drop(story.round(&story.agreeing(2))));
    assert!(story.round(&story.agreeing(2)).report.window < Span::from_millis(1));
}

#[test]
fn removed_members_are_judged_but_do_not_count() {
    let mut story = Story::steady(4);
    let mut clients = story.agreeing(4);
    // Three that agree with one another, and not with the server: with votes, they would depose it.
    for wrong in &mut clients[..3] {
        wrong.phase = wrong.phase.map(|phase| phase + SECOND);
        *wrong = wrong.removed();
    }
    for _ in 0..5 {
        let end = story.round(&clients);
        assert_eq!((end.report.outcome, end.report.members), (Outcome::Agreed, 2));
        assert_eq!((end.report.heard, end.report.agreeing), (2, 2));
        for judgement in &end.judgements[..3] {
            let judgement = judgement.expect("they are judged too");
            assert_eq!((judgement.agrees, judgement.exclusion), (false, Some(Exclusion::Removed)));
            assert!((judgement.offset.span() - SECOND).abs() < Span::from_millis(1), "{judgement:?}");
        }
        assert_eq!(
            end.judgements[3].map(|judgement| (judgement.agrees, judgement.exclusion)),
            Some((true, None))
        );
    }
    let agreeing = story.agreeing(4);
    let end = story.round(&[agreeing[0].removed(), agreeing[1], agreeing[2], agreeing[3]]);
    assert_eq!(end.report.members, 4);
    let removed = end.judgements[0].expect("it was heard");
    assert_eq!((removed.agrees, removed.exclusion), (true, Some(Exclusion::Removed)));
}

#[test]
fn the_frequency_of_a_removed_clock_does_not_count_either() {
    let mut story = Story::steady(3);
    let fast = |clients: Vec<TestClient>| {
        let mut clients = clients;
        clients[0].adjustment = Frequency::from_ppm(20.0);
        clients
    };
    let counted = story.round(&fast(story.agreeing(3))).report.mean_frequency.unwrap();
    assert!((counted - story.timekeeper.rate()).ppm() > 4.0, "{counted:?}");
    let mut clients = fast(story.agreeing(3));
    clients[0] = clients[0].removed();
    let left_out = story.round(&clients).report.mean_frequency.unwrap();
    assert!(left_out.ppm().abs() < 0.1, "{left_out:?}");
}

#[test]
fn the_first_vote_neither_counts_nor_waits_for_removed_members() {
    let mut story = Story::begin();
    let end =
        story.round(&[new_member(SECOND), new_member(HOUR).removed(), new_member(HOUR).unheard().removed()]);
    assert_eq!((end.transition, end.report.members), (Some(PhaseTransition::Agreed), 2));
    assert_eq!(end.correction.span(), SECOND.half());
    assert_eq!(story.timekeeper.recipients(), Recipients::All);
}

/// The conclusion of one more round with these readings, which are taken at its end.
fn conclude(story: &mut Story, readings: &[MemberReading<'_>]) -> Conclusion {
    story.round += 1;
    story.timekeeper.conclude(story.round, story.now, electorate(readings), FRESH)
}

/// The server's clock jumps by this much; a round later its clients are so much behind it. Two of them answer
/// through a path that is noisy, and these have no vote.
fn after_a_jump(story: &Story, by: Span, noisy: usize, newcomers: usize) -> Vec<MemberReading<'static>> {
    let phase = story.timekeeper.timescale.phase_at(story.now) - by;
    let reading = |index: usize| {
        let reading = member(phase).reading_at(story.now);
        let noise = if index < noisy { Span::from_millis(10) } else { Span::from_micros(5) };
        let has_vote = index + newcomers < 4;
        MemberReading {
            reading: reading.reading.map(|reading| PhaseReading { noise, ..reading }),
            has_vote,
            ..reading
        }
    };
    (0..4).map(reading).collect()
}

#[test]
fn a_server_that_jumps_corrects_nobody_though_half_of_its_clients_are_on_noisy_paths() {
    let mut story = Story::steady(4);
    for transition in [false, true] {
        story.now += SECOND.times(5);
        let readings = after_a_jump(&story, SECOND, 2, 0);
        let end = conclude(&mut story, &readings);
        assert_eq!(end.report.outcome, Outcome::ServerInDoubt);
        assert_eq!(story.timekeeper.recipients(), Recipients::None);
        assert_eq!(matches!(end.transition, Some(PhaseTransition::Deposed(_))), transition);
    }
}

#[test]
fn a_server_that_jumps_corrects_nobody_though_newcomers_hinder_its_deposition() {
    let mut story = Story::steady(4);
    for _ in 0..30 {
        story.now += SECOND.times(5);
        let mut readings = after_a_jump(&story, SECOND, 0, 2);
        // One more newcomer, that says what the server does.
        let shield = member(story.timekeeper.timescale.phase_at(story.now)).reading_at(story.now);
        readings.push(MemberReading { has_vote: false, ..shield });
        readings.truncate(5);
        let end = conclude(&mut story, &readings[..]);
        let deposed = matches!(end.transition, Some(PhaseTransition::Deposed(_)));
        assert!(deposed || story.timekeeper.recipients() == Recipients::None, "{:?}", end.report);
        if deposed {
            return;
        }
        assert!(end.judgements[2].is_some_and(|newcomer| newcomer.agrees), "it earns its vote");
    }
}

#[test]
fn exact_readings_of_a_few_do_not_widen_the_window_for_themselves() {
    let mut story = Story::steady(4);
    let before = story.timekeeper.last_window;
    for _ in 0..200 {
        story.now += SECOND.times(5);
        let phase = story.timekeeper.timescale.phase_at(story.now);
        let edge = story.timekeeper.last_window - Span::from_micros(1);
        let reading = |phase: Span, noise: Span| {
            let reading = member(phase).reading_at(story.now);
            MemberReading {
                reading: reading.reading.map(|reading| PhaseReading { noise, ..reading }),
                ..reading
            }
        };
        let (exact, noisy) = (Span::from_micros(1), Span::from_micros(40));
        let readings = [
            reading(phase + edge, exact),
            reading(phase - edge, exact),
            reading(phase, noisy),
            reading(phase, noisy),
        ];
        conclude(&mut story, &readings);
    }
    assert!(story.timekeeper.last_window <= before.times(2), "{}", story.timekeeper.last_window);
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
        story.timekeeper.kept =
            is_kept.then_some(KeptTime { cluster: ClusterId(5), error: Span::from_millis(1) });
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
        story.timekeeper.kept = Some(KeptTime { cluster: ClusterId(5), error: Span::from_millis(1) });
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
    assert_eq!(only_transition(&mut story, 7, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 20, &clients), None);
}

#[test]
fn clients_without_a_time_do_not_take_it_from_as_many_that_carry_one() {
    let (good, fresh) = (member(Span::ZERO), new_member(SECOND.times(29)));
    let clients = [good, good, fresh, fresh];
    for is_kept in [false, true] {
        let mut story = Story::begin();
        story.timekeeper.kept =
            is_kept.then_some(KeptTime { cluster: ClusterId(5), error: Span::from_millis(1) });
        let transitions: Vec<_> = (0..20).filter_map(|_| story.round(&clients).transition).collect();
        let waits = [PhaseTransition::Undecided].into_iter().filter(|_| !is_kept);
        assert_eq!(transitions, waits.chain([PhaseTransition::Adopted]).collect::<Vec<_>>());
        assert!(story.timekeeper.timescale.phase_at(story.now).abs() < Span::from_millis(1));
    }
}

#[test]
fn carriers_of_which_no_two_agree_are_no_reason_to_wait_for_longer_than_a_minute() {
    let (near, far) = (member(SECOND.times(2)), member(HOUR));
    let clients = [near, far, new_member(SECOND)];
    let mut story = Story::begin();
    assert_eq!(only_transition(&mut story, 7, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 6, &clients), Some(PhaseTransition::Agreed));
    assert_eq!(story.timekeeper.timescale.phase_at(story.now), SECOND);
    // Two that agree are.
    let mut story = Story::begin();
    let clients = [near, near, far, far, new_member(SECOND), new_member(SECOND)];
    assert_eq!(only_transition(&mut story, 7, &clients), Some(PhaseTransition::Undecided));
    assert_eq!(only_transition(&mut story, 50, &clients), None);
}

#[test]
fn a_server_keeps_its_cluster_whatever_other_ones_its_members_name() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(KeptTime { cluster: ClusterId(5), error: Span::from_millis(1) });
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
fn a_kept_time_of_another_cluster_does_not_keep_a_server_from_its_only_client() {
    let mut story = Story::begin();
    story.timekeeper.kept = Some(KeptTime { cluster: ClusterId(4), error: Span::from_millis(1) });
    let transitions: Vec<_> =
        (0..20).filter_map(|_| story.round(&[member(SECOND.times(3))]).transition).collect();
    assert!(transitions.contains(&PhaseTransition::Adopted), "{transitions:?}");
}

#[test]
fn a_server_that_slept_among_divided_members_says_so_and_can_be_told_the_time() {
    let mut story = Story::steady(2);
    story.timekeeper.wake_up(story.now, HOUR);
    let clients = [member(Span::ZERO), member(SECOND)];
    let transitions: Vec<_> = (0..12).filter_map(|_| story.round(&clients).transition).collect();
    assert_eq!(transitions, [PhaseTransition::Undecided]);
    assert!(story.timekeeper.undecided().is_some());
    let time = PLAUSIBLE_FROM + Span::from_secs(86_400 * 2);
    assert!(story.timekeeper.found(story.now, time, ClusterId(8)).is_ok());
    assert_eq!((story.timekeeper.phase, story.timekeeper.undecided()), (Phase::Steady, None));
}

//! The timekeeper through many rounds: member readings in, conclusions out.

use super::timekeeper::Phase;
use super::*;
use crate::PlausibleTimes;
use crate::config::{LeadingConfig, SILENT_ROUNDS};
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::plausible::PLAUSIBLE_FROM;
use crate::saved_state::KeptTime;
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};
use alloc::vec;
use alloc::vec::Vec;

mod adoption;
mod doubt;
mod kept_time;
mod leading;
mod participant;
mod properties;
mod relay;
mod restart;
mod sleep;
mod standby;

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const FRESH: ClusterId = ClusterId(77);
/// The cluster whose time clients carry.
const CLUSTER: ClusterId = ClusterId(5);
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
            relay: false,
            standby: false,
            kept: None,
            leading: LeadingConfig::default(),
        };
        Story { timekeeper: Timekeeper::new(config, now), now, round: 0 }
    }

    /// A story in the steady phase: clients have agreed with the server for some rounds.
    fn steady(clients: usize) -> Story {
        let mut story = Story::begin();
        story.round_of(CLUSTER, &vec![new_member(Span::ZERO); clients]);
        for _ in 0..60 {
            story.round(&story.agreeing(clients));
        }
        assert_eq!(story.timekeeper.phase, Phase::Steady);
        story
    }

    fn round(&mut self, clients: &[TestClient]) -> Conclusion {
        self.round_of(FRESH, clients)
    }

    /// A round that founds this cluster, if it founds one.
    fn round_of(&mut self, new_cluster: ClusterId, clients: &[TestClient]) -> Conclusion {
        self.round += 1;
        self.now += SECOND.times(5);
        let member_readings: Vec<MemberReading> =
            clients.iter().map(|client| client.reading_at(self.now)).collect();
        self.timekeeper.conclude(self.round, self.now, electorate(&member_readings), new_cluster)
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

/// A time of this cluster that the server has kept over a restart, without a manual adjustment.
fn kept_time(cluster: ClusterId, error: Span) -> KeptTime {
    KeptTime { cluster, error, manual_adjustment: ManualAdjustment::NONE }
}

/// A client whose clock is so far ahead of the server's oscillator.
#[derive(Clone, Copy)]
struct TestClient {
    phase: Option<Span>,
    state: ClientState,
    removed: bool,
    has_vote: bool,
    was_measured: bool,
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
            was_measured: self.was_measured,
            exclusion: self.removed.then_some(Exclusion::Removed),
            weight: Weight::ONE,
            has_vote: self.has_vote,
            frequency: Some(FrequencyReport { adjustment: self.adjustment, error: CLIENTS_ERROR })
                .filter(|_| carries),
        }
    }

    /// One that has never answered a probe.
    fn unheard(self) -> TestClient {
        TestClient { phase: None, was_measured: false, ..self }
    }

    /// One that has answered probes, and is silent now.
    fn silent(self) -> TestClient {
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
    TestClient { phase: Some(phase), state, removed: false, has_vote: true, was_measured: true, adjustment }
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
fn a_round_of_delayed_readings_does_not_leave_out_the_servers_own_clock() {
    for (is_delayed, exclusion) in [(true, None), (false, Some(Exclusion::OutsideWindow))] {
        let mut story = Story::steady(3);
        let off = story.timekeeper.last_window.scaled(1.5);
        story.now += SECOND.times(5);
        let phase = story.timekeeper.timescale.phase_at(story.now) + off;
        let mut readings = [member(phase).reading_at(story.now); 3];
        for reading in readings.iter_mut().filter_map(|member| member.reading.as_mut()) {
            reading.excess = if is_delayed { off } else { Span::ZERO };
        }
        let end = story.timekeeper.conclude(99, story.now, electorate(&readings), FRESH);
        assert_eq!(end.own.map(|own| own.exclusion), Some(exclusion), "delayed: {is_delayed}");
    }
}

#[test]
fn one_delayed_reading_of_three_does_not_excuse_the_servers_own_clock() {
    let mut story = Story::steady(3);
    let off = story.timekeeper.last_window.scaled(1.5);
    story.now += SECOND.times(5);
    let phase = story.timekeeper.timescale.phase_at(story.now) + off;
    let mut readings = [member(phase).reading_at(story.now); 3];
    readings[0].reading.as_mut().unwrap().excess = SECOND;
    let end = story.timekeeper.conclude(99, story.now, electorate(&readings), FRESH);
    assert_eq!(end.own.and_then(|own| own.exclusion), Some(Exclusion::OutsideWindow));
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
    story.timekeeper.wake_up(story.now, HOUR, Weight::ZERO);
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
        if deposed || end.transition == Some(PhaseTransition::Adopted) {
            return;
        }
        assert_eq!(story.timekeeper.recipients(), Recipients::None, "{:?}", end.report);
        let is_listening = end.report.outcome == Outcome::Listening;
        let earns = end.judgements.get(2).copied().flatten().is_some_and(|newcomer| newcomer.agrees);
        assert!(is_listening || earns, "it earns its vote");
    }
    panic!("the server is neither deposed nor does it adopt");
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

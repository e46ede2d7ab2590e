//! The keeper's life as stories: ballots in, conclusions out.

use super::*;
use crate::config::{PLAUSIBLE_FROM, SILENT_ROUNDS};
use crate::event::Adjustment;
use alloc::vec;
use alloc::vec::Vec;

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const FRESH: ClusterId = ClusterId(77);
/// What the clients here know their frequency to.
const CLIENTS_ERROR: Frequency = Frequency::from_ppm(0.02);

/// A server whose oscillator starts at a plausible time, and the rounds it has lived through.
struct Story {
    keeper: Timekeeper,
    now: Raw,
    round: u32,
}

impl Story {
    fn begin() -> Story {
        Story::knowing(None)
    }

    /// A server that knows its frequency from an earlier run, to this error.
    fn knowing(known: Option<(Frequency, Frequency)>) -> Story {
        let now = Raw::from_nanos((PLAUSIBLE_FROM + Span::from_secs(86_400)).as_nanos());
        let (interval, radius) = (SECOND.times(5), SECOND.times(30));
        let settings =
            TimekeeperConfig { interval, radius, plausible_from: PLAUSIBLE_FROM, known, given: None };
        Story { keeper: Timekeeper::new(settings, now), now, round: 0 }
    }

    /// A story in its steady phase: clients that agree with the server, for some rounds.
    fn steady(clients: usize) -> Story {
        let mut story = Story::begin();
        story.round(&vec![newcomer(Span::ZERO); clients]);
        for _ in 0..60 {
            story.round(&story.agreeing(clients));
        }
        assert_eq!(story.keeper.phase, Phase::Steady);
        story
    }

    fn round(&mut self, clients: &[Client]) -> Conclusion {
        self.round += 1;
        self.now += SECOND.times(5);
        let ballots: Vec<MemberReading> = clients.iter().map(|client| client.ballot(self.now)).collect();
        self.keeper.conclude(self.round, self.now, &ballots, FRESH)
    }

    /// Clients that show the cluster's time to within a few microseconds.
    fn agreeing(&self, clients: usize) -> Vec<Client> {
        let phase = self.keeper.timescale.phase_at(self.now + SECOND.times(5));
        (0..clients).map(|k| member(phase + Span::from_micros(5 * (k as i64 % 3) - 5))).collect()
    }
}

/// A client whose clock is so far ahead of the server's oscillator.
#[derive(Clone, Copy)]
struct Client {
    phase: Option<Span>,
    state: ClientState,
    removed: bool,
    adjustment: Frequency,
}

impl Client {
    fn ballot(&self, now: Raw) -> MemberReading<'static> {
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
            setting: Some(&ManualAdjustment::NONE),
            reading,
            excluded: false,
            removed: self.removed,
            claim: Some(FrequencyReport { adjustment: self.adjustment, error: CLIENTS_ERROR })
                .filter(|_| carries),
        }
    }

    fn unheard(self) -> Client {
        Client { phase: None, ..self }
    }

    fn removed(self) -> Client {
        Client { removed: true, ..self }
    }
}

fn newcomer(phase: Span) -> Client {
    Client { state: ClientState::Unsynchronized, ..member(phase) }
}

fn member(phase: Span) -> Client {
    let (state, adjustment) = (ClientState::Synchronized, Frequency::ZERO);
    Client { phase: Some(phase), state, removed: false, adjustment }
}

#[test]
fn the_first_vote_is_the_mean_of_all_clocks_the_servers_among_them() {
    let mut story = Story::begin();
    let end = story.round(&[newcomer(SECOND.times(3)), newcomer(SECOND.times(6))]);
    assert_eq!((end.report.outcome, end.turn), (Outcome::Agreed, Some(PhaseTransition::Agreed)));
    assert_eq!((end.correction.span(), end.adjustment), (SECOND.times(3), Adjustment::Step));
    assert_eq!(story.keeper.cluster(), FRESH);
    assert_eq!(story.keeper.audience(), Recipients::All);
}

#[test]
fn a_wild_server_is_thrown_out_of_the_first_vote_like_anybody_else() {
    let mut story = Story::begin();
    let end = story.round(&[newcomer(HOUR), newcomer(HOUR + SECOND)]);
    assert_eq!(end.own.and_then(|own| own.exclusion), Some(Exclusion::OutsideWindow));
    assert_eq!(end.correction.span(), HOUR + SECOND.half());
}

#[test]
fn a_clock_from_1970_is_named_and_does_not_count() {
    let mut story = Story::begin();
    let since_1970 = Span::from_nanos(story.now.as_nanos());
    let end = story.round(&[newcomer(-since_1970), newcomer(SECOND), newcomer(-SECOND)]);
    assert_eq!(end.judged[0].and_then(|judged| judged.exclusion), Some(Exclusion::BeforePlausible));
    assert_eq!(end.correction.span(), Span::ZERO);
    let end =
        Story::begin().round(&[newcomer(HOUR.times(24 * 365 * 60)), newcomer(SECOND), newcomer(-SECOND)]);
    assert_eq!(end.judged[0].and_then(|judged| judged.exclusion), Some(Exclusion::AfterPlausible));
}

#[test]
fn two_wild_clocks_that_disagree_follow_nothing_and_that_is_said_once() {
    let mut story = Story::begin();
    let end = story.round(&[newcomer(HOUR)]);
    assert_eq!((end.report.outcome, end.turn), (Outcome::Listening, Some(PhaseTransition::Undecided)));
    assert_eq!(story.round(&[newcomer(HOUR)]).turn, None);
    assert_eq!(story.keeper.audience(), Recipients::None);
    let end = story.round(&[newcomer(HOUR), newcomer(HOUR)]);
    assert_eq!(end.turn, Some(PhaseTransition::Agreed));
}

#[test]
fn the_first_vote_waits_for_those_not_heard_but_not_for_ever() {
    let mut story = Story::begin();
    let clients = [newcomer(SECOND), newcomer(SECOND), newcomer(SECOND).unheard()];
    let waited = (0..10).take_while(|_| story.round(&clients).turn.is_none()).count();
    assert_eq!(waited, 5);
    assert_eq!(story.keeper.state(), ClientState::Synchronized);
}

#[test]
fn nobody_votes_alone() {
    let mut story = Story::begin();
    assert_eq!(story.round(&[]).report.outcome, Outcome::Listening);
    assert_eq!(story.keeper.state(), ClientState::Unsynchronized);
}

#[test]
fn in_steady_state_the_vote_moves_nothing() {
    let mut story = Story::steady(4);
    let mut clients = story.agreeing(4);
    clients[3] = member(story.keeper.timescale.phase_at(story.now) + HOUR);
    let end = story.round(&clients);
    assert_eq!(end.report.outcome, Outcome::Agreed);
    assert_eq!(end.correction.span(), Span::ZERO);
    assert_eq!(end.judged[3].and_then(|judged| judged.exclusion), Some(Exclusion::OutsideWindow));
    assert!(end.judged[..3].iter().flatten().all(|judged| judged.exclusion.is_none()));
}

#[test]
fn a_newcomer_does_not_vote() {
    let mut story = Story::steady(2);
    let mut clients = story.agreeing(2);
    clients.extend([newcomer(HOUR), newcomer(HOUR), newcomer(HOUR)]);
    let end = story.round(&clients);
    assert_eq!((end.report.outcome, end.report.members), (Outcome::Agreed, 3));
    assert_eq!(end.judged[2], None);
}

#[test]
fn a_server_that_jumped_is_silent_then_deposed_then_follows_then_resumes() {
    let mut story = Story::steady(3);
    let jumped = |story: &Story| {
        let base = story.keeper.timescale.phase_at(story.now) - HOUR;
        [0, 3, -3].map(|us| member(base + Span::from_micros(us)))
    };
    let clients = jumped(&story);
    let end = story.round(&clients);
    assert_eq!((end.report.outcome, end.turn), (Outcome::ServerInDoubt, None));
    assert_eq!(story.keeper.audience(), Recipients::None);
    let end = story.round(&clients);
    assert!(
        matches!(end.turn, Some(PhaseTransition::Deposed(offset)) if (offset.span() - HOUR).abs() < SECOND)
    );
    assert!((end.correction.span() + HOUR).abs() < Span::from_micros(10));
    for _ in 1..SILENT_ROUNDS {
        let end = story.round(&clients);
        assert_eq!((end.report.outcome, end.turn), (Outcome::Following, None));
        assert!(
            story.keeper.audience() == Recipients::Joining
                && end.correction.span().abs() < Span::from_micros(20)
        );
    }
    assert_eq!(story.round(&clients).turn, Some(PhaseTransition::Resumed));
    assert_eq!(story.round(&clients).report.outcome, Outcome::Agreed);
}

#[test]
fn half_of_the_members_cannot_depose_the_server() {
    let mut story = Story::steady(3);
    for _ in 0..10 {
        let mut clients = story.agreeing(3);
        clients[1] = member(story.keeper.timescale.phase_at(story.now) + HOUR);
        clients[2] = clients[1];
        let end = story.round(&clients);
        assert!(end.turn.is_none() && end.report.outcome != Outcome::ServerInDoubt);
        assert_eq!(end.correction.span(), Span::ZERO);
    }
}

#[test]
fn losses_do_not_turn_a_minority_into_a_majority() {
    let mut story = Story::steady(4);
    let wrong = member(story.keeper.timescale.phase_at(story.now) + HOUR);
    let silent = wrong.unheard();
    let end = story.round(&[wrong, wrong, silent, silent]);
    assert_eq!(end.report.outcome, Outcome::Unsure);
    assert_eq!(story.keeper.audience(), Recipients::Joining);
}

#[test]
fn members_that_drifted_apart_find_together_again() {
    let mut story = Story::steady(4);
    let base = story.keeper.timescale.phase_at(story.now);
    let apart = [-3, -1, 2, 4].map(|ms| member(base + Span::from_millis(ms)));
    let outcomes: Vec<Outcome> = (0..20).map(|_| story.round(&apart).report.outcome).collect();
    assert_eq!(outcomes[0], Outcome::Unsure);
    assert_eq!(outcomes[19], Outcome::Agreed);
}

#[test]
fn of_two_that_disagree_for_two_minutes_the_server_carries_on() {
    let mut story = Story::steady(1);
    let wrong = member(story.keeper.timescale.phase_at(story.now) + HOUR);
    let outcomes: Vec<Outcome> = (0..30).map(|_| story.round(&[wrong]).report.outcome).collect();
    assert_eq!(outcomes[..23], [Outcome::Unsure; 23]);
    assert_eq!(outcomes[23..], [Outcome::Agreed; 7]);
}

#[test]
fn a_restarted_server_takes_over_its_members_time_whatever_it_believes_itself() {
    let mut story = Story::begin();
    let clients = [member(HOUR), member(HOUR + Span::from_micros(8)), newcomer(Span::ZERO)];
    assert_eq!(story.round(&clients).report.outcome, Outcome::Listening);
    let end = story.round(&clients);
    assert_eq!(end.turn, Some(PhaseTransition::Adopted));
    assert!((end.correction.span() - HOUR).abs() < Span::from_micros(10));
    assert_eq!(story.keeper.cluster(), ClusterId(5));
    assert_eq!(story.keeper.audience(), Recipients::Joining);
}

#[test]
fn a_time_whose_clusters_name_nobody_has_heard_yet_is_taken_over_too() {
    let mut story = Story::begin();
    let ballots = |now: Raw| -> Vec<MemberReading> {
        let nameless = |ballot: MemberReading<'static>| MemberReading { cluster: ClusterId(0), ..ballot };
        [HOUR, HOUR + Span::from_micros(8)].map(|phase| nameless(member(phase).ballot(now))).to_vec()
    };
    for (round, turn) in [(1, None), (2, Some(PhaseTransition::Adopted))] {
        story.now += SECOND.times(5);
        let end = story.keeper.conclude(round, story.now, &ballots(story.now), FRESH);
        assert_eq!(end.turn, turn);
    }
    assert_eq!((story.keeper.cluster(), *story.keeper.setting()), (FRESH, ManualAdjustment::NONE));
}

#[test]
fn one_client_that_claims_to_have_a_time_does_not_make_it_everybodys() {
    let mut story = Story::begin();
    let clients = [member(HOUR), newcomer(Span::ZERO), newcomer(SECOND)];
    let end = story.round(&clients);
    assert_eq!(end.turn, Some(PhaseTransition::Agreed));
    assert_eq!(end.judged[0].and_then(|judged| judged.exclusion), Some(Exclusion::OutsideWindow));
}

#[test]
fn a_deposed_server_learns_its_new_frequency_from_the_two_readings_that_deposed_it() {
    let mut story = Story::steady(4);
    // From now on the server's oscillator runs 150 ppm fast: its clients fall behind by 750 µs a round.
    let base = story.keeper.timescale.phase_at(story.now);
    let behind = |round: i64| vec![member(base - Span::from_micros(750 * round)); 4];
    story.round(&behind(1));
    assert!(matches!(story.round(&behind(2)).turn, Some(PhaseTransition::Deposed(_))));
    assert!((story.keeper.timescale.frequency().ppm() + 150.0).abs() < 2.0);
    let end = story.round(&behind(3));
    assert!(end.correction.span().abs() < Span::from_micros(20), "{:?}", end.correction);
}

const KNOWN: Frequency = Frequency::from_ppm(40.0);
const SURE: Frequency = Frequency::from_ppm(0.1);

#[test]
fn a_server_that_knows_its_frequency_runs_at_it_from_the_start_and_so_does_a_new_cluster() {
    let mut story = Story::knowing(Some((KNOWN, SURE)));
    assert_eq!(story.keeper.timescale.frequency(), KNOWN);
    story.round(&[]);
    assert_eq!(
        (story.keeper.state(), story.keeper.frequency_error(story.now)),
        (ClientState::Unsynchronized, None)
    );
    story.round(&[newcomer(SECOND), newcomer(-SECOND)]);
    assert_eq!(story.keeper.state(), ClientState::Synchronized);
    assert_eq!(story.keeper.timescale.frequency(), KNOWN);
    assert_eq!(story.keeper.rate(), Frequency::ZERO, "nobody was commanded anything");
}

#[test]
fn a_frequency_that_clients_would_not_accept_is_not_begun_with() {
    let story = Story::knowing(Some((Frequency::from_ppm(450.0), SURE)));
    assert_eq!(story.keeper.timescale.frequency(), Frequency::ZERO);
}

/// The members' time, seen from a server over whose oscillator it runs by 40 ppm: `round` rounds later.
fn fast(round: i64) -> Vec<Client> {
    vec![member(HOUR + KNOWN.over(SECOND.times(5 * round))); 3]
}

#[test]
fn a_restarted_server_that_knows_its_frequency_has_it_from_the_first_reading() {
    let mut story = Story::knowing(Some((KNOWN, SURE)));
    story.round(&fast(0));
    assert_eq!(story.round(&fast(1)).turn, Some(PhaseTransition::Adopted));
    assert!((story.keeper.timescale.frequency() - KNOWN).ppb().abs() < 1e-6);
    assert!(story.keeper.frequency_error(story.now).is_some_and(|error| error.ppm() < 0.11));
    let end = story.round(&fast(2));
    assert!(end.correction.span().abs() < Span::from_micros(1), "{:?}", end.correction);
}

#[test]
fn a_frequency_that_is_wrong_is_found_out_within_three_rounds() {
    for wrong in [-300.0, -3.0, 300.0] {
        let mut story = Story::knowing(Some((Frequency::from_ppm(wrong), SURE)));
        let outcomes: Vec<Outcome> = (0..8).map(|round| story.round(&fast(round)).report.outcome).collect();
        assert_eq!(outcomes[4..], [Outcome::Following; 4], "{wrong} ppm: {outcomes:?}");
        let learned = story.keeper.timescale.frequency();
        assert!((learned - KNOWN).ppm().abs() < 3.0, "{wrong} ppm: {learned:?}");
    }
}

#[test]
fn the_rate_is_known_as_well_as_the_members_follow_it_and_as_it_is_going_to_stay() {
    let mut story = Story::steady(3);
    assert_eq!(story.keeper.frequency_error(story.now), Some(CLIENTS_ERROR));
    // One of the members claims a frequency that makes the mean, towards which the rate goes, another one.
    story.now += SECOND.times(5);
    let mut ballots: Vec<MemberReading> =
        story.agreeing(3).iter().map(|client| client.ballot(story.now)).collect();
    let adjustment = Frequency::from_ppm(8.0);
    ballots[0].claim = Some(FrequencyReport { adjustment, error: CLIENTS_ERROR });
    story.keeper.conclude(100, story.now, &ballots, FRESH);
    let error = story.keeper.frequency_error(story.now).unwrap();
    assert!((error.ppm() - 2.0).abs() < 0.01, "{error:?}");
}

#[test]
fn a_server_in_doubt_or_unsure_does_not_claim_to_know_its_frequency() {
    let mut story = Story::steady(3);
    let base = story.keeper.timescale.phase_at(story.now);
    story.round(&[member(base - HOUR); 3]);
    assert_eq!(story.keeper.frequency_error(story.now), None);
    let mut story = Story::steady(4);
    let silent = member(Span::ZERO).unheard();
    story.round(&[silent; 4]);
    assert_eq!(story.keeper.frequency_error(story.now), None);
}

#[test]
fn a_server_that_slept_still_knows_its_frequency() {
    let mut story = Story::knowing(Some((KNOWN, SURE)));
    story.round(&fast(0));
    (1..40).for_each(|round| _ = story.round(&fast(round)));
    assert_eq!(story.keeper.phase, Phase::Steady);
    story.keeper.wake_up(story.now, HOUR);
    (40..42).for_each(|round| _ = story.round(&fast(round)));
    assert_eq!(story.keeper.state(), ClientState::Synchronized);
    assert!((story.keeper.timescale.frequency() - KNOWN).ppb().abs() < 300.0);
    assert!(story.keeper.frequency_error(story.now).unwrap().ppm() < 0.5);
}

#[test]
fn carriers_of_a_time_that_cannot_be_are_not_followed() {
    let mut story = Story::begin();
    let since_1970 = Span::from_nanos(story.now.as_nanos());
    let clients = [member(-since_1970), member(-since_1970), newcomer(Span::ZERO)];
    for _ in 0..10 {
        let turn = story.round(&clients).turn;
        assert!(!matches!(turn, Some(PhaseTransition::Adopted)), "{turn:?}");
    }
    let turns: Vec<_> = (0..10).filter_map(|_| story.round(&[newcomer(Span::ZERO); 3]).turn).collect();
    assert!(story.keeper.state().has_cluster_time(), "{turns:?}");
    assert!((story.keeper.timescale().phase_at(story.now)).abs() < SECOND);
}

#[test]
fn a_server_that_slept_goes_on_with_its_clusters_name() {
    let mut story = Story::steady(3);
    story.keeper.wake_up(story.now, SECOND);
    for _ in 0..3 {
        story.round += 1;
        story.now += SECOND.times(5);
        // One of them had registered from another cluster, the others as newcomers.
        let mut ballots: Vec<MemberReading> =
            story.agreeing(3).iter().map(|client| client.ballot(story.now)).collect();
        ballots[0].cluster = ClusterId(5);
        ballots[1..].iter_mut().for_each(|ballot| ballot.cluster = ClusterId(0));
        story.keeper.conclude(story.round, story.now, &ballots, ClusterId(99));
    }
    assert_eq!((story.keeper.phase, story.keeper.cluster()), (Phase::Following(23), FRESH));
}

#[test]
fn a_disagreement_leaves_no_wide_window_behind() {
    let mut story = Story::steady(2);
    for _ in 0..26 {
        let phase = story.keeper.timescale.phase_at(story.now + SECOND.times(5));
        story.round(&[member(phase + HOUR), member(phase - HOUR)]);
    }
    (0..12).for_each(|_| drop(story.round(&story.agreeing(2))));
    assert!(story.round(&story.agreeing(2)).report.window < Span::from_millis(1));
}

#[test]
fn clocks_that_were_removed_by_hand_are_judged_but_count_for_nothing() {
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
        for judged in &end.judged[..3] {
            let judged = judged.expect("they are told how they stand");
            assert_eq!((judged.agrees, judged.exclusion), (false, Some(Exclusion::Removed)));
            assert!((judged.offset.span() - SECOND).abs() < Span::from_millis(1), "{judged:?}");
        }
        assert_eq!(end.judged[3].map(|judged| (judged.agrees, judged.exclusion)), Some((true, None)));
    }
    let agreeing = story.agreeing(4);
    let end = story.round(&[agreeing[0].removed(), agreeing[1], agreeing[2], agreeing[3]]);
    assert_eq!(end.report.members, 4);
    let removed = end.judged[0].expect("it was heard");
    assert_eq!((removed.agrees, removed.exclusion), (true, Some(Exclusion::Removed)));
}

#[test]
fn the_frequency_of_a_removed_clock_does_not_count_either() {
    let mut story = Story::steady(3);
    let fast = |clients: Vec<Client>| {
        let mut clients = clients;
        clients[0].adjustment = Frequency::from_ppm(20.0);
        clients
    };
    let counted = story.round(&fast(story.agreeing(3))).report.mean_frequency.unwrap();
    assert!((counted - story.keeper.rate()).ppm() > 4.0, "{counted:?}");
    let mut clients = fast(story.agreeing(3));
    clients[0] = clients[0].removed();
    let left_out = story.round(&clients).report.mean_frequency.unwrap();
    assert!(left_out.ppm().abs() < 0.1, "{left_out:?}");
}

#[test]
fn the_first_vote_neither_counts_nor_waits_for_who_was_removed() {
    let mut story = Story::begin();
    let end = story.round(&[newcomer(SECOND), newcomer(HOUR).removed(), newcomer(HOUR).unheard().removed()]);
    assert_eq!((end.turn, end.report.members), (Some(PhaseTransition::Agreed), 2));
    assert_eq!(end.correction.span(), SECOND.half());
    assert_eq!(story.keeper.audience(), Recipients::All);
}

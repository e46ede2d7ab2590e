//! The keeper's life as stories: ballots in, conclusions out.

use super::following::SILENT_ROUNDS;
use super::*;
use crate::berkeley::config::PLAUSIBLE_FROM;
use crate::berkeley::event::Adjustment;

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const FRESH: ClusterId = ClusterId(77);

/// A server whose oscillator starts at a plausible time, and the rounds it has lived through.
struct Story {
    keeper: Keeper,
    now: Raw,
    round: u32,
}

impl Story {
    fn begin() -> Story {
        let now = Raw::from_nanos((PLAUSIBLE_FROM + Span::from_secs(86_400)).as_nanos());
        let settings =
            Settings { interval: SECOND.times(5), radius: SECOND.times(30), plausible_from: PLAUSIBLE_FROM };
        Story { keeper: Keeper::new(settings, now), now, round: 0 }
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
        let ballots: Vec<Ballot> = clients.iter().map(|client| client.ballot(self.now)).collect();
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
}

impl Client {
    fn ballot(&self, now: Raw) -> Ballot {
        let reading = self.phase.map(|phase| Reading {
            at: now,
            phase,
            noise: Span::from_micros(5),
            excess: Span::ZERO,
            fresh: true,
        });
        let carries = self.state.has_cluster_time();
        Ballot {
            state: self.state,
            cluster: if carries { ClusterId(5) } else { ClusterId(0) },
            reading,
            excluded: false,
            claim: Some(Frequency::ZERO).filter(|_| carries),
        }
    }

    fn unheard(self) -> Client {
        Client { phase: None, ..self }
    }
}

fn newcomer(phase: Span) -> Client {
    Client { phase: Some(phase), state: ClientState::Unsynchronized }
}

fn member(phase: Span) -> Client {
    Client { phase: Some(phase), state: ClientState::Synchronized }
}

#[test]
fn the_first_vote_is_the_mean_of_all_clocks_the_servers_among_them() {
    let mut story = Story::begin();
    let end = story.round(&[newcomer(SECOND.times(3)), newcomer(SECOND.times(6))]);
    assert_eq!((end.report.outcome, end.turn), (Outcome::Agreed, Some(Turn::Agreed)));
    assert_eq!((end.correction.span(), end.adjustment), (SECOND.times(3), Adjustment::Step));
    assert_eq!(story.keeper.cluster(), FRESH);
    assert_eq!(story.keeper.audience(), Audience::Everybody);
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
    assert_eq!((end.report.outcome, end.turn), (Outcome::Listening, Some(Turn::Undecided)));
    assert_eq!(story.round(&[newcomer(HOUR)]).turn, None);
    assert_eq!(story.keeper.audience(), Audience::Nobody);
    let end = story.round(&[newcomer(HOUR), newcomer(HOUR)]);
    assert_eq!(end.turn, Some(Turn::Agreed));
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
    assert_eq!(story.keeper.audience(), Audience::Nobody);
    let end = story.round(&clients);
    assert!(matches!(end.turn, Some(Turn::Deposed(offset)) if (offset.span() - HOUR).abs() < SECOND));
    assert!((end.correction.span() + HOUR).abs() < Span::from_micros(10));
    for _ in 1..SILENT_ROUNDS {
        let end = story.round(&clients);
        assert_eq!((end.report.outcome, end.turn), (Outcome::Following, None));
        assert!(
            story.keeper.audience() == Audience::Newcomers
                && end.correction.span().abs() < Span::from_micros(20)
        );
    }
    assert_eq!(story.round(&clients).turn, Some(Turn::Resumed));
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
    assert_eq!(story.keeper.audience(), Audience::Newcomers);
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
    assert_eq!(end.turn, Some(Turn::Adopted));
    assert!((end.correction.span() - HOUR).abs() < Span::from_micros(10));
    assert_eq!(story.keeper.cluster(), ClusterId(5));
    assert_eq!(story.keeper.audience(), Audience::Newcomers);
}

#[test]
fn one_client_that_claims_to_have_a_time_does_not_make_it_everybodys() {
    let mut story = Story::begin();
    let clients = [member(HOUR), newcomer(Span::ZERO), newcomer(SECOND)];
    let end = story.round(&clients);
    assert_eq!(end.turn, Some(Turn::Agreed));
    assert_eq!(end.judged[0].and_then(|judged| judged.exclusion), Some(Exclusion::OutsideWindow));
}

#[test]
fn a_deposed_server_learns_its_new_frequency_from_the_two_readings_that_deposed_it() {
    let mut story = Story::steady(4);
    // From now on the server's oscillator runs 150 ppm fast: its clients fall behind by 750 µs a round.
    let base = story.keeper.timescale.phase_at(story.now);
    let behind = |round: i64| vec![member(base - Span::from_micros(750 * round)); 4];
    story.round(&behind(1));
    assert!(matches!(story.round(&behind(2)).turn, Some(Turn::Deposed(_))));
    assert!((story.keeper.timescale.frequency().ppm() + 150.0).abs() < 2.0);
    let end = story.round(&behind(3));
    assert!(end.correction.span().abs() < Span::from_micros(20), "{:?}", end.correction);
}

//! Steady: the server's disciplined clock carries the cluster's time, and the vote watches it.

use super::ensemble::EnsembleObservation;
use super::noise::{self, Ballot, deviation_of_median, effective_number, typical_noise};
use super::reading::{Conclusion, Electorate, MemberJudgement, MemberReading, PhaseTransition};
use super::timekeeper::Timekeeper;
use super::vote::{self, Agreement, VoteReading};
use super::weight::Weight;
use super::window::MAX_WINDOW;
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::time::{Frequency, Offset, Raw, Span};
use alloc::vec::Vec;

/// The vote of one round.
struct SteadyVote {
    /// How many members have a vote, the server included.
    members: usize,
    /// What all of these count.
    votes: Weight,
    /// What all members count, newcomers included: they have no vote yet.
    all_votes: Weight,
    /// The server's own clock, which is the reference.
    own: VoteReading,
    /// The plausible readings of the clients that have a vote, against the server's clock.
    clients: Vec<Ballot>,
    /// The typical noise of the readings.
    noise: Span,
    /// Readings farther than this from the median do not agree.
    window: Span,
    /// The agreement of the clients alone, out of all members.
    among_clients: Agreement,
    /// The agreement of the clients and the server.
    all: Agreement,
}

impl Timekeeper {
    /// A round while steady: checks whether the majority agrees with the server's clock.
    pub(super) fn conclude_steady(
        &mut self,
        now: Raw,
        electorate: Electorate<'_>,
        conclusion: &mut Conclusion,
    ) {
        let vote = self.take_vote(electorate);
        vote.report(conclusion);
        self.judge(&vote, electorate, conclusion);
        let is_given = self.is_given();
        let doubts = vote.doubts_server();
        if !is_given && (doubts || vote.suspects_server()) {
            conclusion.report.outcome = Outcome::ServerInDoubt;
            match doubts {
                true => self.doubt_own_clock(now, &vote, conclusion),
                false => self.count_doubtful_round(now),
            }
            return;
        }
        self.contradicted = !is_given && vote.is_contradicted();
        let agreed = vote.agrees_with_server() || self.carries_on() || is_given;
        if self.contradicted || !agreed {
            conclusion.report.outcome = Outcome::Unsure;
            conclusion.judgements.fill(None);
            conclusion.own = None;
            self.count_unsure_round(now);
            return;
        }
        conclusion.report.outcome = Outcome::Agreed;
        self.learn_from(&vote, now);
        match is_given {
            true => self.follow_given_rate(now),
            false => self.steer_rate(now, electorate, vote.votes),
        }
    }

    /// The vote of the server and the clients that have a vote.
    fn take_vote(&self, electorate: Electorate<'_>) -> SteadyVote {
        let voters = || electorate.clients.iter().filter(|member| member.is_voter());
        let ballot = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|reading| self.implausible(reading).is_none())?;
            let (offset, error) = (self.offset(&reading).span(), reading.excess);
            let vote = VoteReading { offset, error, weight: member.weight };
            Some(Ballot { reading, vote, was_excluded: member.exclusion.is_some() })
        };
        let mut clients: Vec<Ballot> = voters().filter_map(ballot).collect();
        let noise = typical_noise(&clients);
        clients.iter_mut().for_each(|ballot| {
            ballot.vote.error = noise::error(&ballot.reading, noise, MAX_WINDOW);
        });
        let weights = || core::iter::once(electorate.own).chain(voters().map(|member| member.weight));
        let window = self.window.width(noise, effective_number(weights()));
        let votes: Weight = weights().sum();
        let all_votes = electorate.votes();
        let among_clients = vote::agreement(&without_errors(&clients), window, all_votes);
        // The server's own clock is read exactly, but the median that it is judged by is not: in a round of
        // delayed exchanges it may be off farther than the window.
        let error = noise::error_of_median(electorate.own, &clients);
        let own = VoteReading { offset: Span::ZERO, error, weight: electorate.own };
        let all: Vec<VoteReading> =
            core::iter::once(own).chain(clients.iter().map(|ballot| ballot.vote)).collect();
        let all = vote::agreement(&all, window, votes);
        SteadyVote {
            members: 1 + voters().count(),
            votes,
            all_votes,
            own,
            clients,
            noise,
            window,
            among_clients,
            all,
        }
    }

    /// The server's clock was confirmed: learns the window, and the time that the clients carry.
    fn learn_from(&mut self, vote: &SteadyVote, now: Raw) {
        self.clear_doubt();
        self.unsure = if vote.agrees_with_server() { 0 } else { self.unsure };
        if let Some(deviation) = vote.deviation() {
            self.window.learn(deviation);
        }
        if vote.among_clients.majority {
            let phase = self.timescale.phase_at(now) + vote.among_clients.median;
            let deviation_s = deviation_of_median(&vote.clients);
            self.ensemble.observe(EnsembleObservation { at: now, phase, deviation_s });
        }
    }

    /// The majority of those with a vote agrees, and not with the server. The first time may be chance; the
    /// second time in a row the server is deposed, if they are a majority of all members. If they are not,
    /// for long, the server listens again: newcomers get no time from a server in doubt, and so no vote.
    fn doubt_own_clock(&mut self, now: Raw, vote: &SteadyVote, conclusion: &mut Conclusion) {
        let clients = &vote.among_clients;
        let phase = self.timescale.phase_at(now) + clients.median;
        let observed = EnsembleObservation { at: now, phase, deviation_s: vote.noise.as_secs_f64() };
        let Some(before) = self.doubt.replace(observed).filter(|_| vote.deposes_server()) else {
            self.count_doubtful_round(now);
            return;
        };
        conclusion.transition = Some(PhaseTransition::Deposed(Offset::ahead_by(-clients.median)));
        self.ensemble.start_anew(before, observed);
        let Some(known) = self.ensemble.estimate(now) else {
            return;
        };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.begin_following(now);
    }

    /// Steers the cluster's rate towards the mean of the members' oscillators.
    fn steer_rate(&mut self, now: Raw, electorate: Electorate<'_>, votes: Weight) {
        let own = (self.timescale.frequency() - self.anchor.rate(), electorate.own);
        let voters = electorate.clients.iter().filter(|member| member.is_voter());
        let reports = || voters.clone().filter_map(|member| Some((member.frequency?, member.weight)));
        let adjustments: Vec<(Frequency, Weight)> = core::iter::once(own)
            .chain(reports().map(|(report, weight)| (report.adjustment, weight)))
            .collect();
        let change = self.anchor.steer(&adjustments, votes, self.config.interval);
        self.anchor.learn_error(reports().map(|(report, weight)| (report.error, weight)));
        self.timescale.shift_frequency(now, change);
        self.ensemble.shift_frequency(now, change);
    }

    /// Judges each client that was heard against the median, also those that have no vote.
    fn judge(&self, vote: &SteadyVote, electorate: Electorate<'_>, conclusion: &mut Conclusion) {
        let judgement = |reading: VoteReading, implausible: Option<Exclusion>| {
            let outside = !vote.all.includes(&reading, vote.window);
            let exclusion = implausible.or(outside.then_some(Exclusion::OutsideWindow));
            MemberJudgement::vote(Offset::ahead_by(reading.offset - vote.all.median), exclusion)
        };
        conclusion.own = Some(judgement(vote.own, None));
        let client = |member: &MemberReading<'_>| {
            let reading = member.reading.filter(|_| member.state.has_cluster_time())?;
            let error = noise::error(&reading, vote.noise, MAX_WINDOW);
            let offset = self.offset(&reading).span();
            let vote = VoteReading { offset, error, weight: member.weight };
            Some(judgement(vote, self.implausible(&reading)))
        };
        conclusion.judgements = electorate.clients.iter().map(client).collect();
    }
}

impl SteadyVote {
    fn report(&self, conclusion: &mut Conclusion) {
        let report = &mut conclusion.report;
        report.members = self.members;
        report.votes = self.votes;
        report.heard = 1 + self.clients.iter().filter(|ballot| ballot.reading.fresh).count();
        report.agreeing = self.all.agreeing;
        report.median = Offset::ahead_by(self.all.median);
        report.spread = self.all.spread;
        report.window = self.window;
    }

    /// The weight of the clients that contradict the server's clock: they agree on a time that is more than
    /// two windows away, and each of them is farther from the server's than its own error explains.
    fn contradicting(&self) -> Weight {
        let median = self.among_clients.median;
        let is_far = median.abs() > self.window.times(2);
        let contradicts = |ballot: &&Ballot| {
            let tolerance = self.window + ballot.vote.error;
            is_far && (ballot.vote.offset - median).abs() <= tolerance && ballot.vote.offset.abs() > tolerance
        };
        self.clients.iter().filter(contradicts).map(|ballot| ballot.vote.weight).sum()
    }

    /// Whether a majority of the members with a vote contradicts the server's clock.
    fn doubts_server(&self) -> bool {
        self.members >= 3 && self.contradicting().is_majority_of(self.votes)
    }

    /// Whether the median of all is away from the server's clock, and half of the members with a vote
    /// contradict it: a good one among them, where bad groups have less than half. The others may be too
    /// noisy to tell.
    fn suspects_server(&self) -> bool {
        let is_away = self.all.majority && self.all.median.abs() > self.window.times(2);
        is_away && self.members >= 3 && self.contradicting().is_half_of(self.votes)
    }

    /// Whether a majority of all members, newcomers included, contradicts the server's clock.
    fn deposes_server(&self) -> bool {
        self.contradicting().is_majority_of(self.all_votes)
    }

    /// Whether a majority agrees, on a time that is near the server's.
    fn agrees_with_server(&self) -> bool {
        self.all.majority && self.all.median.abs() <= self.window.times(2)
    }

    /// The scatter of the readings that agree: the smaller of two, one in which each counts by its weight,
    /// and one in which a noisy reading counts less. The first is limited by the good readings, whatever bad
    /// groups say; the second by those that are known exactly. `None`: there is no majority, or no client.
    fn deviation(&self) -> Option<Span> {
        let agreeing = || self.clients.iter().filter(|ballot| self.all.includes(&ballot.vote, self.window));
        let own = Some(self.own).filter(|own| self.all.includes(own, self.window));
        let own = || own.map(|own| (own.offset, own.weight)).into_iter();
        let plain = agreeing().map(|ballot| (ballot.vote.offset, ballot.vote.weight));
        let exact = agreeing().map(|ballot| (ballot.vote.offset, noise::exactness(ballot, self.noise)));
        let plain = vote::robust_deviation(own().chain(plain))?;
        let exact = vote::robust_deviation(own().chain(exact))?;
        Some(plain.min(exact)).filter(|_| self.all.majority && !self.clients.is_empty())
    }

    /// Whether there is a majority, but most of this round's own readings disagree with it, those aside that
    /// did so before. Older readings are kept by the server's oscillator: had that just jumped, they would
    /// still agree with it, and the fresh ones would be judged wrong.
    fn is_contradicted(&self) -> bool {
        let fresh = || self.clients.iter().filter(|ballot| ballot.reading.fresh && !ballot.was_excluded);
        let weight = |ballot: &Ballot| ballot.vote.weight;
        let heard: Weight = fresh().map(weight).sum();
        let agreeing =
            fresh().filter(|ballot| self.all.includes(&ballot.vote, self.window)).map(weight).sum();
        self.all.majority && self.members > 2 && !Weight::is_half_of(agreeing, heard)
    }
}

fn without_errors(ballots: &[Ballot]) -> Vec<VoteReading> {
    ballots.iter().map(|ballot| VoteReading { error: Span::ZERO, ..ballot.vote }).collect()
}

//! Following: the server learns phase and frequency of the time that its clients carry.

use super::ensemble::EnsembleObservation;
use super::noise::{Ballot, deviation_of_median};
use super::reading::{Conclusion, Electorate, MemberReading, PhaseTransition};
use super::timekeeper::{Phase, Timekeeper};
use super::vote::{self, Agreement, VoteReading};
use super::weight::Weight;
use super::window::MAX_WINDOW;
use crate::config::STEP_THRESHOLD;
use crate::event::{Adjustment, Outcome};
use crate::saved_state;
use crate::time::{Raw, Span};
use alloc::vec::Vec;

impl Timekeeper {
    /// A round while following: learns the time that the members with a vote carry.
    pub(super) fn conclude_following(
        &mut self,
        left: u32,
        now: Raw,
        electorate: Electorate<'_>,
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Unsure;
        let voters: Vec<&MemberReading<'_>> =
            electorate.clients.iter().filter(|member| member.is_voter()).collect();
        let ballots = self.ballots(now, &voters);
        let votes = voters.iter().map(|member| member.weight).sum();
        let carried = agreement(&ballots, votes);
        conclusion.report.members = voters.len() + 1;
        conclusion.report.votes = [electorate.own, votes].into_iter().sum();
        report(&ballots, &carried, conclusion);
        let is_supported = carried.majority && self.is_time_of_most(now, carried.median, electorate);
        if !is_supported || !self.follow(now, carried.median, &ballots, conclusion) {
            self.count_unsure_round();
            return;
        }
        self.unsure = 0;
        conclusion.report.outcome = Outcome::Following;
        self.phase = Phase::Following(left.saturating_sub(1));
        if left <= 1 {
            self.become_steady();
            conclusion.transition = Some(PhaseTransition::Resumed);
        }
    }

    /// Whether more than half of all members have this time, newcomers included, but not those of them that
    /// show an implausible one. The voters' majority alone is not enough: bad clients may be most of those
    /// that had a vote when the server began to follow. The server's own clock counts by the time that it had
    /// then.
    fn is_time_of_most(&self, now: Raw, phase: Span, electorate: Electorate<'_>) -> bool {
        let (since, phase_then) = self.followed_from;
        let own_reach = MAX_WINDOW + saved_state::UNKNOWN.over(now - since);
        let own = Some(electorate.own).filter(|_| (phase - phase_then).abs() <= own_reach);
        let time = Agreement { median: phase, ..Agreement::default() };
        let has_it = |member: &&MemberReading<'_>| {
            let ballot = self.ballot(now, member).filter(|_| member.state.has_cluster_time());
            ballot.is_some_and(|ballot| time.includes(&ballot.vote, MAX_WINDOW))
        };
        let clients = electorate.clients.iter().filter(has_it).map(|member| member.weight);
        let all: Weight = [self.plausible_clients(electorate), electorate.own].into_iter().sum();
        own.into_iter().chain(clients).sum::<Weight>().is_majority_of(all)
    }

    /// The plausible readings of this round, against the server's oscillator now.
    pub(super) fn ballots(&self, now: Raw, members: &[&MemberReading<'_>]) -> Vec<Ballot> {
        let ballot =
            |member: &&MemberReading<'_>| self.ballot(now, member).filter(|ballot| ballot.reading.fresh);
        members.iter().filter_map(ballot).collect()
    }

    /// A member's newest reading, if it is plausible, against the server's oscillator now.
    pub(super) fn ballot(&self, now: Raw, member: &MemberReading<'_>) -> Option<Ballot> {
        let reading = member.reading.filter(|reading| self.implausible(reading).is_none())?;
        let offset = reading.phase + self.timescale.frequency().over(now - reading.at);
        let vote = VoteReading { offset, error: reading.excess, weight: member.weight };
        Some(Ballot { reading, vote, was_excluded: member.excluded })
    }

    /// Updates the ensemble with this round's `phase` of the members' time, and sets the server's clock from
    /// it. Returns false, and does nothing, if the phase is not believed.
    pub(super) fn follow(
        &mut self,
        now: Raw,
        phase: Span,
        ballots: &[Ballot],
        conclusion: &mut Conclusion,
    ) -> bool {
        let first = self.ensemble.estimate(now).is_none();
        let deviation_s = deviation_of_median(ballots);
        let believed = self.ensemble.observe(EnsembleObservation { at: now, phase, deviation_s });
        let Some(known) = self.ensemble.estimate(now).filter(|_| believed) else {
            return false;
        };
        let published = self.timescale.phase_at(now) + self.timescale.residue_at(now);
        let far = (known.phase - published).abs() > STEP_THRESHOLD;
        conclusion.adjustment = if first || far { Adjustment::Step } else { Adjustment::Slew };
        conclusion.correction = self.timescale.set(now, known.phase, known.frequency, conclusion.adjustment);
        true
    }
}

/// Whether the readings with more than half of all `votes` agree on a time.
pub(super) fn agreement(ballots: &[Ballot], votes: Weight) -> Agreement {
    let readings: Vec<VoteReading> = ballots.iter().map(|ballot| ballot.vote).collect();
    vote::agreement(&readings, MAX_WINDOW, votes)
}

/// Reports on what the members' time was taken from.
pub(super) fn report(ballots: &[Ballot], carried: &Agreement, conclusion: &mut Conclusion) {
    conclusion.report.heard = ballots.len();
    conclusion.report.agreeing = carried.agreeing;
    conclusion.report.window = MAX_WINDOW;
    conclusion.report.spread = carried.spread;
}

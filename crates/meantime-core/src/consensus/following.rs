//! Following: the server learns phase and frequency of the time that its clients carry.

use super::ensemble::EnsembleObservation;
use super::noise::{Ballot, deviation_of_median};
use super::reading::{Conclusion, Electorate, MemberReading, PhaseTransition};
use super::timekeeper::{CONSENT_AFTER, Phase, Timekeeper};
use super::vote::{self, Agreement, VoteReading};
use super::weight::Weight;
use super::window::MAX_WINDOW;
use crate::config::STEP_THRESHOLD;
use crate::event::{Adjustment, Outcome};
use crate::time::{Frequency, Raw, Span};
use alloc::vec::Vec;

impl Timekeeper {
    /// A round while following: learns the time that the members with a vote carry, or the time on which the
    /// members agree that have stayed where the server began to follow.
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
        let votes = electorate.voters();
        conclusion.report.members = voters.len() + 1;
        conclusion.report.votes = [electorate.own, votes].into_iter().sum();
        let is_of_most = |time: &Agreement| self.is_time_of_most(now, time.median, electorate);
        let mut ballots = self.ballots_near_own(now, electorate);
        let mut carried = self.agreement_near_own(now, &ballots);
        let mut is_supported = carried.agreeing > 0 && is_of_most(&carried);
        if !is_supported {
            ballots = self.ballots(now, &voters);
            carried = agreement(&ballots, votes);
            is_supported = carried.majority && is_of_most(&carried);
        }
        report(&ballots, &carried, conclusion);
        if !is_supported || !self.follow(now, carried.median, &ballots, conclusion) {
            self.count_unsure_round(now);
            return;
        }
        self.unsure = 0;
        conclusion.report.outcome = Outcome::Following;
        // Members that agree earn their votes meanwhile.
        conclusion.judgements = self.judge_carriers(now, electorate, &carried, MAX_WINDOW);
        self.phase = Phase::Following(left.saturating_sub(1));
        if left <= 1 {
            self.become_steady();
            conclusion.transition = Some(PhaseTransition::Resumed);
        }
    }

    /// Whether more than half of all members have this time, newcomers included, but not those of them that
    /// show an implausible one. The voters' majority alone is not enough: bad clients may be most of those
    /// that had a vote when the server began to follow. The server's own clock counts if the time is near
    /// its own.
    fn is_time_of_most(&self, now: Raw, phase: Span, electorate: Electorate<'_>) -> bool {
        let (own_time, reach) = self.own_time(now);
        let own = Some(electorate.own).filter(|_| (phase - own_time).abs() <= reach);
        let time = Agreement { median: phase, ..Agreement::default() };
        let has_it = |member: &&MemberReading<'_>| {
            let ballot = self.ballot(now, member).filter(|_| member.state.has_cluster_time());
            ballot.is_some_and(|ballot| time.includes(&ballot.vote, MAX_WINDOW))
        };
        let clients = electorate.clients.iter().filter(has_it).map(|member| member.weight);
        let away = self.voters_away(now, electorate);
        let all: Weight = [self.plausible_clients(electorate), electorate.own, away].into_iter().sum();
        own.into_iter().chain(clients).sum::<Weight>().is_majority_of(all)
    }

    /// What the clients count that had a vote and are not here, in the first minute after a restart or a
    /// sleep: they are still on their way.
    fn voters_away(&self, now: Raw, electorate: Electorate<'_>) -> Weight {
        if self.has_listened_for(CONSENT_AFTER.into(), now) {
            return Weight::ZERO;
        }
        let mut away = self.voters;
        away -= electorate.voters();
        away
    }

    /// Where the time from which the server began to follow is now, minus the server's oscillator, and how
    /// far it may have gone from there.
    fn own_time(&self, now: Raw) -> (Span, Span) {
        let (since, phase_then) = self.followed_from;
        let frequency = self.prior.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        let elapsed = now - since;
        (phase_then + frequency.over(elapsed), MAX_WINDOW + self.drift_over(elapsed))
    }

    /// The newest ballots of the carriers that are near the time from which the server began to follow.
    /// Clients that have their time from this server only repeat what it has followed so far.
    fn ballots_near_own(&self, now: Raw, electorate: Electorate<'_>) -> Vec<Ballot> {
        let (own, reach) = self.own_time(now);
        let is_carrier = |member: &&MemberReading<'_>| {
            member.is_voter() || (member.state.has_cluster_time() && member.cluster == self.cluster)
        };
        let ballots =
            electorate.clients.iter().filter(is_carrier).filter_map(|member| self.ballot(now, member));
        ballots.filter(|ballot| (ballot.vote.offset - own).abs() <= reach).collect()
    }

    /// The agreement of these ballots. Where they are divided evenly, the time from which the server began to
    /// follow decides: it counts next to nothing there.
    fn agreement_near_own(&self, now: Raw, ballots: &[Ballot]) -> Agreement {
        let (offset, _) = self.own_time(now);
        let own = VoteReading { offset, error: Span::ZERO, weight: Weight::LEAST };
        let times = ballots.iter().map(|ballot| ballot.vote).chain([own]);
        let median = vote::median(times.map(|vote| (vote.offset, vote.weight))).unwrap_or_default();
        let nearest =
            ballots.iter().map(|ballot| ballot.vote.offset).min_by_key(|time| (*time - median).abs());
        let median = nearest.unwrap_or(median);
        let time = Agreement { median, ..Agreement::default() };
        let agreeing = || ballots.iter().filter(|ballot| time.includes(&ballot.vote, MAX_WINDOW));
        let weight = agreeing().map(|ballot| ballot.vote.weight).sum();
        Agreement { agreeing: agreeing().count(), weight, ..time }
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
        Some(Ballot { reading, vote, was_excluded: member.exclusion.is_some() })
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

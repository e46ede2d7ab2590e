//! Listening: there is no cluster time yet. The server adopts the time that most clients carry, or takes the
//! first vote.

use super::adoption::REST;
use super::ensemble::Ensemble;
use super::founding;
use super::reading::{
    Candidate, Conclusion, Electorate, MemberJudgement, MemberReading, PhaseReading, PhaseTransition,
};
use super::timekeeper::{MAX_WAITING_VOTES, Phase, Timekeeper};
use super::vote;
use super::weight::Weight;
use crate::event::{Adjustment, Exclusion, Outcome, UndecidedReason};
use crate::saved_state::KeptTime;
use crate::time::{Frequency, Offset, Raw, Span, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::vec::Vec;

/// Whose time a first vote may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    /// That of any clocks.
    All,
    /// Only that of clocks which carry no cluster time: no carrier may be near it.
    Newcomers,
}

impl Timekeeper {
    /// A round while listening: adopts the time that most clients carry, or takes the first vote.
    pub(super) fn conclude_listening(
        &mut self,
        votes: u32,
        now: Raw,
        electorate: Electorate<'_>,
        new_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Listening;
        conclusion.report.members = electorate.clients.len() + 1;
        conclusion.report.votes = electorate.votes();
        if electorate.clients.is_empty() {
            self.undecided_reason = UndecidedReason::NoClients;
            self.listen_from(now);
            return;
        }
        self.undecided_reason = UndecidedReason::Waiting;
        self.phase = Phase::Listening(votes + 1);
        self.arrivals.observe(now, electorate.votes(), self.config.interval);
        let carriers = self.carriers(votes, electorate);
        let arrive = carriers.are_there() && !self.arrivals.are_over(now, self.config.interval);
        // Those with a vote may have lost the network with the sleep of the machine.
        let awaits_voters = carriers.have_stayed();
        if self.are_half_of_clients(&carriers, electorate) {
            self.undecided_reason = UndecidedReason::WaitingForCarriers;
            // By the end of two intervals each client of a server that has restarted has sent a heartbeat,
            // and is here again. After the sleep of its machine the clients have stayed.
            let are_all_here = carriers.have_stayed() || self.has_listened_for(2, now);
            let adopted = votes > 0
                && are_all_here
                && self.adopt(votes, now, electorate, &carriers, new_cluster, conclusion);
            if !adopted && self.has_waited_for(votes, now, electorate, &carriers) {
                self.first_vote(now, electorate, new_cluster, Among::All, conclusion);
            } else if !adopted && votes >= MAX_WAITING_VOTES && !awaits_voters && !arrive {
                self.first_vote(now, electorate, new_cluster, Among::Newcomers, conclusion);
            }
            return;
        }
        if awaits_voters {
            self.undecided_reason = UndecidedReason::WaitingForCarriers;
            return;
        }
        // The clients of a server that has restarted may still be on their way.
        let has_restarted = self.kept.is_some() || self.cluster != ClusterId(0) || carriers.are_there();
        if arrive || (has_restarted && !self.has_listened_for(LISTENED_AFTER_RESTART, now)) {
            return;
        }
        let unheard = electorate.clients.iter().filter(|member| member.reading.is_none()).count();
        if !self.is_waiting_for(unheard) {
            self.first_vote(now, electorate, new_cluster, Among::All, conclusion);
        }
    }

    /// The server's own clock, and those of all clients.
    fn candidates(&self, now: Raw, electorate: Electorate<'_>) -> Vec<Candidate> {
        let shown = self.shown(now) - Timestamp::from_nanos(now.as_nanos());
        let own = (Some(PhaseReading::own(now, shown)), electorate.own);
        let clients = electorate.clients.iter().map(|member| (member.shown(), member.weight));
        let candidate = |(reading, weight): (Option<PhaseReading>, Weight)| Candidate {
            reading,
            excluded: reading.and_then(|reading| self.implausible(&reading)),
            weight,
        };
        core::iter::once(own).chain(clients).map(candidate).collect()
    }

    fn report_undecided(&mut self, reason: UndecidedReason, conclusion: &mut Conclusion) {
        self.undecided_reason = reason;
        conclusion.transition = (!self.undecided).then_some(PhaseTransition::Undecided);
        self.undecided = true;
    }

    /// The classic algorithm, once. If the server has kept its time exactly, and its clock is among those
    /// that agree, then that time goes on instead of their mean.
    fn first_vote(
        &mut self,
        now: Raw,
        electorate: Electorate<'_>,
        new_cluster: ClusterId,
        among: Among,
        conclusion: &mut Conclusion,
    ) {
        let candidates = self.candidates(now, electorate);
        let plausible = candidates.iter().filter_map(|it| Some((it.plausible_phase()?, it.weight)));
        let phases: Vec<(Span, Weight)> = plausible.collect();
        let vote = vote::first_vote(&phases, self.config.radius, electorate.votes());
        conclusion.report.heard =
            candidates.iter().filter_map(|it| it.reading).filter(|reading| reading.fresh).count();
        conclusion.report.agreeing = vote.kept.iter().filter(|kept| **kept).count();
        conclusion.report.window = self.config.radius;
        let own = candidates[0].plausible_phase().filter(|_| vote.kept[0]);
        let waits = self.waits_for_consent(now, electorate);
        let resumed = own.zip(self.well_kept(now)).filter(|_| vote.majority);
        // A single carrier of another time than the one which the server has kept may be wrong.
        let is_outvoted = !waits && resumed.is_some_and(|(_, kept)| is_alone(electorate, kept.cluster));
        let may_be_near = |it: &MemberReading<'_>| {
            it.state.has_cluster_time() && it.reading.is_none() && (waits || it.was_measured)
        };
        let takes_time = electorate.clients.iter().any(may_be_near)
            || (!is_outvoted && self.takes_time(electorate, &candidates, &vote.kept));
        if among == Among::Newcomers && (takes_time || !vote.majority) {
            // Until the server has waited for them, there is nothing for the operator to do.
            if !waits {
                self.report_undecided(UndecidedReason::Carried, conclusion);
            }
            return;
        }
        if !vote.majority {
            self.report_undecided(founding::reason(&candidates), conclusion);
            conclusion.judge_implausible(&candidates);
            return;
        }
        // The carriers of the time that the server has kept may be late.
        if resumed.is_none() && self.well_kept(now).is_some() && waits {
            self.undecided_reason = UndecidedReason::WaitingForCarriers;
            return;
        }
        let time = resumed.map_or(vote.mean, |(own, _)| own);
        let mut kept = vote.kept.iter();
        let mut judgements = candidates.iter().map(|candidate| {
            let offset = Offset::ahead_by(candidate.reading?.phase - time);
            let outside = candidate.excluded.is_none() && !kept.next().copied().unwrap_or_default();
            let exclusion = candidate.excluded.or(outside.then_some(Exclusion::OutsideWindow));
            Some(MemberJudgement::vote(offset, exclusion))
        });
        let in_mean =
            || phases.iter().zip(&vote.kept).filter(|(_, kept)| **kept).map(|((phase, _), _)| *phase);
        conclusion.report.spread = in_mean().max().unwrap_or_default() - in_mean().min().unwrap_or_default();
        conclusion.own = judgements.next().flatten();
        conclusion.judgements = judgements.collect();
        conclusion.report.outcome = Outcome::Agreed;
        conclusion.transition = Some(PhaseTransition::Agreed);
        match resumed {
            Some((_, kept)) => self.resume_kept(now, kept, conclusion),
            None => self.begin_cluster(now, vote.mean, new_cluster, conclusion),
        }
    }

    /// Whether a first vote that keeps these of the plausible clocks takes the time away from clients that
    /// may have the cluster's. Half of the clients would have to be wrong, all of them. A server that has had
    /// that time, and knows the clients with a vote, does not leave its own clock for another time, nor these
    /// if they are near it.
    fn takes_time(&self, electorate: Electorate<'_>, candidates: &[Candidate], kept: &[bool]) -> bool {
        let own = candidates[0].plausible_phase();
        let is_near_own = |candidate: &Candidate| {
            let apart = candidate.plausible_phase().zip(own).map(|(phase, own)| (phase - own).abs());
            apart.is_some_and(|apart| apart <= self.config.radius)
        };
        let mut clients = electorate.clients.iter().zip(&candidates[1..]);
        let leaves_own = own.is_none() || !kept[0];
        let leaves_voter = clients.any(|(member, clock)| member.is_voter() && is_near_own(clock));
        has_carrier(electorate, candidates, kept)
            || (self.knows_voters(electorate) && (leaves_own || leaves_voter))
    }

    /// The cluster whose time the server has kept goes on: the mean of clocks that know no time would be a
    /// step for members that come later.
    fn resume_kept(&mut self, now: Raw, kept: KeptTime, conclusion: &mut Conclusion) {
        let base = kept.manual_adjustment.base_of(self.timescale.published(now));
        (self.cluster, self.manual_adjustment) = (kept.cluster, kept.manual_adjustment);
        conclusion.gives_votes = false;
        self.set_first_time(now, base - Timestamp::from_nanos(now.as_nanos()), conclusion);
        self.anchor.rest(REST);
    }

    /// A new cluster begins with this time, minus the server's oscillator.
    fn begin_cluster(&mut self, now: Raw, phase: Span, cluster: ClusterId, conclusion: &mut Conclusion) {
        (self.cluster, self.manual_adjustment) = (cluster, ManualAdjustment::NONE);
        self.utc.note_set_time();
        self.forget_kept();
        self.set_first_time(now, phase, conclusion);
    }

    fn set_first_time(&mut self, now: Raw, phase: Span, conclusion: &mut Conclusion) {
        // Without a prior frequency, a new cluster starts at the rate of the server's oscillator. A prior
        // one is better: the members remember the same cluster's rate.
        let frequency = self.prior.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        conclusion.correction = self.timescale.set(now, phase, frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        self.ensemble = Ensemble::with_prior(self.prior);
        self.become_steady();
    }
}

/// Whether the clients that carry a cluster time are of this cluster, and of one group.
fn is_alone(electorate: Electorate<'_>, cluster: ClusterId) -> bool {
    let carriers = || electorate.clients.iter().filter(|member| member.state.has_cluster_time());
    let weight: Weight = carriers().map(|member| member.weight).sum();
    weight <= Weight::ONE && carriers().all(|member| member.cluster == cluster)
}

/// Whether a client that carries a cluster time is among the clocks that a first vote has kept.
fn has_carrier(electorate: Electorate<'_>, candidates: &[Candidate], kept: &[bool]) -> bool {
    let carries =
        core::iter::once(false).chain(electorate.clients.iter().map(|it| it.state.has_cluster_time()));
    let plausible =
        candidates.iter().zip(carries).filter(|(candidate, _)| candidate.plausible_phase().is_some());
    plausible.zip(kept).any(|((_, carries), kept)| carries && *kept)
}

/// A server that has kept its time, or has a client that carries one, takes no first vote before it has
/// listened for so many intervals.
const LISTENED_AFTER_RESTART: i64 = 3;

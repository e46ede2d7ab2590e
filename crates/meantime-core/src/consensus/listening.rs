//! Listening: there is no cluster time yet. The server adopts the time that most members
//! carry, or takes the first vote.

use super::ensemble::Ensemble;
use super::founding;
use super::manual_adjustment;
use super::reading::{Conclusion, MemberJudgement, MemberReading, PhaseReading, PhaseTransition};
use super::timekeeper::{MAX_WAITING_VOTES, Phase, Timekeeper};
use super::vote;
use crate::event::{Adjustment, Exclusion, Outcome, UndecidedReason};
use crate::time::{Frequency, Offset, Raw, Span};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::vec::Vec;

impl Timekeeper {
    /// A round while listening: adopts the members' time if most carry one, or takes the first vote.
    pub(super) fn conclude_listening(
        &mut self,
        votes: u32,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        new_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Listening;
        conclusion.report.members = member_readings.len() + 1;
        if member_readings.is_empty() {
            self.undecided_reason = UndecidedReason::NoClients;
            return;
        }
        self.undecided_reason = UndecidedReason::Waiting;
        self.phase = Phase::Listening(votes + 1);
        let plausible = |member: &&MemberReading<'_>| {
            member.reading.is_none_or(|reading| self.implausible(&reading).is_none())
        };
        let carriers =
            member_readings.iter().filter(|member| member.state.has_cluster_time()).filter(plausible).count();
        if 2 * carriers > member_readings.len() {
            // A server whose machine has slept keeps its cluster.
            let own = Some(self.cluster).filter(|own| *own != ClusterId(0));
            let cluster = own.or_else(|| commonest_cluster(member_readings)).unwrap_or(new_cluster);
            let manual_adjustment = if own.is_some() {
                Some(self.manual_adjustment)
            } else {
                manual_adjustment::commonest(member_readings, cluster)
            };
            // One round later than the first vote could be: by then each member has sent a heartbeat.
            if votes > 0
                && let Some(manual_adjustment) = manual_adjustment
                && self.follow_members(now, member_readings, conclusion)
            {
                conclusion.transition = Some(PhaseTransition::Adopted);
                (self.cluster, self.manual_adjustment) = (cluster, manual_adjustment);
                self.anchor.rest(REST);
                self.begin_following();
                conclusion.report.outcome = Outcome::Following;
                return;
            }
            if votes < MAX_WAITING_VOTES {
                return;
            }
        }
        let unheard = member_readings.iter().filter(|member| member.reading.is_none()).count();
        if self.is_waiting_for(unheard) {
            return;
        }
        self.first_vote(now, member_readings, new_cluster, conclusion);
    }

    /// The classic algorithm, once.
    fn first_vote(
        &mut self,
        now: Raw,
        member_readings: &[MemberReading<'_>],
        new_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        let own = PhaseReading {
            at: now,
            phase: self.timescale.phase_at(now),
            noise: Span::ZERO,
            excess: Span::ZERO,
            fresh: true,
        };
        let all: Vec<Option<PhaseReading>> =
            core::iter::once(Some(own)).chain(member_readings.iter().map(MemberReading::shown)).collect();
        let excluded: Vec<Option<Exclusion>> =
            all.iter().map(|reading| reading.and_then(|reading| self.implausible(&reading))).collect();
        let votes = || {
            let plausible = all.iter().zip(&excluded).filter(|(_, why)| why.is_none());
            plausible.filter_map(|(reading, _)| *reading)
        };
        let phases: Vec<Span> = votes().map(|reading| reading.phase).collect();
        let vote = vote::first_vote(&phases, self.config.radius, all.len());
        let agreeing = vote.kept.iter().filter(|kept| **kept).count();
        conclusion.report.heard = all.iter().flatten().filter(|reading| reading.fresh).count();
        conclusion.report.agreeing = agreeing;
        conclusion.report.window = self.config.radius;
        if !vote.majority {
            conclusion.transition = (!self.undecided).then_some(PhaseTransition::Undecided);
            self.undecided = true;
            self.undecided_reason = founding::reason(&all, &excluded);
            conclusion.judge_implausible(&all, &excluded);
            return;
        }
        let mut kept = vote.kept.iter();
        let mut judgements = all.iter().zip(&excluded).map(|(reading, why)| {
            let reading = (*reading)?;
            let offset = Offset::ahead_by(reading.phase - vote.mean);
            let outside = why.is_none() && !kept.next().copied().unwrap_or_default();
            let exclusion = why.or(outside.then_some(Exclusion::OutsideWindow));
            Some(MemberJudgement::vote(offset, exclusion))
        });
        let in_mean = || phases.iter().zip(&vote.kept).filter(|(_, kept)| **kept).map(|(phase, _)| *phase);
        conclusion.report.spread = in_mean().max().unwrap_or_default() - in_mean().min().unwrap_or_default();
        conclusion.own = judgements.next().flatten();
        conclusion.judgements = judgements.collect();
        conclusion.report.outcome = Outcome::Agreed;
        conclusion.transition = Some(PhaseTransition::Agreed);
        // Without a prior frequency, the new cluster starts at the rate of the server's oscillator. A prior
        // one is better: the members remember the same cluster's rate.
        let frequency = self.prior.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        conclusion.correction = self.timescale.set(now, vote.mean, frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        (self.cluster, self.manual_adjustment) = (new_cluster, ManualAdjustment::NONE);
        self.ensemble = Ensemble::with_prior(self.prior);
        self.become_steady();
    }
}

/// The cluster that most of the clients carry, if they carry one.
fn commonest_cluster(member_readings: &[MemberReading<'_>]) -> Option<ClusterId> {
    let mut carried: Vec<ClusterId> = member_readings
        .iter()
        .filter(|member| member.state.has_cluster_time() && member.cluster != ClusterId(0))
        .map(|member| member.cluster)
        .collect();
    carried.sort_unstable();
    carried.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).map(|same| same[0])
}

/// After taking over the members' time the rate is left alone for ten minutes.
const REST: Span = Span::from_secs(600);

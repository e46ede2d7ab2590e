//! Listening: there is no cluster time yet. Take it over from those who carry it, or agree on one.

use super::ensemble::Ensemble;
use super::{
    Conclusion, Judgement, MemberReading, PATIENCE, Phase, PhaseReading, PhaseTransition, Timekeeper,
    manual_adjustment,
};
use crate::consensus::vote;
use crate::event::{Adjustment, Exclusion, Outcome};
use crate::time::{Frequency, Offset, Raw, Span};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::vec::Vec;

impl Timekeeper {
    /// Listening: is there a time to take over, or can one be agreed on?
    pub(super) fn listen(
        &mut self,
        votes: u32,
        now: Raw,
        ballots: &[MemberReading<'_>],
        fresh_cluster: ClusterId,
        conclusion: &mut Conclusion,
    ) {
        conclusion.report.outcome = Outcome::Listening;
        conclusion.report.members = ballots.len() + 1;
        if ballots.is_empty() {
            return;
        }
        self.phase = Phase::Listening(votes + 1);
        let plausible = |ballot: &&MemberReading<'_>| {
            ballot.reading.is_none_or(|reading| self.implausible(&reading).is_none())
        };
        let carriers =
            ballots.iter().filter(|ballot| ballot.state.has_cluster_time()).filter(plausible).count();
        if 2 * carriers > ballots.len() {
            // A server that had a time before, and has only slept, goes on with its name.
            let own = Some(self.cluster).filter(|own| *own != ClusterId(0));
            let cluster = own.or_else(|| commonest_cluster(ballots)).unwrap_or(fresh_cluster);
            let setting = if own.is_some() {
                Some(self.setting)
            } else {
                manual_adjustment::commonest(ballots, cluster)
            };
            // One round more than a cold start needs: by then each of them has sent a heartbeat.
            if votes > 0
                && let Some(setting) = setting
                && self.follow_members(now, ballots, conclusion)
            {
                conclusion.turn = Some(PhaseTransition::Adopted);
                (self.cluster, self.setting) = (cluster, setting);
                self.anchor.rest(REST);
                self.begin_following();
                conclusion.report.outcome = Outcome::Following;
                return;
            }
            if votes < PATIENCE {
                return;
            }
        }
        let unheard = ballots.iter().filter(|ballot| ballot.reading.is_none()).count();
        if self.is_waiting_for(unheard) {
            return;
        }
        self.first_vote(now, ballots, fresh_cluster, conclusion);
    }

    /// The classic algorithm, once.
    pub(super) fn first_vote(
        &mut self,
        now: Raw,
        ballots: &[MemberReading<'_>],
        fresh_cluster: ClusterId,
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
            core::iter::once(Some(own)).chain(ballots.iter().map(MemberReading::shown)).collect();
        let excluded: Vec<Option<Exclusion>> =
            all.iter().map(|reading| reading.and_then(|reading| self.implausible(&reading))).collect();
        let votes = || {
            let plausible = all.iter().zip(&excluded).filter(|(_, why)| why.is_none());
            plausible.filter_map(|(reading, _)| *reading)
        };
        let phases: Vec<Span> = votes().map(|reading| reading.phase).collect();
        let vote = vote::first_vote(&phases, self.settings.radius, all.len());
        let agreeing = vote.kept.iter().filter(|kept| **kept).count();
        conclusion.report.heard = all.iter().flatten().filter(|reading| reading.fresh).count();
        conclusion.report.agreeing = agreeing;
        conclusion.report.window = self.settings.radius;
        if !vote.majority {
            conclusion.turn = (!self.undecided).then_some(PhaseTransition::Undecided);
            self.undecided = true;
            return;
        }
        let mut kept = vote.kept.iter();
        let mut judged = all.iter().zip(&excluded).map(|(reading, why)| {
            let reading = (*reading)?;
            let offset = Offset::ahead_by(reading.phase - vote.mean);
            let outside = why.is_none() && !kept.next().copied().unwrap_or_default();
            let exclusion = why.or(outside.then_some(Exclusion::OutsideWindow));
            Some(Judgement::vote(offset, exclusion))
        });
        let in_mean = || phases.iter().zip(&vote.kept).filter(|(_, kept)| **kept).map(|(phase, _)| *phase);
        conclusion.report.spread = in_mean().max().unwrap_or_default() - in_mean().min().unwrap_or_default();
        conclusion.own = judged.next().flatten();
        conclusion.judged = judged.collect();
        conclusion.report.outcome = Outcome::Agreed;
        conclusion.turn = Some(PhaseTransition::Agreed);
        // As good a rate as any is that of the server's own oscillator; a better one is that of the cluster
        // that its members remember as well.
        let frequency = self.known.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        conclusion.correction = self.timescale.set(now, vote.mean, frequency, Adjustment::Step);
        conclusion.adjustment = Adjustment::Step;
        (self.cluster, self.setting) = (fresh_cluster, ManualAdjustment::NONE);
        self.ensemble = Ensemble::knowing(self.known);
        self.become_steady();
    }
}

/// The cluster that most of the clients carry, if they carry one.
fn commonest_cluster(ballots: &[MemberReading<'_>]) -> Option<ClusterId> {
    let mut carried: Vec<ClusterId> = ballots
        .iter()
        .filter(|ballot| ballot.state.has_cluster_time() && ballot.cluster != ClusterId(0))
        .map(|ballot| ballot.cluster)
        .collect();
    carried.sort_unstable();
    carried.chunk_by(|a, b| a == b).max_by_key(|same| same.len()).map(|same| same[0])
}

/// After taking over the members' time the rate is left alone for ten minutes.
const REST: Span = Span::from_secs(600);

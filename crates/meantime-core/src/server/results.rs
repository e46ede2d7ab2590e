//! The results of rounds: asks the timekeeper for its decision, stores it, and reports what has changed.

use alloc::vec::Vec;

use rand::Rng;

use super::context::Context;
use super::corrections::RoundKind;
use super::coverage;
use super::extra_bursts;
use super::groups;
use super::handles::Slot;
use super::member::Member;
use super::members::Members;
use super::references;
use crate::ServerEvent;
use crate::consensus::{
    Conclusion, Electorate, MemberJudgement, MemberReading, PhaseTransition, Timekeeper, Weight,
};
use crate::event::{Adjustment, Exclusion, Falseticker, RoundReport, Voter};
use crate::roles::statement::Service;
use crate::time::{Monotonic, Now, Span};
use crate::wire::{ClusterId, Verdict};

/// The result of the last round.
#[derive(Debug, Default)]
pub(super) struct RoundResults {
    last: Option<(Monotonic, RoundReport)>,
    /// Why the vote leaves the server's own clock out; `None`: the vote does not.
    own_exclusion: Option<Exclusion>,
    /// How many rounds have broken the bounds of members.
    bounds_broken: u64,
    /// When the server took over while none of its members had a vote yet; `None`: it did not.
    without_voters: Option<Monotonic>,
}

/// How the server goes on after a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct AfterRound {
    pub kind: RoundKind,
    /// How many members with a vote were not heard.
    pub unheard: usize,
}

impl RoundResults {
    /// When the last round ended, and its result.
    pub(super) fn last(&self) -> Option<(Monotonic, RoundReport)> {
        self.last
    }

    /// Why the vote leaves the server's own clock out; `None`: the vote does not.
    pub(super) fn own_exclusion(&self) -> Option<Exclusion> {
        self.own_exclusion
    }

    /// How often the server has begun to correct members to a time beyond their bounds.
    pub(super) fn bounds_broken(&self) -> u64 {
        self.bounds_broken
    }

    /// The cluster's time was founded: judgements by the time before are out of date, and so are corrections
    /// and what members have reported of manual time adjustments.
    pub(super) fn forget(&mut self, members: &mut Members) {
        (self.own_exclusion, self.without_voters) = (None, None);
        members.discard_adjustments();
        for (_, member) in members.iter_mut() {
            member.discard_correction();
            member.verdict = Verdict::Unjudged;
            member.exclusion = member.exclusion.filter(|why| *why == Exclusion::Removed);
        }
    }

    /// The server takes over from another one. If it has the cluster's time, but none of its members has a
    /// vote yet, since the server has begun only just, then those that agree a little later have one at once:
    /// or else its own clock would be alone in the vote for two minutes.
    pub(super) fn take_over(&mut self, now: Monotonic, has_time: bool, members: &mut Members) {
        self.forget(members);
        let has_voters = members.iter().any(Member::has_vote);
        self.without_voters = (has_time && !has_voters).then_some(now);
    }

    /// Whether members that agree have votes without probation: in the rounds from two intervals after such a
    /// takeover on. By then each client that knows the server has registered, so that no few vote alone.
    fn elects(&self, now: Monotonic, interval: Span) -> bool {
        let rounds = interval.times(ELECTION.0)..interval.times(ELECTION.1);
        self.without_voters.is_some_and(|taken_over| rounds.contains(&(now - taken_over)))
    }

    /// Concludes a round: lets the timekeeper decide, and stores and reports the decision.
    pub(super) fn conclude(&mut self, context: &mut Context, now: Now, round: u32) -> AfterRound {
        let before = *context.timekeeper.timescale();
        let (mut conclusion, unheard) = vote(context, now, round);
        coverage::decide(context, now, &before, &mut conclusion);
        let broken = coverage::broken_bounds(context, now, &conclusion);
        references::conclude(context, now);
        conclusion.report.rate = context.timekeeper.rate();
        if context.timekeeper.cluster() != ClusterId::default() {
            context.members.discard_adjustments();
        }
        if conclusion.adjustment == Adjustment::Step && conclusion.correction.span() != Span::ZERO {
            // Corrections by the server's old time have become wrong.
            context.members.iter_mut().for_each(|(_, member)| member.discard_correction());
        }
        context.events.extend(transition_event(&context.timekeeper, &conclusion));
        self.bounds_broken += u64::from(broken.is_some());
        context.events.extend(broken);
        self.store_judgements(context, now, &conclusion);
        self.last = Some((now.mono, conclusion.report));
        if matches!(conclusion.transition, Some(PhaseTransition::Deposed(_) | PhaseTransition::Adopted)) {
            // The server's clock was set, so the judgement about it is out of date.
            self.own_exclusion = None;
        }
        if !context.is_standby() {
            context.events.push(ServerEvent::RoundEnded(conclusion.report));
            let Conclusion { correction, added, adjustment, .. } = conclusion;
            context.events.push(ServerEvent::OwnClockCorrected { round, correction, added, adjustment });
        }
        AfterRound {
            kind: if conclusion.begins_correcting() { RoundKind::FirstVote } else { RoundKind::Later },
            unheard,
        }
    }

    /// Stores the judgement about each clock, and reports those that have changed. Members that have become
    /// falsetickers get extra bursts.
    fn store_judgements(&mut self, context: &mut Context, now: Now, conclusion: &Conclusion) {
        if let Some(own) = conclusion.own {
            context.events.extend(exclusion_event(self.own_exclusion, own, Voter::Server));
            self.own_exclusion = own.exclusion;
        }
        let mut new_minority: Vec<Slot> = Vec::new();
        // Members that have joined a following server have their time from it.
        let is_learning = context.timekeeper.is_learning();
        let needed = if is_learning { u8::MAX } else { rounds_to_vote(context.config.interval) };
        let elects = !is_learning && self.elects(now.mono, context.config.interval);
        for ((slot, member), judgement) in context.members.iter_mut().zip(&conclusion.judgements) {
            let Some(judgement) = judgement else { continue };
            let voter = Voter::Client(member.peer());
            context.events.extend(exclusion_event(member.exclusion, *judgement, voter));
            member.exclusion = judgement.exclusion;
            match conclusion.transition {
                // The clocks that the cluster's time was taken from have a vote from the beginning.
                Some(PhaseTransition::Agreed | PhaseTransition::Adopted)
                    if judgement.agrees && conclusion.gives_votes =>
                {
                    member.give_vote();
                }
                _ if judgement.agrees && elects => member.give_vote(),
                _ => member.record_agreement(judgement.agrees, needed),
            }
            let verdict = if judgement.agrees { Verdict::Agrees } else { Verdict::Minority };
            if verdict == Verdict::Minority && member.verdict != Verdict::Minority {
                new_minority.push(slot);
            }
            member.verdict = verdict;
        }
        let length = context.config.interval.times(MINORITY_ROUNDS);
        for slot in new_minority {
            extra_bursts::allow_if_needed(context, now.mono, slot, length);
        }
    }
}

/// Lets the timekeeper decide. Also returns how many members with a vote were not heard.
fn vote(context: &mut Context, now: Now, round: u32) -> (Conclusion, usize) {
    let is_standby = context.is_standby();
    // Of a member that is measured in every sixth round, the last reading counts.
    let max_age = context.config.lifetime().times(if is_standby { 2 } else { 1 });
    let mut readings: Vec<MemberReading> = Vec::with_capacity(context.members.len());
    let mut weights = groups::weigh(&context.config, &context.members);
    for (weight, (slot, _)) in weights.members.iter_mut().zip(context.members.from(0)) {
        if is_served_elsewhere(context, slot) {
            *weight = Weight::ZERO;
        }
    }
    // A server that has a cluster knows the adjustment of members that have its number.
    let is_known = context.timekeeper.cluster() != ClusterId(0);
    let known = Some(*context.timekeeper.manual_adjustment()).filter(|_| is_known);
    for ((member, adjustment), weight) in context.members.iter_with_adjustments().zip(weights.members) {
        let is_own = [ClusterId(0), context.timekeeper.cluster()].contains(&member.cluster);
        let adjustment = adjustment.or(known.as_ref().filter(|_| is_own));
        let reading = member.vote_reading(now, round, max_age, adjustment, weight);
        member.record_weight(weight);
        member.discard_old_frequency(now.mono);
        if !is_standby || member.was_measured_in(round) {
            member.history.record(reading.reading.is_some_and(|reading| reading.fresh));
        }
        readings.push(reading);
    }
    let new_cluster = ClusterId(context.rng.next_u64().max(1));
    let electorate = Electorate { own: weights.own, clients: &readings };
    let conclusion = context.timekeeper.conclude(round, now.raw, electorate, new_cluster);
    let unheard = readings.iter().filter(|member| member.reading.is_none() && !member.is_removed()).count();
    (conclusion, unheard)
}

/// Whether a member states that another server of the list serves it: it has the time of that one, which may
/// be another time where a network was cut in two.
fn is_served_elsewhere(context: &Context, slot: Slot) -> bool {
    let stated = context.members.statement(slot).filter(|stated| stated.service == Service::Served);
    stated.is_some_and(|stated| stated.follows.rank() != context.config.place.map(|place| place.rank))
}

fn transition_event(timekeeper: &Timekeeper, conclusion: &Conclusion) -> Option<ServerEvent> {
    let cluster = timekeeper.cluster();
    let (members, agreeing) = (conclusion.report.members, conclusion.report.agreeing);
    Some(match conclusion.transition? {
        PhaseTransition::Agreed => ServerEvent::TimeAgreed { cluster, agreeing, members },
        PhaseTransition::Undecided => {
            let reason = timekeeper.undecided()?;
            ServerEvent::Undecided { members, agreeing, reason }
        }
        PhaseTransition::Adopted => ServerEvent::TimeAdopted { cluster, members: agreeing },
        PhaseTransition::Deposed(offset) => ServerEvent::Deposed { offset },
        PhaseTransition::Resumed => ServerEvent::Resumed,
    })
}

/// The event to report if a judgement differs from the exclusion before.
fn exclusion_event(
    before: Option<Exclusion>,
    judgement: MemberJudgement,
    voter: Voter,
) -> Option<ServerEvent> {
    match judgement.exclusion {
        now if now == before => None,
        Some(reason) => {
            Some(ServerEvent::Falseticker(Falseticker { voter, offset: judgement.offset, reason }))
        }
        None => Some(ServerEvent::Truechimer { voter }),
    }
}

/// For so many rounds a member that has become a falseticker gets extra bursts, so that it is right again
/// soon.
const MINORITY_ROUNDS: i64 = 3;

/// From which interval after a takeover on members have votes at once, and up to which: each is measured in
/// one of these rounds, even if others are lost.
const ELECTION: (i64, i64) = (2, 5);

/// In how many rounds a newcomer has to agree before it has a vote: two minutes at the usual interval. Many
/// that come at once cannot become a majority before an operator sees them.
fn rounds_to_vote(interval: Span) -> u8 {
    let rounds = PROBATION.as_nanos() / interval.as_nanos().max(1);
    rounds.clamp(3, 24) as u8
}

/// For so long a newcomer has to agree.
const PROBATION: Span = Span::from_secs(120);

//! The rounds: bursts to everybody, the vote, a correction for each.
//!
//! The bursts of a round begin one after the other, in the order of the members' places, spread over its
//! first part, so that the reports do not arrive all at once. The vote comes when all bursts are answered, or
//! when the slowest has had its time. Then all are told, again one after the other. No step of this takes
//! long, whatever the number of members, but for the vote itself. How bursts and rounds adapt to many
//! members, [`pace`](super::pace) says.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use rand::Rng;

use super::burst::Measured;
use super::members::{LargestBounds, Slot};
use super::pace::{self, Plan};
use super::{Outgoing, Server, Timer};
use crate::ServerEvent;
use crate::consensus::{Conclusion, Judgement, MemberReading, PhaseTransition};
use crate::event::{Adjustment, Exclusion, Falseticker, Voter};
use crate::time::{self, Monotonic, Now, Offset, Raw, Span};
use crate::wire::{Body, ClusterId, CorrectionMessage, Stamps, Verdict};

/// The beginning of the bursts, as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probing {
    plan: Plan,
    since: Monotonic,
    /// How many members there were when the round began.
    members: usize,
    begun: usize,
    next: Slot,
    /// How long the slowest of those so far may take to answer.
    patience: Span,
}

/// The telling after the vote, as far as it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    round: u32,
    next: Slot,
    /// Whether the cluster has just got its time: then everybody is new to it.
    agreed: bool,
}

impl Server {
    pub(super) fn begin_round(&mut self, now: Now) {
        if self.probing.is_some() {
            // This machine, or the plan, is too slow for the interval: the round that goes on needs another
            // one.
            self.next_round += self.config.interval;
            self.timers.set(self.next_round, Timer::Round);
            return;
        }
        if self.pending.is_some() {
            self.conclude_round(now);
        }
        self.sweep(now);
        self.timers.set(now.mono + self.config.interval.half(), Timer::Sweep);
        self.round = self.round.wrapping_add(1).max(1);
        let members = self.members.len();
        self.tells_each = members <= self.config.tell_each;
        let plan = self.config.plan(members);
        // Rounds that were missed are not made up for, however many there were.
        let (late, interval) = (now.mono - self.next_round, self.config.interval);
        if late >= Span::ZERO {
            self.next_round += interval.times(late.as_nanos() / interval.as_nanos().max(1) + 1);
        }
        self.next_round += self.config.interval.times(plan.rounds_left_out);
        self.timers.set(self.next_round, Timer::Round);
        self.events.push_back(ServerEvent::RoundStarted {
            round: self.round,
            clients: members,
            burst: plan.burst,
        });
        if plan.burst != self.burst {
            self.burst = plan.burst;
            let (burst, wanted) = (plan.burst, self.config.burst);
            self.events.push_back(ServerEvent::BurstAdapted { clients: members, burst, wanted });
        }
        self.pending = Some(members);
        let since = now.mono;
        self.probing = Some(Probing { plan, since, members, begun: 0, next: 0, patience: Span::ZERO });
        self.begin_bursts(now);
        self.conclude_if_complete(now);
    }

    /// Begins the bursts of the round that are due, but no more than a turn's worth.
    pub(super) fn begin_bursts(&mut self, now: Now) {
        let Some(mut probing) = self.probing.take() else { return };
        for _ in 0..pace::BEGINS_A_TURN {
            let next = self.members.next(probing.next).filter(|_| probing.begun < probing.members);
            let Some(slot) = next else {
                let begun = (probing.since + probing.plan.spread).max(now.mono);
                let over = probing.plan.over(&self.config, begun, probing.patience, self.next_round);
                self.timers.set(over, Timer::Vote(self.round));
                return;
            };
            let due = probing.since + probing.plan.begins(probing.begun, probing.members);
            let crowded = self.members.bursts() >= pace::MAX_BURSTS;
            if due > now.mono || crowded {
                self.timers
                    .set(due.max(now.mono + if crowded { pace::PAUSE } else { Span::ZERO }), Timer::Begin);
                self.probing = Some(probing);
                return;
            }
            probing.next = slot + 1;
            // Whoever has come since the round began was measured alone.
            let Some(member) = self.members.at(slot).filter(|member| member.round != self.round) else {
                continue;
            };
            probing.patience =
                probing.patience.max(member.delays.patience().unwrap_or(self.config.most_patience()));
            probing.begun += 1;
            self.begin_burst(slot, now.mono, false);
        }
        self.timers.set(now.mono, Timer::Begin);
        self.probing = Some(probing);
    }

    /// Whether the burst of this round with the member at a place is still to begin.
    pub(super) fn is_still_to_be_asked(&self, slot: Slot) -> bool {
        self.probing.is_some_and(|probing| slot >= probing.next)
    }

    pub(super) fn begin_burst(&mut self, slot: Slot, at: Monotonic, alone: bool) {
        self.bursts = self.bursts.wrapping_add(1);
        let (id, round, size) = (self.bursts, self.round, self.burst);
        if let Some(place) = self.members.begin_burst(slot, id, round, size, alone) {
            self.timers.set(at, Timer::Probe(place, id));
        }
    }

    pub(super) fn probe_is_due(&mut self, now: Now, place: u32, id: u32) {
        let (gap, most) = (self.config.gap(), self.config.most_patience());
        // Among few, a burst waits for the vote; among many, the next ones wait for it to be over.
        let few = self.members.len() <= pace::MAX_BURSTS;
        let Some(burst) = self.members.burst(place, id) else { return };
        let (alone, slot) = (burst.alone, burst.member);
        let (is_first, is_last) = (burst.sent == 0, burst.sent + 1 >= burst.size);
        if !is_last {
            self.timers.set(now.mono + gap, Timer::Probe(place, id));
        } else if alone {
            let seen = burst.best.map(|best| best.delay.times(4));
            let usual = self.members.at(slot).and_then(|member| member.delays.patience());
            let patience = usual.or(seen).unwrap_or(most).clamp(pace::MIN_PATIENCE.min(most), most);
            self.timers.set(now.mono + patience, Timer::BurstOver(place, id));
        } else if !few {
            self.timers.set(now.mono + most, Timer::BurstOver(place, id));
        }
        if is_first {
            self.tell_setting(slot);
        }
        self.outgoing.push_back(Outgoing::Probe(place, id));
    }

    pub(super) fn burst_is_over(&mut self, now: Now, place: u32, id: u32) {
        if let Some(slot) = self.members.burst(place, id).map(|burst| burst.member) {
            self.finish_burst(slot);
            self.conclude_if_complete(now);
        }
    }

    /// No more reports are waited for: the best exchange of the burst is the member's reading.
    pub(super) fn finish_burst(&mut self, slot: Slot) {
        let phase_at = |raw: Raw| self.keeper.timescale().phase_at(raw);
        let Some((member, Some(burst))) = self.members.with_burst(slot) else { return };
        let (alone, state) = (burst.alone, member.state);
        if let Some(best) = burst.best.filter(|_| self.tells_each) {
            self.events.push_back(ServerEvent::Updated {
                client: member.peer(),
                round: burst.round,
                offset: offset(&best, phase_at(best.at())),
                delay: best.delay,
                heard: burst.heard,
                error: member.error(),
                bound: member.bound(),
            });
        }
        self.members.end_burst(slot);
        if !alone {
            self.pending = self.pending.map(|pending| pending.saturating_sub(1));
        } else if self.keeper.audience().includes(state) && self.own_exclusion.is_none() {
            // A server that the vote has just found wrong insists on nothing between rounds.
            self.correct(slot);
        }
    }

    pub(super) fn conclude_if_complete(&mut self, now: Now) {
        if self.pending == Some(0) {
            self.conclude_round(now);
        }
    }

    /// The vote, and what follows from it.
    pub(super) fn conclude_round(&mut self, now: Now) {
        if self.pending.take().is_none() {
            return;
        }
        self.probing = None;
        for slot in self.members.bursting(self.round) {
            self.finish_burst(slot);
        }
        let (round, oldest) = (self.round, self.config.lifetime());
        let mut bounds = LargestBounds::default();
        let mut ballots: Vec<MemberReading> = Vec::with_capacity(self.members.len());
        for (slot, member) in self.members.iter_mut() {
            let ballot = member.ballot(now.mono, now.raw, round, oldest, self.carried.get(&slot));
            member.forget_old_claim(now.mono);
            member.history.note(ballot.reading.is_some_and(|reading| reading.fresh));
            if member.state.has_cluster_time() {
                bounds.add(member.bound_of(round));
            }
            ballots.push(ballot);
        }
        let fresh = ClusterId(self.rng.next_u64().max(1));
        let mut conclusion = self.keeper.conclude(round, now.raw, &ballots, fresh);
        let unheard = ballots.iter().filter(|ballot| ballot.reading.is_none() && !ballot.removed).count();
        drop(ballots);
        if self.keeper.cluster() != ClusterId::default() {
            self.carried = BTreeMap::new();
        }
        bounds.add(self.keeper.own_bound(now.raw));
        conclusion.report.largest_bound = bounds.sum();
        if conclusion.adjustment == Adjustment::Step && conclusion.correction.span() != Span::ZERO {
            self.forget_old_timescale();
        }
        self.tell(&conclusion);
        self.judge(now, &conclusion);
        self.last_round = Some((now.mono, conclusion.report));
        if matches!(conclusion.turn, Some(PhaseTransition::Deposed(_) | PhaseTransition::Adopted)) {
            // It was set: what was found wrong with it is past.
            self.own_exclusion = None;
        }
        self.events.push_back(ServerEvent::RoundEnded(conclusion.report));
        self.events.push_back(ServerEvent::OwnClockCorrected {
            round,
            correction: conclusion.correction,
            adjustment: conclusion.adjustment,
        });
        self.telling =
            Some(Telling { round, next: 0, agreed: conclusion.turn == Some(PhaseTransition::Agreed) });
        self.tell_members(now);
        if self.keeper.is_impatient(unheard) {
            self.next_round = now.mono + self.config.interval.over(5);
            self.timers.set(self.next_round, Timer::Round);
        }
    }

    /// The server's clock was set: what was said by its old time must not be said again.
    fn forget_old_timescale(&mut self) {
        for (_, member) in self.members.iter_mut() {
            member.untell();
        }
    }

    fn tell(&mut self, conclusion: &Conclusion) {
        let cluster = self.keeper.cluster();
        let (members, agreeing) = (conclusion.report.members, conclusion.report.agreeing);
        let event = match conclusion.turn {
            None => return,
            Some(PhaseTransition::Agreed) => ServerEvent::TimeAgreed { cluster, agreeing, members },
            Some(PhaseTransition::Undecided) => ServerEvent::Undecided { members, agreeing },
            Some(PhaseTransition::Adopted) => ServerEvent::TimeAdopted { cluster, members: agreeing },
            Some(PhaseTransition::Deposed(offset)) => ServerEvent::Deposed { offset },
            Some(PhaseTransition::Resumed) => ServerEvent::Resumed,
        };
        self.events.push_back(event);
    }

    /// Keeps the vote's word on every clock, and tells where it has changed.
    fn judge(&mut self, now: Now, conclusion: &Conclusion) {
        if let Some(own) = conclusion.own {
            self.events.extend(change(self.own_exclusion, own, Voter::Server));
            self.own_exclusion = own.exclusion;
        }
        let mut late = Vec::new();
        for ((slot, member), judged) in self.members.iter_mut().zip(&conclusion.judged) {
            let Some(judged) = judged else { continue };
            self.events.extend(change(member.exclusion, *judged, Voter::Client(member.peer())));
            member.exclusion = judged.exclusion;
            let verdict = if judged.agrees { Verdict::Agrees } else { Verdict::Minority };
            if verdict == Verdict::Minority && member.verdict != Verdict::Minority {
                late.push(slot);
            }
            member.verdict = verdict;
        }
        for slot in late {
            self.hurry(now.mono, slot, self.config.interval.times(MINORITY_ROUNDS));
        }
    }

    /// Tells the next members the result of the round, but no more than a turn's worth: those whom it
    /// concerns get their correction; whoever was not heard is asked again before the next round, for a lossy
    /// path is not yet a dead member.
    pub(super) fn tell_members(&mut self, now: Now) {
        let Some(mut telling) = self.telling.take() else { return };
        let audience = self.keeper.audience();
        for _ in 0..pace::TELLS_A_TURN {
            let Some(slot) = self.members.next(telling.next) else { return };
            telling.next = slot + 1;
            let Some(member) = self.members.at(slot) else { continue };
            let asked = member.was_asked_in(telling.round);
            let (due, unheard) = (asked && audience.includes(member.state), asked && member.best().is_none());
            if due {
                self.correct(slot);
            }
            if unheard {
                self.hurry(now.mono, slot, self.config.interval);
            }
            if telling.agreed {
                self.learn(now.mono, slot);
            }
        }
        self.timers.set(now.mono + pace::PAUSE, Timer::Tell);
        self.telling = Some(telling);
    }

    /// Sends a member the correction of its own clock, by its last burst.
    pub(super) fn correct(&mut self, slot: Slot) {
        let timescale = *self.keeper.timescale();
        let Some(member) = self.members.at(slot) else { return };
        let Some(best) = member.best() else { return };
        let correction = offset(&best, timescale.phase_at(best.at())).correction_towards(Offset::ZERO);
        let (round, verdict, heard) = (member.round, member.verdict, member.answered);
        let last = member.last().map(|(report, t1, t4)| Stamps {
            report,
            t1: timescale.estimate(t1),
            t4: timescale.estimate(t4),
        });
        member.tell(round, best.report, correction);
        if self.tells_each {
            let client = member.peer();
            self.events.push_back(ServerEvent::CorrectionSent { client, round, correction, verdict });
        }
        let body = CorrectionMessage { last, heard, ..self.correction(best.report, correction, verdict) };
        self.send_to(slot, round, Body::Correction(body));
    }

    /// The client has said which Correction it applied last: if that is not the last one sent, once more. Our
    /// side of the burst's last exchange is not in it any more: the probe that it has just answered, or one
    /// before, had that.
    pub(super) fn confirm_or_repeat(&mut self, slot: Slot, applied: u32) {
        let audience = self.keeper.audience();
        let Some(member) = self.members.at(slot) else { return };
        let Some((round, about, correction)) = member.told() else { return };
        if about == applied {
            member.untell();
        } else if audience.includes(member.state) && member.may_repeat() {
            let verdict = member.verdict;
            let body = self.correction(about, correction, verdict);
            self.send_to(slot, round, Body::Correction(body));
        }
    }

    fn correction(&self, about: u32, correction: time::Correction, verdict: Verdict) -> CorrectionMessage {
        CorrectionMessage {
            about,
            correction,
            last: None,
            rate: self.keeper.rate(),
            window: self.keeper.window(),
            verdict,
            learning: self.keeper.is_learning(),
            brisk: self.keeper.is_brisk(),
            heard: 0,
            members: u32::try_from(self.members.len() + 1).unwrap_or(u32::MAX),
        }
    }
}

/// The client's clock minus the cluster's time, at the measurement.
pub(super) fn offset(measured: &Measured, cluster_phase: Span) -> Offset {
    Offset::ahead_by(measured.phase - cluster_phase)
}

/// What there is to tell when the vote's word on a clock changes.
fn change(before: Option<Exclusion>, judged: Judgement, voter: Voter) -> Option<ServerEvent> {
    match judged.exclusion {
        now if now == before => None,
        Some(reason) => Some(ServerEvent::Falseticker(Falseticker { voter, offset: judged.offset, reason })),
        None => Some(ServerEvent::Truechimer { voter }),
    }
}

/// A clock that is newly found wrong is measured between rounds for so many of them, to be right again soon.
const MINORITY_ROUNDS: i64 = 3;

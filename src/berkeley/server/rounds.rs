//! The rounds: bursts to everybody, the vote, a correction for each.
//!
//! The bursts of a round begin spread over its first part, so that the reports do not arrive all at once. The
//! vote comes when all bursts are answered, or when the slowest has had its time.

use rand::Rng;

use super::burst::{Burst, Measured};
use super::members::{self, Slot};
use super::{Outgoing, Server, Timer};
use crate::berkeley::ServerEvent;
use crate::berkeley::event::{Adjustment, Exclusion, Falseticker, Voter};
use crate::berkeley::keeper::{Ballot, Conclusion, Judged, Turn};
use crate::time::{Monotonic, Now, Offset, Span};
use crate::wire::{Body, ClusterId, Correction, Stamps, Verdict};

impl Server {
    pub(super) fn begin_round(&mut self, now: Now) {
        if self.pending.is_some() {
            self.conclude_round(now);
        }
        self.round = self.round.wrapping_add(1).max(1);
        // Rounds that were missed are not made up for, however many there were.
        let (late, interval) = (now.mono - self.next_round, self.config.interval);
        if late >= Span::ZERO {
            self.next_round += interval.times(late.as_nanos() / interval.as_nanos().max(1) + 1);
        }
        self.timers.set(self.next_round, Timer::Round);
        let slots = self.members.slots();
        self.events.push_back(ServerEvent::RoundStarted { round: self.round, clients: slots.len() });
        self.pending = Some(slots.len());
        let spread = self.spread(slots.len());
        let patience = self.patience();
        for (index, slot) in slots.iter().enumerate() {
            self.begin_burst(*slot, now.mono + spread.scaled(index as f64 / slots.len() as f64), false);
        }
        let probing = spread + self.gap().times(i64::from(self.config.burst) - 1);
        self.timers.set(now.mono + probing + patience, Timer::Vote(self.round));
        self.conclude_if_complete(now);
    }

    pub(super) fn begin_burst(&mut self, slot: Slot, at: Monotonic, alone: bool) {
        self.bursts = self.bursts.wrapping_add(1);
        let (id, round, size) = (self.bursts, self.round, self.config.burst);
        if let Some(member) = self.members.at(slot) {
            member.burst = Burst::begin(id, round, size, alone);
            self.timers.set(at, Timer::Probe(slot, id));
        }
    }

    pub(super) fn probe_is_due(&mut self, now: Now, slot: Slot, burst: u32) {
        let (gap, most) = (self.gap(), self.config.interval.over(4));
        let current = |member: &&mut super::Member| member.burst.id == burst && member.burst.open;
        let Some(member) = self.members.at(slot).filter(current) else { return };
        if member.burst.sent + 1 < member.burst.size {
            self.timers.set(now.mono + gap, Timer::Probe(slot, burst));
        } else if member.burst.alone {
            let seen = member.burst.best.map(|best| best.delay.times(4));
            let patience = member.delays.patience().or(seen).unwrap_or(most);
            let patience = patience.clamp(LEAST_PATIENCE.min(most), most);
            self.timers.set(now.mono + patience, Timer::BurstOver(slot, burst));
        }
        self.outgoing.push_back(Outgoing::Probe(slot, burst));
    }

    pub(super) fn burst_is_over(&mut self, now: Now, slot: Slot, burst: u32) {
        if self.members.at(slot).is_some_and(|member| member.burst.id == burst && member.burst.open) {
            self.finish_burst(now, slot);
        }
    }

    /// No more reports are waited for: the best exchange of the burst is the member's reading.
    pub(super) fn finish_burst(&mut self, now: Now, slot: Slot) {
        let timescale = *self.keeper.timescale();
        let Some(member) = self.members.at(slot) else { return };
        member.burst.open = false;
        let (alone, round, state) = (member.burst.alone, member.burst.round, member.state);
        if let Some(best) = member.burst.best {
            member.delays.learn(best.delay);
            member.reading = Some((now.mono, best));
            self.events.push_back(ServerEvent::Updated {
                client: member.peer(),
                round,
                offset: offset(&best, timescale.phase_at(best.at())),
                delay: best.delay,
                heard: member.burst.heard,
                error: member.quality.error,
                bound: member.quality.bound,
            });
        }
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
        for slot in self.members.slots() {
            if self.members.at(slot).is_some_and(|member| member.burst.open && !member.burst.alone) {
                self.finish_burst(now, slot);
            }
        }
        for (_, member) in self.members.iter_mut() {
            member.history.note(member.burst.round == self.round && member.burst.best.is_some());
        }
        let oldest = self.config.lifetime();
        let ballots: Vec<Ballot> =
            self.members.iter().map(|member| member.ballot(now.mono, self.round, oldest)).collect();
        let fresh = ClusterId(self.rng.next_u64().max(1));
        let mut conclusion = self.keeper.conclude(self.round, now.raw, &ballots, fresh);
        conclusion.report.largest_bound = self.largest_bound(now);
        if conclusion.adjustment == Adjustment::Step && conclusion.correction.span() != Span::ZERO {
            self.forget_old_timescale();
        }
        self.tell(&conclusion);
        self.judge(now, &conclusion);
        self.last_round = Some((now.mono, conclusion.report));
        if matches!(conclusion.turn, Some(Turn::Deposed(_) | Turn::Adopted)) {
            // It was set: what was found wrong with it is past.
            self.own_exclusion = None;
        }
        self.events.push_back(ServerEvent::RoundEnded(conclusion.report));
        self.events.push_back(ServerEvent::OwnClock {
            round: self.round,
            correction: conclusion.correction,
            adjustment: conclusion.adjustment,
        });
        self.correct_everybody();
        self.ask_again(now);
        let unheard = ballots.iter().filter(|ballot| ballot.reading.is_none()).count();
        if self.keeper.is_impatient(unheard) {
            self.next_round = now.mono + self.config.interval.over(5);
            self.timers.set(self.next_round, Timer::Round);
        }
        if conclusion.turn == Some(Turn::Agreed) {
            for slot in self.members.slots() {
                self.learn(now.mono, slot);
            }
        }
    }

    /// By how much any two members' clocks may differ, by what they have stated in this round.
    fn largest_bound(&self, now: Now) -> Option<Span> {
        let voters = self.members.iter().filter(|member| member.state.has_cluster_time());
        let stated = voters.map(|member| member.quality.bound.filter(|_| member.quality.round == self.round));
        members::largest_bound(std::iter::once(self.keeper.own_bound(now.raw)).chain(stated))
    }

    /// The server's clock was set: what was said by its old time must not be said again.
    fn forget_old_timescale(&mut self) {
        for (_, member) in self.members.iter_mut() {
            member.unconfirmed = None;
        }
    }

    fn tell(&mut self, conclusion: &Conclusion) {
        let cluster = self.keeper.cluster();
        let (members, agreeing) = (conclusion.report.members, conclusion.report.agreeing);
        let event = match conclusion.turn {
            None => return,
            Some(Turn::Agreed) => ServerEvent::TimeAgreed { cluster, agreeing, members },
            Some(Turn::Undecided) => ServerEvent::Undecided { members, agreeing },
            Some(Turn::Adopted) => ServerEvent::TimeAdopted { cluster, members: agreeing },
            Some(Turn::Deposed(offset)) => ServerEvent::Deposed { offset },
            Some(Turn::Resumed) => ServerEvent::Resumed,
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
            let verdict = if judged.exclusion.is_some() { Verdict::Minority } else { Verdict::Agrees };
            if verdict == Verdict::Minority && member.verdict != Verdict::Minority {
                late.push(slot);
            }
            member.verdict = verdict;
        }
        for slot in late {
            self.hurry(now.mono, slot, self.config.interval.times(MINORITY_ROUNDS));
        }
    }

    /// Whoever was not heard in this round is asked again before the next: a lossy path is not yet a dead member.
    fn ask_again(&mut self, now: Now) {
        let round = self.round;
        let unheard = |member: &super::Member| {
            let burst = &member.burst;
            !burst.alone && burst.round == round && burst.best.is_none()
        };
        let slots: Vec<Slot> =
            self.members.iter_mut().filter(|(_, member)| unheard(member)).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.hurry(now.mono, slot, self.config.interval);
        }
    }

    fn correct_everybody(&mut self) {
        let audience = self.keeper.audience();
        let round = self.round;
        let due = |member: &super::Member| {
            audience.includes(member.state) && !member.burst.alone && member.burst.round == round
        };
        let slots: Vec<Slot> =
            self.members.iter_mut().filter(|(_, member)| due(member)).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.correct(slot);
        }
    }

    /// Sends a member the correction of its own clock, by its last burst.
    pub(super) fn correct(&mut self, slot: Slot) {
        let timescale = *self.keeper.timescale();
        let (rate, window) = (self.keeper.rate(), self.keeper.window());
        let (learning, brisk) = (self.keeper.is_learning(), self.keeper.is_brisk());
        let members = u32::try_from(self.members.len() + 1).unwrap_or(u32::MAX);
        let Some(member) = self.members.at(slot) else { return };
        let Some(best) = member.burst.best else { return };
        let correction = offset(&best, timescale.phase_at(best.at())).correction_towards(Offset::ZERO);
        let body = Correction {
            about: best.report,
            correction,
            last: member.last.map(|last| Stamps {
                report: last.report,
                t1: timescale.estimate(last.t1),
                t4: timescale.estimate(last.t4),
            }),
            rate,
            window,
            verdict: member.verdict,
            learning,
            brisk,
            members,
        };
        let round = member.burst.round;
        member.unconfirmed = Some((round, body));
        member.repeated_in = member.burst.id;
        let event =
            ServerEvent::CorrectionSent { client: member.peer(), round, correction, verdict: member.verdict };
        self.events.push_back(event);
        self.send_to(slot, round, Body::Correction(body));
    }

    /// The client has said which Correction it applied last: if that is not the last one sent, once more.
    pub(super) fn confirm_or_repeat(&mut self, slot: Slot, applied: u32) {
        let (audience, rate) = (self.keeper.audience(), self.keeper.rate());
        let Some(member) = self.members.at(slot) else { return };
        let Some((round, correction)) = member.unconfirmed else { return };
        if correction.about == applied {
            member.unconfirmed = None;
        } else if member.repeated_in != member.burst.id && audience.includes(member.state) {
            member.repeated_in = member.burst.id;
            self.send_to(slot, round, Body::Correction(Correction { rate, ..correction }));
        }
    }

    /// From one probe of a burst to the next.
    fn gap(&self) -> Span {
        GAP.min(self.config.interval.over(4 * i64::from(self.config.burst.max(1))))
    }

    /// Over how long the beginnings of the bursts are spread.
    fn spread(&self, members: usize) -> Span {
        let members = i64::try_from(members).unwrap_or(i64::MAX);
        SPREAD.times(members).min(self.config.interval.scaled(0.4))
    }

    /// How long the last answers may take.
    fn patience(&self) -> Span {
        let most = self.config.interval.over(4);
        let slowest = self.members.iter().map(|member| member.delays.patience().unwrap_or(most)).max();
        slowest.unwrap_or(most).clamp(LEAST_PATIENCE.min(most), most)
    }
}

/// The client's clock minus the cluster's time, at the measurement.
pub(super) fn offset(measured: &Measured, cluster_phase: Span) -> Offset {
    Offset::ahead_by(measured.phase - cluster_phase)
}

/// What there is to tell when the vote's word on a clock changes.
fn change(before: Option<Exclusion>, judged: Judged, voter: Voter) -> Option<ServerEvent> {
    match judged.exclusion {
        now if now == before => None,
        Some(reason) => Some(ServerEvent::Falseticker(Falseticker { voter, offset: judged.offset, reason })),
        None => Some(ServerEvent::Truechimer { voter }),
    }
}

/// From one probe of a burst to the next: far enough apart to meet different queues.
const GAP: Span = Span::from_millis(50);
/// Bursts begin this far apart, as long as they fit into the round.
const SPREAD: Span = Span::from_millis(1);
/// However quick a path was so far, an answer may take this long.
const LEAST_PATIENCE: Span = Span::from_millis(20);
/// A clock that is newly found wrong is measured between rounds for so many of them, to be right again soon.
const MINORITY_ROUNDS: i64 = 3;

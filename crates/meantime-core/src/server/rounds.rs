//! The round scheduler: when rounds and bursts begin, and when a round's vote is due.
//!
//! The bursts of a round begin one after the other, in the order of the members' slots, spread over the first
//! part of the round, so that the reports do not arrive all at once. The vote takes place when all bursts are
//! complete, or when the reply timeout of the slowest path has passed. [`pace`] says how bursts and rounds
//! adapt to the number of members.

use super::burst::BurstKind;
use super::context::{Context, QueuedTransmit, Timer};
use super::handles::{BurstHandle, Slot};
use super::manual_adjustment;
use super::pace::{self, RoundPlan};
use super::sparse;
use super::trains;
use crate::time::{Monotonic, Now, Span};
use crate::{ServerConfig, ServerEvent};

/// Schedules rounds and bursts.
#[derive(Debug)]
pub(super) struct RoundScheduler {
    /// The number of the current round; 0 before the first.
    number: u32,
    /// When the next round begins.
    next: Monotonic,
    /// How many bursts the round's vote still waits for; `None` between the vote and the next round.
    pending: Option<usize>,
    /// The number of the last burst.
    last_burst: u32,
    /// Exchanges with each member in this round.
    burst_size: u8,
    /// `None`: all bursts of the round have begun.
    probing: Option<Probing>,
}

/// How far the round's bursts have begun.
#[derive(Clone, Copy, Debug)]
struct Probing {
    plan: RoundPlan,
    round_began: Monotonic,
    /// How many members there were when the round began.
    members: usize,
    /// How many bursts have begun.
    begun: usize,
    /// The slot from which on members wait for their bursts.
    next: Slot,
    /// The longest reply timeout of the paths so far.
    reply_timeout: Span,
}

impl RoundScheduler {
    /// A scheduler whose first round begins after one interval; it sets the timer.
    pub(super) fn new(context: &mut Context, now: Now) -> RoundScheduler {
        let next = now.mono + context.config.interval;
        context.timers.set(next, Timer::Round);
        let burst_size = context.config.burst;
        RoundScheduler { number: 0, next, pending: None, last_burst: 0, burst_size, probing: None }
    }

    /// The number of the current round.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Exchanges with each member in this round.
    pub(super) fn burst_size(&self) -> u8 {
        self.burst_size
    }

    /// Whether the next round is due. A timer that was set for an earlier time is ignored.
    pub(super) fn is_due(&self, now: Now) -> bool {
        now.mono >= self.next
    }

    /// Whether some of the round's bursts have not begun yet.
    pub(super) fn is_probing(&self) -> bool {
        self.probing.is_some()
    }

    /// Whether all bursts of the round are over and its vote has not taken place.
    pub(super) fn is_complete(&self) -> bool {
        self.pending == Some(0)
    }

    /// Begins a round: reports it, and begins the first bursts.
    pub(super) fn begin(&mut self, context: &mut Context, now: Now) {
        self.number = self.number.wrapping_add(1).max(1);
        context.choose_per_client_events();
        let (members, interval) = (context.members.len(), context.config.interval);
        let plan = RoundPlan::new(&context.config, members);
        // Rounds that were missed are left out.
        let late = now.mono - self.next;
        if late >= Span::ZERO {
            self.next += interval.times(late.as_nanos() / interval.as_nanos().max(1) + 1);
        }
        self.next += interval.times(plan.rounds_left_out);
        context.timers.set(self.next, Timer::Round);
        let (round, burst, wanted) = (self.number, plan.burst, context.config.burst);
        if !context.is_standby() {
            context.events.push(ServerEvent::RoundStarted { round, clients: members, burst });
        }
        if burst != self.burst_size {
            self.burst_size = burst;
            context.events.push(ServerEvent::BurstAdapted { clients: members, burst, wanted });
        }
        let round = self.number;
        let measured = match context.is_standby() {
            true => {
                context.members.from(0).filter(|(slot, _)| sparse::is_measured(context, *slot, round)).count()
            }
            false => members,
        };
        let members = measured;
        self.pending = Some(members);
        let (round_began, reply_timeout) = (now.mono, Span::ZERO);
        self.probing = Some(Probing { plan, round_began, members, begun: 0, next: 0, reply_timeout });
        self.begin_due_bursts(context, now);
    }

    /// Lets the current round, whose bursts have not all begun, go on for one more interval: this machine, or
    /// the plan, is too slow.
    pub(super) fn extend(&mut self, context: &mut Context) {
        self.next += context.config.interval;
        context.timers.set(self.next, Timer::Round);
    }

    /// Lets the next round begin soon.
    pub(super) fn hasten(&mut self, context: &mut Context, now: Now) {
        self.next = now.mono + context.config.interval.over(HASTENED_ROUNDS);
        context.timers.set(self.next, Timer::Round);
    }

    /// Begins the next round at once, whatever this one has come to.
    pub(super) fn begin_now(&mut self, context: &mut Context, now: Now) {
        self.next = now.mono;
        context.timers.set(self.next, Timer::Round);
    }

    /// Begins the bursts of the round that are due, up to [`pace::BURSTS_PER_STEP`].
    pub(super) fn begin_due_bursts(&mut self, context: &mut Context, now: Now) {
        let Some(mut probing) = self.probing.take() else { return };
        for _ in 0..pace::BURSTS_PER_STEP {
            let next = context.members.next(probing.next).filter(|_| probing.begun < probing.members);
            let Some(slot) = next else {
                let deadline = probing.vote_deadline(&context.config, now, self.next);
                context.timers.set(deadline, Timer::Vote(self.number));
                return;
            };
            if let Some(later) = probing.next_begins_later(context, now) {
                context.timers.set(later, Timer::BeginBursts);
                self.probing = Some(probing);
                return;
            }
            probing.next = slot + 1;
            // Members that were admitted after the round began get extra bursts instead.
            let is_measured = sparse::is_measured(context, slot, self.number);
            let member =
                context.members.get(slot).filter(|member| member.round != self.number && is_measured);
            let Some(timeout) = member.map(|member| member.delays.reply_timeout()) else { continue };
            let timeout = timeout.unwrap_or(pace::max_reply_timeout(&context.config));
            probing.reply_timeout = probing.reply_timeout.max(timeout);
            probing.begun += 1;
            let size = sparse::burst_size(context, self.burst_size);
            self.begin_burst(context, slot, now.mono, size, BurstKind::OfRound);
        }
        context.timers.set(now.mono, Timer::BeginBursts);
        self.probing = Some(probing);
    }

    /// Whether this round's burst with a member has not begun yet.
    pub(super) fn will_measure(&self, slot: Slot) -> bool {
        self.probing.is_some_and(|probing| slot >= probing.next)
    }

    /// Begins a burst of `size` exchanges with a member; its first probe is sent at `at`.
    pub(super) fn begin_burst(
        &mut self,
        context: &mut Context,
        slot: Slot,
        at: Monotonic,
        size: u8,
        kind: BurstKind,
    ) {
        self.last_burst = self.last_burst.wrapping_add(1);
        let round = self.number;
        if let Some(burst) = context.members.begin_burst(slot, self.last_burst, round, size, kind) {
            context.timers.set(at, Timer::Probe(burst, 0));
        }
    }

    /// Ends a burst: its best exchange becomes the member's reading. Returns the kind of the burst; `None`:
    /// there is none with this member.
    pub(super) fn end_burst(&mut self, context: &mut Context, slot: Slot) -> Option<BurstKind> {
        let timescale = context.timekeeper.timescale();
        let (member, burst) = context.members.with_burst(slot)?;
        let burst = burst?;
        let kind = burst.kind;
        if let Some(best) = burst.best {
            context.events.push_per_client(|| ServerEvent::Updated {
                client: member.peer(),
                round: burst.round,
                offset: best.offset_from(timescale.phase_at(best.at())),
                delay: best.delay,
                heard: burst.heard,
                error: best.quality.error(),
                bound: best.quality.bound(),
            });
        }
        context.members.end_burst(slot);
        if kind == BurstKind::OfRound {
            self.pending = self.pending.map(|pending| pending.saturating_sub(1));
        }
        Some(kind)
    }

    /// Ends all bursts of the round, for its vote. Returns false if that has taken place already.
    pub(super) fn end_round(&mut self, context: &mut Context) -> bool {
        if self.pending.take().is_none() {
            return false;
        }
        self.probing = None;
        for slot in context.members.in_burst_of_round(self.number) {
            self.end_burst(context, slot);
        }
        true
    }

    /// Cancels the round: there will be no vote.
    pub(super) fn cancel(&mut self) {
        (self.pending, self.probing) = (None, None);
    }
}

impl Probing {
    /// When the next burst begins, if that is not now: it is not due, or too many bursts are in progress.
    fn next_begins_later(&self, context: &Context, now: Now) -> Option<Monotonic> {
        let due = self.round_began + self.plan.burst_begins(self.begun, self.members);
        if context.members.bursts() >= pace::MAX_BURSTS {
            return Some(due.max(now.mono + pace::STEP_PAUSE));
        }
        (due > now.mono).then_some(due)
    }

    /// The latest time of the vote, after the last burst has begun.
    fn vote_deadline(&self, config: &ServerConfig, now: Now, next_round: Monotonic) -> Monotonic {
        let begun = (self.round_began + self.plan.spread).max(now.mono);
        self.plan.vote_deadline(config, begun, self.reply_timeout, next_round)
    }
}

/// Queues a probe of a burst, unless it has followed another one at once, and sets the timer for the one
/// after it or for the end of the burst.
pub(super) fn send_due_probe(context: &mut Context, now: Now, handle: BurstHandle, index: u8) {
    let Some(burst) = context.members.burst(handle) else { return };
    let (kind, slot, best) = (burst.kind, burst.member, burst.best);
    let (is_first, is_last, is_due) = (index == 0, index + 1 >= burst.size, burst.queued == index);
    let max_timeout = pace::max_reply_timeout(&context.config);
    // With few members, a burst of the round ends at the vote; with many, the next ones wait until it is
    // over.
    let has_few_members = context.members.len() <= pace::MAX_BURSTS;
    if !is_last {
        context.timers.set(now.mono + pace::probe_gap(&context.config), Timer::Probe(handle, index + 1));
    } else if kind == BurstKind::Extra {
        let seen = best.map(|best| best.delay.times(4));
        let usual = context.members.get(slot).and_then(|member| member.delays.reply_timeout());
        let min_timeout = pace::min_reply_timeout(&context.config);
        let timeout = usual.or(seen).unwrap_or(max_timeout).clamp(min_timeout, max_timeout);
        context.timers.set(now.mono + timeout, Timer::BurstOver(handle));
    } else if !has_few_members {
        context.timers.set(now.mono + max_timeout, Timer::BurstOver(handle));
    }
    if is_first {
        manual_adjustment::announce(context, slot);
        context.state_role(slot);
        context.tell_relayed_time(slot);
    }
    if is_due {
        queue_probe(context, handle);
    }
}

/// Queues the next probe of a member's burst if it follows at once, and the one before it was just answered.
pub(super) fn send_following_probe(context: &mut Context, slot: Slot) {
    let Some(handle) = context.members.burst_of(slot) else { return };
    let Some((member, Some(burst))) = context.members.with_burst(slot) else { return };
    let follows = trains::follows(burst.queued, member.trains.length(burst.round));
    if follows && burst.queued < burst.size && burst.is_last_answered() {
        queue_probe(context, handle);
    }
}

/// Queues the next probe of a burst.
fn queue_probe(context: &mut Context, handle: BurstHandle) {
    let Some(burst) = context.members.burst(handle) else { return };
    burst.queued += 1;
    context.outgoing.push_back(QueuedTransmit::Probe(handle));
}

/// A hastened round begins after one part in so many of the interval.
const HASTENED_ROUNDS: i64 = 5;

//! The correction sender: after a round, the recipients get their corrections, one step after the other. A
//! correction that a member does not confirm is repeated.

use super::context::{Context, Timer};
use super::extra_bursts;
use super::handles::Slot;
use super::pace;
use crate::ServerEvent;
use crate::time::{Correction, Now, Offset};
use crate::wire::{Body, CorrectionMessage, Stamps, Verdict};

/// Sends the corrections of the last round.
#[derive(Debug, Default)]
pub(super) struct CorrectionSender {
    /// `None`: all corrections of the round are sent.
    progress: Option<Progress>,
}

/// How far the corrections of a round are sent.
#[derive(Clone, Copy, Debug)]
struct Progress {
    round: u32,
    /// The slot from which on members wait for their corrections.
    next: Slot,
    kind: RoundKind,
}

/// Whether a round was that of the first vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoundKind {
    /// The cluster has just got its time, so that is new to all members.
    FirstVote,
    /// Any other round.
    Later,
}

impl CorrectionSender {
    /// Begins to send the corrections of a round.
    pub(super) fn begin(&mut self, context: &mut Context, now: Now, round: u32, kind: RoundKind) {
        self.progress = Some(Progress { round, next: 0, kind });
        self.send_next(context, now);
    }

    /// Sends the next corrections, up to [`pace::CORRECTIONS_PER_STEP`]. Members of which no report was
    /// received get extra bursts before the next round, since the path may only be lossy.
    pub(super) fn send_next(&mut self, context: &mut Context, now: Now) {
        let Some(mut progress) = self.progress.take() else { return };
        let recipients = context.timekeeper.recipients();
        for _ in 0..pace::CORRECTIONS_PER_STEP {
            let Some(slot) = context.members.step(&mut progress.next) else { return };
            let Some(member) = context.members.get(slot) else { continue };
            let was_measured = member.was_measured_in(progress.round);
            let is_unheard = was_measured && member.last_burst_result().is_none();
            if was_measured && recipients.includes(member.state) {
                send_correction(context, slot);
            }
            if is_unheard && !context.is_standby() {
                extra_bursts::allow_if_needed(context, now.mono, slot, context.config.interval);
            }
            if progress.kind == RoundKind::FirstVote {
                extra_bursts::allow_for_new(context, now.mono, slot);
            }
        }
        context.timers.set(now.mono + pace::STEP_PAUSE, Timer::SendCorrections);
        self.progress = Some(progress);
    }

    /// Cancels the corrections that are not sent yet.
    pub(super) fn cancel(&mut self) {
        self.progress = None;
    }
}

/// Sends a member the correction of its clock, from its last burst, if that had a result.
pub(super) fn send_correction(context: &mut Context, slot: Slot) {
    context.tell_relayed_time(slot);
    let timescale = *context.timekeeper.timescale();
    let own_cluster = context.timekeeper.cluster();
    let Some(member) = context.members.at(slot) else { return };
    let Some(best) = member.last_burst_result() else { return };
    let offset = best.offset_from(timescale.phase_at(best.at()));
    let correction = offset.correction_towards(Offset::ZERO);
    if let Some(beyond) = member.take_over(own_cluster, offset) {
        let (members, largest) = context.taken_over;
        context.taken_over = (members + 1, largest.max(beyond));
    }
    let (client, round, verdict, heard) = (member.peer(), member.round, member.verdict, member.reports_heard);
    let last = member.last_exchange().map(|(report, t1, t4)| Stamps {
        report,
        t1: timescale.estimate(t1),
        t4: timescale.estimate(t4),
    });
    member.record_correction(round, best.report, correction);
    context.events.push_per_client(|| ServerEvent::CorrectionSent { client, round, correction, verdict });
    let body = CorrectionMessage { last, heard, ..message(context, best.report, correction, verdict) };
    context.send(slot, round, Body::Correction(body));
}

/// Handles the number of the report whose correction a member has applied last. If the last correction was
/// about another report, it is sent once more. The repetition does not contain the server's timestamps of the
/// last exchange: the member has got them with a probe.
pub(super) fn confirm_or_repeat(context: &mut Context, slot: Slot, applied: u32) {
    let recipients = context.timekeeper.recipients();
    let Some(member) = context.members.at(slot) else { return };
    let Some((round, report, correction)) = member.unconfirmed_correction() else { return };
    if report == applied {
        member.discard_correction();
    } else if recipients.includes(member.state) && member.may_repeat_correction() {
        let verdict = member.verdict;
        let body = message(context, report, correction, verdict);
        context.send(slot, round, Body::Correction(body));
    }
}

/// A correction without timestamps of the last exchange.
fn message(context: &Context, report: u32, correction: Correction, verdict: Verdict) -> CorrectionMessage {
    let timekeeper = &context.timekeeper;
    CorrectionMessage {
        about: report,
        correction,
        last: None,
        rate: timekeeper.rate(),
        window: timekeeper.window(),
        verdict,
        learning: timekeeper.is_learning(),
        brisk: timekeeper.is_brisk(),
        heard: 0,
        members: u32::try_from(context.members.len() + 1).unwrap_or(u32::MAX),
    }
}

//! How members appear to the operator and to programs.

use alloc::vec::Vec;

use super::context::Context;
use super::groups::{self, CountedLabels};
use super::handles::Slot;
use super::member::Member;
use crate::time::Now;
use crate::view::{MeasuredView, MemberView, MemberVote};

/// At most `max` members from slot `from` on, and the slot after them; `None`: there are no more.
pub(super) fn members_from(
    context: &Context,
    now: Now,
    from: Slot,
    max: usize,
) -> (Vec<MemberView>, Option<Slot>) {
    let labels = CountedLabels::of(&context.config, &context.members);
    let mut members = context.members.from(from);
    let views = members
        .by_ref()
        .take(max)
        .map(|(slot, member)| MemberView {
            reference: context.references.view_of(slot, now, &context.timekeeper),
            ..member_view(context, &labels, slot, member, now)
        })
        .collect();
    (views, members.next().map(|(slot, _)| slot))
}

fn member_view(
    context: &Context,
    labels: &CountedLabels,
    slot: Slot,
    member: &Member,
    now: Now,
) -> MemberView {
    let group = groups::group_of(&context.config, member, context.members.local(member));
    let timescale = context.timekeeper.timescale();
    let frequency = member.frequency(now.mono);
    let reading = member.reading();
    let quality = reading.map(|measured| measured.quality).unwrap_or_default();
    let measured = reading.map(|measured| MeasuredView {
        offset: measured.offset_from(timescale.phase_at(measured.at())),
        error: member.delays.noise() + member.delays.excess(measured.delay).half(),
        delay: measured.delay,
        ago: now.raw - measured.t4,
    });
    MemberView {
        peer: member.peer(),
        key: member.key,
        group,
        counted_label: labels.label(&group).unwrap_or_default(),
        label: context.members.label(slot).map(|label| label.name).unwrap_or_default(),
        weight: member.weight(),
        state: member.state,
        measured,
        error: quality.error(),
        bound: quality.bound(),
        coverage: member.coverage,
        vote: member_vote(member),
        frequency: frequency.map(|report| report.adjustment),
        frequency_error: frequency.map(|report| report.error),
        heard: member.history.heard,
        asked: member.history.rounds,
        exclusion: member.exclusion,
        reference: None,
        admitted_ago: member.admitted_ago(now.mono),
        heard_ago: member.silence(now.mono),
    }
}

fn member_vote(member: &Member) -> MemberVote {
    match member.exclusion {
        Some(_) => MemberVote::Out,
        None if !member.state.has_cluster_time() || !member.has_vote() => MemberVote::None,
        None => MemberVote::In,
    }
}

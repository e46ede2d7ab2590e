//! How members appear to the operator and to programs.

use alloc::vec::Vec;

use super::context::Context;
use super::handles::Slot;
use super::member::Member;
use crate::estimation::timescale::Timescale;
use crate::time::Now;
use crate::view::{MeasuredView, MemberView};

/// At most `max` members from slot `from` on, and the slot after them; `None`: there are no more.
pub(super) fn members_from(
    context: &Context,
    now: Now,
    from: Slot,
    max: usize,
) -> (Vec<MemberView>, Option<Slot>) {
    let timescale = context.timekeeper.timescale();
    let mut members = context.members.from(from);
    let views = members.by_ref().take(max).map(|(_, member)| member_view(member, now, timescale)).collect();
    (views, members.next().map(|(slot, _)| slot))
}

fn member_view(member: &Member, now: Now, timescale: &Timescale) -> MemberView {
    let frequency = member.frequency(now.mono);
    let measured = member.reading().map(|measured| MeasuredView {
        offset: measured.offset_from(timescale.phase_at(measured.at())),
        error: member.delays.noise() + member.delays.excess(measured.delay).half(),
        delay: measured.delay,
        ago: now.raw - measured.t4,
    });
    MemberView {
        peer: member.peer(),
        key: member.key,
        state: member.state,
        measured,
        error: member.error(),
        bound: member.bound(),
        frequency: frequency.map(|report| report.adjustment),
        frequency_error: frequency.map(|report| report.error),
        heard: member.history.heard,
        asked: member.history.rounds,
        exclusion: member.exclusion,
        admitted_ago: member.admitted_ago(now.mono),
        heard_ago: member.silence(now.mono),
    }
}

//! Manual time adjustments: an operator sets the time of the cluster, and the server announces that to the
//! members.

use super::context::Context;
use super::handles::Slot;
use super::member::Freshness;
use crate::consensus::SetTimeError;
use crate::event::Adjustment;
use crate::time::{Now, Span, Timestamp};
use crate::wire::{Body, ClusterId, Header, ManualAdjustment};
use crate::{Fate, ServerEvent};

/// To what an operator sets the cluster time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The cluster time plus this; negative: less.
    By(Span),
    /// What the cluster time should be at the moment of the request.
    To(Timestamp),
}

/// Sets the time of the whole cluster, as soon as it has been announced to all members.
pub(super) fn set_time(
    context: &mut Context,
    now: Now,
    target: Target,
    how: Adjustment,
) -> Result<ManualAdjustment, SetTimeError> {
    let by = match target {
        Target::By(by) => by,
        Target::To(time) => time - context.timekeeper.shown(now.raw),
    };
    let setting = context.timekeeper.set_time(now.raw, by, how)?;
    context.events.push(ServerEvent::TimeSet { manual_adjustment: setting });
    Ok(setting)
}

/// Sends the newest manual time adjustment to a member that does not have it.
pub(super) fn announce(context: &mut Context, slot: Slot) {
    let adjustment = *context.timekeeper.manual_adjustment();
    let member = context.members.get(slot);
    let has_it = member.is_none_or(|member| member.adjustment_number == adjustment.number);
    if !has_it && adjustment.number != 0 {
        context.send(slot, 0, Body::ManualAdjustment(adjustment));
    }
}

/// Handles a member's report of the adjustment that is part of the time that it carries. It is stored only
/// while the server has no cluster time.
pub(super) fn handle_report(
    context: &mut Context,
    now: Now,
    slot: Slot,
    header: &Header,
    adjustment: &ManualAdjustment,
) -> Fate {
    let is_undecided = context.timekeeper.cluster() == ClusterId(0);
    let Some(member) = context.members.at(slot) else { return Fate::Session };
    if member.record_datagram(now.mono, header) == Freshness::Replayed {
        return Fate::Replayed;
    }
    if is_undecided && member.cluster == adjustment.cluster {
        context.members.record_adjustment(slot, *adjustment);
    }
    Fate::Accepted
}

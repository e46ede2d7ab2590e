//! Manual time adjustments: an operator sets the time of the cluster, and the server announces that to the
//! members. While the cluster has no time, the operator founds it.

use alloc::borrow::ToOwned;

use rand::Rng;

use super::context::Context;
use super::groups;
use super::handles::Slot;
use super::member::{Freshness, Member};
use super::members::Members;
use crate::config::STEP_THRESHOLD;
use crate::consensus::{Founded, SetTimeError, Weight};
use crate::event::{Adjustment, UndecidedReason};
use crate::peer::{ClientSelector, Peer};
use crate::time::{Now, Span, Timestamp};
use crate::wire::{Body, ClientState, ClusterId, Header, ManualAdjustment};
use crate::{Fate, ServerEvent};

/// To what an operator sets the cluster time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The cluster time plus this; negative: less.
    By(Span),
    /// What the cluster time should be at the moment of the request.
    To(Timestamp),
}

/// What has become of a request to set the cluster time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// All clocks will make this manual time adjustment together.
    Adjusted(ManualAdjustment),
    /// There was no cluster time: it is founded.
    Founded {
        /// The new cluster.
        cluster: ClusterId,
        /// What was added to the server's own clock.
        founded: Founded,
    },
}

/// Sets the time of the whole cluster, as soon as it has been announced to all members; founds it if there is
/// none.
pub(super) fn set_time(
    context: &mut Context,
    now: Now,
    target: Target,
    how: Adjustment,
) -> Result<TimeChange, SetTimeError> {
    if context.timekeeper.undecided().is_some() {
        return found(context, now, target, how);
    }
    let by = match target {
        Target::By(by) => by,
        Target::To(time) => time - context.timekeeper.shown(now.raw),
    };
    let setting = context.timekeeper.set_time(now.raw, by, how, context.relay_lead(now.mono))?;
    context.events.push(ServerEvent::TimeSet { manual_adjustment: setting });
    Ok(TimeChange::Adjusted(setting))
}

/// Founds the cluster's time.
fn found(
    context: &mut Context,
    now: Now,
    target: Target,
    how: Adjustment,
) -> Result<TimeChange, SetTimeError> {
    let Target::To(time) = target else { return Err(SetTimeError::NoClusterTime) };
    if how == Adjustment::Slew {
        refuse_while_taking_over(context)?;
    }
    let cluster = ClusterId(context.rng.next_u64().max(1));
    let founded = context.timekeeper.found(now.raw, time, cluster)?;
    let Founded { correction, added } = founded;
    context.events.push(ServerEvent::TimeFounded { cluster, correction, added });
    Ok(TimeChange::Founded { cluster, founded })
}

/// A server that has restarted takes its clients' time over within some rounds; to found another time
/// meanwhile would step them all.
fn refuse_while_taking_over(context: &Context) -> Result<(), SetTimeError> {
    let weights = groups::weigh(&context.config, &context.members).members;
    let clients = || context.members.iter().zip(&weights).filter(|(_, weight)| **weight > Weight::ZERO);
    let carriers = || clients().filter(|(member, _)| member.state.has_cluster_time());
    let weight_of_carriers: Weight = carriers().map(|(_, weight)| *weight).sum();
    let are_most = weight_of_carriers.is_majority_of(weights.iter().copied().sum());
    let waits = context.timekeeper.undecided().is_some_and(|reason| {
        use UndecidedReason::{NoClients, Waiting, WaitingForCarriers};
        matches!(reason, NoClients | Waiting | WaitingForCarriers)
    });
    match waits && are_most {
        true => Err(SetTimeError::TakingOver { carriers: carriers().count(), clients: clients().count() }),
        false => Ok(()),
    }
}

/// The target that makes the cluster time what the clock of the member shows that has this name or address;
/// the server's own name is that of its own clock.
pub(super) fn target_from(context: &Context, now: Now, name: &str) -> Result<Target, SetTimeError> {
    let timekeeper = &context.timekeeper;
    let is_decided = timekeeper.undecided().is_none();
    if context.config.name.as_str() == name {
        let own = if is_decided { Target::By(Span::ZERO) } else { Target::To(timekeeper.shown(now.raw)) };
        return Ok(own);
    }
    let client = find_client(&context.members, name)?;
    let unmeasured = || SetTimeError::NotMeasured(name.to_owned());
    let slot = context.members.find(client.address).ok_or_else(unmeasured)?;
    let member = context.members.get(slot).ok_or_else(unmeasured)?;
    if let Some(correction) = pending_correction(member) {
        return Err(SetTimeError::BeingCorrected(name.to_owned(), correction));
    }
    let adjustment = match is_decided {
        true => Some(timekeeper.manual_adjustment()),
        false => context.members.adjustment(slot),
    };
    let member = member.vote_reading(now, member.round, context.config.lifetime(), adjustment, Weight::ONE);
    if !is_decided {
        return member.shown_at(now.raw).map(Target::To).ok_or_else(unmeasured);
    }
    let reading = member.shown().ok_or_else(unmeasured)?;
    let base = timekeeper.timescale().estimate(reading.at);
    Ok(Target::By(reading.clock() - timekeeper.manual_adjustment().shown(base)))
}

/// The one client that has this name or address.
fn find_client(members: &Members, name: &str) -> Result<Peer, SetTimeError> {
    let unknown = || SetTimeError::UnknownMember(name.to_owned());
    let selector: ClientSelector = name.parse().map_err(|_| unknown())?;
    let mut found = members.selected(selector);
    let first = found.next().ok_or_else(unknown)?;
    match found.count() {
        0 => Ok(first),
        others => Err(SetTimeError::SeveralMembers {
            name: name.to_owned(),
            count: others + 1,
            example: first.address,
        }),
    }
}

/// A step that the member is about to make: since then, the last measurement is not what its clock shows.
/// One that is in holdover, or has not followed for some rounds, refuses its corrections.
fn pending_correction(member: &Member) -> Option<Span> {
    let follows = match member.state {
        ClientState::Synchronized => true,
        ClientState::Unsynchronized => member.history.rounds < MAX_FIRST_ROUNDS,
        ClientState::Holdover => false,
    };
    let (_, _, correction) = member.unconfirmed_correction().filter(|_| follows)?;
    Some(correction.span()).filter(|span| span.abs() > STEP_THRESHOLD)
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

/// A client follows its first correction at once; one that has not after so many rounds refuses it.
const MAX_FIRST_ROUNDS: u8 = 3;

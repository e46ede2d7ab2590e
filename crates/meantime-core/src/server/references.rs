//! What follows from the references that members offer: the vote on them, and who of them is wrong.

use alloc::vec::Vec;

use rand::Rng;

use super::context::Context;
use super::groups;
use super::handles::Slot;
use super::member::{Freshness, Member};
use crate::config::FollowedReferences;
use crate::consensus::reference_vote::{self, AcceptedUtc, ReferenceInterval};
use crate::consensus::{Founded, UtcConclusion, Weight};
use crate::event::{Exclusion, UndecidedReason, Voter};
use crate::reference::{ReferenceAbsence, ReferenceStanding, UtcState};
use crate::time::{Frequency, Now, Raw, Timestamp};
use crate::wire::{ClusterId, Header, Reference, Verdict};
use crate::{Fate, ServerEvent};

/// Handles a member's reading of its reference.
pub(super) fn handle_reference(
    context: &mut Context,
    now: Now,
    slot: Slot,
    header: &Header,
    reference: &Reference,
) -> Fate {
    let Some(member) = context.members.at(slot) else { return Fate::Session };
    if member.record_datagram(now.mono, header) == Freshness::Replayed {
        return Fate::Replayed;
    }
    let (session, name, measured) = (member.session, member.name, member.reading());
    let rate = context.timekeeper.timescale().frequency();
    if reference.stated.is_none() {
        context.references.clients.remove(&slot);
    } else if (context.config.follow_references.includes(&name) || context.references.has_much_room())
        && let Some(client) = context.references.place(slot, session)
    {
        client.stated = reference.stated;
        client.match_with(measured, rate);
    }
    Fate::Accepted
}

/// After the vote of a round: takes in what the members have stated, and lets the timekeeper follow it.
pub(super) fn conclude(context: &mut Context, now: Now) {
    take_in(context, now);
    find_missing(context);
    let followed = &context.config.follow_references;
    if *followed == FollowedReferences::None {
        return;
    }
    let (references, rate) = (&context.references, context.timekeeper.utc_rate(now.raw));
    let is_undecided = context.timekeeper.undecided().is_some();
    let mut stated: Vec<(ReferenceStanding, ReferenceInterval)> = Vec::new();
    if !references.clients.is_empty() || references.own.reading.is_some() {
        let weights = groups::weigh(&context.config, &context.members);
        let own = Some(&references.own).filter(|_| followed.includes(&context.config.name));
        stated.extend(own.and_then(|own| own.states(now.raw, rate, weights.own)));
        let members = context.members.from(0).zip(weights.members);
        stated.extend(members.filter_map(|((slot, member), weight)| {
            let client = references.clients.get(&slot).filter(|_| counts(member, followed))?;
            let is_known = member.has_vote() || client.has_founded;
            let stands = is_undecided || (is_known && member.verdict != Verdict::Minority);
            stands.then(|| client.tracked.states(now.raw, rate, weight)).flatten()
        }));
    }
    let intervals = voting(&stated);
    let conclusion = context.timekeeper.follow_references(now.raw, &intervals);
    let agrees =
        |interval: &&ReferenceInterval| conclusion.accepted.is_some_and(|utc| utc.includes(interval));
    context.references.agreeing = intervals.iter().filter(agrees).map(|interval| interval.weight).sum();
    if let Some(accepted) = &conclusion.accepted {
        judge(context, now.raw, rate, accepted);
    }
    let before = context.references.last.replace(conclusion).map_or(UtcState::None, |last| last.state);
    if before != conclusion.state {
        let UtcConclusion { state, accepted, offset, explained } = conclusion;
        let error = accepted.map(|utc| utc.reach());
        context.events.push(ServerEvent::Utc { state, offset, error, explained });
    }
}

/// The references that vote: all, if more than half of them agree, by weight. If not, then at least half are
/// bad, and those that were found to be falsetickers are left out.
fn voting(stated: &[(ReferenceStanding, ReferenceInterval)]) -> Vec<ReferenceInterval> {
    let all: Vec<ReferenceInterval> = stated.iter().map(|(_, interval)| *interval).collect();
    if reference_vote::agree(&all).is_some() {
        return all;
    }
    let others = stated.iter().filter(|(standing, _)| *standing != ReferenceStanding::Falseticker);
    others.map(|(_, interval)| *interval).collect()
}

/// Takes in what the members have stated since the last round.
fn take_in(context: &mut Context, now: Now) {
    let Context { members, references, timekeeper, config, .. } = context;
    let rate = timekeeper.timescale().frequency();
    references
        .clients
        .retain(|slot, client| members.get(*slot).is_some_and(|member| member.session == client.session));
    // The last report of a burst may arrive after the reading of the reference.
    for (slot, client) in &mut references.clients {
        client.match_with(members.get(*slot).and_then(Member::reading), rate);
    }
    let all = references.clients.values_mut().map(|client| &mut client.tracked).chain([&mut references.own]);
    all.for_each(|tracked| tracked.end_round(now.raw, config.lifetime()));
}

/// After a round: which of the members that the server is to follow offer no reference.
fn find_missing(context: &mut Context) {
    let Context { members, references, events, config, .. } = context;
    let FollowedReferences::Named(names) = &config.follow_references else { return };
    let offers =
        |slot: &Slot| references.clients.get(slot).is_some_and(|client| client.tracked.reading.is_some());
    for name in names {
        // Whether the server's own is there is known when it is read.
        if *name == config.name && config.offers_reference {
            continue;
        }
        let slots: Vec<_> =
            members.from(0).filter(|(_, member)| member.name == *name).map(|(slot, _)| slot).collect();
        let found = match slots.is_empty() {
            _ if slots.iter().any(offers) => Ok(()),
            true if *name != config.name => Err(ReferenceAbsence::NotRegistered),
            _ => Err(ReferenceAbsence::NotOffered),
        };
        events.extend(references.missing.end_round(*name, found));
    }
}

/// Whether a member's reference takes part in the vote on references.
fn counts(member: &Member, followed: &FollowedReferences) -> bool {
    member.exclusion != Some(Exclusion::Removed) && followed.includes(&member.name)
}

/// The judgement about each reference; reports those that have changed.
fn judge(context: &mut Context, now: Raw, rate: Frequency, accepted: &AcceptedUtc) {
    let Context { members, references, events, config, .. } = context;
    let followed = &config.follow_references;
    let own = Some((Voter::Server, &mut references.own)).filter(|_| followed.includes(&config.name));
    let clients = references.clients.iter_mut().filter_map(|(slot, client)| {
        let member = members.get(*slot).filter(|member| counts(member, followed))?;
        Some((Voter::Client(member.peer()), &mut client.tracked))
    });
    for (voter, tracked) in own.into_iter().chain(clients) {
        events.extend(tracked.judge(now, rate, accepted).map(
            |(was_falseticker, offset)| match was_falseticker {
                false => ServerEvent::ReferenceFalseticker { voter, offset },
                true => ServerEvent::ReferenceTruechimer { voter },
            },
        ));
    }
}

/// Founds the cluster's time where no majority of clocks can: its members' clocks show no plausible time, or
/// are too far apart. The references that agree have to be those of two groups at least, or the operator has
/// named the members whose references are followed, and they have keys. Returns what was added to the
/// server's own clock.
pub(super) fn found(context: &mut Context, now: Now) -> Option<Founded> {
    use UndecidedReason::{AfterPlausible, BeforePlausible, TooFarApart, TwoDiffer};
    let undecided = context.timekeeper.undecided()?;
    let cannot = matches!(undecided, BeforePlausible | AfterPlausible | TooFarApart | TwoDiffer);
    let utc = context.references.last?.accepted.filter(|_| cannot)?;
    let named = matches!(context.config.follow_references, FollowedReferences::Named(_));
    // Without keys anybody can take a name.
    let is_known = named && context.authenticator.has_keys();
    if !is_known && context.references.agreeing < Weight::votes(2) {
        return None;
    }
    let time = Timestamp::from_nanos((now.raw + utc.middle).as_nanos());
    let cluster = ClusterId(context.rng.next_u64().max(1));
    let founded = context.timekeeper.found(now.raw, time, cluster).ok()?;
    for client in context.references.clients.values_mut() {
        client.has_founded = client.tracked.standing == ReferenceStanding::Agrees;
    }
    let Founded { correction, added } = founded;
    context.events.push(ServerEvent::TimeFounded { cluster, correction, added });
    Some(founded)
}

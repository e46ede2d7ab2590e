//! The registrar: how clients register. Register, Challenge, Register with the cookie, Welcome.
//!
//! It stores nothing about a client that has not proved its address, and no answer is larger than the
//! request.

use alloc::collections::{BTreeMap, VecDeque};

use core::hash::BuildHasher;

use rand::Rng;

use super::authentication::Seal;
use super::bans::Bans;
use super::context::{Context, QueuedTransmit};
use super::cookie::{self, Cookies};
use super::gate::Gate;
use super::groups;
use super::handles::Slot;
use super::member::{Member, NewMember};
use super::members::Members;
use crate::consensus::Weight;
use crate::event::Exclusion;
use crate::peer::Peer;
use crate::time::{Monotonic, Now, Span};
use crate::view::GroupView;
use crate::wire::{Body, Challenge, Header, KeyId, Register, Reject, RejectReason, SessionId, VERSION};
use crate::{Fate, Path, ServerEvent, Transmit};

/// Admits members, removes them, and answers nodes that are not members.
#[derive(Debug)]
pub(super) struct Registrar {
    cookies: Cookies,
    gate: Gate,
    /// The nonces of the members that were removed lately, and until when their cookies may be valid: a
    /// replayed Register must not admit them again.
    departed: VecDeque<(Monotonic, u64)>,
    bans: Bans,
}

/// A Register that was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// Where it came from.
    pub path: Path,
    /// The key with which it is tagged.
    pub seal: &'a Seal,
    pub header: &'a Header,
    pub register: &'a Register,
}

/// What has become of a [`Request`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Registration {
    /// It has admitted a new member.
    Admitted(Slot),
    /// It has come again: this member was admitted by it.
    Repeated(Slot),
    /// It has admitted no member; an answer is queued if there is one.
    NotAdmitted(Fate),
}

impl Registrar {
    /// A registrar with the seeds of its cookies and of its admission control; both must be unpredictable.
    pub(super) fn new(cookie_seed: [u8; 32], gate_key: [u8; 16]) -> Registrar {
        Registrar {
            cookies: Cookies::new(cookie_seed),
            gate: Gate::new(gate_key),
            departed: VecDeque::new(),
            bans: Bans::default(),
        }
    }

    /// The clients that are not admitted.
    pub(super) fn bans(&self) -> &Bans {
        &self.bans
    }

    /// The clients that are not admitted, to be changed.
    pub(super) fn bans_mut(&mut self) -> &mut Bans {
        &mut self.bans
    }

    /// Handles a Register. The caller welcomes a member that is admitted, or that has repeated its Register.
    pub(super) fn handle_register(
        &mut self,
        context: &mut Context,
        now: Now,
        request: Request<'_>,
    ) -> Registration {
        let Request { path, header, register, .. } = request;
        if !self.cookies.check(now.mono, path.peer, header.sender, register.cookie) {
            return Registration::NotAdmitted(self.challenge(context, now, request));
        }
        if let Some(slot) = repeated(&context.members, request) {
            return Registration::Repeated(slot);
        }
        let peer = Peer { name: register.name, address: path.peer };
        let is_denied =
            context.authenticator.has_keys() && context.config.deny_names.contains(&register.name);
        if is_denied || self.bans.include(&peer) {
            self.refuse(context, now, request, RejectReason::Banned);
            return Registration::NotAdmitted(Fate::Banned);
        }
        if self.has_departed(now, register.nonce) {
            return Registration::NotAdmitted(Fate::Replayed);
        }
        if was_just_admitted(&context.members, now, request) {
            return Registration::NotAdmitted(Fate::TooSoon);
        }
        let known = same_node(&context.members, request).into_iter().flatten().next().is_some();
        let full = context.members.len() >= context.config.max_clients;
        let has_room = known || !(full || self.gate.is_full_at(&context.config, path.peer.ip()));
        // The group of a client with a key is its name, which begins one session a second at most. The other
        // nodes of its network are to have no part in when it may.
        let is_limited = !known || header.key_id == KeyId::NONE;
        let ip = path.peer.ip();
        if has_room && is_limited && !self.gate.allows_admission(now.mono, &context.config, ip, known) {
            return Registration::NotAdmitted(Fate::Busy);
        }
        match has_room.then(|| self.admit(context, now, request)).flatten() {
            Some(slot) => Registration::Admitted(slot),
            None => {
                self.refuse(context, now, request, RejectReason::Full);
                Registration::NotAdmitted(Fate::Full)
            }
        }
    }

    /// Removes a member. While its cookie may be valid, its Register will not admit it again.
    pub(super) fn dismiss(&mut self, context: &mut Context, now: Now, slot: Slot) -> Option<Member> {
        remember_vote(context, now, slot);
        let member = context.members.remove(slot)?;
        self.gate.remove_member(&context.config, member.address().ip());
        let until =
            now.mono + cookie::MAX_LIFETIME - member.admitted_ago(now.mono) + ADMISSION_TIME_RESOLUTION;
        if now.mono < until {
            self.departed.truncate(MAX_DEPARTED);
            self.departed.push_front((until, member.nonce()));
        }
        Some(member)
    }

    /// Refuses a request of a node that is not a member.
    ///
    /// # Errors
    /// [`Fate::Busy`] if too many answers were sent lately.
    pub(super) fn reject(
        &mut self,
        context: &mut Context,
        now: Now,
        path: Path,
        seal: &Seal,
        (session, reject): (SessionId, Reject),
    ) -> Result<(), Fate> {
        self.answer(context, now, path, seal, session, Body::Reject(reject))
    }

    fn answer(
        &mut self,
        context: &mut Context,
        now: Now,
        path: Path,
        seal: &Seal,
        session: SessionId,
        body: Body,
    ) -> Result<(), Fate> {
        if !self.gate.allows_answer(now.mono, &context.config, path.peer.ip()) {
            return Err(Fate::Busy);
        }
        if let Some(datagram) = context.authenticator.write_to_non_member(seal, session, body) {
            let transmit = Transmit { path, datagram, stamp: None };
            context.outgoing.push_back(QueuedTransmit::Ready(transmit));
        }
        Ok(())
    }

    /// Answers a Register without a valid cookie.
    fn challenge(&mut self, context: &mut Context, now: Now, request: Request<'_>) -> Fate {
        let Request { path, seal, header, register } = request;
        let cookie = self.cookies.make(now.mono, path.peer, header.sender);
        let challenge = Body::Challenge(Challenge { nonce: register.nonce, cookie });
        match self.answer(context, now, path, seal, SessionId::default(), challenge) {
            Err(fate) => fate,
            Ok(()) if register.cookie == 0 => Fate::Accepted,
            Ok(()) => Fate::Cookie,
        }
    }

    /// Refuses a Register for a reason that lasts.
    fn refuse(&mut self, context: &mut Context, now: Now, request: Request<'_>, reason: RejectReason) {
        let Request { path, seal, header, register } = request;
        let reject = Reject { nonce: register.nonce, reason, version: VERSION };
        // The request has no other effect, whether it is answered or not.
        let _ = self.reject(context, now, path, seal, (header.session, reject));
        context.events.push_refusal(now, path.peer, reason, VERSION);
    }

    /// Whether this is the nonce of a member that was removed lately.
    fn has_departed(&mut self, now: Now, nonce: u64) -> bool {
        self.departed.retain(|(until, _)| now.mono < *until);
        self.departed.iter().any(|(_, departed)| *departed == nonce)
    }

    fn admit(&mut self, context: &mut Context, now: Now, request: Request<'_>) -> Option<Slot> {
        let Request { path, header, register, .. } = request;
        let new = NewMember {
            address: path.peer,
            node: header.sender,
            session: SessionId(context.rng.next_u64().max(1)),
            name: register.name,
            nonce: register.nonce,
            key: header.key_id,
            state: header.flags.state,
            cluster: register.cluster,
        };
        let local = context.members.number_of_local(path.local)?;
        let replaced = same_node(&context.members, request);
        report_replacement(context, now, request, replaced);
        for slot in replaced.into_iter().flatten() {
            self.dismiss(context, now, slot);
        }
        let slot = context.members.insert(now.mono, &new, local)?;
        recall_vote(context, now, slot);
        self.gate.add_member(&context.config, path.peer.ip());
        let member = context.members.get(slot)?;
        context.events.push(ServerEvent::Connected { client: member.peer(), state: member.state });
        context.choose_per_client_events();
        Some(slot)
    }
}

/// The member that this Register has admitted before: the Welcome was lost, or the datagram was duplicated.
fn repeated(members: &Members, request: Request<'_>) -> Option<Slot> {
    let slot = members.find(request.path.peer)?;
    let member = members.get(slot)?;
    member.has_registered_with(request.header.sender, request.register.nonce).then_some(slot)
}

/// The members that this Register replaces: at its address, of its process and, with a key, of its name. A
/// node with a key has one session.
fn same_node(members: &Members, request: Request<'_>) -> [Option<Slot>; 3] {
    let Request { path, header, register, .. } = request;
    let namesake = members.of_name(&register.name).filter(|_| header.key_id != KeyId::NONE);
    [members.find(path.peer), members.of_node(header.sender), namesake]
}

/// Reports that another process has registered with a name, and its key, that was in use.
fn report_replacement(
    context: &mut Context,
    now: Now,
    request: Request<'_>,
    [_, own, namesake]: [Option<Slot>; 3],
) {
    let replaced = namesake.filter(|slot| Some(*slot) != own).and_then(|slot| context.members.get(slot));
    if let Some(member) = replaced {
        let (client, silent) = (member.peer(), member.silence(now.mono));
        context.events.push(ServerEvent::Replaced { client, by: request.path.peer, silent });
    }
}

/// Remembers that the group of a member has a vote.
fn remember_vote(context: &mut Context, now: Now, slot: Slot) {
    let counts = |member: &&Member| member.has_vote() && member.exclusion != Some(Exclusion::Removed);
    let Some(weight) = context.members.get(slot).filter(counts).map(Member::weight) else { return };
    let Some(group) = group_hash(context, slot) else { return };
    context.members.remembered().remember(now.mono, group, weight, context.config.max_clients);
}

/// The machine has slept: forgets the votes of clients that had gone long before, and returns what the others
/// count that are gone. Machines lose their network, and with it their clients, some time before they sleep.
pub(super) fn note_sleep(context: &mut Context, now: Now) -> Weight {
    let voters = context.members.iter().filter(|member| member.has_vote());
    let groups = voters.map(|member| group_of(context, member));
    let present: BTreeMap<u64, GroupView> = groups.map(|group| (hash_of(context, group), group)).collect();
    let is_any_here = present.values().any(|group| *group != GroupView::ServersMachine);
    let memory = context.config.interval.times(VOTERS_REMEMBERED);
    let is_present = |group| present.contains_key(&group);
    context.members.remembered().note_sleep(now.mono, memory, is_any_here, is_present)
}

/// Gives a new member the vote that its group has had. While the server follows its members, one without
/// a cluster's time gets none: it will have its time from this server, and would only repeat it.
fn recall_vote(context: &mut Context, now: Now, slot: Slot) {
    let Some(group) = group_hash(context, slot) else { return };
    let had_vote = context.members.remembered().includes(now.mono, group);
    let is_learning = context.timekeeper.is_learning();
    let counts = |it: &&mut Member| had_vote && (!is_learning || it.state.has_cluster_time());
    if let Some(member) = context.members.at(slot).filter(counts) {
        member.give_vote();
    }
}

/// The hash of a member's group, by which its vote is remembered.
fn group_hash(context: &Context, slot: Slot) -> Option<u64> {
    Some(hash_of(context, group_of(context, context.members.get(slot)?)))
}

fn group_of(context: &Context, member: &Member) -> GroupView {
    groups::group_of(&context.config, member, context.members.local(member))
}

fn hash_of(context: &Context, group: GroupView) -> u64 {
    context.members.hasher().hash_one(group)
}

/// Whether the member at this address, of this process or of this name, was admitted only a moment ago. A
/// client that registers again and again must not cause work and events without limit.
fn was_just_admitted(members: &Members, now: Now, request: Request<'_>) -> bool {
    let same = same_node(members, request).into_iter().flatten();
    let mut same = same.filter_map(|slot| members.get(slot));
    same.any(|member| member.admitted_ago(now.mono) < MIN_SESSION)
}

/// In intervals, for how long before a sleep clients with a vote may have been gone that return after it.
const VOTERS_REMEMBERED: i64 = 24;
/// Nonces beyond this number are discarded before their cookies expire. An attacker that can cause so many
/// departures can also register as a client.
const MAX_DEPARTED: usize = 1_023;
/// The time of admission is stored to a fifteenth of a second.
const ADMISSION_TIME_RESOLUTION: Span = Span::from_millis(100);
/// No client needs a new session sooner than this.
const MIN_SESSION: Span = Span::from_secs(1);

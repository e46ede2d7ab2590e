//! How clients join: Register, Challenge, Register with the cookie, Welcome.
//!
//! Nothing is remembered of anybody who has not proved its address, and nothing is answered with more than
//! was received.

use rand::Rng;

use super::authentication::Seal;
use super::cookie;
use super::member::{Member, Newcomer};
use super::members::Slot;
use super::pace;
use super::{Server, Timer};
use crate::event::{Exclusion, Peer};
use crate::time::{Monotonic, Now, Span};
use crate::wire::{Body, Challenge, Header, Register, RejectReason, SessionId, VERSION, Welcome};
use crate::{Fate, Path, ServerEvent};

impl Server {
    pub(super) fn handle_register(
        &mut self,
        now: Now,
        path: Path,
        seal: &Seal,
        header: &Header,
        ask: &Register,
    ) -> Fate {
        if !self.cookies.check(now.mono, path.peer, header.sender, ask.cookie) {
            let cookie = self.cookies.make(now.mono, path.peer, header.sender);
            let challenge = Body::Challenge(Challenge { nonce: ask.nonce, cookie });
            return match self.answer(now, path, seal, SessionId::default(), challenge) {
                false => Fate::Busy,
                true if ask.cookie == 0 => Fate::Accepted,
                true => Fate::Cookie,
            };
        }
        if let Some(slot) = self.repetition(path, header, ask) {
            self.welcome(slot, ask.nonce);
            return Fate::Accepted;
        }
        if self.has_gone(now, ask.nonce) {
            return Fate::Replayed;
        }
        if self.was_just_admitted(now, path, header) {
            return Fate::Hasty;
        }
        let known = self.members.knows(path.peer, header.sender);
        let full = self.members.len() >= self.config.max_clients;
        let room = known || !(full || self.gate.is_crowded(&self.config, path.peer.ip()));
        if room && !known && !self.gate.admits(now.mono, &self.config, path.peer.ip()) {
            return Fate::Busy;
        }
        let Some(slot) = room.then(|| self.admit(now, path, header, ask)).flatten() else {
            self.reject(now, path, seal, header.session, ask.nonce, RejectReason::Full);
            self.tell_refusal(now, path.peer, RejectReason::Full, VERSION);
            return Fate::Full;
        };
        self.welcome(slot, ask.nonce);
        if self.members.alone() < pace::MAX_ALONE {
            // Not so close behind the Welcome that it could overtake it.
            self.begin_burst(slot, now.mono + AFTER_WELCOME, true);
        }
        self.learn(now.mono, slot);
        Fate::Accepted
    }

    /// A member goes. As long as its cookie is good, its Register is not to let it in once more.
    pub(super) fn dismiss(&mut self, now: Now, slot: Slot) -> Option<Member> {
        let member = self.members.remove(slot)?;
        self.carried.remove(&slot);
        self.gate.leave(member.address().ip());
        let until = now.mono + cookie::LIFETIME - member.admitted_ago(now.mono) + ADMITTED_WITHIN;
        if now.mono < until {
            self.gone.truncate(MAX_GONE);
            self.gone.push_front((until, member.nonce()));
        }
        Some(member)
    }

    /// Whether this is the nonce of a member that has gone lately.
    fn has_gone(&mut self, now: Now, nonce: u64) -> bool {
        self.gone.retain(|(until, _)| now.mono < *until);
        self.gone.iter().any(|(_, gone)| *gone == nonce)
    }

    /// The place of the member whose Register this is once more: the Welcome was lost, or the request
    /// doubled.
    fn repetition(&mut self, path: Path, header: &Header, ask: &Register) -> Option<Slot> {
        let slot = self.members.find(path.peer)?;
        let same = |member: &&mut Member| member.has_registered_with(header.sender, ask.nonce);
        self.members.at(slot).filter(same).map(|_| slot)
    }

    /// Whether the member at this address, or of this process, has only just come in: who registers again and
    /// again must not make the server work, or talk, without end.
    fn was_just_admitted(&self, now: Now, path: Path, header: &Header) -> bool {
        let members = [self.members.find(path.peer), self.members.of_node(header.sender)];
        let mut members = members.into_iter().flatten().filter_map(|slot| self.members.look_at(slot));
        members.any(|member| member.admitted_ago(now.mono) < HASTE)
    }

    fn admit(&mut self, now: Now, path: Path, header: &Header, ask: &Register) -> Option<Slot> {
        let newcomer = Newcomer {
            address: path.peer,
            node: header.sender,
            session: SessionId(self.rng.next_u64().max(1)),
            name: ask.name,
            nonce: ask.nonce,
            key: header.key_id,
            state: header.flags.state,
            cluster: ask.cluster,
        };
        let local = self.members.number_of(path.local)?;
        // It takes the place of any other at its address or of its process.
        let replaced = [self.members.find(path.peer), self.members.of_node(header.sender)];
        for slot in replaced.into_iter().flatten() {
            self.dismiss(now, slot);
        }
        let slot = self.members.insert(now.mono, &newcomer, local)?;
        self.gate.enter(path.peer.ip());
        let removed = self.removed.includes(&Peer { name: ask.name, address: path.peer });
        let member = self.members.at(slot)?;
        member.exclusion = removed.then_some(Exclusion::Removed);
        // The round that goes on is without it.
        member.round = self.round;
        self.events.push_back(ServerEvent::Connected { client: member.peer(), state: member.state });
        self.tells_each = self.members.len() <= self.config.tell_each;
        Some(slot)
    }

    fn welcome(&mut self, slot: Slot, nonce: u64) {
        let welcome = Welcome {
            nonce,
            cluster: self.keeper.cluster(),
            interval: self.config.interval,
            heartbeat: self.config.heartbeat(),
            lifetime: self.config.lifetime(),
            rate: self.keeper.rate(),
        };
        self.send_to(slot, 0, Body::Welcome(welcome));
        self.tell_setting(slot);
    }

    /// Measures a member more often until its path and its frequency are known well.
    pub(super) fn learn(&mut self, now: Monotonic, slot: Slot) {
        self.hurry_for(now, slot, self.config.interval.times(NEWCOMER_ROUNDS), true);
    }

    /// Measures a member more often for so long, as long as it needs that.
    pub(super) fn hurry(&mut self, now: Monotonic, slot: Slot, length: Span) {
        self.hurry_for(now, slot, length, false);
    }

    fn hurry_for(&mut self, now: Monotonic, slot: Slot, length: Span, new: bool) {
        let period = self.config.interval.over(HURRY);
        let Some(member) = self.members.at(slot) else { return };
        if member.hurry(now, length, new) {
            self.timers.set(now + period, Timer::Hurry(slot, short(member.session)));
        }
    }

    pub(super) fn hurry_is_due(&mut self, now: Now, slot: Slot, session: u32) {
        let period = self.config.interval.over(HURRY);
        let Some(member) = self.members.at(slot).filter(|member| short(member.session) == session) else {
            return;
        };
        let (hurries, idle) = (member.hurries(now.mono), member.burst().is_none());
        if hurries {
            self.timers.set(now.mono + period, Timer::Hurry(slot, session));
        }
        // Among many newcomers not everybody's turn comes each time.
        let room = self.members.alone() < pace::MAX_ALONE && self.members.bursts() < pace::MAX_BURSTS;
        if hurries && idle && room && !self.is_still_to_be_asked(slot) {
            self.begin_burst(slot, now.mono, true);
        }
    }
}

/// Enough of a session to know it from the next at the same place.
fn short(session: SessionId) -> u32 {
    session.0 as u32
}

/// More are forgotten before their cookies have expired: whoever can bring that about could as well be let
/// in.
const MAX_GONE: usize = 1_023;
/// When a member was let in is kept to a fifteenth of a second.
const ADMITTED_WITHIN: Span = Span::from_millis(100);
/// Nobody needs a new session more often than this.
const HASTE: Span = Span::from_secs(1);
/// From the Welcome to the first probe.
const AFTER_WELCOME: Span = Span::from_millis(5);
/// A newcomer is measured between rounds for so many of them. Over paths of 5 ms ± 1 ms it is within 10 µs
/// (RMS) after five to ten minutes then, instead of ten to twenty; over a LAN after 20 s instead of up to two
/// minutes.
const NEWCOMER_ROUNDS: i64 = 24;
/// Whoever is in a hurry is measured so many times a round.
const HURRY: i64 = 5;

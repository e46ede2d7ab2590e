//! How clients join: Register, Challenge, Register with the cookie, Welcome.
//!
//! Nothing is remembered of anybody who has not proved its address, and nothing is answered with more than
//! was received.

use rand::Rng;

use super::members::{Member, Slot};
use super::{Server, Timer};
use crate::berkeley::event::{Exclusion, Peer};
use crate::berkeley::{Fate, Path, ServerEvent};
use crate::time::{Monotonic, Now, Span};
use crate::wire::{Body, Challenge, Header, Register, RejectReason, SessionId, VERSION, Verdict, Welcome};

impl Server {
    pub(super) fn handle_register(&mut self, now: Now, path: Path, header: &Header, ask: &Register) -> Fate {
        if !self.cookies.check(now.mono, path.peer, header.sender, ask.cookie) {
            let cookie = self.cookies.make(now.mono, path.peer, header.sender);
            self.answer(path, SessionId::default(), Body::Challenge(Challenge { nonce: ask.nonce, cookie }));
            return if ask.cookie == 0 { Fate::Accepted } else { Fate::Cookie };
        }
        if let Some(slot) = self.repetition(path, header, ask) {
            self.welcome(slot);
            return Fate::Accepted;
        }
        if self.was_just_admitted(now, path) {
            return Fate::Hasty;
        }
        let known = self.members.knows(path.peer, header.sender);
        if !known && self.members.len() >= self.config.max_clients {
            self.reject(path, header.session, ask.nonce, RejectReason::Full);
            self.tell_refusal(now, path.peer, RejectReason::Full, VERSION);
            return Fate::Full;
        }
        let slot = self.admit(now, path, header, ask);
        self.welcome(slot);
        // Not so close behind the Welcome that it could overtake it.
        self.begin_burst(slot, now.mono + AFTER_WELCOME, true);
        self.learn(now.mono, slot);
        Fate::Accepted
    }

    /// The place of the member whose Register this is once more: the Welcome was lost, or the request doubled.
    fn repetition(&mut self, path: Path, header: &Header, ask: &Register) -> Option<Slot> {
        let slot = self.members.find(path.peer)?;
        let same = |member: &&mut Member| member.nonce == ask.nonce && member.node == header.sender;
        self.members.at(slot).filter(same).map(|_| slot)
    }

    /// Whether the member at this address has only just come in: who registers again and again must not make the
    /// server work, or talk, without end.
    fn was_just_admitted(&mut self, now: Now, path: Path) -> bool {
        let Some(slot) = self.members.find(path.peer) else { return false };
        self.members.at(slot).is_some_and(|member| now.mono - member.admitted < HASTE)
    }

    fn admit(&mut self, now: Now, path: Path, header: &Header, ask: &Register) -> Slot {
        let session = SessionId(self.rng.next_u64().max(1));
        let removed = self.removed.includes(&Peer { name: ask.name, address: path.peer });
        let member = Member {
            path,
            node: header.sender,
            session,
            name: ask.name,
            nonce: ask.nonce,
            admitted: now.mono,
            heard: now.mono,
            state: header.flags.state,
            cluster: ask.cluster,
            setting: 0,
            carried: None,
            sequence: 0,
            burst: Default::default(),
            last: None,
            reading: None,
            quality: Default::default(),
            delays: Default::default(),
            history: Default::default(),
            claim: None,
            unconfirmed: None,
            repeated_in: 0,
            verdict: Verdict::Unjudged,
            exclusion: removed.then_some(Exclusion::ByHand),
            new_until: now.mono,
            hurry_until: now.mono,
            hurrying: false,
        };
        self.events.push_back(ServerEvent::Connected { client: member.peer(), state: member.state });
        let slot = self.members.insert(member);
        self.timers.set(now.mono + self.config.lifetime(), Timer::Expire(slot, session));
        slot
    }

    fn welcome(&mut self, slot: Slot) {
        let Some(nonce) = self.members.at(slot).map(|member| member.nonce) else { return };
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
        let length = self.config.interval.times(NEWCOMER_ROUNDS);
        if let Some(member) = self.members.at(slot) {
            member.new_until = now + length;
        }
        self.hurry(now, slot, length);
    }

    /// Measures a member more often for so long, as long as it needs that.
    pub(super) fn hurry(&mut self, now: Monotonic, slot: Slot, length: Span) {
        let period = self.config.interval.over(HURRY);
        let Some(member) = self.members.at(slot) else { return };
        member.hurry_until = now + length;
        if !member.hurrying {
            member.hurrying = true;
            self.timers.set(now + period, Timer::Hurry(slot, member.session));
        }
    }

    pub(super) fn hurry_is_due(&mut self, now: Now, slot: Slot, session: SessionId) {
        let period = self.config.interval.over(HURRY);
        let Some(member) = self.members.at(slot).filter(|member| member.session == session) else {
            return;
        };
        member.hurrying = member.hurries(now.mono);
        let (hurrying, idle) = (member.hurrying, !member.burst.open);
        if hurrying {
            self.timers.set(now.mono + period, Timer::Hurry(slot, session));
        }
        if hurrying && idle {
            self.begin_burst(slot, now.mono, true);
        }
    }
}

/// Nobody needs a new session more often than this.
const HASTE: Span = Span::from_secs(1);
/// From the Welcome to the first probe.
const AFTER_WELCOME: Span = Span::from_millis(5);
/// A newcomer is measured between rounds for so many of them. Over paths of 5 ms ± 1 ms it is within 10 µs (RMS) after
/// five to ten minutes then, instead of ten to twenty; over a LAN after 20 s instead of up to two minutes.
const NEWCOMER_ROUNDS: i64 = 24;
/// Whoever is in a hurry is measured so many times a round.
const HURRY: i64 = 5;

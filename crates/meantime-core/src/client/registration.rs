//! How a client gets in: Register, Challenge, Register with the cookie, Welcome; again and again, ever more
//! slowly, until somebody answers. From the second try on the server's name is resolved anew each time.

use alloc::boxed::Box;
use rand::{Rng, RngExt};

use super::memory::Memory;
use super::replay::Window;
use super::{Client, Link, Outgoing, Session};
use crate::event::HoldoverReason;
use crate::time::{Monotonic, Now, Span};
use crate::wire::{
    Body, Challenge, ClusterId, Header, KeyId, ManualAdjustment, Register, Reject, RejectReason, Welcome,
};
use crate::{Action, ClientEvent, Fate};

/// One attempt after the other to be let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    nonce: u64,
    cookie: u64,
    /// The key to ask with: every attempt tries another, until somebody answers.
    key: KeyId,
    /// Whether a Challenge was answered since the last try: one for each is enough.
    answered: bool,
    attempt: u32,
    /// When to try again; `None`: the name is being resolved.
    next_try: Option<Monotonic>,
    /// The server has refused in a way that will last.
    refused: bool,
    /// No attempt waits longer than this, before the jitter.
    slowest: Span,
}

/// What the server's Welcome says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The cluster that the server keeps.
    pub cluster: ClusterId,
    /// From one round to the next.
    pub interval: Span,
    /// Send a heartbeat after so long a silence of one's own.
    pub heartbeat: Span,
    /// Take the server for dead after so long a silence.
    pub lifetime: Span,
}

impl Entry {
    /// The first attempt: waits for the name to be resolved.
    pub(super) fn first(nonce: u64) -> Entry {
        Entry {
            nonce,
            cookie: 0,
            key: KeyId::NONE,
            answered: false,
            attempt: 0,
            next_try: None,
            refused: false,
            slowest: SLOWEST,
        }
    }

    /// The first attempt of a client that was a member: it goes on knocking as often as it sent heartbeats,
    /// so that a server that comes back finds its members within two of them.
    fn again(nonce: u64, heartbeat: Span) -> Entry {
        Entry { slowest: heartbeat.over(2).clamp(FASTEST, SLOWEST), ..Entry::first(nonce) }
    }

    /// The key to ask with.
    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// When to try again.
    pub(super) fn next_try(&self) -> Option<Monotonic> {
        self.next_try
    }

    /// How long to wait for an answer to this attempt, before the jitter.
    fn patience(&self) -> Span {
        let slowest = if self.refused { SLOWEST_REFUSED } else { self.slowest };
        FASTEST.times(1 << self.attempt.saturating_sub(1).min(10)).min(slowest)
    }
}

impl Client {
    /// The name was resolved, or not: ask, or say so and try again later.
    pub(super) fn resolved(&mut self, now: Now, known: bool) {
        let Link::Entering(entry) = &mut self.link else { return };
        entry.attempt = entry.attempt.saturating_add(1);
        let attempt = entry.attempt;
        entry.key = self.config.keys.before_newest(attempt as usize - 1);
        match self.server {
            Some(server) if known => {
                self.events.push_back(ClientEvent::Registering { server, attempt });
                self.register();
            }
            _ => self.events.push_back(ClientEvent::Unresolved { attempt }),
        }
        self.set_next_try(now);
    }

    fn register(&mut self) {
        let Link::Entering(entry) = &self.link else { return };
        let register = Register {
            nonce: entry.nonce,
            cookie: entry.cookie,
            cluster: if self.state.has_cluster_time() { self.cluster } else { ClusterId::default() },
            name: self.config.name,
        };
        self.outgoing.push_back(Outgoing::Ready(Body::Register(register)));
    }

    fn set_next_try(&mut self, now: Now) {
        let jitter = self.rng.random_range(0.5..1.5);
        if let Link::Entering(entry) = &mut self.link {
            entry.next_try = Some(now.mono + entry.patience().scaled(jitter));
        }
    }

    /// Nobody has answered: try again, with a fresh look at the server's name.
    pub(super) fn entry_timeout(&mut self, now: Now) {
        let Link::Entering(entry) = &mut self.link else { return };
        if entry.next_try.is_some_and(|at| now.mono >= at) {
            entry.next_try = None;
            entry.answered = false;
            self.actions.push_back(Action::Resolve);
        }
    }

    /// The session is over: ask for a new one at once.
    pub(super) fn enter_again(&mut self) {
        self.link = Link::Entering(self.next_entry());
        self.outgoing.clear();
        self.actions.push_back(Action::Resolve);
    }

    /// The session is over and the server gone: give it a moment.
    pub(super) fn enter_later(&mut self, now: Now) {
        self.link = Link::Entering(Entry { attempt: 1, ..self.next_entry() });
        self.outgoing.clear();
        self.set_next_try(now);
    }

    fn next_entry(&mut self) -> Entry {
        let nonce = self.rng.next_u64();
        match &self.link {
            Link::Member(session) => Entry::again(nonce, session.terms.heartbeat),
            Link::Entering(_) => Entry::first(nonce),
        }
    }

    pub(super) fn handle_challenge(&mut self, now: Now, header: &Header, challenge: &Challenge) -> Fate {
        let Link::Entering(entry) = &mut self.link else { return Fate::Unasked };
        if entry.nonce != challenge.nonce || challenge.cookie == 0 || entry.answered {
            return Fate::Unasked;
        }
        entry.answered = true;
        entry.cookie = challenge.cookie;
        entry.key = header.key_id;
        // Somebody is there: no reason to be slow, unless it has refused already.
        if !entry.refused {
            entry.attempt = 1;
        }
        self.register();
        self.set_next_try(now);
        Fate::Accepted
    }

    pub(super) fn handle_welcome(&mut self, now: Now, header: &Header, welcome: &Welcome) -> Fate {
        let Link::Entering(entry) = &self.link else { return Fate::Unasked };
        let Some(server) = self.server.filter(|_| entry.nonce == welcome.nonce && header.session.0 != 0)
        else {
            return Fate::Unasked;
        };
        let terms = Terms {
            cluster: welcome.cluster,
            interval: welcome.interval,
            heartbeat: welcome.heartbeat.max(MIN_TERM),
            lifetime: welcome.lifetime.max(MIN_TERM),
        };
        let known = self.state.has_cluster_time() && welcome.cluster == self.cluster;
        let mut session = Session {
            id: header.session,
            terms,
            key: header.key_id,
            window: Window::default(),
            sequence: 0,
            heard: now.mono,
            sent: now.mono,
            corrected: now.mono,
            applied: 0,
            heartbeat: None,
            new_cluster: welcome.cluster != ClusterId::default() && !known,
            proved: false,
            setting: ManualAdjustment::NONE,
            number: 0,
            refused_setting: None,
            memory: Memory::default(),
        };
        if header.key_id != KeyId::NONE {
            session.window.admit(header.sequence);
        }
        session.begin_setting(&self.setting, self.cluster);
        self.link = Link::Member(Box::new(session));
        self.note_setting(now, header.flags.manual_adjustment);
        self.take_rate_base(now, header, welcome.rate);
        self.told.clear();
        let (cluster, interval) = (welcome.cluster, welcome.interval);
        self.events.push_back(ClientEvent::Registered { server, cluster, interval });
        Fate::Accepted
    }

    pub(super) fn handle_reject(&mut self, header: &Header, reject: &Reject) -> Fate {
        match (&mut self.link, reject.reason) {
            (Link::Member(session), RejectReason::UnknownSession) if session.id == header.session => {
                self.enter_holdover(HoldoverReason::ServerForgot);
                self.enter_again();
                Fate::Accepted
            }
            (Link::Entering(entry), RejectReason::Version | RejectReason::Full)
                if entry.nonce == reject.nonce =>
            {
                entry.refused = true;
                self.tell_refusal(reject.reason, reject.version);
                Fate::Accepted
            }
            _ => Fate::Unasked,
        }
    }

    /// An answer in another version's words: the server does not speak ours.
    pub(super) fn handle_other_version(&mut self, version: u8, nonce: u64) {
        if let Link::Entering(entry) = &mut self.link
            && entry.nonce == nonce
        {
            entry.refused = true;
            self.tell_refusal(RejectReason::Version, version);
        }
    }
}

/// How long the first attempt waits for an answer.
const FASTEST: Span = Span::from_millis(250);
/// How long any attempt of a newcomer waits.
const SLOWEST: Span = Span::from_secs(8);
/// How long any attempt of whoever was refused waits. It gets there step by step: a single refusal may be a
/// garbled or a forged one.
const SLOWEST_REFUSED: Span = Span::from_secs(30);
/// No server can make its clients wake up more often.
const MIN_TERM: Span = Span::from_millis(10);

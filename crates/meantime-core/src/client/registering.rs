//! A client that has no session: Register, Challenge, Register with the cookie, Welcome; again with growing
//! pauses, until a server answers. From the second attempt on, the server's name is resolved each time.

use alloc::vec::Vec;
use core::net::SocketAddr;

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::outbox::Outbox;
use crate::roles::rank::Rank;
use crate::time::{Monotonic, Now, Span};
use crate::wire::{Body, Challenge, ClusterId, Header, KeyId, Name, Register, Reject, RejectReason, Welcome};
use crate::{ClientEvent, Fate, NodeKeys};

/// One attempt to register after the other.
#[derive(Clone, Debug)]
pub(super) struct Registering {
    name: Name,
    nonce: u64,
    cookie: u64,
    /// The key to ask with: every attempt uses another, until a server answers.
    key: KeyId,
    /// Whether a Challenge was answered since the last attempt: one for each is enough.
    answered: bool,
    /// The attempts so far.
    attempt: u32,
    /// The attempts that the pauses have grown over: an answer of a server begins with short ones again.
    pauses: u32,
    /// When to try again; `None`: the name is being resolved.
    next_try: Option<Monotonic>,
    /// The server has refused for a reason that lasts.
    refused: bool,
    /// The refusals that were reported already.
    reported: Vec<RejectReason>,
    /// No attempt waits longer than this, before the jitter.
    max_timeout: Span,
}

impl Registering {
    /// The first attempt of a new client: it waits for the name to be resolved.
    pub(super) fn first(nonce: u64, name: Name) -> Registering {
        Registering {
            name,
            nonce,
            cookie: 0,
            key: KeyId::NONE,
            answered: false,
            attempt: 0,
            pauses: 0,
            next_try: None,
            refused: false,
            reported: Vec::new(),
            max_timeout: MAX_TIMEOUT,
        }
    }

    /// The first attempt of a client whose session has ended: it tries at least as often as it sent
    /// heartbeats, so that a server that comes back finds its members within two of them.
    pub(super) fn again(nonce: u64, name: Name, heartbeat: Span) -> Registering {
        let max_timeout = heartbeat.over(2).clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        Registering { max_timeout, ..Registering::first(nonce, name) }
    }

    /// The server has left: the first attempt waits, as one that was not answered does.
    pub(super) fn wait(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        self.pauses = 1;
        self.set_next_try(now, rng);
    }

    /// The next attempt waits for as long as any. Another process has registered with this node's name, and
    /// the attempt will end that process's session; or a relay must not follow the server.
    pub(super) fn wait_long(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        (self.refused, self.pauses) = (true, LONGEST_PAUSE);
        self.set_next_try(now, rng);
    }

    /// The key to ask with.
    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// When to try again.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.next_try
    }

    /// No answer came in time: try again, once the server's name is resolved again.
    pub(super) fn handle_timeout(&mut self, now: Now, rank: Rank, outbox: &mut Outbox) {
        if self.next_try.is_some_and(|at| now.mono >= at) {
            self.next_try = None;
            self.answered = false;
            outbox.resolve(rank);
        }
    }

    /// The name of the server of this rank was resolved: ask; or it could not be: try again later. `cluster`
    /// is the one whose time the clock has.
    pub(super) fn handle_resolved(
        &mut self,
        now: Now,
        (rank, server): (Rank, Option<SocketAddr>),
        keys: &NodeKeys,
        cluster: ClusterId,
        rng: &mut ChaCha12Rng,
        outbox: &mut Outbox,
    ) {
        self.attempt = self.attempt.saturating_add(1);
        self.pauses = self.pauses.saturating_add(1);
        let attempt = self.attempt;
        self.key = keys.before_newest(attempt as usize - 1);
        match server {
            Some(server) => {
                outbox.report(ClientEvent::Registering { server, attempt });
                outbox.send(self.register(cluster));
            }
            None => outbox.report(ClientEvent::Unresolved { rank, attempt }),
        }
        self.set_next_try(now, rng);
    }

    /// The server asks for its cookie.
    pub(super) fn handle_challenge(
        &mut self,
        now: Now,
        header: &Header,
        challenge: &Challenge,
        cluster: ClusterId,
        rng: &mut ChaCha12Rng,
        outbox: &mut Outbox,
    ) -> Fate {
        if self.nonce != challenge.nonce || challenge.cookie == 0 || self.answered {
            return Fate::Unsolicited;
        }
        self.answered = true;
        self.cookie = challenge.cookie;
        self.key = header.key_id;
        // A server is there: no reason for long pauses, unless it has refused already.
        if !self.refused {
            self.pauses = 1;
        }
        outbox.send(self.register(cluster));
        self.set_next_try(now, rng);
        Fate::Accepted
    }

    /// Whether a Welcome answers this client's request.
    pub(super) fn accepts(&self, header: &Header, welcome: &Welcome) -> bool {
        self.nonce == welcome.nonce && header.session.0 != 0
    }

    /// The server refuses this client's request.
    pub(super) fn handle_reject(&mut self, server: SocketAddr, reject: &Reject, outbox: &mut Outbox) -> Fate {
        let lasts =
            matches!(reject.reason, RejectReason::Version | RejectReason::Full | RejectReason::Banned);
        if !lasts || self.nonce != reject.nonce {
            return Fate::Unsolicited;
        }
        self.refused = true;
        if !self.reported.contains(&reject.reason) {
            self.reported.push(reject.reason);
            let (reason, version) = (reject.reason, reject.version);
            outbox.report(ClientEvent::Refused { server, reason, version });
        }
        Fate::Accepted
    }

    fn register(&self, cluster: ClusterId) -> Body {
        Body::Register(Register { nonce: self.nonce, cookie: self.cookie, cluster, name: self.name })
    }

    fn set_next_try(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        let jitter = rng.random_range(0.5..1.5);
        self.next_try = Some(now.mono + self.timeout().scaled(jitter));
    }

    /// How long to wait for an answer to this attempt, before the jitter.
    fn timeout(&self) -> Span {
        let max = if self.refused { MAX_TIMEOUT_REFUSED } else { self.max_timeout };
        MIN_TIMEOUT.times(1 << self.pauses.saturating_sub(1).min(LONGEST_PAUSE)).min(max)
    }
}

/// After so many attempts the pauses do not grow any more.
const LONGEST_PAUSE: u32 = 10;
/// How long the first attempt waits for an answer.
const MIN_TIMEOUT: Span = Span::from_millis(250);
/// How long any attempt of a new client waits.
const MAX_TIMEOUT: Span = Span::from_secs(8);
/// How long any attempt of a refused client waits. The pauses still grow step by step: a single refusal may
/// be corrupted or forged.
const MAX_TIMEOUT_REFUSED: Span = Span::from_secs(30);

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_pause_that_begins_long_counts_as_no_attempt() {
        let mut rng = ChaCha12Rng::from_seed([3; 32]);
        let mut registering = Registering::again(7, Name::new("a"), Span::from_secs(1));
        let mut outbox = Outbox::default();
        registering.wait_long(Now::default(), &mut rng);
        let waits = registering.poll_timeout().expect("it waits") - Monotonic::default();
        assert!(waits >= MAX_TIMEOUT_REFUSED.scaled(0.5), "{waits}");
        let (server, keys) = ((Rank::FIRST, "192.0.2.1:5525".parse().ok()), NodeKeys::default());
        for attempt in 1..=3 {
            let now = Now::default();
            registering.handle_resolved(now, server, &keys, ClusterId::default(), &mut rng, &mut outbox);
            let event = outbox.events.pop_back();
            assert!(matches!(event, Some(ClientEvent::Registering { attempt: it, .. }) if it == attempt));
        }
    }
}

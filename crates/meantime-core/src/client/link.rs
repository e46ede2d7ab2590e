//! A client's connection to one of its servers: the address, the session or the attempts to get one, and the
//! datagrams that wait to be sent there.

use alloc::boxed::Box;
use core::net::SocketAddr;

use rand::Rng;

use super::ancestry::Ancestry;
use super::joined::{Joined, ServerFollowing, SessionEnd};
use super::opinion::Opinion;
use super::outbox::{Outbox, PendingReport, QueuedDatagram};
use super::reference::ReferenceOffer;
use super::registering::Registering;
use super::shared::Shared;
use crate::event::HoldoverReason;
use crate::roles::rank::Rank;
use crate::roles::term::Term;
use crate::time::{Monotonic, Now, Raw, Span};
use crate::wire::{
    Body, DecodeError, Direction, Flags, Header, KeyId, Kind, Message, Reject, RejectReason, RelayLead,
    RoleMessage, SessionId, Welcome,
};
use crate::{ClientEvent, Fate, NodeKeys, Path, StampId, Transmit};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Link {
    rank: Rank,
    server: Option<SocketAddr>,
    membership: Membership,
    /// Whether the client's clock is to follow this server, as it was known before this session.
    following: ServerFollowing,
    /// Whether two others contradict the server: then the clock does not follow it for the moment.
    distrusted: bool,
    ancestry: Ancestry,
    pub outbox: Outbox,
}

/// Whether there is a session.
#[derive(Debug)]
enum Membership {
    /// The client asks for one.
    Registering(Registering),
    /// It has one.
    Joined(Box<Joined>),
}

impl Link {
    /// A link to the server of this rank that begins now. Its first action is to ask for the server's
    /// address.
    pub(super) fn new(rank: Rank, shared: &mut Shared) -> Link {
        let registering = Registering::first(shared.rng.next_u64(), shared.config.name);
        let mut outbox = Outbox::default();
        outbox.resolve(rank);
        Link {
            rank,
            server: None,
            membership: Membership::Registering(registering),
            following: ServerFollowing::default(),
            distrusted: false,
            ancestry: Ancestry::default(),
            outbox,
        }
    }

    /// The place of the server in the list.
    pub(super) fn rank(&self) -> Rank {
        self.rank
    }

    /// The server's address; `None`: not known yet.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// Who is above the server in a tree of relays.
    pub(super) fn ancestry(&self) -> &Ancestry {
        &self.ancestry
    }

    /// The same, to be changed.
    pub(super) fn ancestry_mut(&mut self) -> &mut Ancestry {
        &mut self.ancestry
    }

    /// The session.
    pub(super) fn joined(&self) -> Option<&Joined> {
        match &self.membership {
            Membership::Joined(joined) => Some(joined),
            Membership::Registering(_) => None,
        }
    }

    /// Whether a datagram that may travel either way belongs to its session.
    pub(super) fn has_session(&self, session: SessionId) -> bool {
        self.joined().is_some_and(|joined| joined.id() == session)
    }

    /// What the server has stated last of its role, and when; `None`: nothing in this session.
    pub(super) fn stated(&self) -> Option<(Monotonic, RoleMessage)> {
        self.joined().and_then(Joined::stated)
    }

    /// The same, if it is not forgotten.
    pub(super) fn heard(&self, now: Monotonic) -> Option<(Monotonic, RoleMessage)> {
        self.stated().filter(|(at, _)| now - *at <= self.statement_lifetime())
    }

    /// A statement of the server is forgotten after so long; zero: there is no session.
    pub(super) fn statement_lifetime(&self) -> Span {
        self.joined().map_or(Span::ZERO, Joined::statement_lifetime)
    }

    /// What the last exchanges with the server show of the cluster's time.
    pub(super) fn opinion(&self) -> Option<Opinion> {
        self.joined().and_then(Joined::opinion)
    }

    /// The clock follows this server from now on; until now it has followed that of the term `before`.
    pub(super) fn follow(&mut self, now: Now, before: Term, shared: &mut Shared) {
        if let Membership::Joined(joined) = &mut self.membership {
            let (clock, outbox) = (&mut shared.clock, &mut self.outbox);
            joined.begin_following(now, before, clock, outbox);
            joined.withhold_following(now, self.distrusted || !self.ancestry.may_follow(), clock, outbox);
            self.following = joined.following();
        } else {
            self.following = ServerFollowing::begun(now.mono);
        }
    }

    /// The server that is followed has another term.
    pub(super) fn follow_term(&mut self) {
        if let Membership::Joined(joined) = &mut self.membership {
            joined.follow_term();
        }
    }

    /// Two others contradict the server, or no longer do.
    pub(super) fn set_distrusted(&mut self, distrusted: bool, shared: &mut Shared) {
        self.distrusted = distrusted;
        if distrusted && self.following.is_chosen() {
            shared.clock.enter_holdover(HoldoverReason::ServerDistrusted, &mut self.outbox);
        }
    }

    /// The clock follows this server no longer.
    pub(super) fn unfollow(&mut self) {
        self.following = ServerFollowing::default();
        if let Membership::Joined(joined) = &mut self.membership {
            joined.end_following();
        }
    }

    /// What the server has stated of its role is not known to hold any more.
    pub(super) fn forget_statement(&mut self) {
        if let Membership::Joined(joined) = &mut self.membership {
            joined.forget_statement();
        }
    }

    /// Sends a heartbeat, which states to the server what the client is.
    pub(super) fn send_heartbeat(&mut self, now: Now, shared: &mut Shared) {
        if let Membership::Joined(joined) = &mut self.membership {
            joined.send_heartbeat(now, shared, &mut self.outbox);
        }
    }
}

/// Joining and leaving.
impl Link {
    /// The server accepts the registration.
    fn join(
        &mut self,
        now: Now,
        server: SocketAddr,
        header: &Header,
        welcome: &Welcome,
        shared: &mut Shared,
    ) {
        let Shared { config, clock, .. } = shared;
        let joined = Joined::begin(now, header, welcome, config, self.following, clock, &mut self.outbox);
        self.membership = Membership::Joined(Box::new(joined));
        self.ancestry.begin(header.sender, welcome.relay);
        let (cluster, interval) = (welcome.cluster, welcome.interval);
        self.outbox.report(ClientEvent::Registered { server, cluster, interval });
        if config.servers > 1 {
            self.send_heartbeat(now, shared);
        }
    }

    /// The session is over: the client asks for a new one, at once unless the server has left or has banned
    /// it.
    fn leave(&mut self, now: Now, end: SessionEnd, heartbeat: Span, shared: &mut Shared) {
        self.following = self.joined().map_or(self.following, Joined::following);
        if let Some(reason) = end.holdover().filter(|_| self.following.is_chosen()) {
            shared.clock.enter_holdover(reason, &mut self.outbox);
        }
        let Shared { rng, config, .. } = shared;
        let mut registering = match self.following.is_chosen() {
            true => Registering::again(rng.next_u64(), config.name, heartbeat),
            false => Registering::first(rng.next_u64(), config.name),
        };
        self.outbox.datagrams.clear();
        match end {
            SessionEnd::ServerLeft | SessionEnd::Banned => registering.wait(now, rng),
            SessionEnd::Replaced | SessionEnd::NotFollowed => registering.wait_long(now, rng),
            _ => self.outbox.resolve(self.rank),
        }
        self.membership = Membership::Registering(registering);
    }

    /// The machine was suspended: a session that was there is over.
    pub(super) fn handle_suspended(&mut self, now: Now, shared: &mut Shared) {
        if let Some(heartbeat) = self.joined().map(|joined| joined.liveness().heartbeat()) {
            self.leave(now, SessionEnd::Suspended, heartbeat, shared);
        }
    }

    /// The process ends.
    pub(super) fn handle_shutdown(&mut self) {
        if let Membership::Joined(joined) = &self.membership {
            joined.handle_shutdown(&mut self.outbox);
        }
    }

    /// The server's name was resolved, or could not be.
    pub(super) fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>, shared: &mut Shared) {
        let cluster = shared.stated_cluster();
        // An answer may come when a session with the address before has begun: that goes on.
        if let Membership::Registering(registering) = &mut self.membership {
            self.server = server.or(self.server);
            let Shared { rng, config, .. } = shared;
            let keys = config.keys_of(self.rank);
            registering.handle_resolved(now, (self.rank, server), keys, cluster, rng, &mut self.outbox);
        }
    }

    /// The deadline of [`poll_timeout`](Link::poll_timeout) may have passed.
    pub(super) fn handle_timeout(&mut self, now: Now, shared: &mut Shared) {
        match &mut self.membership {
            Membership::Registering(registering) => {
                registering.handle_timeout(now, self.rank, &mut self.outbox);
            }
            Membership::Joined(joined) => {
                if let Err(end) = joined.handle_timeout(now, shared, &mut self.outbox) {
                    let heartbeat = joined.liveness().heartbeat();
                    self.leave(now, end, heartbeat, shared);
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Link::handle_timeout) next.
    pub(super) fn poll_timeout(&self, shared: &Shared) -> Option<Monotonic> {
        match &self.membership {
            Membership::Registering(registering) => registering.poll_timeout(),
            Membership::Joined(joined) => Some(joined.poll_timeout(shared.clock.published().state())),
        }
    }
}

/// Receiving.
impl Link {
    /// A datagram of the server's address was received.
    pub(super) fn handle_received(
        &mut self,
        now: Now,
        received: Raw,
        datagram: &[u8],
        reference: &mut ReferenceOffer,
        shared: &mut Shared,
    ) -> Fate {
        match Message::decode(datagram) {
            Ok(message) if !self.is_authentic(&message.header, datagram, shared) => Fate::Tag,
            Ok(message) => self.receive(now, received, &message, reference, shared),
            Err(DecodeError::Length(_)) => Fate::Length,
            Err(DecodeError::Magic) => Fate::Magic,
            Err(DecodeError::Version { version, kind, nonce, .. }) => {
                self.receive_other_version(kind, version, nonce, shared);
                Fate::Version
            }
            Err(DecodeError::Kind(_) | DecodeError::Field(_)) => Fate::Malformed,
        }
    }

    /// Whether a datagram has the tag that it must have: none where there are no keys, else one that the
    /// server made with this node's key.
    fn is_authentic(&self, header: &Header, datagram: &[u8], shared: &Shared) -> bool {
        if !shared.config.has_keys() {
            return header.key_id == KeyId::NONE;
        }
        let datagram = datagram.try_into().ok();
        let key = shared.keys(self.rank).find(header.key_id).zip(datagram);
        key.is_some_and(|(key, datagram)| key.verify(Direction::ToClient, datagram))
    }

    fn receive(
        &mut self,
        now: Now,
        received: Raw,
        message: &Message,
        reference: &mut ReferenceOffer,
        shared: &mut Shared,
    ) -> Fate {
        let (cluster, header) = (shared.stated_cluster(), &message.header);
        let Some(server) = self.server else { return Fate::UnknownAddress };
        let joined = match &mut self.membership {
            Membership::Joined(joined) => joined,
            Membership::Registering(registering) => {
                let (rng, outbox) = (&mut shared.rng, &mut self.outbox);
                return match &message.body {
                    Body::Challenge(challenge) => {
                        registering.handle_challenge(now, header, challenge, cluster, rng, outbox)
                    }
                    Body::Welcome(welcome) if registering.accepts(header, welcome) => {
                        self.join(now, server, header, welcome, shared);
                        Fate::Accepted
                    }
                    Body::Welcome(_) => Fate::Unsolicited,
                    Body::Reject(reject) => registering.handle_reject(server, reject, outbox),
                    _ => Fate::Session,
                };
            }
        };
        let withheld = self.distrusted || !self.ancestry.may_follow();
        joined.withhold_following(now, withheld, &mut shared.clock, &mut self.outbox);
        let heartbeat = joined.liveness().heartbeat();
        match joined.handle_message(now, received, message, shared, &mut self.outbox) {
            Ok(fate) => {
                let patience = joined.interval().times(MAX_REFUSED_ROUNDS);
                if self.following.is_chosen() {
                    reference.after(message, fate, &mut self.outbox);
                }
                let has_recovered = self.ancestry.after(now.mono, message, fate, server, &mut self.outbox);
                // The clock has not followed the rate of this session: what follows it is another.
                if has_recovered {
                    self.leave(now, SessionEnd::FollowedAgain, heartbeat, shared);
                } else if self.ancestry.has_fault_for(now.mono, patience) {
                    self.leave(now, SessionEnd::NotFollowed, heartbeat, shared);
                }
                fate
            }
            Err(end) => {
                self.leave(now, end, heartbeat, shared);
                Fate::Accepted
            }
        }
    }

    /// A datagram of another protocol version: if it is a Reject, the server does not speak this version.
    fn receive_other_version(&mut self, kind: u8, version: u8, nonce: u64, shared: &Shared) {
        // A client with keys does not believe what it cannot verify.
        if kind == Kind::Reject as u8
            && !shared.config.has_keys()
            && let Membership::Registering(registering) = &mut self.membership
            && let Some(server) = self.server
        {
            let reject = Reject { nonce, reason: RejectReason::Version, version };
            registering.handle_reject(server, &reject, &mut self.outbox);
        }
    }
}

/// Sending.
impl Link {
    /// The next datagram to the server.
    pub(super) fn poll_transmit(&mut self, now: Now, shared: &mut Shared) -> Option<Transmit> {
        while let Some(queued) = self.outbox.datagrams.pop_front() {
            let transmit = match queued {
                QueuedDatagram::Ready(body) => self.transmit(now, 0, body, shared),
                QueuedDatagram::Report(pending) => self.transmit_report(now, pending, shared),
            };
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    /// A datagram with the id of this session departed.
    pub(super) fn handle_transmitted(&mut self, id: StampId, raw: Raw, shared: &mut Shared) {
        if let Membership::Joined(joined) = &mut self.membership
            && let Some(latency) = joined.handle_transmitted(id, raw)
        {
            shared.latency.learn(latency);
        }
    }

    /// The key that a datagram is tagged with: heartbeats try the newest.
    fn key_for(&self, keys: &NodeKeys, body: &Body) -> KeyId {
        match (&self.membership, body) {
            (_, Body::Heartbeat(_)) => keys.newest(),
            (Membership::Joined(joined), _) => keys.or_newest(joined.key()),
            (Membership::Registering(registering), _) => keys.or_newest(registering.key()),
        }
    }

    /// Writes the answer to a probe.
    fn transmit_report(&mut self, now: Now, pending: PendingReport, shared: &mut Shared) -> Option<Transmit> {
        // The report departs a little later than now, and states that time as well as it can be known.
        let t3 = now.raw + shared.latency.expected();
        let (stamp, report) = match &mut self.membership {
            Membership::Joined(joined) => joined.write_report(now, pending, t3, &shared.clock)?,
            Membership::Registering(_) => return None,
        };
        let transmit = self.transmit(now, pending.round, Body::Report(report), shared)?;
        Some(Transmit { stamp: Some(stamp), ..transmit })
    }

    /// Writes the next datagram to the server.
    fn transmit(&mut self, now: Now, round: u32, body: Body, shared: &Shared) -> Option<Transmit> {
        let (peer, keys) = (self.server?, shared.keys(self.rank));
        let key_id = self.key_for(keys, &body);
        let relay_lead = RelayLead::covering(shared.relay_lead).unwrap_or(RelayLead::LONGEST);
        let flags = Flags { state: shared.clock.published().state(), relay_lead, ..Flags::default() };
        let mut header = Header { flags, key_id, sender: shared.node, round, ..Header::default() };
        if let Membership::Joined(joined) = &mut self.membership {
            joined.write_header(now.mono, &mut header);
        }
        let mut datagram = Message { header, body }.encode();
        if let Some(key) = keys.find(key_id) {
            key.sign(Direction::ToServer, &mut datagram);
        }
        Some(Transmit { path: Path { peer, local: None }, datagram, stamp: None })
    }
}

/// After so many rounds a relay leaves a server that it may not follow, and tries the next address of the
/// server's name.
const MAX_REFUSED_ROUNDS: i64 = 8;

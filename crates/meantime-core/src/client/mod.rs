//! The client: it registers with a server, answers probes, and follows the corrections of its clock.
//!
//! | part | what it decides |
//! |---|---|
//! | `registering` | when to ask for a session, and with which key and cookie |
//! | `joined` | what each datagram of a session means; its parts are `liveness`, `replay_window`, `reporter` and `server_time` |
//! | `ancestry` | whether a relay may follow its server |
//! | `reference` | what to tell the server of this machine's reference |
//! | `clock` | which corrections to follow, and whether to step or slew; its parts are `published_clock`, `frequency_trial`, `rate_follower` and `limits` |
//! | `outbox` | nothing: it queues datagrams, actions and events |
//!
//! A client is registering or joined; its clock outlives both. The estimation of phase and frequency is the
//! [discipline](crate::estimation::discipline)'s.

mod ancestry;
mod announced_adjustment;
mod clock;
mod correction;
mod frequency_trial;
mod joined;
mod limits;
mod liveness;
mod outbox;
mod published_clock;
mod rate_follower;
mod reference;
mod registering;
mod replay_window;
mod report_history;
mod reporter;
mod server_time;

use alloc::boxed::Box;
use core::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::ancestry::Ancestry;
use self::clock::MemberClock;
use self::joined::{Joined, SessionEnd};
use self::outbox::{Outbox, PendingReport, QueuedDatagram};
use self::reference::ReferenceOffer;
use self::registering::Registering;
use crate::reference::{NoReference, ReferenceReading};
use crate::relayed_time::ExternalTime;
use crate::time::{Monotonic, Now, Raw, Span};
use crate::transmit_latency::MinTransmitLatency;
use crate::view::{ClientView, ManualAdjustmentView};
use crate::wire::{
    Body, ClusterId, DecodeError, Direction, Flags, Header, KeyId, Kind, Lineage, Message, Name, NodeId,
    Reject, RejectReason, RelayLead, SessionId, Welcome,
};
use crate::{
    Action, ClientConfig, ClientEvent, ClockReading, Counters, Fate, Node, NodeKeys, Path, StampId, Transmit,
};

/// A node that registers with a server and follows cluster time; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    node: NodeId,
    rng: ChaCha12Rng,
    server: Option<SocketAddr>,
    membership: Membership,
    clock: MemberClock,
    reference: ReferenceOffer,
    latency: MinTransmitLatency,
    outbox: Outbox,
    counters: Counters,
    /// What the nodes below need to be told a manual time adjustment.
    relay_lead: Span,
    ancestry: Ancestry,
}

/// Whether the client has a session.
#[derive(Debug)]
enum Membership {
    /// It asks for one.
    Registering(Registering),
    /// It has one.
    Joined(Box<Joined>),
}

impl Client {
    /// A client that starts now. Its first action is to ask for the server's address. `seed` must be
    /// unpredictable where an attacker can send datagrams.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Now) -> Client {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let node = NodeId(rng.next_u64());
        let membership = Membership::Registering(Registering::first(rng.next_u64(), config.name));
        let mut outbox = Outbox::default();
        outbox.resolve();
        Client {
            node,
            rng,
            server: None,
            membership,
            clock: MemberClock::new(&config, now),
            reference: ReferenceOffer::new(config.offers_reference),
            latency: MinTransmitLatency::default(),
            outbox,
            counters: Counters::default(),
            relay_lead: Span::ZERO,
            ancestry: Ancestry::default(),
            config,
        }
    }

    /// The name that it gives itself.
    pub fn name(&self) -> Name {
        self.config.name
    }

    /// The cluster whose time its clock has; 0: none.
    pub fn cluster(&self) -> ClusterId {
        self.clock.published().cluster()
    }

    /// The time that it follows, for the [`Server`](crate::Server) of a relay, which runs on the same machine
    /// by the same oscillator: its estimate, in which nothing is slewed. `None`: it has no cluster time.
    pub fn external_time(&self, now: Now) -> Option<ExternalTime> {
        let known = self.clock.external_time(now.raw, self.joined().map(Joined::interval))?;
        let bound = known.bound.filter(|_| RelayLead::covering(self.relay_lead).is_some());
        Some(ExternalTime { bound, ..known })
    }

    /// The client is part of a relay, whose server needs to be told manual time adjustments so long before
    /// they begin: [`Server::relay_lead`](crate::Server::relay_lead). If that is more than a datagram can
    /// say, [`external_time`](Client::external_time) has no bound.
    pub fn set_relay_lead(&mut self, lead: Span) {
        self.relay_lead = lead;
    }

    /// The client is part of a relay, whose server is this process: it follows no server that is below that
    /// server.
    pub fn serve(&mut self, server: NodeId) {
        self.ancestry.serve(server);
    }

    /// The servers that it follows, or has followed last, from the root of the tree down to its own;
    /// [`Lineage::NONE`]: it has not been told any.
    pub fn lineage(&self) -> Lineage {
        self.ancestry.followed()
    }

    /// Whether a datagram that may travel either way belongs to its session.
    pub(crate) fn has_session(&self, session: SessionId) -> bool {
        self.joined().is_some_and(|joined| joined.id() == session)
    }

    /// Where it registers; `None`: not known yet.
    pub(crate) fn server(&self) -> Option<SocketAddr> {
        self.server
    }

    /// A snapshot of its state now, without its clock's reading ([`Node::read`]).
    pub fn view(&self, now: Now) -> ClientView {
        let joined = self.joined();
        let published = self.clock.published();
        let base = published.base_time(now.raw);
        ClientView {
            server: self.server,
            registered: joined.is_some(),
            server_level: joined.and_then(|_| self.ancestry.server_level()),
            upstream_fault: joined.and_then(|_| self.ancestry.fault()),
            cluster: published.cluster(),
            interval: joined.map(Joined::interval),
            manual_adjustment: ManualAdjustmentView::of(published.manual(), base),
            server_undecided: joined.map(Joined::is_server_undecided),
            refused: self.clock.last_refusal(now.mono),
            last_correction: self.clock.last_correction(now.mono),
            holdover: published.holdover(),
            heard_ago: joined.map(|joined| now.mono - joined.liveness().heard()),
        }
    }

    /// Replaces the keys. A heartbeat finds out whether the server has the newest.
    pub fn set_keys(&mut self, now: Now, keys: NodeKeys) {
        self.config.keys = keys;
        let name = self.heartbeat_name();
        if let Membership::Joined(joined) = &mut self.membership {
            joined.send_heartbeat(now, name, &mut self.rng, &mut self.outbox);
        }
    }

    fn joined(&self) -> Option<&Joined> {
        match &self.membership {
            Membership::Joined(joined) => Some(joined),
            Membership::Registering(_) => None,
        }
    }

    /// Heartbeats carry the name where keys are in use: the server finds the key by it.
    fn heartbeat_name(&self) -> Name {
        if self.config.keys.is_empty() { Name::default() } else { self.config.name }
    }

    /// The cluster that a registration states: the one whose time the clock has now; 0: none.
    fn stated_cluster(&self) -> ClusterId {
        let published = self.clock.published();
        if published.has_cluster_time() { published.cluster() } else { ClusterId::default() }
    }
}

/// Joining and leaving.
impl Client {
    /// The server accepts the registration.
    fn join(&mut self, now: Now, server: SocketAddr, header: &Header, welcome: &Welcome) {
        let joined = Joined::begin(now, header, welcome, &self.config, &mut self.clock, &mut self.outbox);
        self.membership = Membership::Joined(Box::new(joined));
        self.ancestry.begin(header.sender, welcome.relay);
        let (cluster, interval) = (welcome.cluster, welcome.interval);
        self.outbox.report(ClientEvent::Registered { server, cluster, interval });
    }

    /// The session is over: the client asks for a new one, at once unless the server has left
    /// or has banned it.
    fn leave(&mut self, now: Now, end: SessionEnd, heartbeat: Span) {
        if let Some(reason) = end.holdover() {
            self.clock.enter_holdover(reason, &mut self.outbox);
        }
        let mut registering = Registering::again(self.rng.next_u64(), self.config.name, heartbeat);
        self.outbox.datagrams.clear();
        match end {
            SessionEnd::ServerLeft | SessionEnd::Banned => registering.wait(now, &mut self.rng),
            SessionEnd::Replaced | SessionEnd::NotFollowed => {
                registering.wait_long(now, &mut self.rng);
            }
            _ => self.outbox.resolve(),
        }
        self.membership = Membership::Registering(registering);
    }
}

/// Receiving.
impl Client {
    /// Whether a datagram has the tag that it must have: none where there are no keys, else one that a server
    /// made with this node's key.
    fn is_authentic(&self, header: &Header, datagram: &[u8]) -> bool {
        if self.config.keys.is_empty() {
            return header.key_id == KeyId::NONE;
        }
        let key = self.config.keys.find(header.key_id);
        let datagram = datagram.try_into().ok();
        key.zip(datagram).is_some_and(|(key, datagram)| key.verify(Direction::ToClient, datagram))
    }

    fn receive(&mut self, now: Now, received: Raw, server: SocketAddr, message: &Message) -> Fate {
        let cluster = self.stated_cluster();
        let header = &message.header;
        let (rng, clock, outbox) = (&mut self.rng, &mut self.clock, &mut self.outbox);
        match &mut self.membership {
            Membership::Registering(registering) => match &message.body {
                Body::Challenge(challenge) => {
                    registering.handle_challenge(now, header, challenge, cluster, rng, outbox)
                }
                Body::Welcome(welcome) if registering.accepts(header, welcome) => {
                    self.join(now, server, header, welcome);
                    Fate::Accepted
                }
                Body::Welcome(_) => Fate::Unsolicited,
                Body::Reject(reject) => registering.handle_reject(server, reject, outbox),
                _ => Fate::Session,
            },
            Membership::Joined(joined) => {
                joined.set_followed(self.ancestry.may_follow());
                match joined.handle_message(now, received, message, clock, outbox) {
                    Ok(fate) => {
                        self.reference.after(message, fate, outbox);
                        let has_recovered = self.ancestry.after(now.mono, message, fate, server, outbox);
                        let patience = joined.interval().times(MAX_REFUSED_ROUNDS);
                        // The clock has not followed the rate of this session: what follows it is another.
                        let heartbeat = joined.liveness().heartbeat();
                        if has_recovered {
                            self.leave(now, SessionEnd::FollowedAgain, heartbeat);
                        } else if self.ancestry.has_fault_for(now.mono, patience) {
                            self.leave(now, SessionEnd::NotFollowed, heartbeat);
                        }
                        fate
                    }
                    Err(end) => {
                        let heartbeat = joined.liveness().heartbeat();
                        self.leave(now, end, heartbeat);
                        Fate::Accepted
                    }
                }
            }
        }
    }

    /// A datagram of another protocol version: if it is a Reject, the server does not speak this version.
    fn receive_other_version(&mut self, server: SocketAddr, kind: u8, version: u8, nonce: u64) {
        // A client with keys does not believe what it cannot verify.
        if kind == Kind::Reject as u8
            && self.config.keys.is_empty()
            && let Membership::Registering(registering) = &mut self.membership
        {
            let reject = Reject { nonce, reason: RejectReason::Version, version };
            registering.handle_reject(server, &reject, &mut self.outbox);
        }
    }
}

/// Sending.
impl Client {
    /// The key that a datagram is tagged with: heartbeats try the newest.
    fn key_for(&self, body: &Body) -> KeyId {
        let keys = &self.config.keys;
        match (&self.membership, body) {
            (_, Body::Heartbeat(_)) => keys.newest(),
            (Membership::Joined(joined), _) => keys.or_newest(joined.key()),
            (Membership::Registering(registering), _) => keys.or_newest(registering.key()),
        }
    }

    /// Writes the answer to a probe.
    fn transmit_report(&mut self, now: Now, pending: PendingReport) -> Option<Transmit> {
        // The report departs a little later than now, and states that time as well as it can be known.
        let t3 = now.raw + self.latency.expected();
        let (stamp, report) = match &mut self.membership {
            Membership::Joined(joined) => joined.write_report(now, pending, t3, &self.clock)?,
            Membership::Registering(_) => return None,
        };
        let transmit = self.transmit(now, pending.round, Body::Report(report))?;
        Some(Transmit { stamp: Some(stamp), ..transmit })
    }

    /// Writes the next datagram to the server.
    fn transmit(&mut self, now: Now, round: u32, body: Body) -> Option<Transmit> {
        let peer = self.server?;
        let key_id = self.key_for(&body);
        let relay_lead = RelayLead::covering(self.relay_lead).unwrap_or(RelayLead::LONGEST);
        let flags = Flags { state: self.clock.published().state(), relay_lead, ..Flags::default() };
        let mut header = Header { flags, key_id, sender: self.node, round, ..Header::default() };
        if let Membership::Joined(joined) = &mut self.membership {
            joined.write_header(now.mono, &mut header);
        }
        let mut datagram = Message { header, body }.encode();
        if let Some(key) = self.config.keys.find(key_id) {
            key.sign(Direction::ToServer, &mut datagram);
        }
        Some(Transmit { path: Path { peer, local: None }, datagram, stamp: None })
    }
}

impl Node for Client {
    type Event = ClientEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match Message::decode(datagram) {
            _ if self.server != Some(path.peer) => Fate::UnknownAddress,
            Ok(message) if !self.is_authentic(&message.header, datagram) => Fate::Tag,
            Ok(message) => self.receive(now, received, path.peer, &message),
            Err(DecodeError::Length(_)) => Fate::Length,
            Err(DecodeError::Magic) => Fate::Magic,
            Err(DecodeError::Version { version, kind, nonce, .. }) => {
                self.receive_other_version(path.peer, kind, version, nonce);
                Fate::Version
            }
            Err(DecodeError::Kind(_) | DecodeError::Field(_)) => Fate::Malformed,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        if let Membership::Joined(joined) = &mut self.membership
            && let Some(latency) = joined.handle_transmitted(id, raw)
        {
            self.latency.learn(latency);
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        let name = self.heartbeat_name();
        match &mut self.membership {
            Membership::Registering(registering) => registering.handle_timeout(now, &mut self.outbox),
            Membership::Joined(joined) => {
                let (rng, clock, outbox) = (&mut self.rng, &mut self.clock, &mut self.outbox);
                if let Err(end) = joined.handle_timeout(now, name, rng, clock, outbox) {
                    let heartbeat = joined.liveness().heartbeat();
                    self.leave(now, end, heartbeat);
                }
            }
        }
    }

    fn handle_shutdown(&mut self, _now: Now) {
        if let Membership::Joined(joined) = &self.membership {
            joined.handle_shutdown(&mut self.outbox);
        }
    }

    fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>) {
        let cluster = self.stated_cluster();
        // An answer may come when a session with the address before has begun: that goes on.
        if let Membership::Registering(registering) = &mut self.membership {
            self.server = server.or(self.server);
            let (rng, outbox) = (&mut self.rng, &mut self.outbox);
            registering.handle_resolved(now, server, &self.config.keys, cluster, rng, outbox);
        }
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        let registered = self.joined().is_some();
        self.reference.handle_reading(now, reading, self.clock.published(), registered, &mut self.outbox);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.clock.suspend(now, slept, &mut self.outbox);
        if let Some(heartbeat) = self.joined().map(|joined| joined.liveness().heartbeat()) {
            self.leave(now, SessionEnd::Suspended, heartbeat);
        }
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        while let Some(queued) = self.outbox.datagrams.pop_front() {
            let transmit = match queued {
                QueuedDatagram::Ready(body) => self.transmit(now, 0, body),
                QueuedDatagram::Report(pending) => self.transmit_report(now, pending),
            };
            if transmit.is_some() {
                return transmit;
            }
        }
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.outbox.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.outbox.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        match &self.membership {
            Membership::Registering(registering) => registering.poll_timeout(),
            Membership::Joined(joined) => Some(joined.poll_timeout(self.clock.published().state())),
        }
    }

    fn read(&self, raw: Raw) -> ClockReading {
        self.clock.read(raw, self.joined().map(Joined::interval))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// After so many rounds a relay leaves a server that it may not follow, and tries the next address of the
/// server's name.
const MAX_REFUSED_ROUNDS: i64 = 8;

//! The client: it registers with its servers, answers their probes, and follows the corrections of one.
//!
//! | part | what it decides |
//! |---|---|
//! | `following` | which of several servers the clock follows |
//! | `server_reports` | when a change of that, or of whom the client distrusts, is reported |
//! | `opinion` | which servers contradict the others |
//! | `link` | nothing: it is the connection to one server, with its session and the datagrams that wait |
//! | `registering` | when to ask for a session, and with which key and cookie |
//! | `joined` | what each datagram of a session means; its parts are `liveness`, `replay_window`, `reporter` and `server_time` |
//! | `ancestry` | whether a relay may follow its server |
//! | `reference` | what to tell the server of this machine's reference |
//! | `clock` | which corrections to follow, and whether to step or slew; its parts are `published_clock`, `frequency_trial`, `rate_follower` and `limits` |
//! | `decisions` | nothing: it collects what an operator has decided, for a standby server |
//! | `outbox` | nothing: it queues datagrams, actions and events |
//! | `shared` | nothing: it is what all links work with |
//!
//! A link is registering or joined; the client's clock outlives all sessions. The estimation of phase and
//! frequency is the [discipline](crate::estimation::discipline)'s.

mod ancestry;
mod announced_adjustment;
mod clock;
mod correction;
mod decisions;
mod following;
mod frequency_trial;
mod joined;
mod limits;
mod link;
mod liveness;
mod opinion;
mod outbox;
mod published_clock;
mod rate_follower;
mod reference;
mod registering;
mod replay_window;
mod report_history;
mod reporter;
mod server_reports;
mod server_time;
mod shared;

use alloc::vec::Vec;
use core::net::SocketAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::ancestry::Ancestry;
use self::clock::MemberClock;
use self::decisions::CollectedDecisions;
use self::following::Following;
use self::joined::Joined;
use self::link::Link;
use self::reference::ReferenceOffer;
use self::shared::Shared;
use crate::event::HoldoverReason;
use crate::reference::{NoReference, ReferenceReading};
use crate::relayed_time::ExternalTime;
use crate::roles::heard_servers::HeardServers;
use crate::roles::rank::{Rank, ServerSet};
use crate::roles::term::Term;
use crate::time::{Monotonic, Now, Raw, Span, Timestamp};
use crate::transmit_latency::MinTransmitLatency;
use crate::view::{ClientView, ListedServerView, ManualAdjustmentView};
use crate::wire::{ClusterId, DecidedClients, Lineage, Name, NodeId, RelayLead, SessionId};
use crate::{
    Action, ClientConfig, ClientEvent, ClockReading, Counters, Fate, Node, NodeKeys, Path, StampId, Transmit,
};

/// A node that registers with its servers and follows cluster time; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Client {
    shared: Shared,
    /// In the order of the list; without the server that the client is part of.
    links: Vec<Link>,
    following: Following,
    reference: ReferenceOffer,
    counters: Counters,
}

impl Client {
    /// A client that starts now. Its first actions are to ask for the servers' addresses. `seed` must be
    /// unpredictable where an attacker can send datagrams.
    pub fn new(config: ClientConfig, seed: [u8; 32], now: Now) -> Client {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let node = NodeId(rng.next_u64());
        let mut shared = Shared {
            node,
            rng,
            clock: MemberClock::new(&config, now),
            latency: MinTransmitLatency::default(),
            relay_lead: Span::ZERO,
            statement: None,
            decisions: CollectedDecisions::default(),
            config,
        };
        let ranks = (0..shared.config.servers.max(1)).filter_map(Rank::new);
        let ranks = ranks.filter(|rank| Some(*rank) != shared.config.own_rank);
        let ranks: Vec<Rank> = ranks.collect();
        let mut links: Vec<Link> = ranks.into_iter().map(|rank| Link::new(rank, &mut shared)).collect();
        let following = Following::new(now, &mut links, &mut shared);
        Client {
            links,
            following,
            reference: ReferenceOffer::new(shared.config.offers_reference),
            counters: Counters::default(),
            shared,
        }
    }

    /// The name that it gives itself.
    pub fn name(&self) -> Name {
        self.shared.config.name
    }

    /// The cluster whose time its clock has; 0: none.
    pub fn cluster(&self) -> ClusterId {
        self.shared.clock.published().cluster()
    }

    /// The time that it follows, for the [`Server`](crate::Server) of a relay, or of a standby server, which
    /// runs on the same machine by the same oscillator: its estimate, in which nothing is slewed. `None`: it
    /// has no cluster time.
    pub fn external_time(&self, now: Now) -> Option<ExternalTime> {
        let known = self.shared.clock.external_time(now.raw, self.joined().map(Joined::interval))?;
        let bound = known.bound.filter(|_| RelayLead::covering(self.shared.relay_lead).is_some());
        Some(ExternalTime { bound, ..known })
    }

    /// The client is part of a relay, whose server needs to be told manual time adjustments so long before
    /// they begin: [`Server::relay_lead`](crate::Server::relay_lead). If that is more than a datagram can
    /// say, [`external_time`](Client::external_time) has no bound.
    pub fn set_relay_lead(&mut self, lead: Span) {
        self.shared.relay_lead = lead;
    }

    /// The client is part of a relay, whose server is this process: it follows no server that is below that
    /// server.
    pub fn serve(&mut self, server: NodeId) {
        self.links.iter_mut().for_each(|link| link.ancestry_mut().serve(server));
    }

    /// The servers that it follows, or has followed last, from the root of the tree down to its own;
    /// [`Lineage::NONE`]: it has not been told any.
    pub fn lineage(&self) -> Lineage {
        self.followed().map_or(Lineage::NONE, |link| link.ancestry().followed())
    }

    /// Whether a datagram from this address that may travel either way belongs to one of its sessions.
    pub(crate) fn has_session(&self, peer: SocketAddr, session: SessionId) -> bool {
        self.link_to(peer).is_some_and(|link| link.has_session(session))
    }

    /// Whether it registers with a server at this address.
    pub(crate) fn has_server(&self, peer: SocketAddr) -> bool {
        self.link_to(peer).is_some()
    }

    /// A snapshot of its state now, without its clock's reading ([`Node::read`]).
    pub fn view(&self, now: Now) -> ClientView {
        let (followed, joined) = (self.followed(), self.joined());
        let clock = &self.shared.clock;
        let published = clock.published();
        let ancestry = followed.map(Link::ancestry).filter(|_| joined.is_some());
        ClientView {
            server: followed.and_then(Link::server),
            registered: joined.is_some(),
            server_level: ancestry.and_then(Ancestry::server_level),
            upstream_fault: ancestry.and_then(Ancestry::fault),
            cluster: published.cluster(),
            interval: joined.map(Joined::interval),
            manual_adjustment: ManualAdjustmentView::of(published.manual(), published.base_time(now.raw)),
            server_undecided: joined.map(Joined::is_server_undecided),
            refused: clock.last_refusal(now.mono),
            last_correction: clock.last_correction(now.mono),
            holdover: published.holdover(),
            heard_ago: joined.map(|joined| now.mono - joined.liveness().heard()),
            servers: self.following.view(now, &self.links),
        }
    }

    /// Replaces the keys: those of each server, or one ring for all. Heartbeats find out whether the servers
    /// have the newest.
    pub fn set_keys(&mut self, now: Now, keys: Vec<NodeKeys>) {
        self.shared.config.keys = keys;
        for link in &mut self.links {
            link.send_heartbeat(now, &mut self.shared);
        }
    }

    /// What the other servers have stated lately of their roles, to the server that the client is part of.
    pub(crate) fn heard(&self, now: Now) -> HeardServers {
        following::heard(now.mono, &self.links, self.shared.config.servers)
    }

    /// The servers that two others contradict, perhaps that of the client itself among them.
    pub(crate) fn distrusted(&self) -> ServerSet {
        self.following.distrusted()
    }

    /// The other servers that are heard and state that they carry the cluster's time.
    pub(crate) fn with_time(&self, now: Now) -> ServerSet {
        following::with_time(now.mono, &self.links, self.shared.config.servers)
    }

    /// What the operator of the active server has decided about clients, if all of that has come anew.
    pub(crate) fn take_decisions(&mut self) -> Option<Vec<DecidedClients>> {
        self.shared.decisions.take()
    }

    /// Whether its clock has followed a correction of the server that it follows.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.joined().is_some_and(Joined::is_confirmed)
    }

    /// The addresses of the servers of the list but the client's own, as far as they are known.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.links.iter().filter_map(Link::server).collect()
    }

    /// The servers of the list but the client's own, as the client knows them.
    pub(crate) fn servers(&self, now: Now) -> Vec<ListedServerView> {
        self.following.view(now, &self.links)
    }

    /// The role of the server that the client is part of is that of this term now: the clock follows the
    /// server of this rank in it, or none.
    pub(crate) fn set_role(&mut self, now: Now, term: Term, followed: Option<Rank>) {
        self.following.set_role(now, (term, followed), &mut self.links, &mut self.shared);
    }

    /// The server that the client is part of was active and is not any more, and follows no other one.
    pub(crate) fn lose_server(&mut self) {
        self.shared.clock.enter_holdover(HoldoverReason::NoActiveServer, &mut self.following.outbox);
    }

    /// The process has been stopped for so long that no statement of a server is known to hold.
    pub(crate) fn forget_statements(&mut self) {
        self.links.iter_mut().for_each(Link::forget_statement);
    }

    /// The server that the client is part of is active, and carries this time: the client's clock shows it.
    pub(crate) fn carry(&mut self, now: Now, time: &ExternalTime) {
        self.shared.clock.carry(now.raw, time, &mut self.following.outbox);
    }

    /// What its clock shows, without the manual time adjustment.
    pub(crate) fn base_time(&self, raw: Raw) -> Timestamp {
        self.shared.clock.published().base_time(raw)
    }

    fn link_to(&self, peer: SocketAddr) -> Option<&Link> {
        self.links.iter().find(|link| link.server() == Some(peer))
    }

    /// The link to the server that the clock follows.
    fn followed(&self) -> Option<&Link> {
        let followed = self.following.followed()?;
        self.links.iter().find(|link| link.rank() == followed)
    }

    /// The session with the server that the clock follows.
    fn joined(&self) -> Option<&Joined> {
        self.followed().and_then(Link::joined)
    }
}

impl Node for Client {
    type Event = ClientEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let link = self.links.iter_mut().find(|link| link.server() == Some(path.peer));
        let fate = link.map_or(Fate::UnknownAddress, |link| {
            link.handle_received(now, received, datagram, &mut self.reference, &mut self.shared)
        });
        self.counters.count(fate);
        if fate == Fate::Accepted {
            self.following.update(now, &mut self.links, &mut self.shared);
        }
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let (place, number) = ((id.0 >> LINK_SHIFT) as usize, id.0 & (u64::MAX >> LINK_SHIFT));
        if let Some(link) = self.links.get_mut(place) {
            link.handle_transmitted(StampId(number), raw, &mut self.shared);
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        for link in &mut self.links {
            if link.poll_timeout(&self.shared).is_some_and(|deadline| deadline <= now.mono) {
                link.handle_timeout(now, &mut self.shared);
            }
        }
        self.following.update(now, &mut self.links, &mut self.shared);
    }

    fn handle_shutdown(&mut self, _now: Now) {
        self.links.iter_mut().for_each(Link::handle_shutdown);
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        // Two names of one server are one place of the list too many: the first has the address.
        let is_taken = server.is_some_and(|server| {
            self.links.iter().any(|link| link.rank() != rank && link.server() == Some(server))
        });
        if let Some(link) = self.links.iter_mut().find(|link| link.rank() == rank) {
            link.handle_resolved(now, server.filter(|_| !is_taken), &mut self.shared);
        }
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        let followed = self.following.followed();
        let Some(link) = self.links.iter_mut().find(|link| Some(link.rank()) == followed) else { return };
        let (registered, clock) = (link.joined().is_some(), self.shared.clock.published());
        self.reference.handle_reading(now, reading, clock, registered, &mut link.outbox);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.shared.clock.suspend(now, slept, &mut self.following.outbox);
        for link in &mut self.links {
            link.handle_suspended(now, &mut self.shared);
        }
        self.following.update(now, &mut self.links, &mut self.shared);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        let (links, shared) = (&mut self.links, &mut self.shared);
        links.iter_mut().enumerate().find_map(|(place, link)| {
            let mut transmit = link.poll_transmit(now, shared)?;
            transmit.stamp = transmit.stamp.map(|StampId(id)| StampId((place as u64) << LINK_SHIFT | id));
            Some(transmit)
        })
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.links.iter_mut().find_map(|link| link.outbox.actions.pop_front())
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        let of_links = self.links.iter_mut().find_map(|link| link.outbox.events.pop_front());
        of_links.or_else(|| self.following.outbox.events.pop_front())
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        let links = self.links.iter().filter_map(|link| link.poll_timeout(&self.shared));
        links.chain(self.following.poll_timeout(&self.links)).min()
    }

    fn read(&self, raw: Raw) -> ClockReading {
        self.shared.clock.read(raw, self.joined().map(Joined::interval))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Above the number of a report, which has 32 bits, its id has the place of the link.
const LINK_SHIFT: u32 = 32;

#[cfg(test)]
mod tests;

//! A server of several: it is active, or a standby server that follows the active one and can take over.
//!
//! It is a [`Server`] that all clients and the other servers register with, and a [`Client`] that is
//! registered with all other servers. Its [role](crate::roles::server_role) decides from what they state
//! which of both decides the time of the machine: the server, while it is active; else the client, which
//! gives the server the time that it follows. Both share a socket.
//!
//! | input | goes to | then |
//! |---|---|---|
//! | a datagram of a session of the client | the client | a standby server gets its time; the role looks at new statements |
//! | any other datagram | the server | |
//! | a turn, twice in each interval | the role | it decides; while it is active, the client gets the server's time |
//! | a stall or a suspension | all three | the role begins again as a standby server |

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::config::{ServerPlace, TAKEN_OVER_FOR};
use crate::consensus::Weight;
use crate::event::ReplicaEvent;
use crate::pair::{Pair, is_due};
use crate::reference::{NoReference, ReferenceReading};
use crate::report_limit::ReportLimit;
use crate::roles::census::Census;
use crate::roles::heard_servers::HeardServers;
use crate::roles::rank::{Rank, ServerSet};
use crate::roles::server_role::{RoleChange, ServerRole, Surroundings};
use crate::roles::stall::StallDetector;
use crate::roles::statement::{Role, ServerStatement, Service};
use crate::time::{Monotonic, Now, Raw, Span};
use crate::view::ReplicaView;
use crate::wire::{DecidedClients, RoleMessage};
use crate::{
    Action, Client, ClientConfig, ClockReading, Counters, Node, Path, Server, ServerConfig, StampId, Transmit,
};

/// One of several servers; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Replica {
    pair: Pair,
    place: ServerPlace,
    role: ServerRole,
    stall: StallDetector,
    /// When the role decides next.
    turn: Monotonic,
    /// Until when, by the oscillator, it is active for certain, if it is: a process that was stopped finds
    /// out later that others have taken over.
    certain_until: Raw,
    /// What the other servers had stated when the role decided last.
    heard: HeardServers,
    /// When it has taken over last, and how far its time may be from that of the server before; `None`: it
    /// has not, or no member follows that server any more.
    took_over: Option<(Monotonic, Option<Span>)>,
    members: KnownMembers,
    /// What the operator of the active server has decided about clients: it holds when this one takes over.
    inherited: Option<(Rank, Vec<DecidedClients>)>,
    /// Whether its process is to end as soon as another server is active.
    ends: bool,
    /// For how many turns its process should go on after a handover: clients that hear of its end before they
    /// hear of its successor would be in holdover meanwhile.
    lingers: u8,
    /// The last change of its role, until it is reported.
    unreported: Option<RoleChange>,
    role_reports: ReportLimit,
    events: VecDeque<ReplicaEvent>,
}

/// How many members there are, and have been lately.
#[derive(Clone, Debug, Default)]
struct KnownMembers {
    /// Those that are heard now, this server among them.
    now: CountedMembers,
    /// Those in the last turns in which it was active or followed an active server.
    lately: VecDeque<CountedMembers>,
}

/// How many members there are, and what they count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct CountedMembers {
    weight: Weight,
    members: u32,
}

impl KnownMembers {
    /// The cluster is as whole as this server knows.
    fn remember(&mut self) {
        self.lately.truncate(MEMORY_TURNS - 1);
        self.lately.push_front(self.now);
    }

    /// The most of the last turns.
    fn most(&self) -> CountedMembers {
        self.lately.iter().copied().max().unwrap_or_default()
    }
}

impl Replica {
    /// A server of several that starts now, as a standby server. `server.place` says which one it is.
    /// `seeds` must be unpredictable where an attacker can send datagrams; one is for the client, and one for
    /// the server.
    pub fn new(
        place: ServerPlace,
        client: ClientConfig,
        server: ServerConfig,
        seeds: [[u8; 32]; 2],
        now: Now,
    ) -> Replica {
        let [client_seed, server_seed] = seeds;
        let ServerPlace { rank, servers, quorum } = place;
        let server = Server::new(ServerConfig { place: Some(place), ..server }, server_seed, now);
        let client = ClientConfig { servers, own_rank: Some(rank), ..client };
        let interval = server.interval();
        let mut replica = Replica {
            pair: Pair::new(Client::new(client, client_seed, now), server),
            place,
            role: ServerRole::new(rank, servers, quorum),
            stall: StallDetector::new(now.mono, interval.times(STALLED_TURNS).over(TURNS)),
            turn: now.mono + interval.over(TURNS),
            certain_until: now.raw,
            heard: HeardServers::default(),
            took_over: None,
            members: KnownMembers::default(),
            inherited: None,
            ends: false,
            lingers: 0,
            unreported: None,
            role_reports: ReportLimit::default(),
            events: VecDeque::new(),
        };
        replica.state(now, &HeardServers::default());
        replica
    }

    /// The client by which it follows the active server.
    pub fn client(&self) -> &Client {
        &self.pair.client
    }

    /// The same.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.pair.client
    }

    /// The server that its members register with.
    pub fn server(&self) -> &Server {
        &self.pair.server
    }

    /// The same.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.pair.server
    }

    /// Whether it is the active server.
    pub fn is_active(&self) -> bool {
        self.role.role() == Role::Active
    }

    /// Its role, and what it knows of the other servers.
    pub fn view(&self, now: Now) -> ReplicaView {
        let heard = self.pair.client.heard(now);
        let statement = self.role.statement(&heard, self.pair.client.distrusted());
        let follows = |stated: &ServerStatement| {
            stated.role == Role::Standby && stated.term == statement.term && stated.service == Service::Served
        };
        ReplicaView {
            rank: self.place.rank,
            servers: self.place.servers,
            quorum: self.place.quorum,
            statement,
            members: self.members.now.members,
            known_members: self.members.most().members,
            standbys: heard.iter().filter(|(_, stated)| follows(stated)).count(),
            others: self.pair.client.servers(now),
        }
    }

    /// Hands the active role over to a standby server that follows this one: to the one of this rank, or else
    /// to the best in rank. Returns its rank; `None`: this server is not active, or there is none.
    pub fn resign(&mut self, now: Now, wanted: Option<Rank>) -> Option<Rank> {
        let (clients, heard) = (self.pair.server.census(now), self.pair.client.heard(now));
        let around = self.surroundings(now, &clients, &heard);
        let before = self.role.successor();
        let successor = self.role.resign(&around, wanted)?;
        if before != Some(successor) {
            self.events.push_back(ReplicaEvent::HandsOver(successor));
        }
        self.state(now, &heard);
        Some(successor)
    }

    fn surroundings<'a>(
        &self,
        now: Now,
        (clients, own_weight): &'a (Census, Weight),
        servers: &'a HeardServers,
    ) -> Surroundings<'a> {
        let Pair { client, server, .. } = &self.pair;
        Surroundings {
            servers,
            clients,
            distrusted: client.distrusted(),
            known_members: self.members.most().weight,
            own_weight: *own_weight,
            has_time: server.bound(now).is_some(),
            with_time: client.with_time(now),
        }
    }

    /// The client has handled an input: a standby server has its time, and the role looks at statements that
    /// are new.
    fn after_client(&mut self, now: Now) {
        self.pass_time_on(now);
        let decisions = self.role.term().rank().zip(self.pair.client.take_decisions());
        self.inherited = decisions.or(self.inherited.take());
        let heard = self.pair.client.heard(now);
        if heard != self.heard {
            let clients = self.pair.server.census(now);
            self.decide(now, clients, heard, ServerRole::handle_handover);
        }
    }

    /// The role decides, as it does twice in each interval.
    fn take_turn(&mut self, now: Now) {
        let interval = self.pair.server.interval();
        self.turn = now.mono + interval.over(TURNS);
        self.lingers = self.lingers.saturating_sub(1);
        self.certain_until = now.raw + interval.times(STALLED_TURNS).over(TURNS);
        let (clients, heard) = (self.pair.server.census(now), self.pair.client.heard(now));
        let servers = heard.iter().count();
        self.pair.server.set_peers(self.pair.client.addresses());
        self.members.now = CountedMembers {
            weight: [clients.0.heard(), clients.1, Weight::votes(servers)].into_iter().sum(),
            members: clients.0.members() + 1 + servers as u32,
        };
        let service = self.role.statement(&heard, self.pair.client.distrusted()).service;
        if service == Service::Served {
            self.members.remember();
        }
        self.decide(now, clients, heard, ServerRole::handle_round);
        self.resign_without_time(now);
        if self.ends && self.is_active() {
            // The successor that it had named does not take over: it may be one that ends as well.
            self.resign(now, None);
        }
    }

    /// An active server that does not carry the cluster's time any more, since the vote has found its clock
    /// wrong or its machine has slept, would need many rounds to learn it. It resigns in favour of a standby
    /// server that carries it, if there is one.
    fn resign_without_time(&mut self, now: Now) {
        let has_lost_time = self.is_active() && self.pair.server.has_lost_time();
        let is_any_ready = self.pair.client.with_time(now) != ServerSet::EMPTY;
        if has_lost_time && is_any_ready && self.role.successor().is_none() {
            self.resign(now, None);
        }
    }

    /// Lets the role decide, and follows its decision.
    fn decide(
        &mut self,
        now: Now,
        clients: (Census, Weight),
        heard: HeardServers,
        decision: fn(&mut ServerRole, &Surroundings<'_>) -> Option<RoleChange>,
    ) {
        let was_active = self.is_active();
        self.carry(now);
        let hands_over = self.role.successor().is_some();
        let around = self.surroundings(now, &clients, &heard);
        // A server that lies about the time may also ban everyone.
        self.inherited = self.inherited.take().filter(|(of, _)| !around.distrusted.contains(*of));
        // One that is to end does not become active again: no server would know that it ends at once.
        let decides = was_active || !self.ends;
        let change = if decides { decision(&mut self.role, &around) } else { None };
        if hands_over && !self.is_active() {
            self.lingers = LINGERS_TURNS;
        }
        if !was_active && self.is_active() {
            let inherited = self.inherited.take();
            self.pair.server.adopt_decisions(now, inherited.as_ref().map(|(_, list)| &list[..]));
        }
        if change.is_some() {
            self.change_role(now, was_active);
        }
        self.report_role(now, change);
        self.state(now, &heard);
        self.heard = heard;
    }

    /// Reports a change of its role, or the last one that was not reported. Others change theirs as often as
    /// they like, so some are left out.
    fn report_role(&mut self, now: Now, change: Option<RoleChange>) {
        self.unreported = change.or(self.unreported);
        let change = self.unreported.take_if(|_| self.role_reports.allow(now.mono));
        self.events.extend(change.map(ReplicaEvent::Role));
    }

    /// While it is active, the client of the machine carries the server's time.
    fn carry(&mut self, now: Now) {
        if let Some(time) = self.pair.server.carried_time(now).filter(|_| self.is_active()) {
            self.pair.client.carry(now, &time);
        }
    }

    /// A standby server has the time that the client follows.
    fn pass_time_on(&mut self, now: Now) {
        if !self.is_active() {
            let time = self.pair.client.external_time(now);
            self.pair.server.set_external_time(now, time);
        }
    }

    /// Server and client become what the role is now.
    fn change_role(&mut self, now: Now, was_active: bool) {
        match (was_active, self.is_active()) {
            (false, true) => {
                let shown = self.pair.client.base_time(now.raw);
                self.took_over = Some((now.mono, self.pair.server.take_over(now, shown)));
            }
            (true, false) => self.pair.server.stand_by(now),
            _ => {}
        }
        let term = self.role.term();
        let followed = term.rank().filter(|rank| *rank != self.place.rank && !self.is_active());
        self.pair.client.set_role(now, term, followed);
        if was_active && !self.is_active() && followed.is_none() {
            // It serves nobody in its own term now, and no other server corrects it yet.
            self.pair.client.lose_server();
        }
        self.pass_time_on(now);
    }

    /// States its role to its members from now on.
    fn state(&mut self, now: Now, heard: &HeardServers) {
        let lifetime = self.pair.server.interval().times(TAKEN_OVER_FOR);
        self.took_over = self.took_over.filter(|(at, _)| now.mono - *at < lifetime && self.is_active());
        let bound = match (self.is_active(), self.took_over) {
            (true, _) if !self.pair.server.has_time() => None,
            (true, Some((_, bound))) => bound,
            (true, None) => Some(Span::ZERO),
            // Until it has followed the active server, its time is that of an earlier term.
            (false, _) => self.pair.server.bound(now).filter(|_| self.pair.client.is_confirmed()),
        };
        let message = RoleMessage {
            rank: self.place.rank,
            servers: self.place.servers,
            statement: self.role.statement(heard, self.pair.client.distrusted()),
            bound,
        };
        self.pair.server.set_role(now, message);
    }

    /// Looks whether the process was stopped for long: then it knows nothing of the present.
    fn note_wakeup(&mut self, now: Now) {
        if self.stall.handle_wakeup(now.mono) {
            self.carry(now);
            self.handle_stall(now);
        }
    }

    fn handle_stall(&mut self, now: Now) {
        let was_active = self.is_active();
        self.pair.client.forget_statements();
        self.role.handle_stall();
        if was_active {
            self.change_role(now, was_active);
            self.report_role(now, Some(RoleChange::Stalled));
        }
        self.heard = HeardServers::default();
        self.state(now, &HeardServers::default());
    }
}

impl Node for Replica {
    type Event = ReplicaEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        self.note_wakeup(now);
        match self.pair.is_for_client(path.peer, datagram) {
            true => {
                self.pair.client.handle_received(now, received, path, datagram);
                self.after_client(now);
            }
            false => self.pair.server.handle_received(now, received, path, datagram),
        }
        self.pair.count();
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        self.pair.handle_transmitted(id, raw);
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.pair.server.handle_lost(datagrams);
        self.pair.count();
    }

    fn handle_timeout(&mut self, now: Now) {
        self.note_wakeup(now);
        if is_due(self.pair.client.poll_timeout(), now) {
            self.pair.client.handle_timeout(now);
            self.after_client(now);
        }
        if self.turn <= now.mono {
            self.take_turn(now);
        }
        if is_due(self.pair.server.poll_timeout(), now) {
            // Bursts begin with a statement: its bound is of this moment.
            self.pass_time_on(now);
            let heard = core::mem::take(&mut self.heard);
            self.state(now, &heard);
            self.heard = heard;
            self.pair.server.handle_timeout(now);
        }
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.pair.client.handle_shutdown(now);
        self.pair.server.handle_shutdown(now);
    }

    fn hand_over(&mut self, now: Now) -> bool {
        self.ends = true;
        self.resign(now, None).is_some() || self.lingers > 0
    }

    fn is_handing_over(&self) -> bool {
        self.role.successor().is_some() || self.lingers > 0
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        self.pair.client.handle_resolved(now, rank, server);
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        match self.is_active() {
            true => self.pair.server.handle_reference(now, reading),
            false => self.pair.client.handle_reference(now, reading),
        }
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        // The client's clock goes on from what the machine has shown, and knows that it is wrong.
        self.carry(now);
        self.pair.client.handle_suspended(now, slept);
        self.pair.server.handle_suspended(now, slept);
        self.handle_stall(now);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.pair.poll_transmit(now)
    }

    fn poll_action(&mut self) -> Option<Action> {
        let of_client = self.pair.client.poll_action();
        of_client.or_else(|| self.pair.server.poll_action().filter(|_| self.role.role() == Role::Active))
    }

    fn poll_event(&mut self) -> Option<ReplicaEvent> {
        let own = self.events.pop_front();
        let own = own.or_else(|| self.pair.client.poll_event().map(ReplicaEvent::Client));
        own.or_else(|| self.pair.server.poll_event().map(ReplicaEvent::Server))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.pair.poll_timeout().map_or(self.turn, |deadline| deadline.min(self.turn)))
    }

    /// The machine has one clock: the server's while it is active, else the client's.
    fn read(&self, raw: Raw) -> ClockReading {
        if !self.is_active() {
            return self.pair.client.read(raw);
        }
        let reading = self.pair.server.read(raw);
        // Another server may have taken over at the same time: its time is as far from the one before.
        let taken_over = self.took_over.map_or(Some(Span::ZERO), |(_, bound)| bound);
        let bound = reading.bound.zip(taken_over).filter(|_| raw <= self.certain_until);
        let bound = bound.map(|(own, taken_over)| own + taken_over);
        ClockReading { bound, ..reading }
    }

    fn counters(&self) -> &Counters {
        self.pair.counters()
    }
}

/// Turns of the role in an interval: a takeover is not to wait for a whole one.
const TURNS: i64 = 2;
/// A process that has not run for so many turns has been stopped: others may have taken over.
const STALLED_TURNS: i64 = 3;
/// The first of these may come at once.
const LINGERS_TURNS: u8 = 2;
/// For so many turns members count that are gone: two minutes at the usual interval.
const MEMORY_TURNS: usize = 48;

#[cfg(test)]
mod tests;

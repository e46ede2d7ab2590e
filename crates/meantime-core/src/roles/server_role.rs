//! Whether a server is active or standby.
//!
//! The server decides at each turn from the newest statements of servers and members. Its caller lets turns
//! follow one another at equal distances, and forgets statements that are too old. The server measures times
//! in turns of its own and reads no clock.
//!
//! - A server begins as a standby server that follows none, and so does one that comes back: there is no
//!   automatic failback. A server that is alone in its list is active from the start, and always.
//! - *Takeover*: a standby server that has lost the active one takes over when more than half of the members
//!   that it hears, itself among them and at least two, state that they have lost theirs. One broken link so
//!   moves nothing. It waits a turn for each server of a better rank that may take over in its place, and
//!   for the lost one if that is heard again. A wait that is interrupted for less than four turns goes on, so
//!   a server that claims terms and steps down in turn does not keep others waiting.
//! - *Handover*: the active server names its successor, goes on until it hears that the successor is active,
//!   and follows it then. There is no gap.
//! - *Two active servers*: the one with more members stays, and the other one follows it.
//! - An active server that was stopped, or hears too few members for its quorum, becomes a standby server
//!   that follows its own term. It goes on in that term if more than half of the members that it hears follow
//!   it still and none names a higher one.
//! - An active server that more than half of the members distrust becomes a standby server, and takes over
//!   last.

use super::allegiance::Allegiance;
use super::census::Census;
use super::heard_servers::HeardServers;
use super::rank::{Rank, ServerSet};
use super::rivalry::Rivalry;
use super::statement::{MemberStatement, Role, ServerStatement, Service};
use super::term::Term;
use crate::consensus::Weight;

/// How many of the members that it knew last a server must hear to be active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quorum {
    /// Any number: each part of a network that was cut in two goes on under an active server of its own.
    #[default]
    Any,
    /// More than half: a smaller part is in holdover.
    Majority,
}

/// What a server knows of the others when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The newest statements of the other servers.
    pub servers: &'a HeardServers,
    /// What the clients state that are heard.
    pub clients: &'a Census,
    /// The servers that this one refuses as a member, because other servers agree that they lie about the
    /// time.
    pub distrusted: ServerSet,
    /// What the members of the cluster counted when it was last known to be whole, this server among them.
    /// Matters for [`Quorum::Majority`] only.
    pub known_members: Weight,
    /// What this server's own clock counts.
    pub own_weight: Weight,
    /// Whether this server carries the cluster's time.
    pub has_time: bool,
    /// The other servers that state that they carry it.
    pub with_time: ServerSet,
}

/// A change of a server's role or term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    /// It is active in this term: the active server was lost.
    TookOver(Term),
    /// It is active in this term: the active server has handed over to it.
    Succeeded(Term),
    /// It is active again in the term that it had.
    Resumed(Term),
    /// It goes on as the active server, in a higher term.
    Raised(Term),
    /// It has become a standby server that follows this term of another one.
    Yielded(Term),
    /// It has become a standby server: most members distrust it.
    Shunned,
    /// It has become a standby server: it hears too few members.
    LostQuorum,
    /// It follows another term, as a standby server.
    Followed(Term),
    /// It has become a standby server: it was stopped for so long that others may have taken over.
    Stalled,
}

/// The role of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerRole {
    rank: Rank,
    /// The length of the list of servers.
    servers: u8,
    quorum: Quorum,
    role: Role,
    /// To its own term while it is active; as a standby server to the term that it follows.
    allegiance: Allegiance,
    /// For how many turns the conditions of a takeover have held.
    waited: u8,
    /// For how many turns they have not held since.
    interrupted: u8,
    /// The servers that it has heard since it began.
    ever_heard: ServerSet,
    /// Most members distrusted it when it was active last.
    shunned: bool,
    /// The standby server in whose favour it resigns.
    successor: Option<Rank>,
    /// For how many turns it goes on naming the successor.
    handover_rounds: u8,
}

impl ServerRole {
    /// The role of a server that begins: its rank, the length of its list, and its quorum.
    pub fn new(rank: Rank, servers: u8, quorum: Quorum) -> ServerRole {
        let first = Term::NONE.next_for(rank).filter(|_| servers <= 1);
        ServerRole {
            rank,
            servers,
            quorum,
            role: if first.is_some() { Role::Active } else { Role::Standby },
            allegiance: Allegiance::to(first.unwrap_or(Term::NONE)),
            waited: 0,
            interrupted: 0,
            ever_heard: ServerSet::EMPTY,
            shunned: false,
            successor: None,
            handover_rounds: 0,
        }
    }

    /// What the server is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its own term while it is active, else the term that it follows.
    pub fn term(&self) -> Term {
        self.allegiance.term()
    }

    /// The standby server in whose favour it resigns; `None`: it does not.
    pub fn successor(&self) -> Option<Rank> {
        self.successor
    }

    /// What the server states to all others.
    pub fn statement(&self, servers: &HeardServers, distrusted: ServerSet) -> ServerStatement {
        let service = match self.role {
            Role::Active => Service::Served,
            Role::Standby => self.allegiance.service(servers, distrusted),
        };
        ServerStatement { role: self.role, term: self.term(), service, successor: self.successor }
    }

    /// Decides; to be called at each turn.
    pub fn handle_round(&mut self, around: &Surroundings<'_>) -> Option<RoleChange> {
        if self.is_alone() {
            return None;
        }
        self.ever_heard = self.ever_heard.union(around.servers.ranks());
        self.handover_rounds = self.handover_rounds.saturating_sub(1);
        if self.handover_rounds == 0 {
            self.successor = None;
        }
        let census = self.census(around);
        match self.role {
            Role::Active => self.active_round(around, &census),
            Role::Standby => self.standby_round(around, &census),
        }
    }

    /// Continues a handover: the successor becomes active, the server that has handed over follows it, and so
    /// do the other standby servers. To be called when a server's statement came, so that this does not wait
    /// for turns.
    pub fn handle_handover(&mut self, around: &Surroundings<'_>) -> Option<RoleChange> {
        if self.role == Role::Active {
            let successor = self.successor?;
            let ceiling = self.census(around).named_terms().ceiling(self.term());
            let is_next = |claimed: &Term| *claimed > self.term() && claimed.counter() <= ceiling;
            let claimed = around.servers.claim_of(successor).filter(is_next)?;
            return Some(self.become_standby(claimed, RoleChange::Yielded(claimed)));
        }
        if self.is_named_successor(around) {
            let term = self.next_term(&self.census(around))?;
            return Some(self.become_active(term, RoleChange::Succeeded));
        }
        // One that begins listens until its turn: the first server that it hears may be one that lies.
        if self.term().is_none() { None } else { self.follow_other_term(around) }
    }

    /// Whether the server that it follows resigns in its favour.
    fn is_named_successor(&self, around: &Surroundings<'_>) -> bool {
        let active = self.term().rank();
        let stated = active.and_then(|active| Some((active, around.servers.statement_of(active)?)));
        stated.is_some_and(|(active, stated)| {
            stated.successor == Some(self.rank) && stated.claim(active) == Some(self.term())
        })
    }

    /// As a standby server, follows another term if there is a better one.
    fn follow_other_term(&mut self, around: &Surroundings<'_>) -> Option<RoleChange> {
        let term = self.allegiance.choose(around.servers, around.distrusted)?;
        self.shunned = false;
        Some(RoleChange::Followed(term))
    }

    /// The active server is to end, or an operator wants another one to be active: it names a successor, the
    /// wanted one or else the best in rank of the standby servers that follow it. Returns the successor;
    /// `None`: this server is not active, there is none, or it has named another one and waits for that: two
    /// successors would both become active.
    ///
    /// Only the active server's own operator can cause that. If a standby server could ask for it, a lying
    /// one would.
    pub fn resign(&mut self, around: &Surroundings<'_>, wanted: Option<Rank>) -> Option<Rank> {
        if let Some(named) = self.successor {
            return wanted.is_none_or(|wanted| wanted == named).then_some(named);
        }
        let followers = around.servers.iter().filter(|(rank, stated)| {
            let follows = stated.term == self.term() && stated.service == Service::Served;
            stated.role == Role::Standby && follows && !around.distrusted.contains(*rank)
        });
        let candidates = followers.map(|(rank, _)| rank).filter(|rank| wanted.is_none_or(|it| it == *rank));
        // One that carries the time needs not learn it first.
        let successor = candidates.min_by_key(|rank| (!around.with_time.contains(*rank), *rank));
        let successor = successor.filter(|_| self.role == Role::Active)?;
        self.successor = Some(successor);
        self.handover_rounds = HANDOVER_ROUNDS;
        Some(successor)
    }

    /// This server has been stopped for longer than a lifetime. The caller forgets all statements.
    pub fn handle_stall(&mut self) {
        if !self.is_alone() {
            self.step_down(self.term());
        }
    }

    fn is_alone(&self) -> bool {
        self.servers <= 1
    }

    /// All members that are heard: clients, the other servers, and this one.
    fn census(&self, around: &Surroundings<'_>) -> Census {
        let mut census = around.clients.clone();
        around.servers.iter().for_each(|(_, stated)| census.note(stated.as_member(), Weight::ONE));
        let own = match self.role {
            Role::Active if around.distrusted.contains(self.rank) => Service::Distrusted,
            _ => self.statement(around.servers, around.distrusted).service,
        };
        census.note(MemberStatement { follows: self.term(), service: own }, around.own_weight);
        census
    }

    fn active_round(&mut self, around: &Surroundings<'_>, census: &Census) -> Option<RoleChange> {
        if let Some(change) = self.handle_handover(around) {
            return Some(change);
        }
        if census.distrusting(self.rank).is_majority_of(census.heard()) {
            self.shunned = true;
            return Some(self.become_standby(self.term(), RoleChange::Shunned));
        }
        if !self.has_quorum(around, census) {
            return Some(self.become_standby(self.term(), RoleChange::LostQuorum));
        }
        match Rivalry::of(self.rank, self.term(), census, around.distrusted) {
            Rivalry::Yield(term) => Some(self.become_standby(term, RoleChange::Yielded(term))),
            Rivalry::Raise(term) => {
                self.allegiance = Allegiance::to(term);
                Some(RoleChange::Raised(term))
            }
            Rivalry::None => None,
        }
    }

    fn standby_round(&mut self, around: &Surroundings<'_>, census: &Census) -> Option<RoleChange> {
        if let Some(change) = self.handle_handover(around).or_else(|| self.follow_other_term(around)) {
            self.interrupt_wait();
            return Some(change);
        }
        let served = self.allegiance.service(around.servers, around.distrusted) == Service::Served;
        let lost = census.members() >= 2 && census.lost().is_majority_of(census.heard());
        if served || !lost || !self.has_quorum(around, census) {
            self.interrupt_wait();
            return None;
        }
        self.interrupted = 0;
        if self.can_resume(census) {
            return Some(self.become_active(self.term(), RoleChange::Resumed));
        }
        if self.waited < self.rounds_to_wait(around) {
            self.waited += 1;
            return None;
        }
        let term = self.next_term(census)?;
        Some(self.become_active(term, RoleChange::TookOver))
    }

    /// The conditions of a takeover do not hold in this turn. If that lasts, a later wait begins anew.
    fn interrupt_wait(&mut self) {
        self.interrupted += 1;
        if self.waited == 0 || self.interrupted >= INTERRUPTED_TURNS {
            (self.waited, self.interrupted) = (0, 0);
        }
    }

    /// Whether the term that it had is still that of most members, and no member names a higher one.
    fn can_resume(&self, census: &Census) -> bool {
        let term = self.term();
        let followed = census.following(term).is_majority_of(census.heard());
        let is_own = term.rank() == Some(self.rank) && !self.shunned;
        is_own && followed && census.named_terms().highest(term) == term
    }

    /// How many turns it waits before it takes over: one for each server of a better rank that may do so in
    /// its place, because it is heard, or was never heard and may be beginning. The server that was lost is
    /// waited for only if it is heard: it has been stopped, and may go on.
    fn rounds_to_wait(&self, around: &Surroundings<'_>) -> u8 {
        let would_learn = !around.has_time && around.with_time != ServerSet::EMPTY;
        if self.shunned || would_learn {
            return self.servers;
        }
        let lost = self.term().rank();
        let may_come = |rank: &Rank| {
            let is_heard = around.servers.statement_of(*rank).is_some();
            let is_new = !self.ever_heard.contains(*rank) && Some(*rank) != lost;
            let is_ready = around.with_time.contains(*rank) || !around.has_time;
            (is_heard || is_new) && is_ready && !around.distrusted.contains(*rank)
        };
        let others = self.rank.better().chain(lost.filter(|rank| *rank > self.rank));
        others.filter(may_come).count() as u8
    }

    fn has_quorum(&self, around: &Surroundings<'_>, census: &Census) -> bool {
        self.quorum == Quorum::Any || census.heard().is_majority_of(around.known_members)
    }

    /// A term of its own that is higher than all plausible ones; `None`: the counters are exhausted.
    fn next_term(&self, census: &Census) -> Option<Term> {
        census.named_terms().highest(self.term()).next_for(self.rank)
    }

    fn become_active(&mut self, term: Term, change: fn(Term) -> RoleChange) -> RoleChange {
        self.role = Role::Active;
        self.allegiance = Allegiance::to(term);
        (self.waited, self.interrupted) = (0, 0);
        self.shunned = false;
        self.successor = None;
        change(term)
    }

    fn become_standby(&mut self, term: Term, change: RoleChange) -> RoleChange {
        self.step_down(term);
        change
    }

    fn step_down(&mut self, term: Term) {
        self.role = Role::Standby;
        self.allegiance = Allegiance::to(term);
        (self.waited, self.interrupted) = (0, 0);
        self.successor = None;
    }
}

/// For how many turns a successor is named: each of the two servers may miss a statement of the other.
const HANDOVER_ROUNDS: u8 = 3;
/// A wait that has been interrupted for so many turns, two intervals, is over.
const INTERRUPTED_TURNS: u8 = 4;

#[cfg(test)]
mod tests;

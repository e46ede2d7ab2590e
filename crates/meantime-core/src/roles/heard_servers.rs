//! The newest statement of each server that a node hears, and when it is forgotten.
//!
//! The caller passes on only statements that are newer than the last one of the same sender: the wire drops
//! datagrams that are repeated or out of order.

use alloc::vec::Vec;

use super::rank::{Rank, ServerSet};
use super::statement::ServerStatement;
use super::term::{NamedTerms, Term};
use crate::consensus::Weight;
use crate::time::{Monotonic, Span};

/// The newest statement of each server that a node hears; its own is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeardServers(Vec<HeardServer>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeardServer {
    rank: Rank,
    statement: ServerStatement,
    at: Monotonic,
}

impl HeardServers {
    /// A server has stated this.
    pub fn note(&mut self, rank: Rank, statement: ServerStatement, now: Monotonic) {
        let heard = HeardServer { rank, statement, at: now };
        match self.0.iter_mut().find(|each| each.rank == rank) {
            Some(before) => *before = heard,
            None => self.0.push(heard),
        }
    }

    /// Forgets all statements that are older than a lifetime.
    pub fn expire(&mut self, now: Monotonic, lifetime: Span) {
        self.0.retain(|heard| now - heard.at <= lifetime);
    }

    /// Forgets all statements: this node has been stopped for longer than a lifetime.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The newest statement of the server of this rank; `None`: it is not heard.
    pub fn statement_of(&self, rank: Rank) -> Option<ServerStatement> {
        self.0.iter().find(|heard| heard.rank == rank).map(|heard| heard.statement)
    }

    /// All servers that are heard, with their newest statements.
    pub fn iter(&self) -> impl Iterator<Item = (Rank, ServerStatement)> {
        self.0.iter().map(|heard| (heard.rank, heard.statement))
    }

    /// The servers that are heard.
    pub fn ranks(&self) -> ServerSet {
        self.0.iter().map(|heard| heard.rank).collect()
    }

    /// The term that the server of this rank claims; `None`: it is not heard as an active server.
    pub fn claim_of(&self, rank: Rank) -> Option<Term> {
        self.statement_of(rank)?.claim(rank)
    }

    /// All terms that servers claim which are heard as active.
    pub fn claims(&self) -> impl Iterator<Item = Term> {
        self.iter().filter_map(|(rank, statement)| statement.claim(rank))
    }

    /// Whether the same servers are heard, with the same statements, whenever they came.
    pub fn says_the_same_as(&self, other: &HeardServers) -> bool {
        self.0.len() == other.0.len()
            && self.iter().all(|(rank, statement)| other.statement_of(rank) == Some(statement))
    }

    /// How many of the servers name this term: the active one, and those that follow it.
    pub fn naming(&self, term: Term) -> usize {
        self.iter().filter(|(_, statement)| statement.term == term).count()
    }

    /// Whether more than half of the servers that are heard name this term.
    pub fn majority_names(&self, term: Term) -> bool {
        2 * self.naming(term) > self.0.len()
    }

    /// All terms that the servers name.
    pub fn named_terms(&self) -> NamedTerms {
        let mut named = NamedTerms::default();
        for (_, statement) in self.iter() {
            named.note(statement.term, Weight::ONE);
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::{Role, Service};
    use super::*;

    fn rank(place: u8) -> Rank {
        Rank::new(place).unwrap()
    }

    fn stated(role: Role, term: Option<Term>) -> ServerStatement {
        let term = term.unwrap_or(Term::NONE);
        ServerStatement { role, term, service: Service::Served, successor: None }
    }

    #[test]
    fn a_newer_statement_replaces_an_older_one_and_an_old_one_is_forgotten() {
        let (mut heard, lifetime) = (HeardServers::default(), Span::from_secs(17));
        let at = |s| Monotonic::from_nanos(0) + Span::from_secs(s);
        let (first, second) = (stated(Role::Standby, None), stated(Role::Active, Term::new(1, rank(0))));
        heard.note(rank(0), first, at(0));
        heard.note(rank(0), second, at(5));
        assert_eq!(heard.statement_of(rank(0)), Some(second));
        heard.expire(at(22), lifetime);
        assert_eq!(heard.claim_of(rank(0)), Term::new(1, rank(0)), "a lifetime, and no longer");
        heard.expire(at(23), lifetime);
        assert_eq!(heard, HeardServers::default());
    }

    #[test]
    fn the_active_server_and_those_that_follow_it_name_its_term() {
        let (mut heard, now) = (HeardServers::default(), Monotonic::from_nanos(0));
        let term = Term::new(3, rank(1));
        heard.note(rank(1), stated(Role::Active, term), now);
        heard.note(rank(2), stated(Role::Standby, term), now);
        heard.note(rank(0), stated(Role::Active, Term::new(2, rank(0))), now);
        assert_eq!(heard.naming(term.unwrap()), 2);
        assert!(heard.majority_names(term.unwrap()));
        assert_eq!(heard.claims().max(), term);
        assert_eq!(heard.ranks(), ServerSet::from_iter([rank(0), rank(1), rank(2)]));
        assert_eq!(heard.named_terms().highest(Term::NONE), term.unwrap());
        heard.clear();
        assert!(!heard.majority_names(term.unwrap()), "no server names it");
    }
}

//! The newest statement of each server that a node hears.
//!
//! The caller passes on only statements that are newer than the last one of the same sender, and not older
//! than a lifetime.

use alloc::vec::Vec;

use super::rank::{Rank, ServerSet};
use super::statement::ServerStatement;
use super::term::{NamedTerms, Term};
use crate::consensus::Weight;

/// The newest statement of each server that a node hears; its own is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeardServers(Vec<(Rank, ServerStatement)>);

impl HeardServers {
    /// A server has stated this.
    pub fn note(&mut self, rank: Rank, statement: ServerStatement) {
        match self.0.iter_mut().find(|(of, _)| *of == rank) {
            Some((_, before)) => *before = statement,
            None => self.0.push((rank, statement)),
        }
    }

    /// The newest statement of the server of this rank; `None`: it is not heard.
    pub fn statement_of(&self, rank: Rank) -> Option<ServerStatement> {
        self.0.iter().find(|(of, _)| *of == rank).map(|(_, statement)| *statement)
    }

    /// All servers that are heard, with their newest statements.
    pub fn iter(&self) -> impl Iterator<Item = (Rank, ServerStatement)> {
        self.0.iter().copied()
    }

    /// The servers that are heard.
    pub fn ranks(&self) -> ServerSet {
        self.0.iter().map(|(rank, _)| *rank).collect()
    }

    /// The term that the server of this rank claims; `None`: it is not heard as an active server.
    pub fn claim_of(&self, rank: Rank) -> Option<Term> {
        self.statement_of(rank)?.claim(rank)
    }

    /// All terms that servers claim which are heard as active.
    pub fn claims(&self) -> impl Iterator<Item = Term> {
        self.iter().filter_map(|(rank, statement)| statement.claim(rank))
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
    fn a_newer_statement_replaces_an_older_one() {
        let mut heard = HeardServers::default();
        let (first, second) = (stated(Role::Standby, None), stated(Role::Active, Term::new(1, rank(0))));
        heard.note(rank(0), first);
        heard.note(rank(0), second);
        assert_eq!(heard.iter().collect::<Vec<_>>(), [(rank(0), second)]);
        assert_eq!(heard.claim_of(rank(0)), Term::new(1, rank(0)));
    }

    #[test]
    fn the_active_server_and_those_that_follow_it_name_its_term() {
        let mut heard = HeardServers::default();
        let term = Term::new(3, rank(1));
        heard.note(rank(1), stated(Role::Active, term));
        heard.note(rank(2), stated(Role::Standby, term));
        heard.note(rank(0), stated(Role::Active, Term::new(2, rank(0))));
        assert_eq!(heard.naming(term.unwrap()), 2);
        assert!(heard.majority_names(term.unwrap()));
        assert_eq!(heard.claims().max(), term);
        assert_eq!(heard.ranks(), ServerSet::from_iter([rank(0), rank(1), rank(2)]));
        assert_eq!(heard.named_terms().highest(Term::NONE), term.unwrap());
        assert!(!HeardServers::default().majority_names(term.unwrap()), "no server names it");
    }
}

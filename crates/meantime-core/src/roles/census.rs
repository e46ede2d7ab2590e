//! What the members that a server hears state, counted.
//!
//! Each server counts for itself, from the members' own statements. What another server says of the number of
//! its members does not count: a liar would say any.

use alloc::collections::BTreeMap;

use super::rank::Rank;
use super::statement::{MemberStatement, Service};
use super::term::{NamedTerms, Term};
use crate::consensus::Weight;

/// The members that are heard, by what they state. Its size is limited by the number of members.
///
/// As in the vote about the time, a member counts what its machine has of votes, so many processes on one
/// machine do not outvote others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<MemberStatement, Tally>);

/// Members that state the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    members: u32,
    weight: Weight,
}

impl Census {
    /// A member that counts so much states this.
    pub fn note(&mut self, statement: MemberStatement, weight: Weight) {
        let tally = self.0.entry(statement).or_default();
        tally.members += 1;
        tally.weight += weight;
    }

    /// How many members are heard.
    pub fn members(&self) -> u32 {
        self.0.values().map(|tally| tally.members).sum()
    }

    /// What all members count that are heard.
    pub fn heard(&self) -> Weight {
        self.count(|_| true)
    }

    /// What those count that have lost the server that they follow, or distrust it.
    pub fn lost(&self) -> Weight {
        self.count(|member| member.service != Service::Served)
    }

    /// The terms in which members are served, each once, with what those count.
    pub fn served(&self) -> impl Iterator<Item = (Term, Weight)> {
        let served = self.0.iter().filter(|(member, _)| member.service == Service::Served);
        served.map(|(member, tally)| (member.follows, tally.weight))
    }

    /// What those count that are served by the server of this rank, in any of its terms: what the sums of
    /// [`Rivalry`](super::rivalry::Rivalry) are compared with.
    #[cfg(test)]
    pub fn served_by(&self, rank: Rank) -> Weight {
        self.count(|member| member.follows.rank() == Some(rank) && member.service == Service::Served)
    }

    /// What those count that follow this term and do not distrust its server, whether they hear it or not.
    pub fn following(&self, term: Term) -> Weight {
        self.count(|member| member.follows == term && member.service != Service::Distrusted)
    }

    /// What those count that follow the server of this rank and distrust it.
    pub fn distrusting(&self, rank: Rank) -> Weight {
        self.count(|member| member.follows.rank() == Some(rank) && member.service == Service::Distrusted)
    }

    /// The terms that the members follow, or have followed last, each with what they count. A term comes once
    /// for each way in which its members are served.
    pub fn terms(&self) -> impl Iterator<Item = (Term, Weight)> {
        self.0.iter().map(|(member, tally)| (member.follows, tally.weight))
    }

    /// All terms that the members name.
    pub fn named_terms(&self) -> NamedTerms {
        let mut named = NamedTerms::default();
        self.terms().for_each(|(term, weight)| named.note(term, weight));
        named
    }

    fn count(&self, of: impl Fn(&MemberStatement) -> bool) -> Weight {
        self.0.iter().filter(|(member, _)| of(member)).map(|(_, tally)| tally.weight).sum()
    }
}

/// Members that have a vote each.
impl FromIterator<MemberStatement> for Census {
    fn from_iter<I: IntoIterator<Item = MemberStatement>>(statements: I) -> Census {
        let mut census = Census::default();
        statements.into_iter().for_each(|statement| census.note(statement, Weight::ONE));
        census
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn members_are_counted_by_what_they_state() {
        let rank = Rank::new(1).unwrap();
        let (old, new) = (Term::new(1, rank).unwrap(), Term::new(2, rank).unwrap());
        let census: Census = [
            (old, Service::Served),
            (new, Service::Served),
            (new, Service::Served),
            (new, Service::Lost),
            (new, Service::Distrusted),
            (Term::NONE, Service::Lost),
        ]
        .into_iter()
        .map(|(follows, service)| MemberStatement { follows, service })
        .collect();
        let votes = |weight: Weight| weight.as_f64() as u32;
        assert_eq!((census.members(), votes(census.heard()), votes(census.lost())), (6, 6, 3));
        let served: Vec<(Term, u32)> = census.served().map(|(term, weight)| (term, votes(weight))).collect();
        assert_eq!((served, votes(census.served_by(rank))), (vec![(old, 1), (new, 2)], 3));
        assert_eq!((votes(census.following(new)), votes(census.distrusting(rank))), (3, 1));
        let of_new = census.terms().filter(|(term, _)| *term == new);
        assert_eq!(votes(of_new.map(|(_, weight)| weight).sum()), 4);
    }
}

//! What the members that a server hears state, counted.
//!
//! Each server counts for itself, from the members' own statements. What another server says of the number of
//! its members does not count: a liar would say any.

use alloc::collections::BTreeMap;

use super::rank::Rank;
use super::statement::{MemberStatement, Service};
use super::term::{NamedTerms, Term};

/// The members that are heard, by what they state. Its size is limited by the number of members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<MemberStatement, u32>);

impl Census {
    /// A member states this.
    pub fn note(&mut self, statement: MemberStatement) {
        *self.0.entry(statement).or_default() += 1;
    }

    /// How many members are heard.
    pub fn heard(&self) -> u32 {
        self.count(|_| true)
    }

    /// How many of them have lost the server that they follow, or distrust it.
    pub fn lost(&self) -> u32 {
        self.count(|member| member.service != Service::Served)
    }

    /// How many of them are served in this term.
    pub fn served_in(&self, term: Term) -> u32 {
        self.count(|member| member.follows == term && member.service == Service::Served)
    }

    /// How many of them are served by the server of this rank, in any of its terms.
    pub fn served_by(&self, rank: Rank) -> u32 {
        self.count(|member| member.follows.rank() == Some(rank) && member.service == Service::Served)
    }

    /// How many of them follow this term and do not distrust its server, whether they hear it or not.
    pub fn following(&self, term: Term) -> u32 {
        self.count(|member| member.follows == term && member.service != Service::Distrusted)
    }

    /// How many of them follow the server of this rank and distrust it.
    pub fn distrusting(&self, rank: Rank) -> u32 {
        self.count(|member| member.follows.rank() == Some(rank) && member.service == Service::Distrusted)
    }

    /// The terms that the members follow, or have followed last, each with a number of members. A term comes
    /// once for each way in which its members are served.
    pub fn terms(&self) -> impl Iterator<Item = (Term, u32)> {
        self.0.iter().map(|(member, count)| (member.follows, *count))
    }

    /// All terms that the members name.
    pub fn named_terms(&self) -> NamedTerms {
        let mut named = NamedTerms::default();
        self.terms().for_each(|(term, members)| named.note(term, members));
        named
    }

    fn count(&self, of: impl Fn(&MemberStatement) -> bool) -> u32 {
        self.0.iter().filter(|(member, _)| of(member)).map(|(_, count)| count).sum()
    }
}

impl FromIterator<MemberStatement> for Census {
    fn from_iter<I: IntoIterator<Item = MemberStatement>>(statements: I) -> Census {
        let mut census = Census::default();
        statements.into_iter().for_each(|statement| census.note(statement));
        census
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!((census.heard(), census.lost()), (6, 3));
        assert_eq!((census.served_in(new), census.served_by(rank)), (2, 3));
        assert_eq!((census.following(new), census.distrusting(rank)), (3, 1));
        assert_eq!(census.terms().filter(|(term, _)| *term == new).map(|(_, count)| count).sum::<u32>(), 4);
    }
}

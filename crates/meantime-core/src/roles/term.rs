//! Terms, and which of the terms that other nodes name are plausible.
//!
//! A term is the time of one active server between two takeovers, and a number that orders them: a counter in
//! the upper 56 bits, and in the lower 8 the rank of the server that claims the term. So two servers never
//! claim the same term, whatever they know of each other.
//!
//! Nodes go to higher terms only. A single false statement of the highest term of all would therefore end all
//! takeovers. An honest server raises the counter by one, and at most once a turn. So a term is plausible if
//! its counter is at most [`MAX_LEAP`] above a counter that is known to be right. That is the node's own, or
//! the median of all that are named, whichever is higher: the median, of an even number the lower one, is not
//! above what an honest node has named as long as at least half of the nodes that name a term are honest. The
//! node's own term counts among them, so that a single other node leads it no farther than that. A node that
//! has just begun has only what others name: with two servers it follows the lower one; if it hears a single
//! server, it has to believe that one.

use alloc::vec::Vec;
use core::fmt;

use super::rank::Rank;
use crate::consensus::Weight;

/// A term: a counter, and the rank of the server that claims it. [`Term::NONE`] is below all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

impl Term {
    /// No term: the node has followed no server yet.
    pub const NONE: Term = Term(0);

    /// A term of the server of this rank; `None` if the counter is zero or greater than [`MAX_COUNTER`].
    pub fn new(counter: u64, rank: Rank) -> Option<Term> {
        (1..=MAX_COUNTER).contains(&counter).then(|| Term((counter << RANK_BITS) | u64::from(rank.place())))
    }

    /// The term with these bits, zero for [`Term::NONE`]; `None`: they are no term.
    pub fn from_bits(bits: u64) -> Option<Term> {
        let term = Term(bits);
        (term.is_none() || (term.counter() > 0 && term.rank().is_some())).then_some(term)
    }

    /// The bits of the term: the counter in the upper 56, the rank in the lower 8.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The counter; zero for [`Term::NONE`] only.
    pub fn counter(self) -> u64 {
        self.0 >> RANK_BITS
    }

    /// The rank of the server that claims the term; `None` for [`Term::NONE`].
    pub fn rank(self) -> Option<Rank> {
        if self.is_none() { None } else { Rank::new((self.0 & RANK_MASK) as u8) }
    }

    /// Whether this is no term.
    pub fn is_none(self) -> bool {
        self == Term::NONE
    }

    /// The term with the next counter, of the server of this rank; `None`: the counters are exhausted.
    pub fn next_for(self, rank: Rank) -> Option<Term> {
        Term::new(self.counter() + 1, rank)
    }
}

/// Prints the counter and the place of the server in the list, counted from zero: `7 of server 2`.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rank() {
            Some(rank) => write!(f, "{} of server {}", self.counter(), rank.place()),
            None => f.write_str("none"),
        }
    }
}

/// The terms that other nodes name, each with what the nodes count that name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedTerms(Vec<(Term, Weight)>);

impl NamedTerms {
    /// Nodes that count so much name this term. [`Term::NONE`] does not count.
    pub fn note(&mut self, term: Term, weight: Weight) {
        if !term.is_none() {
            self.0.push((term, weight));
        }
    }

    /// The highest counter that a node which knows the term `known` takes from others.
    pub fn ceiling(&self, known: Term) -> u64 {
        let mut named = self.clone();
        named.note(known, Weight::ONE);
        known.counter().max(named.median_counter()).saturating_add(MAX_LEAP)
    }

    /// The highest plausible term, `known` among them.
    pub fn highest(&self, known: Term) -> Term {
        let ceiling = self.ceiling(known);
        let named = self.0.iter().map(|(term, _)| *term).filter(|term| term.counter() <= ceiling);
        named.fold(known, Term::max)
    }

    /// The counter that at least half of the nodes do not exceed, the lowest such; zero if none is named.
    fn median_counter(mut self) -> u64 {
        let named = &mut self.0;
        named.sort_unstable();
        let total: Weight = named.iter().map(|(_, weight)| *weight).sum();
        let mut below = Weight::ZERO;
        let median = named.iter().find(|(_, weight)| {
            below += *weight;
            below.is_half_of(total)
        });
        median.map_or(0, |(term, _)| term.counter())
    }
}

/// The highest counter of a term.
pub const MAX_COUNTER: u64 = u64::MAX >> RANK_BITS;

/// By how much a counter may exceed one that is known to be right. A part of a cluster that raises its term
/// each second needs half a year for so many, and a liar that makes honest servers raise their counters by as
/// much in each second needs more than a hundred years to exhaust them.
pub const MAX_LEAP: u64 = 1 << 24;

const RANK_BITS: u32 = 8;
const RANK_MASK: u64 = (1 << RANK_BITS) - 1;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use proptest::prelude::*;

    use super::*;

    fn term(counter: u64, place: u8) -> Term {
        Term::new(counter, Rank::new(place).unwrap()).unwrap()
    }

    #[test]
    fn a_higher_counter_is_a_higher_term_and_ranks_tell_terms_apart() {
        assert!(Term::NONE < term(1, 0));
        assert!(term(1, 0) < term(1, 1));
        assert!(term(1, 14) < term(2, 0));
        assert_eq!(Term::NONE.next_for(Rank::new(2).unwrap()), Some(term(1, 2)));
        assert_eq!(term(MAX_COUNTER, 0).next_for(Rank::new(0).unwrap()), None);
    }

    #[test]
    fn bits_that_are_no_term_are_refused() {
        assert_eq!(Term::from_bits(0), Some(Term::NONE));
        assert_eq!(Term::from_bits(3), None, "a rank without a counter");
        assert_eq!(Term::from_bits(0x10f), None, "no list has a place 15");
        assert_eq!(Term::from_bits(0x102), Some(term(1, 2)));
    }

    #[test]
    fn a_term_prints_its_counter_and_its_server() {
        assert_eq!(term(7, 2).to_string(), "7 of server 2");
        assert_eq!(Term::NONE.to_string(), "none");
    }

    #[test]
    fn a_single_liar_cannot_exhaust_the_counters() {
        let mut named = NamedTerms::default();
        named.note(term(5, 1), Weight::votes(1));
        named.note(term(MAX_COUNTER, 2), Weight::votes(1));
        assert_eq!(named.highest(Term::NONE), term(5, 1), "the lower one of two");
        assert_eq!(named.highest(term(6, 0)), term(6, 0));
        named.note(term(5 + MAX_LEAP, 2), Weight::votes(1));
        assert_eq!(named.highest(term(4, 0)), term(5 + MAX_LEAP, 2));
    }

    #[test]
    fn a_node_that_was_away_for_long_believes_the_median() {
        let mut named = NamedTerms::default();
        named.note(term(MAX_LEAP * 9, 1), Weight::votes(2));
        named.note(term(MAX_LEAP * 10 + 1, 2), Weight::votes(1));
        assert_eq!(named.highest(term(1, 0)), term(MAX_LEAP * 9, 1));
    }

    #[test]
    fn a_node_with_a_term_does_not_believe_a_single_other_one_that_is_far_ahead() {
        let mut named = NamedTerms::default();
        named.note(term(MAX_COUNTER, 1), Weight::ONE);
        assert_eq!(named.highest(term(4, 0)), term(4, 0));
        named.note(term(MAX_COUNTER - 1, 2), Weight::ONE);
        assert_eq!(named.highest(term(4, 0)), term(MAX_COUNTER, 1), "two of three nodes name it");
    }

    proptest! {
        #[test]
        fn bits_and_terms_are_inverse(bits: u64) {
            if let Some(term) = Term::from_bits(bits) {
                prop_assert_eq!(term.bits(), bits);
                let again = term.rank().and_then(|rank| Term::new(term.counter(), rank));
                prop_assert_eq!(again.unwrap_or(Term::NONE), term);
            }
        }

        #[test]
        fn fewer_liars_than_others_never_lead_farther_than_a_leap(
            honest in prop::collection::vec(1u64..1_000, 1..6),
            lies in prop::collection::vec(1u64..=MAX_COUNTER, 0..6),
        ) {
            let mut named = NamedTerms::default();
            for counter in &honest {
                named.note(term(*counter, 0), Weight::votes(1));
            }
            for lie in lies.iter().take(honest.len()) {
                named.note(term(*lie, 1), Weight::votes(1));
            }
            let highest = named.highest(Term::NONE);
            prop_assert!(highest.counter() <= honest.iter().max().unwrap() + MAX_LEAP, "{}", highest);
        }
    }
}

//! What an active server does about terms that are higher than its own.
//!
//! Several servers may be active at a time: two took over at the same time, or a network that was cut in two
//! has become one again. Of two active servers only the one with the lower term acts, so they never step down
//! both. It counts the members that it hears itself. If at least as many are served by the other one, it
//! yields. Else it raises its own term above the other's; then the other one has the lower term, and yields.
//! So the server with more members stays, and every member goes to a higher term.
//!
//! Members may also name a higher term whose server is gone. They could not follow this server, so it raises
//! its term for them too.

use super::census::Census;
use super::rank::{MAX_SERVERS, Rank, ServerSet};
use super::term::Term;
use crate::consensus::Weight;

/// What an active server does about higher terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rivalry {
    /// There is none: it goes on.
    None,
    /// It becomes a standby server that follows this term.
    Yield(Term),
    /// It goes on in this term, which is higher than all others.
    Raise(Term),
}

impl Rivalry {
    /// What the server of this rank, active in this term, does. The census contains the server itself and all
    /// other servers that it hears.
    pub(super) fn of(rank: Rank, term: Term, census: &Census, distrusted: ServerSet) -> Rivalry {
        let named = census.named_terms();
        let (highest, ceiling) = (named.highest(term), named.ceiling(term));
        if highest == term {
            return Rivalry::None;
        }
        // Clients may state as many terms as there are clients: each is looked at once.
        let mut served_by = [Weight::ZERO; MAX_SERVERS as usize];
        for (of, weight) in census.served().filter_map(|(other, weight)| Some((other.rank()?, weight))) {
            served_by[usize::from(of.place())] += weight;
        }
        let served_by = |of: Rank| served_by[usize::from(of.place())];
        let rival = census
            .served()
            .filter(|(other, weight)| *other > term && other.counter() <= ceiling && *weight > Weight::ZERO)
            .filter_map(|(other, _)| Some((other.rank().filter(|of| *of != rank)?, other)))
            .filter(|(of, _)| !distrusted.contains(*of))
            .map(|(of, other)| (served_by(of), other))
            .max();
        match rival {
            Some((served, other)) if served >= served_by(rank) => Rivalry::Yield(other),
            _ => highest.next_for(rank).map_or(Rivalry::None, Rivalry::Raise),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::{MemberStatement, Service};
    use super::super::term::MAX_LEAP;
    use super::*;

    fn rank(place: u8) -> Rank {
        Rank::new(place).unwrap()
    }

    fn term(counter: u64, place: u8) -> Term {
        Term::new(counter, rank(place)).unwrap()
    }

    /// What the server of rank 0, active in the term 3, does if so many members state this.
    fn judged(members: &[(Term, Service, usize)]) -> Rivalry {
        let census = members.iter().flat_map(|(follows, service, count)| {
            let statement = MemberStatement { follows: *follows, service: *service };
            core::iter::repeat_n(statement, *count)
        });
        Rivalry::of(rank(0), term(3, 0), &census.collect(), ServerSet::EMPTY)
    }

    use Service::{Lost, Served};

    #[test]
    fn a_server_that_hears_no_higher_term_goes_on() {
        assert_eq!(judged(&[(term(3, 0), Served, 2), (term(2, 1), Served, 9)]), Rivalry::None);
    }

    #[test]
    fn the_server_with_more_members_stays() {
        let (own, other) = (term(3, 0), term(5, 1));
        assert_eq!(judged(&[(own, Served, 3), (other, Served, 2)]), Rivalry::Raise(term(6, 0)));
        assert_eq!(judged(&[(own, Served, 2), (other, Served, 3)]), Rivalry::Yield(other));
        assert_eq!(judged(&[(own, Served, 2), (other, Served, 2)]), Rivalry::Yield(other), "the higher term");
    }

    #[test]
    fn members_of_all_terms_of_a_server_count_for_it() {
        let members = [(term(3, 0), Served, 1), (term(2, 0), Served, 1)];
        assert_eq!(judged(&[members[0], members[1], (term(5, 1), Served, 1)]), Rivalry::Raise(term(6, 0)));
        let rival = [(term(2, 1), Served, 1), (term(5, 1), Served, 1)];
        assert_eq!(judged(&[members[0], members[1], rival[0], rival[1]]), Rivalry::Yield(term(5, 1)));
    }

    #[test]
    fn a_server_does_not_yield_to_one_that_serves_no_member() {
        let (own, gone) = (term(3, 0), term(5, 1));
        assert_eq!(judged(&[(own, Served, 1), (gone, Lost, 3)]), Rivalry::Raise(term(6, 0)));
        assert_eq!(judged(&[(own, Served, 1), (term(4, 0), Lost, 3)]), Rivalry::Raise(term(5, 0)));
    }

    #[test]
    fn an_implausible_term_changes_nothing() {
        let far = term(4 + MAX_LEAP, 1);
        assert_eq!(judged(&[(term(3, 0), Served, 2), (far, Served, 1)]), Rivalry::None);
    }

    #[test]
    fn a_server_does_not_yield_to_a_distrusted_one() {
        let statement = |follows| MemberStatement { follows, service: Served };
        let census = [statement(term(3, 0)), statement(term(5, 1)), statement(term(5, 1))];
        let distrusted = [rank(1)].into_iter().collect();
        let rivalry = Rivalry::of(rank(0), term(3, 0), &census.into_iter().collect(), distrusted);
        assert_eq!(rivalry, Rivalry::Raise(term(6, 0)));
    }
}

//! Which active server a client follows. A standby server chooses likewise, since it is a member as well.
//!
//! A client follows one server at a time. It goes to higher terms only, so it never returns to a server that
//! was replaced without its knowledge. It leaves a server that serves it only for that server's next term,
//! for the successor that it names, or for a term that more than half of all servers that it hears name:
//! another server that lies cannot take it away.

use super::heard_servers::HeardServers;
use super::rank::ServerSet;
use super::statement::{MemberStatement, Service};
use super::term::Term;

/// The term that a client or a standby server follows, or has followed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Allegiance {
    term: Term,
}

impl Allegiance {
    /// That to a term which is known already.
    pub fn to(term: Term) -> Allegiance {
        Allegiance { term }
    }

    /// The term that is followed, or was followed last; [`Term::NONE`]: none ever.
    pub fn term(&self) -> Term {
        self.term
    }

    /// How the member is served by the server that it follows.
    pub fn service(&self, heard: &HeardServers, distrusted: ServerSet) -> Service {
        match self.term.rank() {
            None => Service::Lost,
            Some(rank) if distrusted.contains(rank) => Service::Distrusted,
            Some(rank) if heard.claim_of(rank) >= Some(self.term) => Service::Served,
            Some(_) => Service::Lost,
        }
    }

    /// What the member states.
    pub fn statement(&self, heard: &HeardServers, distrusted: ServerSet) -> MemberStatement {
        MemberStatement { follows: self.term, service: self.service(heard, distrusted) }
    }

    /// Goes to another term if there is a better one; returns it. To be called whenever a statement of a
    /// server came or was forgotten.
    ///
    /// Candidates are the terms that servers claim, higher than the one that is followed and plausible, but
    /// no distrusted server's. One that serves the member is left only for its own next term, for one of the
    /// successor that it names, or for one that more than half of the heard servers name. Of several
    /// candidates the followed server's next term is taken, else the one that most servers name, else the
    /// highest.
    pub fn choose(&mut self, heard: &HeardServers, distrusted: ServerSet) -> Option<Term> {
        let ceiling = heard.named_terms().ceiling(self.term);
        let served = self.service(heard, distrusted) == Service::Served;
        let is_next = |term: &Term| served && term.rank() == self.term.rank();
        let followed = self.term.rank().and_then(|rank| heard.statement_of(rank));
        let successor = followed.and_then(|stated| stated.successor);
        let is_named = |term: &Term| successor.is_some() && term.rank() == successor;
        let chosen = heard
            .claims()
            .filter(|term| *term > self.term && term.counter() <= ceiling)
            .filter(|term| !term.rank().is_some_and(|rank| distrusted.contains(rank)))
            .filter(|term| !served || is_next(term) || is_named(term) || heard.majority_names(*term))
            .max_by_key(|term| (is_next(term), heard.naming(*term), *term))?;
        self.term = chosen;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rank::Rank;
    use super::super::statement::{Role, ServerStatement};
    use super::super::term::{MAX_COUNTER, MAX_LEAP};
    use super::*;

    fn rank(place: u8) -> Rank {
        Rank::new(place).unwrap()
    }

    fn term(counter: u64, place: u8) -> Term {
        Term::new(counter, rank(place)).unwrap()
    }

    /// What servers state: rank, role and term of each.
    fn heard(statements: &[(u8, Role, Term)]) -> HeardServers {
        let mut heard = HeardServers::default();
        for (place, role, term) in statements {
            let (role, term, service) = (*role, *term, Service::Served);
            let statement = ServerStatement { role, term, service, successor: None };
            heard.note(rank(*place), statement);
        }
        heard
    }

    /// The term that a client which follows `term` follows next.
    fn next(follows: Term, statements: &[(u8, Role, Term)]) -> Term {
        let mut allegiance = Allegiance::to(follows);
        allegiance.choose(&heard(statements), ServerSet::EMPTY);
        allegiance.term()
    }

    use Role::{Active, Standby};

    #[test]
    fn a_new_client_follows_the_active_server() {
        let (one, none) = (term(1, 0), Term::NONE);
        assert_eq!(next(none, &[(0, Active, one), (1, Standby, one), (2, Standby, none)]), one);
        assert_eq!(next(none, &[(1, Standby, one)]), none, "the active server itself is not heard");
    }

    #[test]
    fn of_several_active_servers_a_client_takes_the_one_that_most_name() {
        let (low, high) = (term(1, 0), term(5, 2));
        assert_eq!(next(Term::NONE, &[(0, Active, low), (1, Standby, low), (2, Active, high)]), low);
        assert_eq!(next(Term::NONE, &[(0, Active, low), (2, Active, high)]), high);
    }

    #[test]
    fn a_served_client_leaves_only_for_a_term_that_a_majority_names() {
        let (old, new) = (term(1, 0), term(2, 1));
        let active = (0, Active, old);
        assert_eq!(next(old, &[active, (1, Active, new), (2, Standby, old)]), old);
        assert_eq!(next(old, &[active, (1, Active, new)]), old, "one of two is not more than half");
        assert_eq!(next(old, &[active, (1, Active, new), (2, Standby, new)]), new);
    }

    #[test]
    fn a_served_client_goes_to_the_successor_that_its_server_names() {
        let (old, new) = (term(1, 0), term(2, 1));
        for (successor, follows) in [(None, old), (Some(rank(2)), old), (Some(rank(1)), new)] {
            let mut heard = heard(&[(1, Active, new), (2, Standby, old)]);
            let statement = ServerStatement { role: Active, term: old, service: Service::Served, successor };
            heard.note(rank(0), statement);
            let mut allegiance = Allegiance::to(old);
            allegiance.choose(&heard, ServerSet::EMPTY);
            assert_eq!(allegiance.term(), follows, "{successor:?}");
        }
    }

    #[test]
    fn a_client_whose_server_is_silent_or_steps_down_goes_to_the_active_one() {
        let (old, new) = (term(1, 0), term(2, 1));
        assert_eq!(next(old, &[(1, Active, new), (2, Standby, old)]), new);
        assert_eq!(next(old, &[(0, Standby, new), (1, Active, new), (2, Standby, old)]), new);
    }

    #[test]
    fn a_client_takes_the_next_term_of_its_server_and_no_lower_one() {
        let (old, raised) = (term(3, 0), term(4, 0));
        assert_eq!(next(old, &[(0, Active, raised), (1, Active, term(5, 1))]), raised);
        assert_eq!(next(old, &[(0, Active, term(2, 0)), (1, Active, term(2, 1))]), old);
    }

    #[test]
    fn a_distrusted_server_is_no_candidate_and_does_not_serve() {
        let statements = heard(&[(0, Active, term(3, 0)), (1, Active, term(2, 1))]);
        let distrusted: ServerSet = [rank(0)].into_iter().collect();
        let mut allegiance = Allegiance::to(term(1, 0));
        let stated = allegiance.statement(&statements, distrusted);
        assert_eq!(stated, MemberStatement { follows: term(1, 0), service: Service::Distrusted });
        assert_eq!(allegiance.choose(&statements, distrusted), Some(term(2, 1)));
        assert_eq!(allegiance.service(&statements, distrusted), Service::Served);
    }

    #[test]
    fn a_leap_of_the_counter_is_not_followed() {
        let (old, far) = (term(1, 0), term(2 + MAX_LEAP, 1));
        assert_eq!(next(old, &[(1, Active, far), (2, Standby, old)]), old);
        assert_eq!(next(old, &[(1, Active, far), (2, Standby, far)]), far, "two of two name it");
    }

    fn statements() -> impl Strategy<Value = [(u8, Role, Term); 3]> {
        let one = |place: u8| {
            (prop::bool::ANY, 1u64..6, 0u8..3).prop_map(move |(active, counter, of)| match active {
                true => (place, Active, term(counter, place)),
                false => (place, Standby, term(counter, of)),
            })
        };
        (one(0), one(1), one(2)).prop_map(|(a, b, c)| [a, b, c])
    }

    proptest! {
        #[test]
        fn a_clients_term_never_decreases(
            all in prop::collection::vec((statements(), 0u8..8, 0usize..4), 1..30)
        ) {
            let mut allegiance = Allegiance::default();
            for (statements, distrusted, count) in all {
                let distrusted: ServerSet =
                    (0..3).filter(|&place| distrusted & (1 << place) != 0).map(rank).collect();
                let (before, statements) = (allegiance.term(), heard(&statements[..count]));
                let moved = allegiance.choose(&statements, distrusted);
                prop_assert!(allegiance.term() >= before);
                prop_assert_eq!(moved.is_some(), allegiance.term() > before);
                if let Some(server) = moved.and_then(Term::rank) {
                    prop_assert!(!distrusted.contains(server));
                    prop_assert_eq!(allegiance.service(&statements, distrusted), Service::Served);
                }
            }
        }

        #[test]
        fn one_liar_among_three_takes_no_served_client_away(
            counter in 1u64..=MAX_COUNTER,
            active: bool,
            named in 0u8..3,
        ) {
            let own = term(7, 0);
            let lie = match active {
                true => (2, Active, term(counter, 2)),
                false => (2, Standby, term(counter, named)),
            };
            prop_assert_eq!(next(own, &[(0, Active, own), (1, Standby, own), lie]), own);
        }
    }
}

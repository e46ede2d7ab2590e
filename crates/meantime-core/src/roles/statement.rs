//! What servers and members state to one another.
//!
//! A statement is the sender's whole current state. It is repeated, and a newer one replaces an older one, so
//! the loss of one changes nothing that the next one does not repair.

use super::rank::Rank;
use super::term::Term;

/// What a server is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It measures and corrects the members that follow its term.
    Active,
    /// It is a member of the active server, and takes over when that one is lost.
    Standby,
}

/// How a member is served by the server that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The member hears that server, as the active one.
    Served,
    /// The member does not hear it, or not as an active server, or follows none.
    Lost,
    /// The member refuses it, because other servers agree that it lies about the time.
    Distrusted,
}

/// What a client states to every server of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberStatement {
    /// The term, and so the server, that it follows or has followed last.
    pub follows: Term,
    /// How it is served by that server.
    pub service: Service,
}

/// What a server states to all clients and to the other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerStatement {
    /// Whether it is active.
    pub role: Role,
    /// Of an active server its own term, of a standby server the term that it follows as a member.
    pub term: Term,
    /// How a standby server is served; an active one serves itself.
    pub service: Service,
    /// The standby server in whose favour the active one resigns; `None`: it goes on.
    pub successor: Option<Rank>,
}

impl ServerStatement {
    /// The term that the sender claims, as an active server of this rank; `None`: it claims none, or one that
    /// is not its own.
    pub fn claim(&self, sender: Rank) -> Option<Term> {
        (self.role == Role::Active && self.term.rank() == Some(sender)).then_some(self.term)
    }

    /// The sender as a member.
    pub fn as_member(&self) -> MemberStatement {
        let service = if self.role == Role::Active { Service::Served } else { self.service };
        MemberStatement { follows: self.term, service }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_claims_only_terms_of_its_own_rank() {
        let (own, other) = (Rank::new(1).unwrap(), Rank::new(2).unwrap());
        let statement = |role, rank| ServerStatement {
            role,
            term: Term::new(4, rank).unwrap(),
            service: Service::Lost,
            successor: None,
        };
        assert_eq!(statement(Role::Active, own).claim(own), Term::new(4, own));
        assert_eq!(statement(Role::Active, other).claim(own), None);
        assert_eq!(statement(Role::Standby, own).claim(own), None);
    }

    #[test]
    fn an_active_server_is_a_member_that_it_serves_itself() {
        let term = Term::new(4, Rank::new(1).unwrap()).unwrap();
        let (role, service) = (Role::Active, Service::Lost);
        let statement = ServerStatement { role, term, service, successor: None };
        let served = MemberStatement { follows: term, service: Service::Served };
        assert_eq!(statement.as_member(), served);
        let lost = MemberStatement { follows: term, service: Service::Lost };
        assert_eq!(ServerStatement { role: Role::Standby, ..statement }.as_member(), lost);
    }
}

//! Role: what a server of several states to each of its clients.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use crate::roles::rank::{MAX_SERVERS, Rank};
use crate::roles::statement::{Role, ServerStatement, Service};
use crate::roles::term::Term;
use crate::time::Span;

/// Server to client: the place of the server in the list of servers, and its whole statement.
///
/// A newer one replaces an older one. [`crate::roles`] has the rules by which it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleMessage {
    /// The server's place in the list.
    pub rank: Rank,
    /// The length of the list, 2 to 15.
    pub servers: u8,
    /// What the server states.
    pub statement: ServerStatement,
    /// The maximum distance of the server's clock from the cluster's time; `None`: unknown (or 4.29 s and
    /// more). Of an active server zero, but for a while after it has taken over: then the bound that it had.
    pub bound: Option<Span>,
}

impl RoleMessage {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        let ServerStatement { role, term, service, successor } = self.statement;
        BigEndian::write_u64(&mut body[field::TERM], term.bits());
        body[field::RANK] = self.rank.place();
        body[field::SERVERS] = self.servers;
        body[field::ROLE] = match role {
            Role::Standby => 0,
            Role::Active => 1,
        };
        body[field::SERVICE] = service_byte(service);
        body[field::SUCCESSOR] = successor.map_or(NO_SUCCESSOR, Rank::place);
        let bound = self.bound.map_or(UNKNOWN, |bound| bound.as_nanos().clamp(0, UNKNOWN.into()) as u32);
        BigEndian::write_u32(&mut body[field::BOUND], bound);
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<RoleMessage, DecodeError> {
        let servers = body[field::SERVERS];
        let in_list = |place: u8| Rank::new(place).filter(|_| place < servers);
        if !(2..=MAX_SERVERS).contains(&servers) {
            return Err(DecodeError::Field("servers"));
        }
        let role = match body[field::ROLE] {
            0 => Role::Standby,
            1 => Role::Active,
            _ => return Err(DecodeError::Field("role")),
        };
        let successor = match body[field::SUCCESSOR] {
            NO_SUCCESSOR => None,
            place => Some(in_list(place).ok_or(DecodeError::Field("successor"))?),
        };
        let bound = match BigEndian::read_u32(&body[field::BOUND]) {
            UNKNOWN => None,
            nanos => Some(Span::from_nanos(nanos.into())),
        };
        let rank = in_list(body[field::RANK]).ok_or(DecodeError::Field("rank"))?;
        let term = read_term(&body[field::TERM])?;
        let service = read_service(body[field::SERVICE])?;
        let statement = ServerStatement { role, term, service, successor };
        let is_of_list = term.rank().is_none_or(|rank| rank.place() < servers);
        if !is_of_list || (role == Role::Active && statement.claim(rank).is_none()) {
            return Err(DecodeError::Field("term"));
        }
        if successor.is_some_and(|successor| role == Role::Standby || successor == rank) {
            return Err(DecodeError::Field("successor"));
        }
        Ok(RoleMessage { rank, servers, statement, bound })
    }
}

/// The byte of a service: never zero.
pub(super) fn service_byte(service: Service) -> u8 {
    match service {
        Service::Served => 1,
        Service::Lost => 2,
        Service::Distrusted => 3,
    }
}

/// The service of this byte.
pub(super) fn read_service(byte: u8) -> Result<Service, DecodeError> {
    match byte {
        1 => Ok(Service::Served),
        2 => Ok(Service::Lost),
        3 => Ok(Service::Distrusted),
        _ => Err(DecodeError::Field("service")),
    }
}

/// The term of these eight bytes.
pub(super) fn read_term(bytes: &[u8]) -> Result<Term, DecodeError> {
    Term::from_bits(BigEndian::read_u64(bytes)).ok_or(DecodeError::Field("term"))
}

/// All ones: no server.
const NO_SUCCESSOR: u8 = u8::MAX;
/// All ones: no figure.
const UNKNOWN: u32 = u32::MAX;

mod field {
    use core::ops::Range;

    pub(super) const TERM: Range<usize> = 0..8;
    pub(super) const RANK: usize = 8;
    pub(super) const SERVERS: usize = 9;
    pub(super) const ROLE: usize = 10;
    pub(super) const SERVICE: usize = 11;
    pub(super) const SUCCESSOR: usize = 12;
    pub(super) const BOUND: Range<usize> = 16..20;
}

#[cfg(test)]
mod tests {
    use super::super::datagram::BODY_LEN;
    use super::*;

    fn role() -> RoleMessage {
        let rank = Rank::new(1).unwrap();
        RoleMessage {
            rank,
            servers: 3,
            statement: ServerStatement {
                role: Role::Active,
                term: Term::new(7, rank).unwrap(),
                service: Service::Served,
                successor: Rank::new(2),
            },
            bound: Some(Span::from_micros(12)),
        }
    }

    fn encoded(role: RoleMessage) -> BodyBytes {
        let mut body = [0; BODY_LEN];
        role.encode(&mut body);
        body
    }

    #[test]
    fn a_statement_is_read_as_it_was_written() {
        assert_eq!(RoleMessage::decode(&encoded(role())), Ok(role()));
        let statement = ServerStatement { role: Role::Standby, successor: None, ..role().statement };
        let standby = RoleMessage { statement, bound: None, ..role() };
        assert_eq!(RoleMessage::decode(&encoded(standby)), Ok(standby));
    }

    #[test]
    fn what_no_server_states_is_malformed() {
        let wrong = |at: usize, byte: u8| {
            let mut body = encoded(role());
            body[at] = byte;
            RoleMessage::decode(&body)
        };
        for (at, byte) in [
            (field::SERVERS, 1),
            (field::SERVERS, 16),
            (field::RANK, 3),
            (field::ROLE, 2),
            (field::SERVICE, 0),
            (field::SERVICE, 4),
            (field::SUCCESSOR, 3),
            (field::SUCCESSOR, 1),
            (7, 2),
            (7, 15),
        ] {
            assert!(wrong(at, byte).is_err(), "byte {byte} at {at}");
        }
    }
}

//! Heartbeat and its acknowledgement: signs of life while no other datagrams flow.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::name::Name;
use super::role::{read_service, read_term, service_byte};
use crate::roles::statement::{MemberStatement, Service};

/// Client to server: a sign of life, to be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Random; the answer echoes it.
    pub nonce: u64,
    /// With a tag, the node's name, as in its Register: a restarted server so finds the key
    /// that made the tag. Without a tag: empty.
    pub name: Name,
    /// What the client states to each of several servers; `None`: it has one server, or is a server itself.
    pub statement: Option<MemberStatement>,
    /// Of the client of a standby server to the server that it follows: how far the list of its operator's
    /// decisions has come; `None`: it is none.
    pub decisions: Option<DecisionProgress>,
}

/// How far a list of [decisions](super::Decision) has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionProgress {
    /// The number of the list; 0: none.
    pub generation: u16,
    /// How many of its entries have come, from the first on.
    pub entries: u16,
}

/// Server to client: the acknowledgement of a Heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatAck {
    /// The Heartbeat's nonce.
    pub nonce: u64,
}

impl Heartbeat {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        body[field::NAME].copy_from_slice(&self.name.to_bytes());
        if let Some(MemberStatement { follows, service }) = self.statement {
            BigEndian::write_u64(&mut body[field::FOLLOWS], follows.bits());
            body[field::SERVICE] = service_byte(service);
        }
        if let Some(DecisionProgress { generation, entries }) = self.decisions {
            body[field::WANTS_DECISIONS] = 1;
            BigEndian::write_u16(&mut body[field::GENERATION], generation);
            BigEndian::write_u16(&mut body[field::ENTRIES], entries);
        }
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Heartbeat, DecodeError> {
        let mut name = [0; Name::LEN];
        name.copy_from_slice(&body[field::NAME]);
        let statement = match body[field::SERVICE] {
            0 => None,
            service => Some(MemberStatement {
                follows: read_term(&body[field::FOLLOWS])?,
                service: read_service(service)?,
            }),
        };
        if statement.is_some_and(|stated| stated.follows.is_none() && stated.service != Service::Lost) {
            return Err(DecodeError::Field("service"));
        }
        let decisions = match body[field::WANTS_DECISIONS] {
            0 => None,
            1 => Some(DecisionProgress {
                generation: BigEndian::read_u16(&body[field::GENERATION]),
                entries: BigEndian::read_u16(&body[field::ENTRIES]),
            }),
            _ => return Err(DecodeError::Field("decisions")),
        };
        Ok(Heartbeat {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            name: Name::from_bytes(name).ok_or(DecodeError::Field("name"))?,
            statement,
            decisions,
        })
    }
}

impl HeartbeatAck {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
    }

    pub(super) fn decode(body: &BodyBytes) -> HeartbeatAck {
        HeartbeatAck { nonce: BigEndian::read_u64(&body[field::NONCE]) }
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const FOLLOWS: Range<usize> = 8..16;
    pub(super) const SERVICE: usize = 16;
    pub(super) const WANTS_DECISIONS: usize = 17;
    pub(super) const GENERATION: Range<usize> = 18..20;
    pub(super) const ENTRIES: Range<usize> = 20..22;
    /// The same place as in a Register.
    pub(super) const NAME: Range<usize> = 24..48;
}

//! Heartbeat and its acknowledgement: signs of life while no other datagrams flow.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::name::Name;

/// Client to server: a sign of life, to be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Random; the answer echoes it.
    pub nonce: u64,
    /// With a tag, the node's name, as in its Register: a restarted server so finds the key
    /// that made the tag. Without a tag: empty.
    pub name: Name,
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
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Heartbeat, DecodeError> {
        let mut name = [0; Name::LEN];
        name.copy_from_slice(&body[field::NAME]);
        Ok(Heartbeat {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            name: Name::from_bytes(name).ok_or(DecodeError::Field("name"))?,
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
    /// The same place as in a Register.
    pub(super) const NAME: Range<usize> = 24..48;
}

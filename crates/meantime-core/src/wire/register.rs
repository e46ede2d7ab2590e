//! Register: a client asks to be measured.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::id::ClusterId;
use super::name::Name;

/// Client to server: a request for a session. Sent first without a cookie, then again with the one from the
/// [`Challenge`](super::Challenge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// Random; every answer echoes it.
    pub nonce: u64,
    /// The cookie of the server's Challenge; 0: none yet.
    pub cookie: u64,
    /// The cluster whose time this client's clock shows; 0: none.
    pub cluster: ClusterId,
    /// The name of this node.
    pub name: Name,
}

impl Register {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_u64(&mut body[field::COOKIE], self.cookie);
        BigEndian::write_u64(&mut body[field::CLUSTER], self.cluster.0);
        body[field::NAME].copy_from_slice(&self.name.to_bytes());
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Register, DecodeError> {
        let mut name = [0; Name::LEN];
        name.copy_from_slice(&body[field::NAME]);
        Ok(Register {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            cookie: BigEndian::read_u64(&body[field::COOKIE]),
            cluster: ClusterId(BigEndian::read_u64(&body[field::CLUSTER])),
            name: Name::from_bytes(name).ok_or(DecodeError::Field("name"))?,
        })
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const COOKIE: Range<usize> = 8..16;
    pub(super) const CLUSTER: Range<usize> = 16..24;
    pub(super) const NAME: Range<usize> = 24..48;
}

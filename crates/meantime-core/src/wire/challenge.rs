//! Challenge: the stateless proof of address.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;

/// Server to client: the client is to repeat its Register with this cookie. The server stores nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// The nonce of the Register that this answers.
    pub nonce: u64,
    /// Opaque to the client, which sends it back. Valid for some seconds, for this client at this address
    /// only.
    pub cookie: u64,
}

impl Challenge {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        BigEndian::write_u64(&mut body[field::COOKIE], self.cookie);
    }

    pub(super) fn decode(body: &BodyBytes) -> Challenge {
        Challenge {
            nonce: BigEndian::read_u64(&body[field::NONCE]),
            cookie: BigEndian::read_u64(&body[field::COOKIE]),
        }
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const COOKIE: Range<usize> = 8..16;
}

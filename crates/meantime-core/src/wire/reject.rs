//! Reject: a refusal with its reason.

use core::fmt;

use byteorder::{BigEndian, ByteOrder};

use super::datagram::BodyBytes;
use super::error::DecodeError;

/// Server to client: a refusal. The header repeats the session of the datagram that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The first eight bytes of the refused datagram's body: its nonce, where it has one.
    pub nonce: u64,
    /// Why.
    pub reason: RejectReason,
    /// The protocol version that the server speaks.
    pub version: u8,
}

/// Why a server refuses a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RejectReason {
    /// The datagram is of another protocol version.
    Version = 1,
    /// The server does not know this session: it has restarted, or has removed the client after its
    /// timeout. The client registers again.
    UnknownSession = 2,
    /// The server has as many clients as it may have.
    Full = 3,
    /// Another process has registered with the client's name and key: a node with a key has one session.
    Replaced = 4,
    /// An operator has banned the client.
    Banned = 5,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::Version => "the server speaks another version of the protocol",
            RejectReason::UnknownSession => "the server does not know this session",
            RejectReason::Full => "the server has as many clients as it may have",
            RejectReason::Replaced => {
                "another client has registered with this name and its key; give each node a name of its own"
            }
            RejectReason::Banned => "the server's operator has banned this client",
        })
    }
}

impl Reject {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        BigEndian::write_u64(&mut body[field::NONCE], self.nonce);
        body[field::REASON] = self.reason as u8;
        body[field::VERSION] = self.version;
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Reject, DecodeError> {
        let reason = match body[field::REASON] {
            1 => RejectReason::Version,
            2 => RejectReason::UnknownSession,
            3 => RejectReason::Full,
            4 => RejectReason::Replaced,
            5 => RejectReason::Banned,
            _ => return Err(DecodeError::Field("reason")),
        };
        let nonce = BigEndian::read_u64(&body[field::NONCE]);
        Ok(Reject { nonce, reason, version: body[field::VERSION] })
    }
}

mod field {
    use core::ops::Range;

    pub(super) const NONCE: Range<usize> = 0..8;
    pub(super) const REASON: usize = 8;
    pub(super) const VERSION: usize = 9;
}

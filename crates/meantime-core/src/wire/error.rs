//! Why bytes are not a message of this protocol.

use super::datagram::{DATAGRAM_LEN, VERSION};
use super::id::SessionId;

/// Why bytes are not a message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not 96 bytes.
    #[error("datagram of {0} bytes, not {DATAGRAM_LEN}")]
    Length(usize),
    /// The first two bytes are not "MT".
    #[error("not a meantime datagram")]
    Magic,
    /// Another version of the protocol; what a Reject needs is at the same place in every version.
    #[error("protocol version {version}, this program speaks {VERSION}")]
    Version {
        /// The version that was found.
        version: u8,
        /// The kind byte of the datagram, not interpreted.
        kind: u8,
        /// The session of the datagram.
        session: SessionId,
        /// The first eight bytes of the body: the nonce of a request.
        nonce: u64,
    },
    /// A kind byte that this version does not define.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// A field holds a value that it may not hold.
    #[error("invalid {0}")]
    Field(&'static str),
}

//! The layout of every datagram, and the numbers that identify the protocol.

/// Size of every datagram, in bytes.
pub const DATAGRAM_LEN: usize = 96;
/// The version of the protocol that this code speaks.
pub const VERSION: u8 = 1;
/// The first two bytes of every datagram: "MT".
pub const MAGIC: u16 = 0x4d54;
/// The UDP port that a server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 5525;

/// An encoded datagram.
pub type Datagram = [u8; DATAGRAM_LEN];

/// The 48 bytes between the header and the tag.
pub(super) type BodyBytes = [u8; BODY_LEN];

/// Length of the header, in bytes.
pub(super) const HEADER_LEN: usize = 32;
/// Length of the body, in bytes.
pub(super) const BODY_LEN: usize = 48;
/// Where the body lies in a datagram.
pub(super) const BODY: core::ops::Range<usize> = HEADER_LEN..HEADER_LEN + BODY_LEN;

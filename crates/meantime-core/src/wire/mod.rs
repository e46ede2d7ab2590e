//! Encoding and decoding of datagrams: no clocks, no sockets, no addresses, no allocation.
//!
//! Every datagram has the same [`DATAGRAM_LEN`] of 96 bytes, big-endian: a 32-byte [`Header`], a 48-byte
//! body, a 16-byte authentication tag (all zero without a [key](NodeKey)). So no answer is ever larger than
//! its request. `docs/PROTOCOL.md` is the specification; the byte vectors in it are checked against
//! this module by a test.
//!
//! Decoding never panics and never guesses: an unreadable datagram is a [`DecodeError`] with its reason.
//! Reserved bytes are written as zero and ignored when read.

mod challenge;
mod correction;
mod header;
mod heartbeat;
mod leave;
mod manual_adjustment;
mod name;
mod probe;
mod register;
mod reject;
mod report;
mod tag;
mod welcome;

pub use challenge::Challenge;
pub use correction::{CorrectionMessage, Verdict};
pub use header::{ClientState, ClusterId, Flags, Header, Kind, NodeId, SessionId, is_newer};
pub use heartbeat::{Heartbeat, HeartbeatAck};
pub use leave::{Leave, LeaveReason};
pub use manual_adjustment::ManualAdjustment;
pub use name::Name;
pub use probe::{Probe, Stamps};
pub use register::Register;
pub use reject::{Reject, RejectReason};
pub use report::Report;
pub use tag::{Direction, KeyBytes, KeyId, Master, NodeKey, TAG_LEN};
pub use welcome::Welcome;

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
type BodyBytes = [u8; BODY_LEN];

const HEADER_LEN: usize = 32;
const BODY_LEN: usize = 48;
const BODY: core::ops::Range<usize> = HEADER_LEN..HEADER_LEN + BODY_LEN;

/// One decoded datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// What every datagram carries.
    pub header: Header,
    /// What this kind of datagram carries.
    pub body: Body,
}

/// The kinds of datagram and what they carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// Client to server: a request for a session.
    Register(Register),
    /// Server to client: a cookie that proves the client's address.
    Challenge(Challenge),
    /// Server to client: the session and its terms.
    Welcome(Welcome),
    /// Server to client: a refusal with its reason.
    Reject(Reject),
    /// Server to client: a request for a reading of the client's clock.
    Probe(Probe),
    /// Client to server: the answer to a probe.
    Report(Report),
    /// Server to client: how far off the client's clock was at one of its reports.
    Correction(CorrectionMessage),
    /// Client to server: a sign of life, to be acknowledged.
    Heartbeat(Heartbeat),
    /// Server to client: the answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
    /// Either way: the end of the session.
    Leave(Leave),
    /// Either way: an operator's adjustment of the cluster's time.
    ManualAdjustment(ManualAdjustment),
}

impl Body {
    /// The kind of this body.
    pub fn kind(&self) -> Kind {
        match self {
            Body::Register(_) => Kind::Register,
            Body::Challenge(_) => Kind::Challenge,
            Body::Welcome(_) => Kind::Welcome,
            Body::Reject(_) => Kind::Reject,
            Body::Probe(_) => Kind::Probe,
            Body::Report(_) => Kind::Report,
            Body::Correction(_) => Kind::Correction,
            Body::Heartbeat(_) => Kind::Heartbeat,
            Body::HeartbeatAck(_) => Kind::HeartbeatAck,
            Body::Leave(_) => Kind::Leave,
            Body::ManualAdjustment(_) => Kind::ManualAdjustment,
        }
    }
}

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

impl Message {
    /// Encodes this message. The authentication tag is zero until a [`NodeKey`] signs it.
    pub fn encode(&self) -> Datagram {
        let mut datagram = [0; DATAGRAM_LEN];
        self.header.encode(self.body.kind(), &mut datagram);
        let mut bytes = [0; BODY_LEN];
        match &self.body {
            Body::Register(body) => body.encode(&mut bytes),
            Body::Challenge(body) => body.encode(&mut bytes),
            Body::Welcome(body) => body.encode(&mut bytes),
            Body::Reject(body) => body.encode(&mut bytes),
            Body::Probe(body) => body.encode(&mut bytes),
            Body::Report(body) => body.encode(&mut bytes),
            Body::Correction(body) => body.encode(&mut bytes),
            Body::Heartbeat(body) => body.encode(&mut bytes),
            Body::HeartbeatAck(body) => body.encode(&mut bytes),
            Body::Leave(body) => body.encode(&mut bytes),
            Body::ManualAdjustment(body) => body.encode(&mut bytes),
        }
        datagram[BODY].copy_from_slice(&bytes);
        datagram
    }

    /// Decodes a datagram.
    ///
    /// # Errors
    /// The reason why the bytes are not a message of this version of the protocol.
    pub fn decode(datagram: &[u8]) -> Result<Message, DecodeError> {
        let datagram: &Datagram = datagram.try_into().map_err(|_| DecodeError::Length(datagram.len()))?;
        let (header, kind) = Header::decode(datagram)?;
        let mut bytes = [0; BODY_LEN];
        bytes.copy_from_slice(&datagram[BODY]);
        let body = match kind {
            Kind::Register => Body::Register(Register::decode(&bytes)?),
            Kind::Challenge => Body::Challenge(Challenge::decode(&bytes)),
            Kind::Welcome => Body::Welcome(Welcome::decode(&bytes)?),
            Kind::Reject => Body::Reject(Reject::decode(&bytes)?),
            Kind::Probe => Body::Probe(Probe::decode(&bytes)),
            Kind::Report => Body::Report(Report::decode(header.sequence, &bytes)?),
            Kind::Correction => Body::Correction(CorrectionMessage::decode(&bytes)?),
            Kind::Heartbeat => Body::Heartbeat(Heartbeat::decode(&bytes)?),
            Kind::HeartbeatAck => Body::HeartbeatAck(HeartbeatAck::decode(&bytes)),
            Kind::Leave => Body::Leave(Leave::decode(&bytes)?),
            Kind::ManualAdjustment => Body::ManualAdjustment(ManualAdjustment::decode(&bytes)?),
        };
        Ok(Message { header, body })
    }
}

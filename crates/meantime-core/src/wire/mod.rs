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
mod datagram;
mod decision;
mod error;
mod header;
mod heartbeat;
mod id;
mod label;
mod leave;
mod lineage;
mod manual_adjustment;
mod message;
mod name;
mod probe;
mod reference;
mod register;
mod reject;
mod relayed_time;
mod report;
mod role;
mod tag;
mod welcome;

pub use challenge::Challenge;
pub use correction::{CorrectionMessage, Verdict};
pub use datagram::{DATAGRAM_LEN, DEFAULT_PORT, Datagram, MAGIC, VERSION};
pub use decision::{DecidedClients, Decision, Ruling};
pub use error::DecodeError;
pub use header::{ClientState, Flags, Header, Kind, RelayLead, is_newer};
pub use heartbeat::{DecisionProgress, Heartbeat, HeartbeatAck};
pub use id::{ClusterId, NodeId, SessionId};
pub use label::Label;
pub use leave::{Leave, LeaveReason};
pub use lineage::Lineage;
pub use manual_adjustment::ManualAdjustment;
pub use message::{Body, Message};
pub use name::Name;
pub use probe::{Probe, Stamps};
pub use reference::{Reference, StatedReference};
pub use register::Register;
pub use reject::{Reject, RejectReason};
pub use relayed_time::RelayedTime;
pub use report::Report;
pub use role::RoleMessage;
pub use tag::{Direction, KeyBytes, KeyId, Master, NodeKey, TAG_LEN};
pub use welcome::Welcome;

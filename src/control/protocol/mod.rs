//! The control protocol: what a program can ask a node at its control socket, and what the node answers.
//!
//! A request is a JSON object on one line, and so is its response; docs/CONTROL.md describes both for
//! programs in other languages. These types are the only definition. The node writes them, and `status`,
//! `watch`, `check`, `dashboard` and the tests read them. Names of fields end in their unit; `null` means
//! unknown.
//!
//! Compatibility: unknown fields are ignored, and an unknown word of an enumeration is kept as it is, so that
//! the status of a newer node stays readable. A new field must be optional or have a default. A response that
//! loses a field, or a field that changes its meaning, needs a new [`VERSION`].

mod events;
mod request;
mod response;
mod servers;
mod status;
mod utc;

#[cfg(test)]
mod documentation;
#[cfg(test)]
pub(crate) mod examples;

pub use events::{EventEntry, EventLevel, EventsResponse};
pub use request::{Request, SetTime, TimeTarget};
pub use response::{ClientsChangeResponse, Envelope, ErrorResponse, ScheduledAdjustment, TakeoverResponse};
pub use servers::{ListedServerStatus, ReplicaStatus};
pub use status::{
    ClientRow, ClientStatus, HeardRounds, LastCorrection, LastRound, ManualAdjustmentStatus, NodeStatus,
    PeerIdentity, RefusedCorrection, ServerStatus, Status, StatusResponse, Vote,
};

pub use utc::{
    MissingReferenceStatus, MissingReferenceWord, ReferenceStatus, ReferenceWord, UtcStatus, UtcWord,
};

pub use crate::report::{
    AdjustmentMethod, ClockCoverage, ClockState, EventHeader, ExclusionReason, HoldoverCause, QuorumWord,
    RefusalCause, RoleWord, RoundOutcome, RoundSummary, ServiceWord, Timestamping, UndecidedCause,
    UpstreamFaultCause,
};

/// The version of the protocol.
pub const VERSION: u32 = 1;

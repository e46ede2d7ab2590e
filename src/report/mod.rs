//! RING 1. The machine-readable form of what a node reports: on stdout, at the control socket and in the
//! record.
//!
//! It defines once how times, frequencies and the names of variants are written, and which fields all events
//! share ([`EventHeader`]). Each event comes with a [`ClockSnapshot`]. It does no I/O, and contains no
//! sentences for people but those of `undecided`, which events, pages and checks share.

mod format;
mod header;
mod round;
mod snapshot;
pub(crate) mod undecided;
mod words;

pub use format::{classic_time, counted, place_of, rfc3339, rounded_ppb, rounded_votes, snake_case};
pub use header::EventHeader;
pub use round::RoundSummary;
pub use snapshot::ClockSnapshot;
pub(crate) use words::word;
pub use words::{
    AdjustmentMethod, ClockCoverage, ClockState, ExclusionReason, HoldoverCause, QuorumWord, RefusalCause,
    RoleWord, RoundOutcome, ServiceWord, Timestamping, UndecidedCause, UpstreamFaultCause,
};

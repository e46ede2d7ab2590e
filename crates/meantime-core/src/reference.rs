//! A reference: a time from outside of the cluster, such as UTC from a satellite receiver or an NTP server,
//! that another program keeps on a node's machine.
//!
//! A node that offers one asks its caller for a reading with
//! [`Action::ReadReference`](crate::Action::ReadReference), and gets it with
//! [`Node::handle_reference`](crate::Node::handle_reference).

use core::fmt;

use crate::time::{Raw, Span};

/// A reading of a node's reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceReading {
    /// The node's oscillator at the reading.
    pub at: Raw,
    /// The reference minus the node's oscillator.
    pub phase: Span,
    /// The maximum distance of the reference from UTC, as the program states it that keeps the reference.
    pub max_error: Span,
}

/// Why a node that is to offer a reference has none now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoReference {
    /// No program keeps the machine's clock synchronized.
    Unsynchronized,
    /// The maximum error is above the limit.
    ErrorTooLarge,
    /// A meantime steers the machine's clock, so that shows the cluster's own time.
    Steered,
    /// The system does not say how its clock stands.
    Unreadable,
}

impl fmt::Display for NoReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoReference::Unsynchronized => "no program keeps this machine's clock synchronized",
            NoReference::ErrorTooLarge => "the maximum error of this machine's clock is too large",
            NoReference::Steered => "a meantime steers this machine's clock",
            NoReference::Unreadable => "the system does not say how its clock stands",
        })
    }
}

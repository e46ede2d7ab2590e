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

/// Why a member whose reference the server is to follow offers none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceAbsence {
    /// No member of that name is registered.
    NotRegistered,
    /// The member is there, and offers no reference.
    NotOffered,
}

impl fmt::Display for ReferenceAbsence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReferenceAbsence::NotRegistered => "no member of that name is registered",
            ReferenceAbsence::NotOffered => "the member offers no reference",
        })
    }
}

/// Why a reference is missing that the server is to follow, or to offer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissingReason {
    /// The server is to follow that of a member.
    Member(ReferenceAbsence),
    /// The server is to offer its own.
    Own(NoReference),
}

/// How the cluster's time stands to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UtcState {
    /// Members offer references, and the server follows none.
    NotFollowed,
    /// There is no reference to follow, and there was none since the server started.
    None,
    /// The server learns UTC from the references, and does not lead the cluster's time yet.
    Learning,
    /// The cluster's time is led to UTC.
    Leading,
    /// The references are gone; the cluster's rate is held at that of UTC, as it was learned.
    Held,
    /// No majority of the references agrees: none is followed.
    Disagreeing,
    /// The references are farther from the cluster's time than holdover explains: none is followed.
    Refused,
}

impl fmt::Display for UtcState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            UtcState::NotFollowed => "not followed",
            UtcState::None => "none",
            UtcState::Learning => "learning",
            UtcState::Leading => "leading",
            UtcState::Held => "held",
            UtcState::Disagreeing => "disagreeing",
            UtcState::Refused => "refused",
        })
    }
}

/// What the vote on references has found about one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReferenceStanding {
    /// It has not taken part yet.
    #[default]
    New,
    /// It agrees with the majority.
    Agrees,
    /// It contradicts the majority.
    Falseticker,
}

impl fmt::Display for ReferenceStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ReferenceStanding::New => "new",
            ReferenceStanding::Agrees => "agrees",
            ReferenceStanding::Falseticker => "falseticker",
        })
    }
}

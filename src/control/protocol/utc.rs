//! How a cluster's time stands to UTC, and the references that its members offer.

use serde::{Deserialize, Serialize};

use crate::report::word;
use meantime_core::reference::{MissingReason, NoReference, ReferenceAbsence, ReferenceStanding, UtcState};
use meantime_core::time::{Offset, Span};
use meantime_core::view::{MissingReference, ReferenceView, UtcView};

/// How a cluster's time stands to UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UtcStatus {
    /// What the references do.
    pub state: UtcWord,
    /// What the cluster's clocks show minus UTC, as a majority of the references states it; `None`: unknown.
    pub offset_ns: Option<i64>,
    /// The maximum error of that.
    pub error_ns: Option<i64>,
    /// How many members offer a reference, the server included.
    pub offered: usize,
    /// How many of these agree.
    pub agreeing: usize,
    /// The server's own reference; `None`: it has none.
    pub own: Option<ReferenceStatus>,
}

/// A member's reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceStatus {
    /// The reference minus what the cluster's clocks show.
    pub offset_ns: i64,
    /// The maximum distance of the reference from UTC, as the member and the measurement state it.
    pub error_ns: i64,
    /// The time since it was read.
    pub ago_ns: i64,
    /// What the vote on references has found about it.
    pub standing: ReferenceWord,
}

/// A reference that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingReferenceStatus {
    /// The name of the member that is to offer it.
    pub name: String,
    /// Why it is missing.
    pub reason: MissingReferenceWord,
}

word! {
    /// Why a reference is missing that the server is to follow by name, or to offer itself.
    MissingReferenceWord {
        /// No member of that name is registered.
        NotRegistered = "not_registered",
        /// The member offers no reference.
        NotOffered = "not_offered",
        /// No program keeps the clock of the server's machine synchronized.
        Unsynchronized = "unsynchronized",
        /// The maximum error of that clock is above the limit.
        ErrorTooLarge = "error_too_large",
        /// A meantime steers that clock.
        Steered = "steered",
        /// The system does not say how that clock stands.
        Unreadable = "unreadable",
    }
}

word! {
    /// What the references do to the cluster's time.
    UtcWord {
        /// Members offer references, and the server follows none.
        NotFollowed = "not_followed",
        /// There is none to follow.
        None = "none",
        /// The server learns UTC from them.
        Learning = "learning",
        /// They lead the cluster's time.
        Leading = "leading",
        /// They are gone, and the rate of UTC is held.
        Held = "held",
        /// No majority of them agrees.
        Disagreeing = "disagreeing",
        /// They are farther off than holdover explains.
        Refused = "refused",
    }
}

word! {
    /// What the vote on references has found about one of them.
    ReferenceWord {
        /// It has not taken part yet.
        New = "new",
        /// It agrees with the majority.
        Agrees = "agrees",
        /// It contradicts the majority.
        Falseticker = "falseticker",
    }
}

impl From<&UtcView> for UtcStatus {
    fn from(view: &UtcView) -> UtcStatus {
        UtcStatus {
            state: view.state.into(),
            offset_ns: view.offset.map(Offset::span).map(Span::as_nanos),
            error_ns: view.error.map(Span::as_nanos),
            offered: view.offered,
            agreeing: view.agreeing,
            own: view.own.as_ref().map(Into::into),
        }
    }
}

impl From<&ReferenceView> for ReferenceStatus {
    fn from(view: &ReferenceView) -> ReferenceStatus {
        ReferenceStatus {
            offset_ns: view.offset.span().as_nanos(),
            error_ns: view.error.as_nanos(),
            ago_ns: view.ago.as_nanos(),
            standing: view.standing.into(),
        }
    }
}

impl From<&MissingReference> for MissingReferenceStatus {
    fn from(missing: &MissingReference) -> MissingReferenceStatus {
        let reason = match missing.reason {
            MissingReason::Member(ReferenceAbsence::NotRegistered) => MissingReferenceWord::NotRegistered,
            MissingReason::Member(ReferenceAbsence::NotOffered) => MissingReferenceWord::NotOffered,
            MissingReason::Own(NoReference::Unsynchronized) => MissingReferenceWord::Unsynchronized,
            MissingReason::Own(NoReference::ErrorTooLarge) => MissingReferenceWord::ErrorTooLarge,
            MissingReason::Own(NoReference::Steered) => MissingReferenceWord::Steered,
            MissingReason::Own(NoReference::Unreadable) => MissingReferenceWord::Unreadable,
        };
        MissingReferenceStatus { name: missing.name.to_string(), reason }
    }
}

impl From<UtcState> for UtcWord {
    fn from(state: UtcState) -> UtcWord {
        match state {
            UtcState::NotFollowed => UtcWord::NotFollowed,
            UtcState::None => UtcWord::None,
            UtcState::Learning => UtcWord::Learning,
            UtcState::Leading => UtcWord::Leading,
            UtcState::Held => UtcWord::Held,
            UtcState::Disagreeing => UtcWord::Disagreeing,
            UtcState::Refused => UtcWord::Refused,
        }
    }
}

impl From<ReferenceStanding> for ReferenceWord {
    fn from(standing: ReferenceStanding) -> ReferenceWord {
        match standing {
            ReferenceStanding::New => ReferenceWord::New,
            ReferenceStanding::Agrees => ReferenceWord::Agrees,
            ReferenceStanding::Falseticker => ReferenceWord::Falseticker,
        }
    }
}

//! What references do to the cluster's time, in words.

use meantime_core::reference::{NoReference, UtcState};
use meantime_core::time::{Offset, Span};

/// The machine's time has become a reference.
pub(super) fn reference_gained(max_error: Span) -> String {
    format!("This machine's time is a reference for the cluster: it is within {max_error} of UTC")
}

/// The machine's time is no reference, or none any more; with the option that raises a limit.
pub(super) fn reference_lost(reason: NoReference) -> String {
    let option = match reason {
        NoReference::ErrorTooLarge => " (--reference-max-error)",
        NoReference::Unsynchronized | NoReference::Steered | NoReference::Unreadable => "",
    };
    format!("This machine's time is no reference: {reason}{option}")
}

/// A change of how the cluster's time stands to UTC, and what the operator can do.
pub(in crate::cli) fn utc_changed(
    state: UtcState,
    offset: Option<Offset>,
    error: Option<Span>,
    explained: Span,
) -> String {
    let distance = distance(offset, error);
    match state {
        UtcState::NotFollowed | UtcState::None => "References: there is none to follow any more".into(),
        UtcState::Learning => format!("References: {distance}; the server learns UTC's rate"),
        UtcState::Leading => format!("References: {distance}; the cluster's time is led to it"),
        UtcState::Held => {
            "References: none is left; the cluster's rate is held at that of UTC, as it was learned".into()
        }
        UtcState::Disagreeing => {
            "References: no majority of them agrees, so none is followed; see which one is wrong with `meantime status`"
                .into()
        }
        UtcState::Refused => format!(
            "References: {distance}, and no more than {explained} can be explained: they are not followed. If they \
             are right, set the cluster's time (`meantime set-time`)"
        ),
    }
}

/// As in `the cluster's time is +1.2 ms from UTC, known to 500 µs`.
fn distance(offset: Option<Offset>, error: Option<Span>) -> String {
    let known = error.map_or(String::new(), |error| format!(", known to {error}"));
    match offset {
        Some(offset) => format!("the cluster's time is {offset} from UTC{known}"),
        None => "the cluster has no time yet".into(),
    }
}

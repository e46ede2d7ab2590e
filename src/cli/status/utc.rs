//! The lines about UTC on the page of a server.

use super::text::{signed, span, words};
use crate::control::protocol::{
    MissingReferenceStatus, MissingReferenceWord, ReferenceStatus, ReferenceWord, UtcStatus, UtcWord,
};
use meantime_core::reference::{NoReference, ReferenceAbsence};

/// How the cluster's time stands to UTC, in one line; empty: no reference is offered, and none is followed.
pub(super) fn utc_line(utc: Option<&UtcStatus>) -> String {
    let Some(utc) = utc else { return String::new() };
    let UtcStatus { offered, agreeing, .. } = utc;
    let distance = match utc.offset_ns {
        Some(_) => {
            format!(
                "; the cluster's time is {} from it, known to {}",
                signed(utc.offset_ns),
                span(utc.error_ns)
            )
        }
        None => String::new(),
    };
    let state = match &utc.state {
        UtcWord::NotFollowed => "not followed (--follow-references)",
        UtcWord::None => "no reference is offered",
        UtcWord::Learning => "being learned",
        UtcWord::Leading => "followed",
        UtcWord::Held => "no reference is left, and its rate is held",
        UtcWord::Disagreeing => "no majority of the references agrees",
        UtcWord::Refused => {
            "refused, since it is too far off; set the time if it is right (`meantime set-time`)"
        }
        UtcWord::Unknown(word) => word,
    };
    format!("UTC: {state}; {agreeing} of {offered} references agree{distance}\n")
}

/// A line for each reference: the server's own, and those of clients with their names.
pub(super) fn references<'a>(
    utc: Option<&UtcStatus>,
    clients: impl Iterator<Item = (String, &'a ReferenceStatus)>,
) -> String {
    let own = utc.and_then(|utc| utc.own.as_ref()).map(|own| reference("The server", own));
    let clients = clients.map(|(name, stated)| reference(&name, stated));
    let lines: String = own.into_iter().chain(clients).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// A line for each reference that is missing.
pub(super) fn missing(missing: &[MissingReferenceStatus]) -> String {
    let lines: String = missing.iter().map(|it| format!("The {}\n", what_is_missing(it))).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// Whose reference is missing, and why, as a clause that follows "the" or "The".
pub(in crate::cli) fn what_is_missing(missing: &MissingReferenceStatus) -> String {
    format!("reference of {} is missing: {}", missing.name, why_missing(&missing.reason))
}

fn why_missing(reason: &MissingReferenceWord) -> String {
    use MissingReferenceWord::{
        ErrorTooLarge, NotOffered, NotRegistered, Steered, Unreadable, Unsynchronized,
    };
    match reason {
        NotRegistered => ReferenceAbsence::NotRegistered.to_string(),
        NotOffered => ReferenceAbsence::NotOffered.to_string(),
        Unsynchronized => NoReference::Unsynchronized.to_string(),
        ErrorTooLarge => format!("{} (--reference-max-error)", NoReference::ErrorTooLarge),
        Steered => NoReference::Steered.to_string(),
        Unreadable => NoReference::Unreadable.to_string(),
        MissingReferenceWord::Unknown(word) => words(word),
    }
}

fn reference(who: &str, reference: &ReferenceStatus) -> String {
    let standing = match &reference.standing {
        ReferenceWord::New => "",
        ReferenceWord::Agrees => ", agrees",
        ReferenceWord::Falseticker => ", a falseticker",
        ReferenceWord::Unknown(word) => return format!("{who} offers a reference: {word}\n"),
    };
    format!(
        "{who} offers a reference: {} from the cluster's time, known to {}{standing}\n",
        signed(Some(reference.offset_ns)),
        span(Some(reference.error_ns))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::examples;

    #[test]
    fn the_page_says_how_the_clusters_time_stands_to_utc() {
        let utc = examples::utc();
        assert_eq!(
            utc_line(Some(&utc)),
            "UTC: followed; 2 of 3 references agree; the cluster's time is -120 µs from it, known to 1.1 ms\n"
        );
        assert_eq!(utc_line(None), "");
        let mast = examples::reference();
        assert_eq!(
            references(Some(&utc), [("mast".to_owned(), &mast)].into_iter()),
            "\nmast offers a reference: +150 µs from the cluster's time, known to 1.1 ms, agrees\n"
        );
        let ghost =
            MissingReferenceStatus { name: "ghost".into(), reason: MissingReferenceWord::NotRegistered };
        assert_eq!(
            missing(&[ghost]),
            "\nThe reference of ghost is missing: no member of that name is registered\n"
        );
    }
}

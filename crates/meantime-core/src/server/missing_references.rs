//! The references that the server is to follow by name, or to offer itself, and that are missing.
//!
//! A member has twelve rounds (a minute at the usual interval) to register and to offer its reference before
//! it is reported, as after a start of the server. So a reference that comes and goes is reported once in
//! twelve rounds at most.

use alloc::vec::Vec;

use crate::ServerEvent;
use crate::reference::{MissingReason, NoReference, ReferenceAbsence};
use crate::time::Span;
use crate::view::MissingReference;
use crate::wire::Name;

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct MissingReferences {
    /// Whether the server's own reference was there when it was last read; `None`: it was not read yet.
    own: Option<Result<(), NoReference>>,
    named: Vec<Missing>,
}

/// A member that the server is to follow, and that offers no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing {
    name: Name,
    reason: ReferenceAbsence,
    /// For so many rounds in a row.
    rounds: u32,
}

impl MissingReferences {
    /// The server's own reference was read. Reports a change.
    pub(super) fn note_own(&mut self, reading: Result<Span, NoReference>) -> Option<ServerEvent> {
        let is_new = self.own.replace(reading.map(|_| ())) != Some(reading.map(|_| ()));
        is_new.then_some(match reading {
            Ok(max_error) => ServerEvent::ReferenceGained { max_error },
            Err(reason) => ServerEvent::ReferenceLost { reason },
        })
    }

    /// A round is over, and what was found of a member that the server is to follow.
    pub(super) fn end_round(
        &mut self,
        name: Name,
        found: Result<(), ReferenceAbsence>,
    ) -> Option<ServerEvent> {
        let known = self.named.iter().position(|missing| missing.name == name);
        let Err(reason) = found else {
            let missing = self.named.swap_remove(known?);
            return (missing.rounds >= REPORTED_AFTER)
                .then_some(ServerEvent::ReferenceFound { member: name });
        };
        let at = known.unwrap_or_else(|| {
            self.named.push(Missing { name, reason, rounds: 0 });
            self.named.len() - 1
        });
        let rounds = self.named[at].rounds.saturating_add(1);
        self.named[at] = Missing { name, reason, rounds };
        (rounds == REPORTED_AFTER).then_some(ServerEvent::ReferenceMissing { member: name, reason })
    }

    /// All that are missing now; the server's own has the server's name.
    pub(super) fn view(&self, server: Name) -> Vec<MissingReference> {
        let own = self.own.and_then(Result::err);
        let own = own.map(|reason| MissingReference { name: server, reason: MissingReason::Own(reason) });
        let named = self.named.iter().map(|missing| {
            let reason = MissingReason::Member(missing.reason);
            MissingReference { name: missing.name, reason }
        });
        own.into_iter().chain(named).collect()
    }
}

/// So many rounds in a row.
const REPORTED_AFTER: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_offers_no_reference_for_a_minute_is_reported_once_and_when_it_is_back() {
        let (mut missing, member) = (MissingReferences::default(), Name::new("bridge"));
        let reason = ReferenceAbsence::NotRegistered;
        let events: Vec<_> = (0..30).filter_map(|_| missing.end_round(member, Err(reason))).collect();
        assert_eq!(events, [ServerEvent::ReferenceMissing { member, reason }]);
        let shown = MissingReference { name: member, reason: MissingReason::Member(reason) };
        assert_eq!(missing.view(Name::new("server")), [shown]);
        assert_eq!(missing.end_round(member, Ok(())), Some(ServerEvent::ReferenceFound { member }));
        assert!(missing.view(Name::new("server")).is_empty());
        // One that comes and goes within twelve rounds is not reported.
        for found in [Err(reason), Ok(()), Err(ReferenceAbsence::NotOffered), Ok(())] {
            assert_eq!(missing.end_round(member, found), None);
        }
    }

    #[test]
    fn the_servers_own_reference_is_reported_when_it_is_lost_and_gained() {
        let mut missing = MissingReferences::default();
        let (reason, max_error) = (NoReference::Unsynchronized, Span::from_millis(1));
        assert_eq!(missing.note_own(Err(reason)), Some(ServerEvent::ReferenceLost { reason }));
        assert_eq!(missing.note_own(Err(reason)), None);
        let name = Name::new("server");
        assert_eq!(missing.view(name), [MissingReference { name, reason: MissingReason::Own(reason) }]);
        assert_eq!(missing.note_own(Ok(max_error)), Some(ServerEvent::ReferenceGained { max_error }));
        assert_eq!(missing.note_own(Ok(max_error)), None);
        assert!(missing.view(name).is_empty());
    }
}

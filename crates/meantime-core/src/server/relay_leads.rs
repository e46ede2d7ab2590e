//! How long before it begins a manual time adjustment has to be announced for the relays among the members.
//!
//! Each relay states in its datagrams what the nodes below it need. The longest of the current lifetime and
//! of the one before counts: every member is heard in each.

use crate::time::{Monotonic, Span};
use crate::wire::RelayLead;

/// The longest lead that members have stated lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RelayLeads {
    begun: Monotonic,
    current: RelayLead,
    before: RelayLead,
}

impl RelayLeads {
    /// A member states this lead. `lifetime` is that of a registration.
    pub(super) fn note(&mut self, now: Monotonic, stated: RelayLead, lifetime: Span) {
        let age = now - self.begun;
        if age >= lifetime {
            let before = if age < lifetime.times(2) { self.current } else { RelayLead::NONE };
            *self = RelayLeads { begun: now, current: RelayLead::NONE, before };
        }
        self.current = self.current.max(stated);
    }

    /// The longest.
    pub(super) fn longest(&self) -> Span {
        self.current.max(self.before).span()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lead_counts_until_its_relay_is_silent_for_two_lifetimes() {
        let (mut leads, lifetime) = (RelayLeads::default(), Span::from_secs(10));
        let lead = |s| RelayLead::covering(Span::from_secs(s)).unwrap();
        let mut at = |s, stated| {
            leads.note(Monotonic::from_nanos(0) + Span::from_secs(s), stated, lifetime);
            leads.longest()
        };
        assert_eq!(at(100, RelayLead::NONE), Span::ZERO);
        assert_eq!(at(101, lead(60)), Span::from_secs(64));
        assert_eq!(at(102, lead(5)), Span::from_secs(64));
        assert_eq!(at(111, RelayLead::NONE), Span::from_secs(64));
        assert_eq!(at(112, lead(5)), Span::from_secs(64));
        assert_eq!(at(122, lead(5)), Span::from_secs(8));
        assert_eq!(at(200, RelayLead::NONE), Span::ZERO);
    }
}

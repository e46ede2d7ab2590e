//! How long before it begins a manual time adjustment has to be announced for the relays among the members.
//!
//! Each relay states in its datagrams what the nodes below it need; those count that are genuine and new. The
//! longest of the current lifetime and of the one before counts: every member is heard in each. So a lead
//! counts until its relay is silent for two lifetimes, also if no member is heard any more.

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
        if now - self.begun >= lifetime {
            let before = self.longest(now, lifetime);
            *self = RelayLeads { begun: now, current: RelayLead::NONE, before };
        }
        self.current = self.current.max(stated);
    }

    /// The longest now.
    pub(super) fn longest(&self, now: Monotonic, lifetime: Span) -> RelayLead {
        match now - self.begun {
            age if age < lifetime => self.current.max(self.before),
            age if age < lifetime.times(2) => self.current,
            _ => RelayLead::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Span = Span::from_secs(10);

    fn second(s: i64) -> Monotonic {
        Monotonic::from_nanos(0) + Span::from_secs(s)
    }

    fn lead(s: i64) -> RelayLead {
        RelayLead::covering(Span::from_secs(s)).unwrap()
    }

    #[test]
    fn the_longest_lead_counts_until_its_relay_is_silent_for_two_lifetimes() {
        let mut leads = RelayLeads::default();
        let mut at = |s, stated| {
            leads.note(second(s), stated, LIFETIME);
            leads.longest(second(s), LIFETIME).span()
        };
        assert_eq!(at(100, RelayLead::NONE), Span::ZERO);
        assert_eq!(at(101, lead(60)), Span::from_secs(64));
        assert_eq!(at(102, lead(5)), Span::from_secs(64));
        assert_eq!(at(111, RelayLead::NONE), Span::from_secs(64));
        assert_eq!(at(112, lead(5)), Span::from_secs(64));
        assert_eq!(at(122, lead(5)), Span::from_secs(8));
        assert_eq!(at(200, RelayLead::NONE), Span::ZERO);
    }

    #[test]
    fn leads_expire_though_no_member_is_heard() {
        let mut leads = RelayLeads::default();
        leads.note(second(100), lead(60), LIFETIME);
        leads.note(second(111), lead(5), LIFETIME);
        let longest = |s| leads.longest(second(s), LIFETIME).span();
        assert_eq!(longest(120), Span::from_secs(64));
        assert_eq!((longest(121), longest(130)), (Span::from_secs(8), Span::from_secs(8)));
        assert_eq!(longest(131), Span::ZERO);
    }
}

//! The groups that had a vote and of which a member is gone, for a day: a client that registers again has its
//! vote at once. It is the group that has earned it, not the session. A server whose machine sleeps keeps
//! those only that went shortly before.

use alloc::collections::BTreeMap;

use crate::consensus::Weight;
use crate::time::{Monotonic, Span};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct RememberedVotes(BTreeMap<u64, Gone>);

/// A group of which a member is gone.
#[derive(Clone, Copy, Debug)]
struct Gone {
    since: Monotonic,
    /// What that member counted.
    weight: Weight,
}

impl RememberedVotes {
    /// A member with a vote is gone. At most `max` groups are remembered.
    pub(super) fn remember(&mut self, now: Monotonic, group: u64, weight: Weight, max: usize) {
        if self.0.len() >= max {
            self.0.retain(|_, gone| now - gone.since < REMEMBERED);
        }
        if self.0.len() < max {
            self.0.insert(group, Gone { since: now, weight });
        }
    }

    /// The machine has slept. Forgets the groups that were gone for longer than `memory` when the last of the
    /// others went; if one is present over the network, before the sleep. Returns what those count that are
    /// remembered and not present.
    pub(super) fn note_sleep(
        &mut self,
        now: Monotonic,
        memory: Span,
        is_any_here: bool,
        is_present: impl Fn(u64) -> bool,
    ) -> Weight {
        self.0.retain(|_, gone| now - gone.since < REMEMBERED);
        let last = self.0.values().map(|gone| gone.since).max().filter(|_| !is_any_here).unwrap_or(now);
        self.0.retain(|_, gone| last - gone.since <= memory);
        self.0.iter().filter(|(group, _)| !is_present(**group)).map(|(_, gone)| gone.weight).sum()
    }

    /// Whether this group had a vote.
    pub(super) fn includes(&self, now: Monotonic, group: u64) -> bool {
        self.0.get(&group).is_some_and(|gone| now - gone.since < REMEMBERED)
    }
}

/// Longer than any reboot, and than most outages.
const REMEMBERED: Span = Span::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Monotonic {
        Monotonic::default() + Span::from_secs(seconds)
    }

    #[test]
    fn after_a_sleep_the_groups_that_went_with_the_last_one_are_remembered() {
        let count = |groups: &[(u64, i64)], now, is_any_here| {
            let mut votes = RememberedVotes::default();
            groups.iter().for_each(|(group, since)| votes.remember(at(*since), *group, Weight::ONE, 9));
            votes.note_sleep(at(now), Span::from_secs(120), is_any_here, |group| group == 9)
        };
        // The network has gone, and an hour later the machine sleeps.
        assert_eq!(count(&[(1, 0), (2, 3_000), (3, 3_100)], 7_000, false), Weight::votes(2));
        assert_eq!(count(&[(1, 0), (2, 3_000), (3, 3_100)], 3_130, true), Weight::votes(1));
        // One is back, or has been gone for more than a day.
        assert_eq!(count(&[(9, 3_000), (3, 3_100)], 3_110, true), Weight::ONE);
        assert_eq!(count(&[(1, 0), (2, 0)], 90_000, false), Weight::ZERO);
        assert_eq!(count(&[], 0, false), Weight::ZERO);
    }

    #[test]
    fn a_group_that_is_gone_is_remembered_for_a_day_and_no_more_than_so_many() {
        let mut votes = RememberedVotes::default();
        let later = |hours: i64| at(3_600 * hours);
        votes.remember(later(0), 7, Weight::ONE, 1);
        assert!(
            votes.includes(later(23), 7) && !votes.includes(later(24), 7) && !votes.includes(later(0), 8)
        );
        votes.remember(later(23), 8, Weight::ONE, 1);
        assert!(!votes.includes(later(23), 8));
        votes.remember(later(25), 8, Weight::ONE, 1);
        assert!(votes.includes(later(25), 8) && !votes.includes(later(25), 7));
    }
}

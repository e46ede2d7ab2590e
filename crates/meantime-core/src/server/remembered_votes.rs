//! The groups that had a vote and of which a member is gone, for a day: a client that registers again has its
//! vote at once. It is the group that has earned it, not the session.

use alloc::collections::BTreeMap;

use crate::time::{Monotonic, Span};

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct RememberedVotes(BTreeMap<u64, Monotonic>);

impl RememberedVotes {
    /// A member with a vote is gone. At most `max` groups are remembered.
    pub(super) fn remember(&mut self, now: Monotonic, group: u64, max: usize) {
        if self.0.len() >= max {
            self.0.retain(|_, gone| now - *gone < REMEMBERED);
        }
        if self.0.len() < max {
            self.0.insert(group, now);
        }
    }

    /// Whether this group had a vote.
    pub(super) fn includes(&self, now: Monotonic, group: u64) -> bool {
        self.0.get(&group).is_some_and(|gone| now - *gone < REMEMBERED)
    }
}

/// Longer than any reboot, and than most outages.
const REMEMBERED: Span = Span::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_gone_is_remembered_for_a_day_and_no_more_than_so_many() {
        let mut votes = RememberedVotes::default();
        let later = |hours: i64| Monotonic::default() + Span::from_secs(3_600 * hours);
        votes.remember(later(0), 7, 1);
        assert!(
            votes.includes(later(23), 7) && !votes.includes(later(24), 7) && !votes.includes(later(0), 8)
        );
        votes.remember(later(23), 8, 1);
        assert!(!votes.includes(later(23), 8));
        votes.remember(later(25), 8, 1);
        assert!(votes.includes(later(25), 8) && !votes.includes(later(25), 7));
    }
}

//! What the clients with a vote count, as the server remembers it.
//!
//! A machine may lose its network some time before it sleeps, and its clients do not all return at once when
//! it wakes up. So the largest weight of the last rounds counts, not that of the last round.

use super::weight::Weight;
use crate::time::{Raw, Span};

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownVoters {
    weight: Weight,
    /// When they had this weight last.
    seen: Raw,
}

impl KnownVoters {
    /// What they count.
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// The server has the cluster's time, and its clients with a vote count so much. A larger weight is
    /// remembered for `memory`.
    pub(super) fn observe(&mut self, now: Raw, weight: Weight, memory: Span) {
        if weight >= self.weight || now - self.seen > memory {
            *self = KnownVoters { weight, seen: now };
        }
    }

    /// The server has lost the cluster's time: of the clients with a vote some return late, and none is
    /// forgotten.
    pub(super) fn observe_return(&mut self, weight: Weight) {
        self.weight = self.weight.max(weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_weight_is_remembered_for_some_time() {
        let mut voters = KnownVoters::default();
        let at = |seconds: i64| Raw::from_nanos(seconds * 1_000_000_000);
        let memory = Span::from_secs(60);
        voters.observe(at(0), Weight::votes(3), memory);
        voters.observe(at(60), Weight::ONE, memory);
        assert_eq!(voters.weight(), Weight::votes(3));
        voters.observe(at(61), Weight::ONE, memory);
        assert_eq!(voters.weight(), Weight::ONE);
        voters.observe_return(Weight::votes(2));
        voters.observe_return(Weight::ZERO);
        assert_eq!(voters.weight(), Weight::votes(2));
    }
}

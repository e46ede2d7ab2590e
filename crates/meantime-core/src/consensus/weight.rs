//! Weights: what the reading of one member counts in a vote.

use core::iter::Sum;
use core::ops::{AddAssign, SubAssign};

/// A part of a vote, or several votes, in units of 2⁻³² votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

impl Weight {
    /// The smallest part of a vote.
    pub const LEAST: Weight = Weight(1);
    /// No vote.
    pub const ZERO: Weight = Weight(0);
    /// One vote.
    pub const ONE: Weight = Weight(1 << 32);

    /// So many votes.
    pub const fn votes(count: usize) -> Weight {
        Weight((count as u64).saturating_mul(Weight::ONE.0))
    }

    /// So many units of 2⁻³² votes.
    pub fn from_units(units: u64) -> Weight {
        Weight(units)
    }

    /// In units of 2⁻³² votes.
    pub fn units(self) -> u64 {
        self.0
    }

    /// In votes.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Weight::ONE.0 as f64
    }

    /// Whether this is more than half of `all`.
    pub fn is_majority_of(self, all: Weight) -> bool {
        u128::from(self.0) * 2 > u128::from(all.0)
    }

    /// Whether this is at least half of `all`.
    pub fn is_half_of(self, all: Weight) -> bool {
        u128::from(self.0) * 2 >= u128::from(all.0)
    }

    /// This weight times a factor from 0 to 1.
    pub(super) fn scaled(self, factor: f64) -> Weight {
        Weight((self.0 as f64 * factor.clamp(0.0, 1.0)) as u64)
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Weight) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, other: Weight) {
        self.0 = self.0.saturating_sub(other.0);
    }
}

impl Sum for Weight {
    fn sum<I: Iterator<Item = Weight>>(weights: I) -> Weight {
        weights.fold(Weight::ZERO, |mut sum, weight| {
            sum += weight;
            sum
        })
    }
}

/// Share number `index` of `count` equal shares of `whole`. They differ by one unit at most, and their sum is
/// exactly `whole`, so that rounding never makes, or breaks, a majority.
pub fn share(whole: Weight, count: usize, index: usize) -> Weight {
    let parts = (count as u64).max(1);
    let (each, rest) = (whole.0 / parts, whole.0 % parts);
    Weight(each + u64::from((index as u64) < rest))
}

/// All shares of `whole` for `count` members.
pub fn shares(whole: Weight, count: usize) -> impl Iterator<Item = Weight> {
    (0..count).map(move |index| share(whole, count, index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_vote_are_exactly_one_vote() {
        for count in 1..1_000 {
            assert_eq!(shares(Weight::ONE, count).sum::<Weight>(), Weight::ONE, "{count}");
        }
        assert_eq!(shares(Weight::ONE, 0).count(), 0);
    }

    #[test]
    fn half_of_all_votes_is_no_majority() {
        let three: Weight = shares(Weight::ONE, 3).sum();
        assert!(!three.is_majority_of(Weight::votes(2)) && three.is_half_of(Weight::votes(2)));
        assert!(Weight::votes(2).is_majority_of(Weight::votes(3)));
    }
}

//! The vote: pure functions of slices.
//!
//! Each reading has a [`Weight`]: the members of a group share the votes of the group. With g votes in all,
//! of which the members of bad groups have f < g/2:
//!
//! * The **median** of all readings lies between the lowest and the highest reading of the good members:
//!   those at or below it have at least half of the weight, which is more than f, so one of them is good;
//!   likewise those at or above it.
//! * The **mean of those within γ of the median** lies at most γ·f/g outside the range of the good readings
//!   while the good ones are within γ of each other, else at most γ·f/(f + w), where w is the weight of the
//!   good readings that are within γ of the median: not less than that of one of them.
//! * The **winsorised mean** (readings farther than γ from the median are moved to γ) lies at most γ·f/g
//!   outside that range, always, and is continuous in every reading.
//! * The plain mean, and the mean of the largest group, have no such limit.
//!
//! A majority is counted over *members*, never over those who happened to answer: losses must not turn a
//! minority into a majority. Without a majority near the median, the vote decides nothing.

use crate::consensus::weight::Weight;
use crate::time::Span;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The weighted median: the middle of the highest value below which there is less than half of the weight,
/// and the lowest value above which there is less than half. Values without weight do not count. `None` of
/// none.
pub fn median(values: impl IntoIterator<Item = (Span, Weight)>) -> Option<Span> {
    let (lower, upper) = middle_two(values.into_iter().collect(), Span::cmp)?;
    Some(lower + (upper - lower).half())
}

/// The lower weighted median: the lowest value that values with half of the weight do not exceed. As long as
/// others have half of the weight, no values raise it above all of those. `None` of none.
pub fn lower_median(values: impl IntoIterator<Item = (Span, Weight)>) -> Option<Span> {
    middle_two(values.into_iter().collect(), Span::cmp).map(|(lower, _)| lower)
}

/// The weighted median of ratios. `None` of none; NaNs are above all numbers.
pub fn median_ratio(values: impl IntoIterator<Item = (f64, Weight)>) -> Option<f64> {
    let (lower, upper) = middle_two(values.into_iter().collect(), f64::total_cmp)?;
    Some((lower + upper) / 2.0)
}

/// The two values between which half of the weight lies on either side; mostly they are one value.
fn middle_two<V: Copy>(mut values: Vec<(V, Weight)>, compare: impl Fn(&V, &V) -> Ordering) -> Option<(V, V)> {
    values.retain(|(_, weight)| *weight > Weight::ZERO);
    values.sort_unstable_by(|(one, _), (other, _)| compare(one, other));
    let total: Weight = values.iter().map(|(_, weight)| *weight).sum();
    let mut below = Weight::ZERO;
    let mut lower = None;
    for (value, weight) in values {
        below += weight;
        if lower.is_none() && below.is_half_of(total) {
            lower = Some(value);
        }
        if below.is_majority_of(total) {
            return Some((lower.unwrap_or(value), value));
        }
    }
    None
}

/// A robust standard deviation: 1.4826 × the median absolute deviation from the median, which is the
/// standard deviation if the values are Gaussian. `None` of none.
pub fn robust_deviation(values: impl IntoIterator<Item = (Span, Weight)>) -> Option<Span> {
    let mut values: Vec<(Span, Weight)> = values.into_iter().collect();
    let middle = median(values.iter().copied())?;
    values.iter_mut().for_each(|(value, _)| *value = (*value - middle).abs());
    median(values).map(|mad| mad.scaled(1.4826))
}

/// One member's reading in a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReading {
    /// The member's clock against the reference of the vote.
    pub offset: Span,
    /// How much more than usual this reading may be off; not negative.
    pub error: Span,
    /// What the reading counts.
    pub weight: Weight,
}

/// Whether a majority agrees, and on what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The median of the readings.
    pub median: Span,
    /// How many readings lie within the window of it.
    pub agreeing: usize,
    /// What these count.
    pub weight: Weight,
    /// From the lowest to the highest of these.
    pub spread: Span,
    /// Whether they have more than half of all votes.
    pub majority: bool,
}

impl Agreement {
    /// Whether a reading agrees with the median of this vote.
    pub fn includes(&self, reading: &VoteReading, window: Span) -> bool {
        (reading.offset - self.median).abs() <= window + reading.error
    }
}

/// Decides whether readings with more than half of all `votes` agree with the median within `window`.
///
/// ```
/// use meantime_core::consensus::Weight;
/// use meantime_core::consensus::vote::{VoteReading, agreement};
/// use meantime_core::time::Span;
///
/// let readings = [0, 20, -10, 3_600_000_000].map(|us| VoteReading {
///     offset: Span::from_micros(us),
///     error: Span::ZERO,
///     weight: Weight::ONE,
/// });
/// let window = Span::from_micros(50);
/// let vote = agreement(&readings, window, Weight::votes(4));
/// assert!(vote.majority && vote.agreeing == 3);
/// assert!(!vote.includes(&readings[3], window), "an hour off: a falseticker");
/// ```
pub fn agreement(readings: &[VoteReading], window: Span, votes: Weight) -> Agreement {
    let offsets = readings.iter().map(|reading| (reading.offset, reading.weight));
    let mut agreement = Agreement { median: median(offsets).unwrap_or_default(), ..Agreement::default() };
    let agreeing = || readings.iter().filter(|reading| agreement.includes(reading, window));
    let offsets = || agreeing().map(|reading| reading.offset);
    let (count, weight) = (agreeing().count(), agreeing().map(|reading| reading.weight).sum());
    let spread = offsets().max().unwrap_or_default() - offsets().min().unwrap_or_default();
    (agreement.agreeing, agreement.weight, agreement.spread) = (count, weight, spread);
    agreement.majority = weight.is_majority_of(votes);
    agreement
}

/// The vote of a cluster that has no time yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstVote {
    /// The mean of the readings within the radius of the median.
    pub mean: Span,
    /// For each reading, whether it is in that mean.
    pub kept: Vec<bool>,
    /// Whether those in the mean have more than half of all votes.
    pub majority: bool,
}

/// The classic algorithm, once: the mean of the readings within a wide `radius` of the median, if they have
/// more than half of all `votes`. Two that disagree have no majority.
pub fn first_vote(readings: &[(Span, Weight)], radius: Span, votes: Weight) -> FirstVote {
    let Some(middle) = median(readings.iter().copied()) else {
        return FirstVote::default();
    };
    let kept: Vec<bool> = readings.iter().map(|(reading, _)| (*reading - middle).abs() <= radius).collect();
    let in_mean = || readings.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(reading, _)| *reading);
    let weight: Weight = in_mean().map(|(_, weight)| weight).sum();
    let total: i128 = in_mean()
        .map(|(reading, weight)| i128::from((reading - middle).as_nanos()) * i128::from(weight.units()))
        .sum();
    let mean = match i128::from(weight.units()) {
        0 => middle,
        units => middle + Span::from_nanos((total / units) as i64),
    };
    FirstVote { mean, majority: weight.is_majority_of(votes), kept }
}

/// The mean of the values after those farther than `reach` from the median were moved to that distance.
/// `None` of none. NaNs are not values.
pub fn winsorised_mean(values: &[(f64, Weight)], reach: f64) -> Option<f64> {
    let values: Vec<(f64, Weight)> = values.iter().copied().filter(|(value, _)| !value.is_nan()).collect();
    let weights: f64 = values.iter().map(|(_, weight)| weight.as_f64()).sum();
    let middle = median_ratio(values.iter().copied())?;
    let moved =
        |(value, weight): &(f64, Weight)| value.clamp(middle - reach, middle + reach) * weight.as_f64();
    let total: f64 = values.iter().map(moved).sum();
    Some(total / weights)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::consensus::weight::shares;

    fn equal(values: &[i64]) -> Vec<(Span, Weight)> {
        values.iter().map(|ns| (Span::from_nanos(*ns), Weight::ONE)).collect()
    }

    fn exact(values: &[i64]) -> Vec<VoteReading> {
        let reading = |(offset, weight)| VoteReading { offset, error: Span::ZERO, weight };
        equal(values).into_iter().map(reading).collect()
    }

    const HOUR: i64 = 3_600_000_000_000;
    const RADIUS: Span = Span::from_secs(30);

    #[test]
    fn the_first_vote_is_the_plain_mean_of_clocks_that_are_not_wild() {
        let vote = first_vote(&equal(&[0, 3_000_000_000, -6_000_000_000, HOUR]), RADIUS, Weight::votes(4));
        assert_eq!(vote.mean, Span::from_secs(-1));
        assert_eq!(vote.kept, [true, true, true, false]);
        assert!(vote.majority);
    }

    #[test]
    fn two_wild_clocks_that_disagree_follow_nothing() {
        assert!(!first_vote(&equal(&[0, HOUR]), RADIUS, Weight::votes(2)).majority);
        assert!(!agreement(&exact(&[0, HOUR]), Span::from_millis(50), Weight::votes(2)).majority);
    }

    #[test]
    fn silent_members_count_against_the_majority() {
        let readings = exact(&[0, 10, 20]);
        assert!(agreement(&readings, Span::from_nanos(50), Weight::votes(5)).majority);
        assert!(!agreement(&readings, Span::from_nanos(50), Weight::votes(6)).majority);
        assert!(!first_vote(&equal(&[0, 10, 20]), RADIUS, Weight::votes(6)).majority);
    }

    #[test]
    fn the_largest_group_does_not_win_by_being_tight() {
        let vote = agreement(&exact(&[0, 4, 9, 10_000, 10_000]), Span::from_nanos(20), Weight::votes(5));
        assert_eq!((vote.median.as_nanos(), vote.agreeing), (9, 3));
    }

    #[test]
    fn a_reading_may_be_off_by_its_own_error_more() {
        let mut readings = exact(&[0, 10, 300]);
        readings[2].error = Span::from_nanos(280);
        assert_eq!(agreement(&readings, Span::from_nanos(20), Weight::votes(3)).agreeing, 3);
    }

    #[test]
    fn a_vote_without_readings_has_no_result() {
        assert_eq!(median([]), None);
        assert_eq!(robust_deviation([]), None);
        assert_eq!(winsorised_mean(&[], 1.0), None);
        assert!(!first_vote(&[], RADIUS, Weight::ONE).majority);
        assert!(!agreement(&[], RADIUS, Weight::ONE).majority);
    }

    #[test]
    fn two_hundred_sessions_of_one_group_are_one_vote() {
        let fakes = shares(Weight::ONE, 200).map(|weight| (Span::from_secs(10), weight));
        let all: Vec<(Span, Weight)> = equal(&[0, 0]).into_iter().chain(fakes).collect();
        assert_eq!(median(all.iter().copied()), Some(Span::ZERO));
        let vote = first_vote(&all, Span::from_secs(1), Weight::votes(3));
        assert!(vote.majority && vote.mean == Span::ZERO);
    }

    #[test]
    fn half_of_the_weight_does_not_raise_the_lower_median() {
        let values = equal(&[5, 7, 900, 1_000]);
        assert_eq!(lower_median(values.iter().copied()), Some(Span::from_nanos(7)));
        assert_eq!(median(values), Some(Span::from_nanos(453)));
        assert_eq!(lower_median([]), None);
    }

    #[test]
    fn values_without_weight_do_not_count() {
        let values = [(Span::from_secs(9), Weight::ZERO), (Span::from_secs(1), Weight::ONE)];
        assert_eq!(median(values), Some(Span::from_secs(1)));
        assert_eq!(median([values[0]]), None);
    }

    /// Groups of any sizes, fewer than half of them bad: the readings of all members with their weights, and
    /// those of the good groups' members alone.
    #[derive(Clone, Debug)]
    struct Groups {
        all: Vec<(i64, Weight)>,
        good: Vec<i64>,
        bad_share: f64,
    }

    fn groups() -> impl Strategy<Value = Groups> {
        (1usize..8).prop_flat_map(|bad| {
            let good = vec(vec(-100_000i64..100_000, 1..6), bad + 1..bad + 9);
            (good, vec(vec(any::<i64>(), 1..40), bad)).prop_map(|(good, bad)| {
                let weighted = |members: &Vec<i64>| {
                    let weights = shares(Weight::ONE, members.len());
                    members.iter().copied().zip(weights).collect::<Vec<_>>()
                };
                Groups {
                    all: good.iter().chain(&bad).flat_map(weighted).collect(),
                    bad_share: bad.len() as f64 / (good.len() + bad.len()) as f64,
                    good: good.concat(),
                }
            })
        })
    }

    impl Groups {
        fn spans(&self) -> Vec<(Span, Weight)> {
            self.all.iter().map(|(ns, weight)| (Span::from_nanos(*ns), *weight)).collect()
        }

        fn votes(&self) -> Weight {
            self.all.iter().map(|(_, weight)| *weight).sum()
        }

        /// Whether a value lies at most `limit` outside the range of the good readings.
        fn is_near_the_good(&self, value: f64, limit: f64) -> bool {
            let (low, high) = (*self.good.iter().min().unwrap(), *self.good.iter().max().unwrap());
            value >= low as f64 - limit && value <= high as f64 + limit
        }
    }

    proptest! {
        #[test]
        fn the_median_lies_among_the_good(groups in groups()) {
            let middle = median(groups.spans()).unwrap().as_nanos();
            prop_assert!(groups.is_near_the_good(middle as f64, 0.0));
        }

        #[test]
        fn bad_groups_move_the_first_vote_at_most_by_their_share_of_the_radius(groups in groups()) {
            let radius = 200_000;
            let vote = first_vote(&groups.spans(), Span::from_nanos(radius), groups.votes());
            prop_assert!(vote.majority);
            let limit = radius as f64 * groups.bad_share + 1.0;
            prop_assert!(groups.is_near_the_good(vote.mean.as_nanos() as f64, limit));
        }

        #[test]
        fn bad_groups_move_the_winsorised_mean_at_most_by_their_share_of_its_reach(groups in groups()) {
            let value = |(ns, weight): &(i64, Weight)| (*ns as f64, *weight);
            let all: Vec<(f64, Weight)> = groups.all.iter().map(value).collect();
            let mean = winsorised_mean(&all, 5_000.0).unwrap();
            prop_assert!(groups.is_near_the_good(mean, 5_000.0 * groups.bad_share + 1e-3));
        }

        #[test]
        fn bad_groups_alone_have_no_majority(groups in groups(), window in 1i64..1_000) {
            // All of them agree on a time that is far from that of the good ones.
            let far = groups.all.iter().skip(groups.good.len());
            let bad: Vec<VoteReading> = far
                .map(|(_, weight)| VoteReading { offset: RADIUS, error: Span::ZERO, weight: *weight })
                .collect();
            prop_assert!(!agreement(&bad, Span::from_nanos(window), groups.votes()).majority);
        }

        #[test]
        fn equal_weights_give_the_plain_median(all in vec(any::<i32>(), 1..20)) {
            let mut sorted: Vec<i64> = all.iter().copied().map(i64::from).collect();
            let middle = median(equal(&sorted)).unwrap().as_nanos();
            sorted.sort_unstable();
            let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            prop_assert_eq!(middle, lower + (upper - lower) / 2);
        }

        #[test]
        fn no_readings_overflow(all in vec(any::<i64>(), 0..20)) {
            let values = equal(&all);
            let votes = Weight::votes(all.len());
            let _ = (first_vote(&values, RADIUS, votes), robust_deviation(values));
            let _ = agreement(&exact(&all), RADIUS, votes);
        }
    }
}

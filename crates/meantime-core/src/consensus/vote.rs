//! The vote: pure functions of slices.
//!
//! With m members of which f < m/2 lie:
//!
//! * The **median** of all readings lies between the lowest and the highest reading of the good members: more
//!   than half of the readings are good, so at least one good reading lies on each side of it (or on it).
//! * The **mean of those within γ of the median** lies at most γ·f/m outside the range of the good readings
//!   while the good ones are within γ of each other, else at most γ·f/(f+1).
//! * The **winsorised mean** (readings farther than γ from the median are moved to γ) lies at most γ·f/m
//!   outside that range, always, and is continuous in every reading.
//! * The plain mean, and the mean of the largest group, have no such limit.
//!
//! A majority is counted over *members*, never over those who happened to answer: losses must not turn a
//! minority into a majority. Without a majority near the median, the vote decides nothing.

use crate::time::Span;
use alloc::vec::Vec;

/// The middle of the values; the middle of the two middle ones if their number is even. `None` of none.
pub fn median(values: &[Span]) -> Option<Span> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted[sorted.len() / 2 - 1];
    Some(lower + (upper - lower).half())
}

/// A robust standard deviation: 1.4826 × the median absolute deviation from the median, which is the
/// standard deviation if the values are Gaussian. `None` of none.
pub fn robust_deviation(values: &[Span]) -> Option<Span> {
    let middle = median(values)?;
    let deviations: Vec<Span> = values.iter().map(|value| (*value - middle).abs()).collect();
    median(&deviations).map(|mad| mad.scaled(1.4826))
}

/// One member's reading in a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteReading {
    /// The member's clock against the reference of the vote.
    pub offset: Span,
    /// How much more than usual this reading may be off; not negative.
    pub error: Span,
}

/// Whether a majority agrees, and on what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The median of the readings.
    pub median: Span,
    /// How many readings lie within the window of it.
    pub agreeing: usize,
    /// From the lowest to the highest of these.
    pub spread: Span,
    /// Whether they are more than half of all members.
    pub majority: bool,
}

impl Agreement {
    /// Whether a reading agrees with the median of this vote.
    pub fn includes(&self, reading: &VoteReading, window: Span) -> bool {
        (reading.offset - self.median).abs() <= window + reading.error
    }
}

/// Decides whether more than half of `members` agree with the median within `window`.
///
/// ```
/// use meantime_core::consensus::vote::{VoteReading, agreement};
/// use meantime_core::time::Span;
///
/// let readings = [0, 20, -10, 3_600_000_000].map(|us| VoteReading {
///     offset: Span::from_micros(us),
///     error: Span::ZERO,
/// });
/// let window = Span::from_micros(50);
/// let vote = agreement(&readings, window, readings.len());
/// assert!(vote.majority && vote.agreeing == 3);
/// assert!(!vote.includes(&readings[3], window), "an hour off: a falseticker");
/// ```
pub fn agreement(readings: &[VoteReading], window: Span, members: usize) -> Agreement {
    let offsets: Vec<Span> = readings.iter().map(|reading| reading.offset).collect();
    let mut agreement = Agreement { median: median(&offsets).unwrap_or_default(), ..Agreement::default() };
    let agreeing = || readings.iter().filter(|reading| agreement.includes(reading, window)).map(|r| r.offset);
    let count = agreeing().count();
    let spread = agreeing().max().unwrap_or_default() - agreeing().min().unwrap_or_default();
    agreement.agreeing = count;
    agreement.spread = spread;
    agreement.majority = 2 * count > members;
    agreement
}

/// The vote of a cluster that has no time yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirstVote {
    /// The mean of the readings within the radius of the median.
    pub mean: Span,
    /// For each reading, whether it is in that mean.
    pub kept: Vec<bool>,
    /// Whether those in the mean are more than half of all members.
    pub majority: bool,
}

/// The classic algorithm, once: the mean of the readings within a wide `radius` of the median, if they are
/// more than half of all `members`. Two that disagree have no majority.
pub fn first_vote(readings: &[Span], radius: Span, members: usize) -> FirstVote {
    let Some(middle) = median(readings) else {
        return FirstVote::default();
    };
    let kept: Vec<bool> = readings.iter().map(|reading| (*reading - middle).abs() <= radius).collect();
    let in_mean = readings.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(reading, _)| *reading);
    let count = in_mean.clone().count();
    let total: i128 = in_mean.map(|reading| i128::from((reading - middle).as_nanos())).sum();
    let mean = match count {
        0 => middle,
        _ => middle + Span::from_nanos((total / count as i128) as i64),
    };
    FirstVote { mean, kept, majority: 2 * count > members }
}

/// The mean of the values after those farther than `reach` from the median were moved to that distance.
/// `None` of none. NaNs are not values.
pub fn winsorised_mean(values: &[f64], reach: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    let middle = (lower + upper) / 2.0;
    let total: f64 = sorted.iter().map(|value| value.clamp(middle - reach, middle + reach)).sum();
    Some(total / sorted.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn spans(values: &[i64]) -> Vec<Span> {
        values.iter().map(|ns| Span::from_nanos(*ns)).collect()
    }

    fn exact(values: &[i64]) -> Vec<VoteReading> {
        spans(values).into_iter().map(|offset| VoteReading { offset, error: Span::ZERO }).collect()
    }

    const HOUR: i64 = 3_600_000_000_000;
    const RADIUS: Span = Span::from_secs(30);

    #[test]
    fn the_first_vote_is_the_plain_mean_of_clocks_that_are_not_wild() {
        let vote = first_vote(&spans(&[0, 3_000_000_000, -6_000_000_000, HOUR]), RADIUS, 4);
        assert_eq!(vote.mean, Span::from_secs(-1));
        assert_eq!(vote.kept, [true, true, true, false]);
        assert!(vote.majority);
    }

    #[test]
    fn two_wild_clocks_that_disagree_follow_nothing() {
        assert!(!first_vote(&spans(&[0, HOUR]), RADIUS, 2).majority);
        assert!(!agreement(&exact(&[0, HOUR]), Span::from_millis(50), 2).majority);
    }

    #[test]
    fn silent_members_count_against_the_majority() {
        let readings = exact(&[0, 10, 20]);
        assert!(agreement(&readings, Span::from_nanos(50), 5).majority);
        assert!(!agreement(&readings, Span::from_nanos(50), 6).majority);
        assert!(!first_vote(&spans(&[0, 10, 20]), RADIUS, 6).majority);
    }

    #[test]
    fn the_largest_group_does_not_win_by_being_tight() {
        let vote = agreement(&exact(&[0, 4, 9, 10_000, 10_000]), Span::from_nanos(20), 5);
        assert_eq!((vote.median.as_nanos(), vote.agreeing), (9, 3));
    }

    #[test]
    fn a_reading_may_be_off_by_its_own_error_more() {
        let mut readings = exact(&[0, 10, 300]);
        readings[2].error = Span::from_nanos(280);
        assert_eq!(agreement(&readings, Span::from_nanos(20), 3).agreeing, 3);
    }

    #[test]
    fn a_vote_without_readings_has_no_result() {
        assert_eq!(median(&[]), None);
        assert_eq!(robust_deviation(&[]), None);
        assert_eq!(winsorised_mean(&[], 1.0), None);
        assert!(!first_vote(&[], RADIUS, 1).majority);
        assert!(!agreement(&[], RADIUS, 1).majority);
    }

    /// Good readings, and fewer liars that say anything at all.
    fn with_liars() -> impl Strategy<Value = (Vec<i64>, Vec<i64>)> {
        (1usize..8).prop_flat_map(|liars| {
            (vec(-100_000i64..100_000, liars + 1..liars + 9), vec(any::<i64>(), liars))
        })
    }

    proptest! {
        #[test]
        fn the_median_lies_among_the_good((good, lies) in with_liars()) {
            let all: Vec<i64> = good.iter().chain(&lies).copied().collect();
            let middle = median(&spans(&all)).unwrap().as_nanos();
            prop_assert!(middle >= *good.iter().min().unwrap() && middle <= *good.iter().max().unwrap());
        }

        #[test]
        fn the_first_vote_is_moved_by_liars_at_most_by_their_share_of_the_radius(
            (good, lies) in with_liars()
        ) {
            let all: Vec<i64> = good.iter().chain(&lies).copied().collect();
            let (f, m) = (lies.len() as i64, all.len() as i64);
            let radius = 200_000;
            let vote = first_vote(&spans(&all), Span::from_nanos(radius), all.len());
            prop_assert!(vote.majority);
            let (low, high) = (*good.iter().min().unwrap(), *good.iter().max().unwrap());
            let mean = vote.mean.as_nanos();
            prop_assert!(mean >= low - radius * f / m - 1 && mean <= high + radius * f / m + 1);
        }

        #[test]
        fn the_winsorised_mean_is_moved_by_liars_at_most_by_their_share_of_its_reach(
            (good, lies) in with_liars()
        ) {
            let all: Vec<f64> = good.iter().chain(&lies).map(|value| *value as f64).collect();
            let limit = 5_000.0 * lies.len() as f64 / all.len() as f64 + 1e-3;
            let mean = winsorised_mean(&all, 5_000.0).unwrap();
            let (low, high) = (*good.iter().min().unwrap() as f64, *good.iter().max().unwrap() as f64);
            prop_assert!(mean >= low - limit && mean <= high + limit);
        }

        #[test]
        fn no_readings_overflow(all in vec(any::<i64>(), 0..20)) {
            let values = spans(&all);
            let _ = (first_vote(&values, RADIUS, all.len()), robust_deviation(&values));
            let _ = agreement(&exact(&all), RADIUS, all.len());
        }
    }
}

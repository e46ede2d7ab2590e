//! The vote on references: an agreement of intervals, each of which a member states to contain UTC.
//!
//! A reference is *good* if UTC lies in its interval. Let W be the weight of all references that take part,
//! and let the bad ones have less than W/2 together. Let A be the set of points that lie in intervals of more
//! than W/2 together, and [low, high] the smallest interval that contains A.
//!
//! * **UTC lies in [low, high]**: it lies in the intervals of all good ones, which are more than W/2.
//! * **Every point of A lies in a good interval**, since the bad ones cannot reach W/2 by themselves. So low
//!   and high, and all between them, are within twice the largest good half-width e of UTC.
//! * A *truechimer* is a reference whose interval meets [low, high]. Every good one does. So among the
//!   truechimers the bad ones still have less than half of the weight, and the weighted median of the middles
//!   of their intervals lies between the middles of two good ones. Each of these is within e of UTC, and so
//!   is the median. Moving it into [low, high], which contains UTC, brings it no farther from UTC.
//!
//! So the result is within e of UTC, and UTC is proved to be within [low, high], whatever the bad ones state.
//! If there is no point of A, at least half of the weight is bad, and there is no result.
//!
//! The algorithm of intervals is Marzullo's (*Maintaining the time in a distributed system*, 1984), with the
//! majority that NTP demands (RFC 5905, 11.2.1).

use alloc::vec::Vec;

use super::vote;
use super::weight::Weight;
use crate::time::Span;

/// What a reference states: UTC is `middle` ahead of some clock, and not farther from that than `reach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceInterval {
    /// The middle of the interval.
    pub middle: Span,
    /// Half of its width; not negative.
    pub reach: Span,
    /// What it counts.
    pub weight: Weight,
}

/// What the majority of the references state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedUtc {
    /// UTC, as well as it is known.
    pub middle: Span,
    /// UTC is not lower than this.
    pub low: Span,
    /// UTC is not higher than this.
    pub high: Span,
}

impl ReferenceInterval {
    fn low(&self) -> Span {
        self.middle - self.reach
    }

    fn high(&self) -> Span {
        self.middle + self.reach
    }
}

impl AcceptedUtc {
    /// Whether a reference agrees: its interval meets the accepted one.
    pub fn includes(&self, reference: &ReferenceInterval) -> bool {
        reference.low() <= self.high && reference.high() >= self.low
    }

    /// The maximum distance of UTC from the middle.
    pub fn reach(&self) -> Span {
        (self.high - self.middle).max(self.middle - self.low)
    }
}

/// The agreement of references with more than half of the weight of all; `None`: there is none.
pub fn agree(references: &[ReferenceInterval]) -> Option<AcceptedUtc> {
    let total: Weight = references.iter().map(|reference| reference.weight).sum();
    // At equal places intervals begin before others end: they meet in that point.
    let mut edges: Vec<(Span, Edge, Weight)> = Vec::with_capacity(2 * references.len());
    for reference in references {
        edges.push((reference.low(), Edge::Begins, reference.weight));
        edges.push((reference.high(), Edge::Ends, reference.weight));
    }
    edges.sort_unstable();
    let (mut inside, mut low, mut high) = (Weight::ZERO, None, None);
    for (at, edge, weight) in edges {
        let was_majority = inside.is_majority_of(total);
        match edge {
            Edge::Begins => inside += weight,
            Edge::Ends => inside -= weight,
        }
        match (was_majority, inside.is_majority_of(total)) {
            (false, true) => low = low.or(Some(at)),
            (true, false) => high = Some(at),
            _ => {}
        }
    }
    let accepted = AcceptedUtc { middle: low?, low: low?, high: high? };
    let agreeing = references.iter().filter(|reference| accepted.includes(reference));
    let middle = vote::median(agreeing.map(|reference| (reference.middle, reference.weight)))?;
    let middle = middle.max(accepted.low).min(accepted.high);
    Some(AcceptedUtc { middle, ..accepted })
}

/// An end of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Begins,
    Ends,
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn stated(middle: i64, reach: i64) -> ReferenceInterval {
        let (middle, reach) = (Span::from_nanos(middle), Span::from_nanos(reach));
        ReferenceInterval { middle, reach, weight: Weight::ONE }
    }

    #[test]
    fn one_bad_reference_of_three_moves_nothing() {
        let references = [stated(-20, 100), stated(40, 100), stated(1_000_000, 100)];
        let accepted = agree(&references).unwrap();
        assert_eq!((accepted.low.as_nanos(), accepted.high.as_nanos()), (-60, 80));
        assert_eq!(accepted.middle.as_nanos(), 10);
        assert_eq!(accepted.reach().as_nanos(), 70);
        assert_eq!(references.map(|reference| accepted.includes(&reference)), [true, true, false]);
    }

    #[test]
    fn two_references_that_disagree_have_no_majority() {
        assert_eq!(agree(&[stated(0, 100), stated(201, 100)]), None);
        assert!(agree(&[stated(0, 100), stated(200, 100)]).is_some(), "they meet in one point");
        assert_eq!(agree(&[]), None);
    }

    #[test]
    fn a_single_reference_is_accepted_as_it_is() {
        let accepted = agree(&[stated(5, 100)]).unwrap();
        assert_eq!((accepted.middle.as_nanos(), accepted.reach().as_nanos()), (5, 100));
    }

    #[test]
    fn weights_decide_and_not_numbers() {
        let many = [stated(0, 10), stated(0, 10), stated(0, 10)];
        let heavy = ReferenceInterval { weight: Weight::votes(4), ..stated(1_000, 10) };
        let all: Vec<_> = many.into_iter().chain([heavy]).collect();
        assert_eq!(agree(&all).unwrap().middle.as_nanos(), 1_000);
        let weightless = ReferenceInterval { weight: Weight::ZERO, ..stated(0, 10) };
        assert_eq!(agree(&[weightless]), None);
    }

    /// Intervals around UTC, which is 0, of some weights; and any others that weigh less than these together.
    fn good_and_bad() -> impl Strategy<Value = (Vec<ReferenceInterval>, Vec<ReferenceInterval>)> {
        let good = vec((0i64..1_000_000, -1.0..1.0f64, 1u64..100), 1..8);
        let bad = vec((-3_000_000i64..3_000_000, 0i64..2_000_000, 1u64..100), 0..12);
        (good, bad).prop_map(|(good, bad)| {
            let good: Vec<_> = good
                .into_iter()
                .map(|(reach, off, weight)| {
                    let middle = (reach as f64 * off) as i64;
                    ReferenceInterval { weight: Weight::from_units(weight), ..stated(middle, reach) }
                })
                .collect();
            let honest: u64 = good.iter().map(|reference| reference.weight.units()).sum();
            let mut left = honest - 1;
            let fit = |(middle, reach, weight): (i64, i64, u64)| {
                let weight = weight.min(left);
                left -= weight;
                ReferenceInterval { weight: Weight::from_units(weight), ..stated(middle, reach) }
            };
            (good, bad.into_iter().map(fit).collect())
        })
    }

    proptest! {
        #[test]
        fn with_less_than_half_of_the_weight_bad_the_result_is_as_near_to_utc_as_the_worst_good_reference(
            (good, bad) in good_and_bad()
        ) {
            let all: Vec<_> = good.iter().chain(&bad).copied().collect();
            let accepted = agree(&all).unwrap();
            let worst = good.iter().map(|reference| reference.reach).max().unwrap();
            prop_assert!(accepted.low <= Span::ZERO && Span::ZERO <= accepted.high, "{accepted:?}");
            prop_assert!(accepted.middle.abs() <= worst, "{accepted:?}, {worst}");
            prop_assert!(accepted.middle.abs() <= accepted.reach());
            prop_assert!(accepted.low >= -worst.times(2) && accepted.high <= worst.times(2), "{accepted:?}");
            prop_assert!(good.iter().all(|reference| accepted.includes(reference)));
        }

        #[test]
        fn the_order_of_references_does_not_matter((good, bad) in good_and_bad()) {
            let mut all: Vec<_> = good.iter().chain(&bad).copied().collect();
            let accepted = agree(&all);
            all.reverse();
            prop_assert_eq!(agree(&all), accepted);
        }

        #[test]
        fn no_references_overflow(all in vec(any::<(i64, i64, u64)>(), 0..9)) {
            let stated = |(middle, reach, weight): (i64, i64, u64)| {
                let reach = Span::from_nanos(reach.checked_abs().unwrap_or(i64::MAX));
                let weight = Weight::from_units(weight);
                ReferenceInterval { middle: Span::from_nanos(middle), reach, weight }
            };
            let all: Vec<_> = all.into_iter().map(stated).collect();
            let _ = agree(&all).map(|accepted| accepted.reach());
        }
    }
}

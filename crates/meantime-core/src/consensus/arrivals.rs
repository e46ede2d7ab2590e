//! Whether clients are still arriving at a server that listens.
//!
//! Clients whose network was gone return one after another. A decision among the first of them would be one
//! without the others: so it waits until none has been added for two intervals, but for no more than two
//! minutes. Clients that leave and return again and again so delay a decision, and do not prevent it.

use super::weight::Weight;
use crate::time::{Raw, Span};

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    /// What all clocks counted in the last round.
    votes: Weight,
    /// When they first counted more than in the round before, since a quiet time.
    first: Raw,
    /// When they did so last.
    last: Raw,
    /// Whether two intervals had passed since then in the last round.
    is_quiet: bool,
}

impl Arrivals {
    /// Nothing has been seen yet.
    pub(super) fn new(now: Raw) -> Arrivals {
        Arrivals { votes: Weight::ZERO, first: now, last: now, is_quiet: true }
    }

    /// All clocks count so much in this round.
    pub(super) fn observe(&mut self, now: Raw, votes: Weight, interval: Span) {
        if votes > self.votes {
            self.first = if self.is_quiet { now } else { self.first };
            self.last = now;
        }
        self.votes = votes;
        self.is_quiet = has_lasted(now - self.last, interval, 2);
    }

    /// Whether no client has been added lately, or some have been for too long.
    pub(super) fn are_over(&self, now: Raw, interval: Span) -> bool {
        self.is_quiet || now - self.first >= interval.times(MAX_ARRIVAL)
    }
}

/// Whether this is at least so many intervals. The server's oscillator may run slower than the clock that its
/// rounds follow.
pub(super) fn has_lasted(span: Span, interval: Span, intervals: i64) -> bool {
    span >= interval.times(intervals) - interval.over(10)
}

/// In intervals, how long clients that are added one after another delay a decision.
const MAX_ARRIVAL: i64 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const INTERVAL: Span = Span::from_secs(5);

    fn at(interval: i64) -> Raw {
        Raw::from_nanos(interval * INTERVAL.as_nanos())
    }

    #[test]
    fn a_decision_waits_for_two_intervals_after_a_client_was_added_or_has_returned() {
        let mut arrivals = Arrivals::new(at(0));
        for (now, votes, are_over) in
            [(0, 2, false), (1, 2, false), (2, 2, true), (3, 1, true), (9, 2, false), (11, 2, true)]
        {
            arrivals.observe(at(now), Weight::votes(votes), INTERVAL);
            assert_eq!(arrivals.are_over(at(now), INTERVAL), are_over, "interval {now}");
        }
    }

    #[test]
    fn clients_that_are_added_for_ever_delay_it_by_two_minutes_at_a_time() {
        let mut arrivals = Arrivals::new(at(0));
        let over: Vec<bool> = (0..60)
            .map(|now| {
                arrivals.observe(at(now), Weight::votes(now as usize), INTERVAL);
                arrivals.are_over(at(now), INTERVAL)
            })
            .collect();
        assert!(over[..24].iter().all(|over| !over) && over[24..].iter().all(|over| *over), "{over:?}");
    }

    #[test]
    fn clients_that_leave_and_return_do_not_prevent_it() {
        for period in 2..8 {
            let mut arrivals = Arrivals::new(at(0));
            let over = (0..100).filter(|now| {
                arrivals.observe(at(*now), Weight::votes(1 + usize::from(now % period == 0)), INTERVAL);
                arrivals.are_over(at(*now), INTERVAL)
            });
            assert!(over.count() > 30, "every {period} rounds");
        }
    }
}

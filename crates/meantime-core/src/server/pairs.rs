//! Whether the probes of a burst with a member are sent in pairs.
//!
//! A processor that has slept stamps a datagram late, and so does a network card that waits for more of them.
//! The second exchange of a pair meets both awake, and is shorter than the first. Where it is, a burst is
//! made of pairs. Where it is not, pairs would only make two exchanges meet the same queue, and the probes of
//! a burst are evenly spaced, except in one round of some, which tries pairs again.
//!
//! What counts is the earliest that arrives, since the filters take the minimum of each way. So only pairs
//! count whose shorter exchange is one of the path's short ones: they show that the shortest exchanges are
//! second ones, even if most exchanges wait for milliseconds. Each such pair raises or lowers a member's
//! score. Where pairs make no difference, the second exchange is the shorter one of every other pair. The
//! score then falls by half a point with each on average, and is at [`ENOUGH`] or above one time in fifty.
//! Where it is the shorter one of more than three in five, the score rises.

use super::delays::PathDelays;
use crate::time::Span;

/// How often the second exchange has been the shorter one, in those of a member's pairs that count.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairScore(u8);

impl Default for PairScore {
    /// Of a new member: a few pairs suffice, all of which have a shorter second exchange.
    fn default() -> PairScore {
        PairScore(OF_NEW)
    }
}

impl PairScore {
    /// Whether bursts of this round are made of pairs.
    pub(super) fn wants_pairs(self, round: u32) -> bool {
        let trial = if self.0 >= OPEN { OPEN_TRIAL } else { TRIAL };
        self.0 >= ENOUGH || round.is_multiple_of(trial)
    }

    /// Learns from the delays of a pair over a path with these usual delays.
    pub(super) fn learn(&mut self, [first, second]: [Span; 2], usual: &PathDelays) {
        if usual.is_short(first.min(second)) {
            self.count(second < first);
        }
    }

    /// Counts a pair, whose second exchange was the shorter one or not.
    fn count(&mut self, is_second_shorter: bool) {
        self.0 = if is_second_shorter { (self.0 + GAIN).min(MAX) } else { self.0.saturating_sub(LOSS) };
    }
}

/// Whether the probe of this index in a burst of pairs is the second of a pair.
pub(super) fn is_second(index: u8) -> bool {
    index % 2 == 1
}

/// A pair whose second exchange was the shorter one raises the score by this.
const GAIN: u8 = 2;
/// A pair whose second exchange was not the shorter one lowers the score by this.
const LOSS: u8 = 3;
/// Bursts are pairs from this score on.
const ENOUGH: u8 = 24;
/// The highest score.
const MAX: u8 = 63;
/// A new member's score.
const OF_NEW: u8 = 16;
/// From this score on it is open whether pairs help.
const OPEN: u8 = 10;
/// Bursts of one round in so many are pairs in any case.
const TRIAL: u32 = 8;
/// The same while it is open whether pairs help.
const OPEN_TRIAL: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// The score after so many pairs, of which so many in each twenty have a shorter second exchange.
    fn after(pairs: usize, shorter_of_20: usize) -> PairScore {
        let mut score = PairScore::default();
        (0..pairs).for_each(|pair| score.count(pair * 7 % 20 < shorter_of_20));
        score
    }

    #[test]
    fn bursts_are_pairs_where_the_second_exchange_is_the_shorter_one_of_most_pairs() {
        for (shorter_of_20, wants_pairs) in [(0, false), (11, false), (13, true), (20, true)] {
            let score = after(500, shorter_of_20);
            assert_eq!(score.wants_pairs(1), wants_pairs, "{shorter_of_20} of twenty");
        }
    }

    #[test]
    fn one_round_of_some_tries_pairs_again() {
        let mut score = after(500, 0);
        let rounds = (1..=16).filter(|round| score.wants_pairs(*round));
        assert!(rounds.eq([8, 16]));
        (0..OPEN / GAIN).for_each(|_| score.count(true));
        assert!((1..=8).filter(|round| score.wants_pairs(*round)).eq([2, 4, 6, 8]));
        (OPEN / GAIN..ENOUGH / GAIN).for_each(|_| score.count(true));
        assert!(score.wants_pairs(1));
    }

    #[test]
    fn only_pairs_with_a_short_exchange_count() {
        let us = Span::from_micros;
        let mut usual = PathDelays::default();
        (0..200).for_each(|burst| usual.learn(us(if burst % 2 == 0 { 100 } else { 140 })));
        let mut score = PairScore::default();
        (0..500).for_each(|_| score.learn([us(2_000), us(1_000)], &usual));
        assert!(!score.wants_pairs(1));
        (0..5).for_each(|_| score.learn([us(2_000), us(105)], &usual));
        assert!(score.wants_pairs(1));
        (0..100).for_each(|_| score.learn([us(105), us(2_000)], &usual));
        assert!(!score.wants_pairs(1));
    }

    #[test]
    fn the_second_fourth_and_sixth_probe_is_the_second_of_a_pair() {
        assert_eq!([0, 1, 2, 3, 4].map(is_second), [false, true, false, true, false]);
    }
}

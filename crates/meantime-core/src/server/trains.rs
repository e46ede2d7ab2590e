//! How the probes of a burst with a member follow each other: evenly spaced, or in trains.
//!
//! A processor that has slept stamps a datagram late, and so does a network card that waits for more of them.
//! Each probe of a train is sent as soon as the one before is answered. So the first exchange of a train
//! wakes both sides, and the others meet them awake and are shorter. Where they are, bursts are trains. Where
//! they are not, trains would only make several exchanges meet the same queue, and the probes of a burst are
//! evenly spaced, except in one round of some, which tries trains of two. While that is open, as it is for a
//! new member, all bursts try them.
//!
//! What counts is the earliest that arrives, since the filters take the minimum of each way. So a train
//! counts only if the shorter one of its first two exchanges is one of the path's short ones: these show that
//! the shortest exchanges are second ones, even if most exchanges wait for milliseconds. Each such train
//! raises or lowers a member's score. Where trains make no difference, the second exchange is the shorter one
//! in every other train. The score then falls by half a point with each on average, and is at [`ENOUGH`] or
//! above one time in fifty. Where it is the shorter one in more than three of five, the score rises.

use super::delays::PathDelays;
use crate::time::Span;

/// How often the second exchange of a member's trains was shorter than the first, in those that count.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrainScore(u8);

impl Default for TrainScore {
    /// Of a new member: one train suffices, if its second exchange is the shorter one. What the filters learn
    /// of a path at first they keep for long, so that it matters to meet machines awake soon.
    fn default() -> TrainScore {
        TrainScore(OF_NEW)
    }
}

impl TrainScore {
    /// How many probes make a train in bursts of this round; 1: they are evenly spaced.
    pub(super) fn length(self, round: u32) -> u8 {
        match self.0 {
            ENOUGH.. => LENGTH,
            OPEN.. => TRIAL_LENGTH,
            _ if round.is_multiple_of(ROUNDS_PER_TRIAL) => TRIAL_LENGTH,
            _ => 1,
        }
    }

    /// Learns from the delays of the first two exchanges of a train, over a path with these usual delays.
    pub(super) fn learn(&mut self, [first, second]: [Span; 2], usual: &PathDelays) {
        if usual.is_short(first.min(second)) {
            self.count(second < first);
        }
    }

    /// Counts a train whose second exchange was shorter than its first one, or was not.
    fn count(&mut self, is_second_shorter: bool) {
        self.0 = if is_second_shorter { (self.0 + GAIN).min(MAX) } else { self.0.saturating_sub(LOSS) };
    }
}

/// Whether the probe of this index, in a burst of trains of this length, is sent as soon as the one before it
/// is answered.
pub(super) fn follows(index: u8, length: u8) -> bool {
    !index.is_multiple_of(length)
}

/// So many probes make a train where trains help.
const LENGTH: u8 = 4;
/// So many make a train of a trial, which shows whether trains help.
const TRIAL_LENGTH: u8 = 2;
/// A train whose second exchange was the shorter one raises the score by this.
const GAIN: u8 = 2;
/// A train whose second exchange was not the shorter one lowers the score by this.
const LOSS: u8 = 3;
/// Bursts are trains from this score on.
const ENOUGH: u8 = 24;
/// The highest score.
const MAX: u8 = 63;
/// A new member's score.
const OF_NEW: u8 = 22;
/// From this score on it is open whether trains help, and every burst tries them.
const OPEN: u8 = 10;
/// With a lower score, the bursts of one round in so many do.
const ROUNDS_PER_TRIAL: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The score after so many trains, of which so many in each twenty have a shorter second exchange.
    fn after(trains: usize, shorter_of_20: usize) -> TrainScore {
        let mut score = TrainScore::default();
        (0..trains).for_each(|train| score.count(train * 7 % 20 < shorter_of_20));
        score
    }

    #[test]
    fn bursts_are_trains_where_the_second_exchange_is_the_shorter_one_of_most() {
        for (shorter_of_20, length) in [(0, 1), (11, 1), (13, LENGTH), (20, LENGTH)] {
            assert_eq!(after(500, shorter_of_20).length(1), length, "{shorter_of_20} of twenty");
        }
    }

    #[test]
    fn one_round_of_some_tries_trains_again_and_every_round_does_while_it_is_open() {
        let mut score = after(500, 0);
        let trials = |score: TrainScore| (1..=16).filter(move |round| score.length(*round) == 2);
        assert!(trials(score).eq([8, 16]));
        (0..OPEN / GAIN).for_each(|_| score.count(true));
        assert!(trials(score).eq(1..=16));
        (OPEN / GAIN..ENOUGH / GAIN).for_each(|_| score.count(true));
        assert_eq!(score.length(1), LENGTH);
    }

    #[test]
    fn only_trains_with_a_short_exchange_count() {
        let us = Span::from_micros;
        let mut usual = PathDelays::default();
        (0..200).for_each(|burst| usual.learn(us(if burst % 2 == 0 { 100 } else { 140 })));
        let mut score = TrainScore::default();
        (0..500).for_each(|_| score.learn([us(2_000), us(1_000)], &usual));
        assert_eq!(score.length(1), TRIAL_LENGTH);
        (0..5).for_each(|_| score.learn([us(2_000), us(105)], &usual));
        assert_eq!(score.length(1), LENGTH);
        (0..100).for_each(|_| score.learn([us(105), us(2_000)], &usual));
        assert_eq!(score.length(1), 1);
    }

    #[test]
    fn all_probes_of_a_train_but_the_first_follow_the_one_before_it() {
        let following = |length| (0..6).filter(move |index| follows(*index, length));
        assert!(following(1).eq([]));
        assert!(following(2).eq([1, 3, 5]));
        assert!(following(4).eq([1, 2, 3, 5]));
    }
}

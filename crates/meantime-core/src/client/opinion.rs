//! What one server's exchanges show of the cluster's time, and which of several servers contradict the
//! others.
//!
//! An exchange proves where a server's time is, and the server states how far that may be from the cluster's
//! time. Together they are an interval that contains the cluster's time, if the server tells the truth and
//! all bounds hold: the server's *opinion*. Two opinions that do not overlap contradict each other, and one
//! of the two servers is wrong. Which one, a third opinion tells: a server is distrusted if two other
//! opinions agree with each other, and both contradict it.

use alloc::vec::Vec;

use crate::estimation::bound::STAMP_ALLOWANCE;
use crate::estimation::exchange::Exchange;
use crate::roles::rank::{Rank, ServerSet};
use crate::time::{Frequency, Raw, Span, Timestamp};

/// Where the cluster's time is, ahead of this node's oscillator, when that reads `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opinion {
    at: Raw,
    low: Span,
    high: Span,
}

impl Opinion {
    /// The cluster's time is from `low` to `high` ahead of the oscillator when that reads `at`.
    pub(super) fn new(at: Raw, low: Span, high: Span) -> Opinion {
        Opinion { at, low, high }
    }

    /// What the exchanges of a burst show of the time of a server that is within `bound` of the cluster's;
    /// `None`: nothing.
    pub(super) fn of(
        exchanges: impl Iterator<Item = Exchange<Timestamp, Raw>>,
        bound: Span,
    ) -> Option<Opinion> {
        let each = exchanges.filter(|exchange| exchange.delay() >= Span::ZERO).map(|exchange| {
            let at = exchange.t2 + (exchange.t3 - exchange.t2).half();
            let reach = exchange.delay().half() + STAMP_ALLOWANCE + bound;
            Opinion { at, low: -exchange.offset() - reach, high: -exchange.offset() + reach }
        });
        each.min_by_key(|opinion| opinion.high - opinion.low)
    }

    /// Whether this is the exchange that it rests on.
    pub(super) fn is_of(&self, exchange: &Exchange<Timestamp, Raw>) -> bool {
        (exchange.t2..=exchange.t3).contains(&self.at)
    }

    /// How long ago its exchanges were.
    pub(super) fn age(&self, raw: Raw) -> Span {
        raw - self.at
    }

    /// The same when the oscillator reads `raw`. The cluster's time runs at `frequency` over it, give or take
    /// `rho`.
    pub(super) fn aged(&self, raw: Raw, frequency: Frequency, rho: Frequency) -> Opinion {
        let (moved, grown) = (frequency.over(raw - self.at), rho.over((raw - self.at).abs()));
        Opinion { at: raw, low: self.low + moved - grown, high: self.high + moved + grown }
    }

    /// How far it is from another one of the same moment; zero: they overlap.
    pub(super) fn gap(&self, other: &Opinion) -> Span {
        (self.low - other.high).max(other.low - self.high).max(Span::ZERO)
    }

    fn contradicts(&self, other: &Opinion) -> bool {
        self.gap(other) > Span::ZERO
    }
}

/// The servers whose opinion two others contradict that agree with each other. All are of the same moment.
/// `own` is what this node has proved itself.
pub(super) fn distrusted(opinions: &[(Rank, Opinion)], own: Option<Opinion>) -> ServerSet {
    let all: Vec<(Option<Rank>, Opinion)> = opinions
        .iter()
        .map(|(rank, opinion)| (Some(*rank), *opinion))
        .chain(own.map(|own| (None, own)))
        .collect();
    let is_wrong = |(rank, stated): &&(Rank, Opinion)| {
        let against: Vec<&Opinion> = all
            .iter()
            .filter(|(of, other)| *of != Some(*rank) && other.contradicts(stated))
            .map(|(_, other)| other)
            .collect();
        let agree = |(place, one): (usize, &&Opinion)| {
            against[place + 1..].iter().any(|other| !one.contradicts(other))
        };
        against.iter().enumerate().any(agree)
    };
    opinions.iter().filter(is_wrong).map(|(rank, _)| *rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Raw = Raw::from_nanos(7_000_000_000);

    fn rank(place: u8) -> Rank {
        Rank::new(place).unwrap()
    }

    /// An opinion in microseconds.
    fn around(middle: i64, reach: i64) -> Opinion {
        Opinion::new(AT, Span::from_micros(middle - reach), Span::from_micros(middle + reach))
    }

    fn wrong(opinions: &[(i64, i64)], own: Option<(i64, i64)>) -> ServerSet {
        let opinions: Vec<(Rank, Opinion)> = (0..)
            .zip(opinions)
            .map(|(place, (middle, reach))| (rank(place), around(*middle, *reach)))
            .collect();
        distrusted(&opinions, own.map(|(middle, reach)| around(middle, reach)))
    }

    #[test]
    fn of_three_servers_the_one_is_distrusted_that_the_others_contradict() {
        assert_eq!(wrong(&[(1_000, 100), (0, 100), (50, 100)], None), [rank(0)].into_iter().collect());
        assert_eq!(wrong(&[(0, 100), (0, 100), (-900, 10)], None), [rank(2)].into_iter().collect());
        assert_eq!(wrong(&[(150, 100), (0, 100), (50, 100)], None), ServerSet::EMPTY, "all overlap");
    }

    #[test]
    fn two_opinions_that_contradict_each_other_distrust_nobody() {
        assert_eq!(wrong(&[(1_000, 100), (0, 100)], None), ServerSet::EMPTY);
        assert_eq!(wrong(&[(1_000, 100), (0, 100), (-1_000, 100)], None), ServerSet::EMPTY, "no two agree");
    }

    #[test]
    fn what_the_node_has_proved_itself_is_an_opinion_too() {
        assert_eq!(wrong(&[(1_000, 100), (0, 100)], Some((20, 30))), [rank(0)].into_iter().collect());
    }

    #[test]
    fn an_opinion_moves_with_the_frequency_and_grows_with_its_error() {
        let later = AT + Span::from_secs(10);
        let aged = around(0, 100).aged(later, Frequency::from_ppm(10.0), Frequency::from_ppm(1.0));
        assert_eq!(aged, Opinion::new(later, Span::from_micros(-10), Span::from_micros(210)));
        assert_eq!(aged.age(later + Span::from_secs(1)), Span::from_secs(1));
    }

    #[test]
    fn of_a_burst_the_narrowest_exchange_counts() {
        let stamp = |us: i64| Timestamp::from_nanos(AT.as_nanos() + us * 1_000);
        let exchange = |one_way: i64| Exchange {
            t1: stamp(0),
            t2: AT + Span::from_micros(one_way),
            t3: AT + Span::from_micros(one_way),
            t4: stamp(2 * one_way),
        };
        let opinion =
            Opinion::of([exchange(80), exchange(20), exchange(50)].into_iter(), Span::from_micros(5));
        let reach = Span::from_micros(25) + STAMP_ALLOWANCE;
        assert_eq!(opinion, Some(Opinion::new(AT + Span::from_micros(20), -reach, reach)));
    }
}

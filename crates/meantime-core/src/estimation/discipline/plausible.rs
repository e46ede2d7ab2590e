//! Which exchanges of a burst are used.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::changes::FASTEST_DRIFT;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};

/// The plausible exchanges, in the order of their delays: those with a delay in [`PLAUSIBLE_DELAYS`] that do
/// not contradict the best one. A clock that was set within a burst causes two groups of exchanges, of which
/// one is left. The first exchange of a train of three or more is left out if it is longer than the two after
/// it: it wakes processors and network cards, and its delays have another density than those of the others.
pub(super) fn plausible(exchanges: &[Exchange<Timestamp, Raw>]) -> Vec<Exchange<Timestamp, Raw>> {
    let mut plausible: Vec<_> =
        exchanges.iter().copied().filter(|exchange| PLAUSIBLE_DELAYS.contains(&exchange.delay())).collect();
    let mut in_order = plausible.clone();
    in_order.sort_by_key(|exchange| exchange.t1);
    let waking = (0..in_order.len()).filter(|index| wakes(&in_order, *index));
    let waking: Vec<Timestamp> = waking.map(|index| in_order[index].t1).collect();
    plausible.retain(|exchange| !waking.contains(&exchange.t1));
    plausible.sort_by_key(Exchange::delay);
    if let Some(best) = plausible.first().copied() {
        plausible.retain(|exchange| {
            let drift = Span::from_secs_f64(FASTEST_DRIFT * (exchange.t2 - best.t2).as_secs_f64().abs());
            let possible = (exchange.delay() + best.delay()).half() + drift;
            (exchange.offset() - best.offset()).abs() <= possible
        });
    }
    plausible
}

/// Whether the exchange of this index is the first of a train of three or more, and longer than the two after
/// it.
fn wakes(in_order: &[Exchange<Timestamp, Raw>], index: usize) -> bool {
    let (before, from) = in_order.split_at(index);
    let [first, second, third, ..] = from else { return false };
    let is_first = before.last().is_none_or(|last| !follows(first, last));
    let is_train = is_first && follows(second, first) && follows(third, second);
    is_train && first.delay() > second.delay().max(third.delay())
}

/// Whether an exchange was begun as soon as the one before was over.
fn follows(exchange: &Exchange<Timestamp, Raw>, before: &Exchange<Timestamp, Raw>) -> bool {
    (Span::ZERO..AT_ONCE).contains(&(exchange.t1 - before.t4)) && exchange.t1 - before.t1 < SPACED
}

/// In a train, the server sends a probe within this time after the report before it.
const AT_ONCE: Span = Span::from_millis(3);
/// Probes that are sent farther apart than this are evenly spaced: over a round trip as long as that, the
/// report before may arrive right before the next probe is sent.
const SPACED: Span = Span::from_millis(40);
/// Plausible round-trip delays. A longer exchange was held up, or has a wrong timestamp.
const PLAUSIBLE_DELAYS: RangeInclusive<Span> = Span::ZERO..=Span::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// The times, in µs, at which the plausible ones of these exchanges began, in the order of their delays.
    /// Each begins at a time and takes as long, in µs.
    fn begun(exchanges: &[(i64, i64)]) -> Vec<i64> {
        let exchanges: Vec<_> = exchanges
            .iter()
            .map(|&(at, delay)| Exchange {
                t1: Timestamp::from_nanos(1_000 * at),
                t2: Raw::from_nanos(1_000 * at + 500 * delay),
                t3: Raw::from_nanos(1_000 * at + 500 * delay),
                t4: Timestamp::from_nanos(1_000 * (at + delay)),
            })
            .collect();
        plausible(&exchanges).iter().map(|exchange| exchange.t1.as_nanos() / 1_000).collect()
    }

    #[test]
    fn the_first_exchange_of_a_train_of_three_is_left_out() {
        assert_eq!(begun(&[(0, 400), (500, 210), (800, 200), (1_100, 220)]), [800, 500, 1_100]);
        assert_eq!(begun(&[(0, 400), (500, 210), (800, 200)]), [800, 500]);
        assert_eq!(
            begun(&[(0, 205), (500, 210), (800, 200)]),
            [800, 0, 500],
            "it is no longer than the others"
        );
    }

    #[test]
    fn of_trains_of_two_and_of_evenly_spaced_exchanges_all_are_used() {
        let trains = [(0, 400), (500, 200), (100_000, 410), (100_500, 210)];
        assert_eq!(begun(&trains), [500, 100_500, 0, 100_000]);
        let spaced = [(0, 220), (50_000, 200), (100_000, 230), (150_000, 210)];
        assert_eq!(begun(&spaced), [50_000, 150_000, 0, 100_000]);
        let far = [(0, 48_300), (50_000, 48_100), (100_000, 48_000), (150_000, 48_200)];
        assert_eq!(begun(&far), [100_000, 50_000, 150_000, 0]);
    }

    #[test]
    fn a_train_is_found_whatever_the_order_of_its_exchanges() {
        let train = [(1_100, 220), (0, 400), (500, 210), (800, 200)];
        assert_eq!(begun(&train), [800, 500, 1_100]);
    }

    #[test]
    fn probes_that_do_not_wait_for_the_report_before_make_no_train() {
        // Each is sent right after the report before the last.
        let spaced = [(0, 9_900), (5_000, 9_700), (10_000, 9_800), (15_000, 9_600), (20_000, 9_700)];
        assert_eq!(begun(&spaced), [15_000, 5_000, 20_000, 10_000, 0]);
    }

    #[test]
    fn an_exchange_of_an_impossible_delay_is_left_out() {
        assert_eq!(begun(&[(0, 200), (50_000, -1), (100_000, 2_000_001)]), [0]);
        assert_eq!(begun(&[(0, 400), (500, -1), (600, -1)]), [0], "nor does it make a train of others");
    }
}

//! Which exchanges of a burst are used.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::changes::FASTEST_DRIFT;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};

/// The plausible exchanges, in the order of their delays: those with a delay in [`PLAUSIBLE_DELAYS`] that do
/// not contradict the best one. A clock that was set within a burst causes two groups of exchanges, of which
/// one is left.
pub(super) fn plausible(exchanges: &[Exchange<Timestamp, Raw>]) -> Vec<Exchange<Timestamp, Raw>> {
    let mut plausible: Vec<_> =
        exchanges.iter().copied().filter(|exchange| PLAUSIBLE_DELAYS.contains(&exchange.delay())).collect();
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

/// Plausible round-trip delays. A longer exchange was held up, or has a wrong timestamp.
const PLAUSIBLE_DELAYS: RangeInclusive<Span> = Span::ZERO..=Span::from_secs(2);

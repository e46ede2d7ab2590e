//! One exchange: four timestamps, their offset and delay.
//!
//! The server sends a probe at t1, the client receives it at t2, answers at t3, and the server receives
//! the answer at t4; t1 and t4 are read on the server's clock, t2 and t3 on the client's. With one-way
//! delays d₁ and d₂ and a client ahead by θ,
//!
//! ```text
//! t2 = t1 + d₁ + θ,   t4 = t3 + d₂ − θ
//! θ = ((t2 − t1) + (t3 − t4)) / 2 − (d₁ − d₂) / 2
//! δ = (t4 − t1) − (t3 − t2) = d₁ + d₂
//! ```
//!
//! Delays are not negative, so the first term of θ is wrong by at most δ/2: whatever the network does,
//! and whatever its asymmetry. This is the offset and delay of RFC 5905, section 8.

use crate::time::Span;

/// Four timestamps. `S` is the timescale of the server's stamps, `C` of the client's.
///
/// ```
/// use meantime_core::estimation::exchange::Exchange;
/// use meantime_core::time::Span;
///
/// // The client is 40 ns ahead; the delay is 100 ns each way.
/// let exchange = Exchange { t1: 1_000, t2: 1_140, t3: 1_150, t4: 1_210 };
/// assert_eq!(exchange.offset(), Span::from_nanos(40));
/// assert_eq!(exchange.delay(), Span::from_nanos(200));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange<S, C> {
    /// The server sent the probe.
    pub t1: S,
    /// The client received the probe.
    pub t2: C,
    /// The client sent the report.
    pub t3: C,
    /// The server received the report.
    pub t4: S,
}

impl<S: Copy + Into<i64>, C: Copy + Into<i64>> Exchange<S, C> {
    /// The client's timescale minus the server's, in the middle of the exchange.
    pub fn offset(&self) -> Span {
        let [t1, t2, t3, t4] = self.wide();
        saturated(((t2 - t1) + (t3 - t4)) / 2)
    }

    /// The round-trip delay without the client's processing. Negative only if a timestamp is wrong or a clock
    /// has jumped.
    pub fn delay(&self) -> Span {
        let [t1, t2, t3, t4] = self.wide();
        saturated((t4 - t1) - (t3 - t2))
    }

    fn wide(&self) -> [i128; 4] {
        let wide = |ns: i64| i128::from(ns);
        [wide(self.t1.into()), wide(self.t2.into()), wide(self.t3.into()), wide(self.t4.into())]
    }
}

fn saturated(ns: i128) -> Span {
    Span::from_nanos(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An exchange over a link with these delays, with a client that is ahead by `ahead`.
    fn exchange(start: i64, there: i64, processing: i64, back: i64, ahead: i64) -> Exchange<i64, i64> {
        let received = start + there;
        let sent = received + processing;
        Exchange { t1: start, t2: received + ahead, t3: sent + ahead, t4: sent + back }
    }

    #[test]
    fn a_client_that_is_ahead_has_a_positive_offset() {
        let seen = exchange(1_000, 100, 7, 100, 40);
        assert_eq!((seen.offset(), seen.delay()), (Span::from_nanos(40), Span::from_nanos(200)));
    }

    proptest! {
        #[test]
        fn the_error_of_the_offset_is_at_most_half_the_delay(
            start in 0..1i64 << 60, there in 0..1i64 << 40, processing in 0..1i64 << 30,
            back in 0..1i64 << 40, ahead in -(1i64 << 60)..1i64 << 60,
        ) {
            let seen = exchange(start, there, processing, back, ahead);
            let error = seen.offset().as_nanos() - ahead;
            prop_assert!(2 * error.abs() <= seen.delay().as_nanos() + 1);
        }

        #[test]
        fn no_four_numbers_overflow(t1: i64, t2: i64, t3: i64, t4: i64) {
            let seen = Exchange { t1, t2, t3, t4 };
            let _ = (seen.offset(), seen.delay());
        }
    }
}

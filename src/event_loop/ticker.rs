//! Periodic work of the loop.

use meantime_core::time::{Monotonic, Span};

/// Fires once a period; missed periods are not made up for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticker {
    period: Span,
    next: Monotonic,
}

impl Ticker {
    /// A ticker that fires at `first`, and then each `period`.
    pub(super) fn new(first: Monotonic, period: Span) -> Ticker {
        Ticker { period, next: first }
    }

    /// When it fires next.
    pub(super) fn deadline(&self) -> Monotonic {
        self.next
    }

    /// Whether it fires now.
    pub(super) fn is_due(&mut self, now: Monotonic) -> bool {
        let late = now - self.next;
        let due = late >= Span::ZERO;
        if due {
            let periods = late.as_nanos() / self.period.as_nanos().max(1) + 1;
            self.next += self.period.times(periods);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_at_their_period_and_missed_ones_are_left_out() {
        let at = |ms| Monotonic::default() + Span::from_millis(ms);
        let mut ticker = Ticker::new(at(100), Span::from_millis(100));
        let due: Vec<_> =
            [99, 101, 150, 200, 555, 599, 600].into_iter().filter(|ms| ticker.is_due(at(*ms))).collect();
        assert_eq!(due, [101, 200, 555, 600]);
    }
}

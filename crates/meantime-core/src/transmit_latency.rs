//! How long a datagram takes from being handed over to really leaving, as far as that can be foreseen.
//!
//! A datagram states when it is sent before it is. The kernel's transmit timestamp tells the truth
//! afterwards, and later datagrams carry it; but the last report of a burst has none after it. So what is
//! stated includes the *least* lag of late. What is left of the true lag is then never (hardly ever)
//! negative, like a queue: it makes an exchange look longer, and the shortest one counts.

use crate::time::Span;

/// The least of the last lags; zero until one was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinTransmitLatency {
    current: Option<Span>,
    before: Option<Span>,
    count: u32,
}

impl MinTransmitLatency {
    /// Takes in a lag that was measured.
    pub fn learn(&mut self, lag: Span) {
        if self.count == STRETCH {
            *self = MinTransmitLatency { current: None, before: self.current, count: 0 };
        }
        self.current = Some(self.current.map_or(lag, |least| least.min(lag)));
        self.count += 1;
    }

    /// What the next datagram will need at the least.
    pub fn expected(&self) -> Span {
        [self.current, self.before].into_iter().flatten().min().unwrap_or_default()
    }
}

/// The least is that of the last one or two stretches of so many: often enough to meet an undisturbed moment,
/// few enough to follow a machine that has become slower.
const STRETCH: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_expected_before_anything_was_measured() {
        assert_eq!(MinTransmitLatency::default().expected(), Span::ZERO);
    }

    #[test]
    fn the_least_counts_and_is_forgotten_after_two_stretches() {
        let mut lag = MinTransmitLatency::default();
        lag.learn(Span::from_micros(9));
        lag.learn(Span::from_micros(5));
        for _ in 0..STRETCH {
            lag.learn(Span::from_micros(8));
        }
        assert_eq!(lag.expected(), Span::from_micros(5));
        for _ in 0..STRETCH {
            lag.learn(Span::from_micros(8));
        }
        assert_eq!(lag.expected(), Span::from_micros(8));
    }
}

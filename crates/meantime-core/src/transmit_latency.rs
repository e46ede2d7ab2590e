//! The expected transmit latency: the time from the program's timestamp of a datagram to its departure.
//!
//! A datagram contains its send time, which is written before it is sent. The kernel's transmit timestamp is
//! available only afterwards, and later datagrams carry it; but after the last report of a burst there is
//! none. So the send time includes the *minimum* of the latencies measured lately. The rest of the true
//! latency is then hardly ever negative, and acts like a queue: it makes an exchange longer, and the shortest
//! exchange counts.

use crate::time::Span;

/// The minimum of the last transmit latencies; zero until one was measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinTransmitLatency {
    current: Option<Span>,
    before: Option<Span>,
    count: u32,
}

impl MinTransmitLatency {
    /// Learns from a measured transmit latency.
    pub fn learn(&mut self, latency: Span) {
        if self.count == BATCH {
            *self = MinTransmitLatency { current: None, before: self.current, count: 0 };
        }
        self.current = Some(self.current.map_or(latency, |min| min.min(latency)));
        self.count += 1;
    }

    /// The transmit latency of the next datagram, at the minimum.
    pub fn expected(&self) -> Span {
        [self.current, self.before].into_iter().flatten().min().unwrap_or_default()
    }
}

/// The minimum is taken over the last one or two batches of so many: enough that one of them was sent
/// undisturbed, and few enough to follow a machine that has become slower.
const BATCH: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_latency_is_zero_before_the_first_measurement() {
        assert_eq!(MinTransmitLatency::default().expected(), Span::ZERO);
    }

    #[test]
    fn the_minimum_is_forgotten_after_two_batches() {
        let mut latency = MinTransmitLatency::default();
        latency.learn(Span::from_micros(9));
        latency.learn(Span::from_micros(5));
        for _ in 0..BATCH {
            latency.learn(Span::from_micros(8));
        }
        assert_eq!(latency.expected(), Span::from_micros(5));
        for _ in 0..BATCH {
            latency.learn(Span::from_micros(8));
        }
        assert_eq!(latency.expected(), Span::from_micros(8));
    }
}

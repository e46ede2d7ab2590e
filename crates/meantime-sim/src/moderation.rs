//! Network cards that moderate their interrupts.
//!
//! A card may wait before it interrupts the processor, so that one interrupt serves several datagrams. The
//! kernel stamps them after the interrupt: a datagram that comes alone is stamped late by the whole wait,
//! although there was nothing to wait for.
//!
//! The wait begins with the first datagram after an interrupt, and all that come until its end are stamped
//! then. It is a setting of the card (`ethtool --show-coalesce`, `rx-usecs`) in steps of microseconds. The
//! driver tg3 sets 20, 50 or 72 µs, and the profiles of Linux's `net_dim`, which adapts the setting to the
//! traffic, are 1, 8, 64, 128 and 256 µs.
//!
//! Some cards limit the rate of interrupts instead (ixgbe: 50 µs from one to the next, 10 µs for the lowest
//! latency), and interrupt at once after quiet. A lone datagram is not late there. No model has such cards.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use meantime_core::time::Span;

/// How network cards moderate their interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moderation {
    /// Not at all: each datagram interrupts at once.
    #[default]
    None,
    /// The wait is always the same.
    Fixed,
    /// The wait is shorter while datagrams follow one another.
    Adaptive,
}

/// The network card of one machine.
#[derive(Clone, Debug)]
pub struct NetworkCard {
    moderation: Moderation,
    /// How long it waits.
    wait: Span,
    /// Its last interrupt, or the next one if that is planned.
    interrupt: Option<Span>,
}

impl NetworkCard {
    /// A card that moderates in this way; how long it waits is drawn from `rng`.
    pub fn new(moderation: Moderation, mut rng: ChaCha8Rng) -> NetworkCard {
        let wait = STEP.times(rng.random_range(STEPS));
        NetworkCard { moderation, wait, interrupt: None }
    }

    /// A datagram arrives at a true time: when the card interrupts the processor.
    pub fn interrupt(&mut self, at: Span) -> Span {
        if let Some(planned) = self.interrupt.filter(|interrupt| at <= *interrupt) {
            return planned;
        }
        let follows = self.interrupt.is_some_and(|last| at - last <= QUIET);
        let wait = match self.moderation {
            Moderation::None => Span::ZERO,
            Moderation::Adaptive if follows => SHORT,
            Moderation::Fixed | Moderation::Adaptive => self.wait,
        };
        *self.interrupt.insert(at + wait)
    }
}

/// Waits differ by multiples of this.
const STEP: Span = Span::from_micros(10);
/// 20 to 70 µs.
const STEPS: std::ops::RangeInclusive<i64> = 2..=7;
/// The wait of an adaptive card while datagrams follow one another.
const SHORT: Span = Span::from_micros(10);
/// A datagram follows another within this time. Drivers adapt to the traffic of some milliseconds, `net_dim`
/// to 64 interrupts; this card is quicker, so that it shows what a burst of a few datagrams can gain at most.
const QUIET: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn card(moderation: Moderation, number: usize) -> NetworkCard {
        NetworkCard::new(moderation, Seed(1).stream(Purpose::Moderation, number))
    }

    /// How long after their arrival datagrams that arrive at these microseconds are stamped, in µs.
    fn delays<const N: usize>(moderation: Moderation, arrivals: [i64; N]) -> [i64; N] {
        let mut card = NetworkCard { wait: Span::from_micros(50), ..card(moderation, 0) };
        arrivals.map(|at| card.interrupt(Span::from_micros(at)).as_nanos() / 1_000 - at)
    }

    #[test]
    fn one_interrupt_serves_all_that_arrived_since_the_first() {
        assert_eq!(delays(Moderation::None, [0, 20, 300]), [0, 0, 0]);
        assert_eq!(delays(Moderation::Fixed, [0, 20, 49, 51, 300]), [50, 30, 1, 50, 50]);
    }

    #[test]
    fn an_adaptive_card_waits_long_only_after_quiet() {
        assert_eq!(delays(Moderation::Adaptive, [0, 300, 600, 5_000]), [50, 10, 10, 50]);
    }

    #[test]
    fn cards_wait_for_different_times() {
        let waits = (0..50).map(|number| card(Moderation::Fixed, number).interrupt(Span::ZERO));
        let waits: std::collections::BTreeSet<i64> = waits.map(|wait| wait.as_nanos() / 1_000).collect();
        assert_eq!(waits.into_iter().collect::<Vec<i64>>(), [20, 30, 40, 50, 60, 70]);
    }
}

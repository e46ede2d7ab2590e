//! A burst: a few exchanges with one member, of which the one with the least delay counts.

use crate::berkeley::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};
use crate::wire::Report;

/// The exchanges of one burst, as far as they have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Burst {
    /// Distinguishes this burst from all others of the server.
    pub id: u32,
    /// The round that it belongs to.
    pub round: u32,
    /// Whether it stands alone, outside of the round's vote: a newcomer is measured without waiting.
    pub alone: bool,
    /// Whether reports are still waited for.
    pub open: bool,
    /// Probes to be sent.
    pub size: u8,
    /// Probes sent.
    pub sent: u8,
    /// Reports heard.
    pub heard: u8,
    /// The exchange with the least delay so far.
    pub best: Option<Measured>,
    outstanding: [Option<Outstanding>; OUTSTANDING],
}

/// What an exchange has measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The report's number.
    pub report: u32,
    /// When the probe was sent, by the server's oscillator.
    pub t1: Raw,
    /// When the report was received, by the server's oscillator.
    pub t4: Raw,
    /// The client's clock minus the server's oscillator.
    pub phase: Span,
    /// The round-trip delay.
    pub delay: Span,
}

impl Measured {
    /// The middle of the exchange: the moment that its phase speaks of.
    pub fn at(&self) -> Raw {
        self.t1 + (self.t4 - self.t1).half()
    }
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    nonce: u64,
    t1: Raw,
}

impl Burst {
    /// A burst that begins.
    pub fn begin(id: u32, round: u32, size: u8, alone: bool) -> Burst {
        Burst { id, round, size, alone, open: true, ..Burst::default() }
    }

    /// A probe with this nonce leaves at `t1`.
    pub fn probe(&mut self, nonce: u64, t1: Raw) {
        self.outstanding[usize::from(self.sent) % OUTSTANDING] = Some(Outstanding { nonce, t1 });
        self.sent = self.sent.saturating_add(1);
    }

    /// When the probe left that this report of a round answers; each answer is taken once. `None`: nobody
    /// asked.
    pub fn answers(&mut self, round: u32, report: &Report) -> Option<Raw> {
        let current = self.open && round == self.round;
        let asked = |slot: &&mut Option<Outstanding>| slot.is_some_and(|probe| probe.nonce == report.nonce);
        let slot = self.outstanding.iter_mut().filter(|_| current).find(asked)?;
        slot.take().map(|probe| probe.t1)
    }

    /// Takes in the report's reading; `None` if its timestamps cannot be.
    pub fn measure(&mut self, number: u32, report: &Report, t1: Raw, t4: Raw) -> Option<Measured> {
        let exchange: Exchange<Raw, Timestamp> = Exchange { t1, t2: report.t2, t3: report.t3(), t4 };
        let delay = exchange.delay();
        if delay < Span::ZERO || t4 - t1 > LONGEST_DELAY {
            return None;
        }
        let measured = Measured { report: number, t1, t4, phase: exchange.offset(), delay };
        self.heard = self.heard.saturating_add(1);
        if self.best.is_none_or(|best| delay < best.delay) {
            self.best = Some(measured);
        }
        Some(measured)
    }

    /// Whether every probe of the burst was sent and answered.
    pub fn is_complete(&self) -> bool {
        self.sent >= self.size && self.heard >= self.size
    }
}

/// How many probes may be on their way at a time.
const OUTSTANDING: usize = 4;
/// A longer way than any network's: by way of a satellite and back is 0.6 s. What takes longer was held up.
const LONGEST_DELAY: Span = Span::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn report(nonce: u64) -> Report {
        Report { nonce, t2: Timestamp::from_nanos(1_100), ..Report::default() }
    }

    fn raw(ns: i64) -> Raw {
        Raw::from_nanos(ns)
    }

    #[test]
    fn a_report_is_taken_once_and_only_if_it_was_asked_for() {
        let mut burst = Burst::begin(1, 1, 4, false);
        burst.probe(77, raw(1_000));
        assert_eq!(burst.answers(1, &report(78)), None);
        assert_eq!(burst.answers(2, &report(77)), None);
        assert_eq!(burst.answers(1, &report(77)), Some(raw(1_000)));
        assert_eq!(burst.answers(1, &report(77)), None);
    }

    #[test]
    fn the_exchange_with_the_least_delay_counts() {
        let mut burst = Burst::begin(1, 1, 2, false);
        burst.measure(1, &report(1), raw(1_000), raw(1_300));
        burst.measure(2, &report(2), raw(1_000), raw(1_200));
        burst.measure(3, &report(3), raw(1_000), raw(1_400));
        assert_eq!(burst.best.map(|best| (best.report, best.delay.as_nanos())), Some((2, 200)));
    }

    #[test]
    fn impossible_timestamps_measure_nothing() {
        let mut burst = Burst::begin(1, 1, 2, false);
        let mut long = report(1);
        long.processing = Span::from_secs(1);
        assert_eq!(burst.measure(1, &long, raw(1_000), raw(1_300)), None);
        assert_eq!(burst.measure(2, &report(2), raw(1_000), raw(1_000) + Span::from_secs(3)), None);
        assert_eq!(burst.heard, 0);
    }
}

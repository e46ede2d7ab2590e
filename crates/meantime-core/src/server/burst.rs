//! A burst: a few exchanges with one member, of which the one with the least delay counts.
//!
//! When a datagram really left is known only after it has left: of a probe by the kernel's timestamp, of a
//! report by the next report of the burst (interleaved mode, RFC 9769). So what an exchange has measured can
//! still change while the burst is open, and so can which one is the best.

use super::members::Slot;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};
use crate::wire::Report;
use alloc::vec::Vec;

/// The exchanges of a burst that goes on, as far as they have come.
#[derive(Clone, Debug, Default)]
pub(super) struct Burst {
    /// Distinguishes this burst from all others of the server.
    pub id: u32,
    /// Whom it measures.
    pub member: Slot,
    /// The round that it belongs to.
    pub round: u32,
    /// Whether it stands alone, outside of the round's vote: a newcomer is measured without waiting.
    pub alone: bool,
    /// Probes to be sent.
    pub size: u8,
    /// Probes sent.
    pub sent: u8,
    /// Reports heard.
    pub heard: u8,
    /// The exchange with the least delay so far.
    pub best: Option<Measured>,
    outstanding: [Option<Asked>; OUTSTANDING],
    exchanges: Vec<Heard>,
}

/// What an exchange has measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
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
    pub(super) fn at(&self) -> Raw {
        self.t1 + (self.t4 - self.t1).half()
    }
}

/// A probe that waits for its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its nonce.
    pub nonce: u64,
    /// Its number in the session.
    pub number: u32,
    /// When it was handed over for sending, by the server's oscillator.
    pub handed: Raw,
    /// When it left, as well as that is known.
    pub t1: Raw,
}

/// A probe and its report.
#[derive(Clone, Copy, Debug)]
struct Heard {
    asked: Asked,
    report: u32,
    t2: Timestamp,
    t3: Timestamp,
    t4: Raw,
}

impl Heard {
    fn exchange(&self) -> Exchange<Raw, Timestamp> {
        Exchange { t1: self.asked.t1, t2: self.t2, t3: self.t3, t4: self.t4 }
    }

    /// Whether its timestamps can be, give or take the guesses in them.
    fn is_possible(&self) -> bool {
        self.exchange().delay() >= -MAX_GUESS && self.t4 - self.asked.t1 <= MAX_DELAY
    }

    /// What it has measured; `None` if its timestamps cannot be, as far as they are known by now.
    fn measured(&self) -> Option<Measured> {
        let exchange = self.exchange();
        let (t1, t4, delay) = (exchange.t1, exchange.t4, exchange.delay());
        let sensible = self.is_possible() && delay >= Span::ZERO;
        sensible.then(|| Measured { report: self.report, t1, t4, phase: exchange.offset(), delay })
    }
}

impl Burst {
    /// Becomes another burst, which begins, in the memory of this one.
    pub(super) fn begin(&mut self, id: u32, member: Slot, round: u32, size: u8, alone: bool) {
        let mut exchanges = core::mem::take(&mut self.exchanges);
        exchanges.clear();
        *self = Burst { id, member, round, size, alone, exchanges, ..Burst::default() };
    }

    /// A probe leaves.
    pub(super) fn probe(&mut self, asked: Asked) {
        self.outstanding[usize::from(self.sent) % OUTSTANDING] = Some(asked);
        self.sent = self.sent.saturating_add(1);
    }

    /// The probe that this report of a round answers; each answer is taken once. `None`: nobody asked.
    pub(super) fn answers(&mut self, round: u32, report: &Report) -> Option<Asked> {
        let current = round == self.round;
        let asked = |slot: &&mut Option<Asked>| slot.is_some_and(|probe| probe.nonce == report.nonce);
        self.outstanding.iter_mut().filter(|_| current).find(asked)?.take()
    }

    /// Takes in the report's reading; false if its timestamps cannot be. One that seems to have been faster
    /// than possible is kept: a node can only guess beforehand when its datagram will leave, and corrects
    /// itself.
    pub(super) fn measure(&mut self, number: u32, report: &Report, asked: Asked, t4: Raw) -> bool {
        let heard = Heard { asked, report: number, t2: report.t2, t3: report.t3(), t4 };
        if !heard.is_possible() {
            return false;
        }
        self.exchanges.push(heard);
        self.heard = self.heard.saturating_add(1);
        self.choose();
        true
    }

    /// The probe of this number really left at `raw`. Returns how long after it was handed over that was;
    /// `None` if it is not of this burst, or that cannot be.
    pub(super) fn leave(&mut self, number: u32, raw: Raw) -> Option<Span> {
        let waiting = self.outstanding.iter_mut().flatten();
        let answered = self.exchanges.iter_mut().map(|heard| &mut heard.asked);
        let asked = waiting.chain(answered).find(|asked| asked.number == number)?;
        let lag = raw - asked.handed;
        if lag < Span::ZERO || lag > MAX_DELAY {
            return None;
        }
        asked.t1 = raw;
        self.choose();
        Some(lag)
    }

    /// The report of this number really left so much later than it said.
    pub(super) fn amend(&mut self, report: u32, lag: Span) {
        let meant = self.exchanges.iter_mut().find(|heard| heard.report == report);
        if let Some(heard) = meant.filter(|_| lag != Span::ZERO) {
            heard.t3 += lag;
            self.choose();
        }
    }

    /// What the exchange of this report has measured, as that is known by now.
    pub(super) fn measured(&self, report: u32) -> Option<Measured> {
        self.exchanges.iter().find(|heard| heard.report == report).and_then(Heard::measured)
    }

    fn choose(&mut self) {
        self.best = self.exchanges.iter().filter_map(Heard::measured).min_by_key(|measured| measured.delay);
    }

    /// Whether every probe of the burst was sent and answered.
    pub(super) fn is_complete(&self) -> bool {
        self.sent >= self.size && self.heard >= self.size
    }
}

/// How many probes may be on their way at a time.
const OUTSTANDING: usize = 4;
/// A longer way than any network's: by way of a satellite and back is 0.6 s. What takes longer was held up.
const MAX_DELAY: Span = Span::from_secs(2);
/// By how much a node may be wrong about when its datagram will leave.
const MAX_GUESS: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn report(nonce: u64) -> Report {
        Report { nonce, t2: Timestamp::from_nanos(1_100), ..Report::default() }
    }

    fn raw(ns: i64) -> Raw {
        Raw::from_nanos(ns)
    }

    fn asked(nonce: u64, t1: i64) -> Asked {
        Asked { nonce, number: nonce as u32, handed: raw(t1), t1: raw(t1) }
    }

    fn burst(size: u8) -> Burst {
        let mut burst = Burst::default();
        burst.begin(1, 0, 1, size, false);
        burst
    }

    fn best(burst: &Burst) -> Option<(u32, i64, i64)> {
        burst.best.map(|best| (best.report, best.delay.as_nanos(), best.phase.as_nanos()))
    }

    #[test]
    fn a_report_is_taken_once_and_only_if_it_was_asked_for() {
        let mut burst = burst(4);
        burst.probe(asked(77, 1_000));
        assert_eq!(burst.answers(1, &report(78)), None);
        assert_eq!(burst.answers(2, &report(77)), None);
        assert_eq!(burst.answers(1, &report(77)), Some(asked(77, 1_000)));
        assert_eq!(burst.answers(1, &report(77)), None);
    }

    #[test]
    fn the_exchange_with_the_least_delay_counts() {
        let mut burst = burst(2);
        burst.measure(1, &report(1), asked(1, 1_000), raw(1_300));
        burst.measure(2, &report(2), asked(2, 1_000), raw(1_200));
        burst.measure(3, &report(3), asked(3, 1_000), raw(1_400));
        assert_eq!(burst.best.map(|best| (best.report, best.delay.as_nanos())), Some((2, 200)));
    }

    #[test]
    fn impossible_timestamps_measure_nothing() {
        let mut burst = burst(2);
        let mut long = report(1);
        long.processing = Span::from_secs(1);
        assert!(!burst.measure(1, &long, asked(1, 1_000), raw(1_300)));
        assert!(!burst.measure(2, &report(2), asked(2, 1_000), raw(1_000) + Span::from_secs(3)));
        assert_eq!(burst.heard, 0);
    }

    #[test]
    fn an_exchange_that_seems_impossible_counts_once_it_is_known_when_its_probe_left() {
        let mut burst = burst(2);
        let guessed = Asked { t1: raw(1_230), ..asked(77, 1_000) };
        assert!(burst.measure(1, &report(77), guessed, raw(1_200)));
        assert_eq!(burst.best, None);
        assert_eq!(burst.leave(77, raw(1_010)), Some(Span::from_nanos(10)));
        assert_eq!(best(&burst), Some((1, 190, -5)));
    }

    #[test]
    fn a_probe_that_left_late_makes_its_exchange_shorter_before_and_after_its_report() {
        for answered_first in [false, true] {
            let mut burst = burst(2);
            burst.probe(asked(77, 1_000));
            let mut asked = asked(77, 1_000);
            if answered_first {
                asked = burst.answers(1, &report(77)).unwrap();
                burst.measure(1, &report(77), asked, raw(1_200));
                assert_eq!(best(&burst), Some((1, 200, 0)));
            }
            assert_eq!(burst.leave(77, raw(1_060)), Some(Span::from_nanos(60)));
            if !answered_first {
                asked = burst.answers(1, &report(77)).unwrap();
                burst.measure(1, &report(77), asked, raw(1_200));
            }
            assert_eq!(best(&burst), Some((1, 140, -30)), "answered first: {answered_first}");
            assert_eq!(burst.measured(1), burst.best);
            assert_eq!(asked.handed, raw(1_000));
        }
    }

    #[test]
    fn times_of_leaving_that_cannot_be_are_ignored() {
        let mut burst = burst(2);
        burst.probe(asked(77, 1_000));
        assert_eq!(burst.leave(76, raw(1_001)), None);
        assert_eq!(burst.leave(77, raw(999)), None);
        assert_eq!(burst.leave(77, raw(1_001) + MAX_DELAY), None);
        assert_eq!(burst.answers(1, &report(77)), Some(asked(77, 1_000)));
    }

    #[test]
    fn the_next_report_tells_when_the_one_before_it_left_and_that_decides_anew_which_is_best() {
        let mut burst = burst(3);
        burst.measure(1, &report(1), asked(1, 1_000), raw(1_500));
        burst.measure(2, &report(2), asked(2, 1_000), raw(1_300));
        assert_eq!(best(&burst), Some((2, 300, -50)));
        burst.amend(1, Span::from_nanos(400));
        assert_eq!(best(&burst), Some((1, 100, 50)));
        burst.amend(9, Span::from_nanos(400));
        burst.amend(1, Span::from_nanos(101));
        assert_eq!(best(&burst), Some((2, 300, -50)), "a report cannot have left after it arrived");
    }
}

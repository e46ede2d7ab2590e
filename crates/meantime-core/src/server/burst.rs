//! A burst: a few exchanges with one member. The one with the minimum delay counts.
//!
//! The time at which a datagram left is known only afterwards: for a probe from the kernel's timestamp, for a
//! report from the next report of the burst (interleaved mode, RFC 9769). So the result of an exchange can
//! still change while the burst is in progress, and with it which exchange is the best.

use super::handles::Slot;
use super::measurement::Measurement;
use super::narrow::to_u32_ns;
use super::quality::ReportedQuality;
use super::trains;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};
use crate::wire::Report;
use alloc::vec::Vec;

/// A burst in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct ProbeBurst {
    /// Its own number, which no other burst of the server has (until the numbers wrap around).
    pub number: u32,
    /// The member that it measures.
    pub member: Slot,
    /// The round in which it began.
    pub round: u32,
    /// Whether the round's vote waits for it.
    pub kind: BurstKind,
    /// Probes to be sent.
    pub size: u8,
    /// Probes queued to be sent, sent ones included.
    pub queued: u8,
    /// Probes sent.
    pub sent: u8,
    /// Reports received.
    pub heard: u8,
    /// The exchange with the minimum delay so far.
    pub best: Option<Measurement>,
    outstanding: [Option<SentProbe>; MAX_OUTSTANDING],
    exchanges: Vec<Answered>,
}

/// Why a burst takes place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BurstKind {
    /// It is the round's burst with its member: the vote waits for it.
    #[default]
    OfRound,
    /// It is one more, outside of the round's vote, because its member is new or needs it.
    Extra,
}

/// A probe that was sent and has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentProbe {
    /// Its place in the burst.
    pub index: u8,
    /// Its nonce.
    pub nonce: u64,
    /// Its sequence number in the session.
    pub sequence: u32,
    /// When the program stamped it, by the server's oscillator.
    pub stamped: Raw,
    /// When it left: as expected, or as the kernel has recorded it.
    pub t1: Raw,
}

/// A probe and its report.
#[derive(Clone, Copy, Debug)]
struct Answered {
    probe: SentProbe,
    report: u32,
    t2: Timestamp,
    t3: Timestamp,
    t4: Raw,
    /// t3 - t2 as the report itself states it, in nanoseconds, which it has in as many bits.
    processing_ns: u32,
    quality: ReportedQuality,
}

impl Answered {
    /// Its delay by t3 as its report states it. No report follows the last one of a burst to correct its t3,
    /// so that the delays of a burst's exchanges compare by these only.
    fn stated_delay(&self) -> Span {
        self.t4 - self.probe.t1 - Span::from_nanos(self.processing_ns.into())
    }

    fn exchange(&self) -> Exchange<Raw, Timestamp> {
        Exchange { t1: self.probe.t1, t2: self.t2, t3: self.t3, t4: self.t4 }
    }

    /// Whether its timestamps are possible, within the error of the expected transmit latencies in them.
    fn is_possible(&self) -> bool {
        self.exchange().delay() >= -MAX_LATENCY_ERROR && self.t4 - self.probe.t1 <= MAX_DELAY
    }

    /// Its result; `None` if its timestamps, as known so far, are impossible.
    fn measured(&self) -> Option<Measurement> {
        let exchange = self.exchange();
        let (report, phase, delay, quality) =
            (self.report, exchange.offset(), exchange.delay(), self.quality);
        let is_valid = self.is_possible() && delay >= Span::ZERO;
        is_valid.then_some(Measurement { report, t1: exchange.t1, t4: exchange.t4, phase, delay, quality })
    }
}

impl ProbeBurst {
    /// Becomes another burst, which begins, and keeps the memory of this one.
    pub(super) fn begin(&mut self, number: u32, member: Slot, round: u32, size: u8, kind: BurstKind) {
        let mut exchanges = core::mem::take(&mut self.exchanges);
        exchanges.clear();
        *self = ProbeBurst { number, member, round, size, kind, exchanges, ..ProbeBurst::default() };
    }

    /// Records a probe that is sent now.
    pub(super) fn record_probe(&mut self, probe: SentProbe) {
        self.outstanding[usize::from(self.sent) % MAX_OUTSTANDING] = Some(probe);
        self.sent = self.sent.saturating_add(1);
    }

    /// Takes out the probe that this report of a round answers, so that each is answered once; `None`: there
    /// is no such probe.
    pub(super) fn take_answered(&mut self, round: u32, report: &Report) -> Option<SentProbe> {
        let current = round == self.round;
        let answered = |slot: &&mut Option<SentProbe>| slot.is_some_and(|probe| probe.nonce == report.nonce);
        self.outstanding.iter_mut().filter(|_| current).find(answered)?.take()
    }

    /// Adds the exchange of a probe and its report number `report_number`, received at `t4`. Returns false,
    /// and adds nothing, if its timestamps are impossible. A slightly negative delay is possible for now:
    /// both sides only estimate their transmit latency beforehand, and correct it later.
    pub(super) fn add_exchange(
        &mut self,
        report_number: u32,
        report: &Report,
        probe: SentProbe,
        t4: Raw,
    ) -> bool {
        let (t2, t3, quality) = (report.t2, report.t3(), ReportedQuality::of(report));
        let processing_ns = to_u32_ns(report.processing);
        let answered = Answered { probe, report: report_number, t2, t3, t4, processing_ns, quality };
        if !answered.is_possible() {
            return false;
        }
        self.exchanges.push(answered);
        self.heard = self.heard.saturating_add(1);
        self.choose_best();
        true
    }

    /// Corrects t1 of the probe with this sequence number: it left at `raw`. Returns its transmit latency;
    /// `None` if the probe is not of this burst, or that time is impossible.
    pub(super) fn correct_t1(&mut self, sequence: u32, raw: Raw) -> Option<Span> {
        let unanswered = self.outstanding.iter_mut().flatten();
        let answered = self.exchanges.iter_mut().map(|answered| &mut answered.probe);
        let probe = unanswered.chain(answered).find(|probe| probe.sequence == sequence)?;
        let latency = raw - probe.stamped;
        if latency < Span::ZERO || latency > MAX_DELAY {
            return None;
        }
        probe.t1 = raw;
        self.choose_best();
        Some(latency)
    }

    /// Corrects t3 of this report: it left so much later than it said.
    pub(super) fn correct_t3(&mut self, report: u32, latency: Span) {
        let exchange = self.exchanges.iter_mut().find(|answered| answered.report == report);
        if let Some(answered) = exchange.filter(|_| latency != Span::ZERO) {
            answered.t3 += latency;
            self.choose_best();
        }
    }

    /// The result of the exchange with this report, from the timestamps known so far.
    pub(super) fn measured(&self, report: u32) -> Option<Measurement> {
        self.exchanges.iter().find(|answered| answered.report == report).and_then(Answered::measured)
    }

    /// Whether the last probe that was queued was sent and answered.
    pub(super) fn is_last_answered(&self) -> bool {
        let last = usize::from(self.sent.wrapping_sub(1)) % MAX_OUTSTANDING;
        self.sent > 0 && self.sent == self.queued && self.outstanding[last].is_none()
    }

    /// The delays of the first two exchanges of each train of this length, if both reports have arrived, in
    /// order.
    pub(super) fn starts_of_trains(&self, length: u8) -> impl Iterator<Item = [Span; 2]> {
        self.exchanges.windows(2).filter_map(move |two| {
            let [first, second] = two else { return None };
            let (one, next) = (first.probe.index, second.probe.index);
            let begins = next == one + 1 && !trains::follows(one, length) && trains::follows(next, length);
            begins.then(|| [first.stated_delay(), second.stated_delay()])
        })
    }

    fn choose_best(&mut self) {
        self.best =
            self.exchanges.iter().filter_map(Answered::measured).min_by_key(|measured| measured.delay);
    }

    /// Whether every probe of the burst was sent and answered.
    pub(super) fn is_complete(&self) -> bool {
        self.sent >= self.size && self.heard >= self.size
    }
}

/// How many probes may be on their way at a time.
const MAX_OUTSTANDING: usize = 4;
/// Longer than the round trip of any network: over a satellite it is 0.6 s. A longer delay is a queue.
const MAX_DELAY: Span = Span::from_secs(2);
/// The maximum error of an expected transmit latency.
const MAX_LATENCY_ERROR: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn report(nonce: u64) -> Report {
        Report { nonce, t2: Timestamp::from_nanos(1_100), ..Report::default() }
    }

    fn raw(ns: i64) -> Raw {
        Raw::from_nanos(ns)
    }

    fn probe(nonce: u64, t1: i64) -> SentProbe {
        SentProbe { index: 0, nonce, sequence: nonce as u32, stamped: raw(t1), t1: raw(t1) }
    }

    fn burst(size: u8) -> ProbeBurst {
        let mut burst = ProbeBurst::default();
        burst.begin(1, 0, 1, size, BurstKind::OfRound);
        burst
    }

    fn best(burst: &ProbeBurst) -> Option<(u32, i64, i64)> {
        burst.best.map(|best| (best.report, best.delay.as_nanos(), best.phase.as_nanos()))
    }

    /// The delays of the first two exchanges of trains of this length, in a burst in which these probes, by
    /// index and delay, were answered in this order.
    fn starts_of_trains(length: u8, answered: &[(u8, i64)]) -> Vec<[i64; 2]> {
        let mut burst = burst(6);
        for &(index, delay) in answered {
            let probe = SentProbe { index, ..probe(index.into(), 1_000) };
            burst.add_exchange(index.into(), &report(index.into()), probe, raw(1_000 + delay));
        }
        burst.starts_of_trains(length).map(|delays| delays.map(Span::as_nanos)).collect()
    }

    #[test]
    fn a_train_is_judged_if_its_first_two_probes_were_answered_in_order() {
        let all = [(0, 300), (1, 200), (2, 310), (3, 210), (4, 320), (5, 220)];
        let trains = [[300, 200], [310, 210], [320, 220]];
        assert_eq!(starts_of_trains(2, &all), trains);
        assert_eq!(starts_of_trains(4, &all), [trains[0], trains[2]]);
        assert!(starts_of_trains(1, &all).is_empty());
        for lost in 0..6 {
            let answered: Vec<_> = all.into_iter().filter(|probe| probe.0 != lost).collect();
            let left: Vec<_> =
                (0..3).filter(|train| *train != lost / 2).map(|k| trains[usize::from(k)]).collect();
            assert_eq!(starts_of_trains(2, &answered), left, "probe {lost} is lost");
        }
        assert_eq!(starts_of_trains(2, &[(1, 200), (0, 300), (2, 310), (3, 210)]), [trains[1]]);
    }

    #[test]
    fn the_delays_of_a_train_are_those_that_no_later_report_has_changed() {
        let mut burst = burst(2);
        for index in [0, 1] {
            let probe = SentProbe { index, ..probe(index.into(), 1_000) };
            burst.add_exchange(index.into(), &report(index.into()), probe, raw(1_300));
        }
        burst.correct_t3(0, Span::from_nanos(40));
        assert!(burst.starts_of_trains(2).eq([[Span::from_nanos(300); 2]]));
    }

    #[test]
    fn a_report_counts_once_and_only_for_a_probe_of_its_round() {
        let mut burst = burst(4);
        burst.record_probe(probe(77, 1_000));
        assert_eq!(burst.take_answered(1, &report(78)), None);
        assert_eq!(burst.take_answered(2, &report(77)), None);
        assert_eq!(burst.take_answered(1, &report(77)), Some(probe(77, 1_000)));
        assert_eq!(burst.take_answered(1, &report(77)), None);
    }

    #[test]
    fn the_exchange_with_the_minimum_delay_counts() {
        let mut burst = burst(2);
        burst.add_exchange(1, &report(1), probe(1, 1_000), raw(1_300));
        burst.add_exchange(2, &report(2), probe(2, 1_000), raw(1_200));
        burst.add_exchange(3, &report(3), probe(3, 1_000), raw(1_400));
        assert_eq!(burst.best.map(|best| (best.report, best.delay.as_nanos())), Some((2, 200)));
    }

    #[test]
    fn an_exchange_with_impossible_timestamps_is_not_added() {
        let mut burst = burst(2);
        let mut long = report(1);
        long.processing = Span::from_secs(1);
        assert!(!burst.add_exchange(1, &long, probe(1, 1_000), raw(1_300)));
        assert!(!burst.add_exchange(2, &report(2), probe(2, 1_000), raw(1_000) + Span::from_secs(3)));
        assert_eq!(burst.heard, 0);
    }

    #[test]
    fn an_exchange_of_negative_delay_counts_after_its_t1_is_corrected() {
        let mut burst = burst(2);
        let expected = SentProbe { t1: raw(1_230), ..probe(77, 1_000) };
        assert!(burst.add_exchange(1, &report(77), expected, raw(1_200)));
        assert_eq!(burst.best, None);
        assert_eq!(burst.correct_t1(77, raw(1_010)), Some(Span::from_nanos(10)));
        assert_eq!(best(&burst), Some((1, 190, -5)));
    }

    #[test]
    fn a_late_transmit_timestamp_shortens_the_exchange_before_and_after_its_report() {
        for answered_first in [false, true] {
            let mut burst = burst(2);
            burst.record_probe(probe(77, 1_000));
            let mut sent = probe(77, 1_000);
            if answered_first {
                sent = burst.take_answered(1, &report(77)).unwrap();
                burst.add_exchange(1, &report(77), sent, raw(1_200));
                assert_eq!(best(&burst), Some((1, 200, 0)));
            }
            assert_eq!(burst.correct_t1(77, raw(1_060)), Some(Span::from_nanos(60)));
            if !answered_first {
                sent = burst.take_answered(1, &report(77)).unwrap();
                burst.add_exchange(1, &report(77), sent, raw(1_200));
            }
            assert_eq!(best(&burst), Some((1, 140, -30)), "answered first: {answered_first}");
            assert_eq!(burst.measured(1), burst.best);
            assert_eq!(sent.stamped, raw(1_000));
        }
    }

    #[test]
    fn impossible_transmit_timestamps_are_ignored() {
        let mut burst = burst(2);
        burst.record_probe(probe(77, 1_000));
        assert_eq!(burst.correct_t1(76, raw(1_001)), None);
        assert_eq!(burst.correct_t1(77, raw(999)), None);
        assert_eq!(burst.correct_t1(77, raw(1_001) + MAX_DELAY), None);
        assert_eq!(burst.take_answered(1, &report(77)), Some(probe(77, 1_000)));
    }

    #[test]
    fn a_corrected_t3_can_change_which_exchange_is_best() {
        let mut burst = burst(3);
        burst.add_exchange(1, &report(1), probe(1, 1_000), raw(1_500));
        burst.add_exchange(2, &report(2), probe(2, 1_000), raw(1_300));
        assert_eq!(best(&burst), Some((2, 300, -50)));
        burst.correct_t3(1, Span::from_nanos(400));
        assert_eq!(best(&burst), Some((1, 100, 50)));
        burst.correct_t3(9, Span::from_nanos(400));
        burst.correct_t3(1, Span::from_nanos(101));
        assert_eq!(best(&burst), Some((2, 300, -50)), "a report cannot have left after it arrived");
    }
}

//! The last reports of a session. A Correction refers to one of them, not to its own arrival.

use crate::estimation::exchange::Exchange;
use crate::time::{Correction, Raw, Span, Timestamp};
use crate::wire::{Stamps, is_newer};
use alloc::vec::Vec;

/// One report, as it was sent. All times are less half of the configured asymmetry, as reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SentReport {
    /// Its number.
    pub number: u32,
    /// The round of the probe that it answers.
    pub round: u32,
    /// The nonce of that probe.
    pub nonce: u64,
    /// When the probe was received, by the oscillator.
    pub t2: Raw,
    /// When the program stamped it for sending, by the oscillator.
    pub stamped: Raw,
    /// When the report was sent, by the oscillator, as it states itself.
    pub t3: Raw,
    /// The published clock at t2, in the time of the server's scale.
    pub published_t2: Timestamp,
    /// The published clock at t3, in the time of the server's scale.
    pub published_t3: Timestamp,
}

/// A report, and what has become known about it since.
#[derive(Clone, Copy, Debug, Default)]
struct ReportRecord {
    sent: SentReport,
    /// The server's timestamps of the exchange.
    stamps: Option<Stamps>,
    /// When the report departed.
    departed: Option<Raw>,
    /// Whether a correction has used the exchange.
    used: bool,
}

impl ReportRecord {
    /// How much later than it states the report departed; zero if that is unknown.
    fn extra_latency(&self) -> Span {
        self.departed.map_or(Span::ZERO, |departed| departed - self.sent.t3)
    }
}

/// The exchanges of a burst, as the client knows them.
#[derive(Clone, Debug)]
pub(super) struct MeasuredBurst {
    pub exchanges: Vec<Exchange<Timestamp, Raw>>,
    /// t2 of the report that the Correction is about, if the server's timestamps of it are unknown: if its
    /// exchange is among these, its delay is a guess.
    pub guessed: Option<Raw>,
}

/// The last reports of a session.
#[derive(Clone, Debug)]
pub(super) struct ReportHistory {
    ring: [ReportRecord; REPORTS],
    newest: usize,
    /// The number of the report that the newest applied Correction is about; 0: none.
    applied: u32,
}

impl Default for ReportHistory {
    fn default() -> ReportHistory {
        ReportHistory { ring: [ReportRecord::default(); REPORTS], newest: 0, applied: 0 }
    }
}

impl ReportHistory {
    /// Adds a report; the oldest is forgotten.
    pub(super) fn push(&mut self, sent: SentReport) {
        self.newest = (self.newest + 1) % REPORTS;
        self.ring[self.newest] = ReportRecord { sent, ..ReportRecord::default() };
    }

    /// Whether one of these reports answers the probe with this nonce.
    pub(super) fn has_answered(&self, nonce: u64) -> bool {
        self.ring.iter().any(|entry| entry.sent.number != 0 && entry.sent.nonce == nonce)
    }

    /// The number of the report that the newest applied Correction is about; 0: none.
    pub(super) fn applied(&self) -> u32 {
        self.applied
    }

    /// A Correction about this report is applied.
    pub(super) fn set_applied(&mut self, number: u32) {
        self.applied = number;
    }

    /// Whether a Correction about this report, or a newer one, was applied.
    pub(super) fn is_superseded(&self, number: u32) -> bool {
        self.applied != 0 && !is_newer(number, self.applied)
    }

    /// The report with this number, if it is not forgotten.
    pub(super) fn find(&self, number: u32) -> Option<&SentReport> {
        self.ring.iter().map(|entry| &entry.sent).find(|sent| number != 0 && sent.number == number)
    }

    /// A report departed (also less half of the asymmetry). Returns its transmit latency; `None` if the
    /// report is unknown, its departure is known already, or the time is implausible.
    pub(super) fn note_departure(&mut self, number: u32, departed: Raw) -> Option<Span> {
        let entry = self.ring.iter_mut().find(|entry| number != 0 && entry.sent.number == number)?;
        let latency = departed - entry.sent.stamped;
        if entry.departed.is_some() || latency < Span::ZERO || latency > MAX_LATENCY {
            return None;
        }
        entry.departed = Some(departed);
        Some(latency)
    }

    /// How much later than it states the report with this number departed; zero if that is unknown.
    pub(super) fn extra_latency(&self, number: u32) -> Span {
        let of = |entry: &&ReportRecord| number != 0 && entry.sent.number == number;
        self.ring.iter().find(of).map_or(Span::ZERO, ReportRecord::extra_latency)
    }

    /// Adds the server's timestamps of an exchange.
    pub(super) fn complete(&mut self, stamps: Stamps) {
        if let Some(entry) = self.ring.iter_mut().find(|entry| entry.sent.number == stamps.report) {
            entry.stamps.get_or_insert(stamps);
        }
    }

    /// Whether the server's timestamps of this report's exchange are unknown.
    fn lacks_stamps_of(&self, number: u32) -> bool {
        self.ring.iter().any(|entry| entry.sent.number == number && entry.stamps.is_none())
    }

    /// The exchanges that a Correction of this round, about this report, is based on: [`take`](Self::take),
    /// and which of them is guessed.
    pub(super) fn take_burst(
        &mut self,
        round: u32,
        about: u32,
        correction: Correction,
        usual: Span,
    ) -> MeasuredBurst {
        let lacks_stamps = self.lacks_stamps_of(about);
        let exchanges = self.take(round, about, correction, usual);
        let guessed = self.find(about).filter(|_| lacks_stamps).map(|sent| sent.t2);
        MeasuredBurst { exchanges, guessed }
    }

    /// The complete exchanges of a round that were not used before. If there is none, the exchange that a
    /// correction is about is reconstructed from the correction and the `usual` delay: its offset is right,
    /// its delay is a guess.
    fn take(
        &mut self,
        round: u32,
        about: u32,
        correction: Correction,
        usual: Span,
    ) -> Vec<Exchange<Timestamp, Raw>> {
        let mut exchanges = Vec::new();
        for entry in self.ring.iter_mut().filter(|entry| !entry.used) {
            let (sent, lag) = (entry.sent, entry.extra_latency());
            if sent.number == 0 || !(sent.round == round || sent.number == about) {
                continue;
            }
            if let Some(stamps) = entry.stamps {
                entry.used = true;
                exchanges.push(Exchange { t1: stamps.t1, t2: sent.t2, t3: sent.t3 + lag, t4: stamps.t4 });
            }
        }
        if exchanges.is_empty()
            && let Some(entry) = self.ring.iter_mut().find(|entry| !entry.used && entry.sent.number == about)
        {
            let (sent, lag) = (entry.sent, entry.extra_latency());
            let t1 = sent.published_t2 + correction.span() - usual.half();
            let t4 = sent.published_t3 + lag + correction.span() + usual.half();
            entry.used = true;
            exchanges.push(Exchange { t1, t2: sent.t2, t3: sent.t3 + lag, t4 });
        }
        exchanges
    }
}

/// A longer transmit latency is implausible.
const MAX_LATENCY: Span = Span::from_secs(2);
/// Two of the longest bursts: a Correction about an older report is too late to be of use.
const REPORTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u32, round: u32) -> SentReport {
        let at = i64::from(number) * 1_000_000;
        SentReport {
            number,
            round,
            nonce: u64::from(number) + 100,
            t2: Raw::from_nanos(at),
            stamped: Raw::from_nanos(at + 7),
            t3: Raw::from_nanos(at + 10),
            published_t2: Timestamp::from_nanos(at + 500),
            published_t3: Timestamp::from_nanos(at + 510),
        }
    }

    fn stamps(number: u32) -> Stamps {
        let at = i64::from(number) * 1_000_000;
        Stamps { report: number, t1: Timestamp::from_nanos(at - 100), t4: Timestamp::from_nanos(at + 110) }
    }

    #[test]
    fn complete_exchanges_of_the_round_are_used_once() {
        let mut history = ReportHistory::default();
        (1..=4).for_each(|number| history.push(sent(number, 1 + number / 3)));
        (1..=4).for_each(|number| history.complete(stamps(number)));
        let taken = history.take(2, 4, Correction::default(), Span::ZERO);
        assert_eq!(taken.len(), 2);
        assert!(taken.iter().all(|exchange| exchange.delay() == Span::from_nanos(200)));
        assert!(history.take(2, 4, Correction::default(), Span::ZERO).is_empty());
    }

    #[test]
    fn a_correction_alone_gives_the_offset_of_its_exchange() {
        let mut history = ReportHistory::default();
        history.push(sent(7, 3));
        let taken = history.take(3, 7, Correction::adding(Span::from_nanos(-40)), Span::from_nanos(200));
        assert_eq!(taken.len(), 1);
        // The published clock was 500 ahead of the oscillator and 40 ahead of the cluster.
        assert_eq!((taken[0].offset(), taken[0].delay()), (Span::from_nanos(-460), Span::from_nanos(200)));
    }

    #[test]
    fn a_report_that_departed_later_than_it_states_has_a_shorter_delay() {
        let mut history = ReportHistory::default();
        history.push(sent(1, 1));
        assert_eq!(history.note_departure(1, Raw::from_nanos(1_000_050)), Some(Span::from_nanos(43)));
        assert_eq!((history.extra_latency(1), history.extra_latency(2)), (Span::from_nanos(40), Span::ZERO));
        history.complete(stamps(1));
        let taken = history.take(1, 1, Correction::default(), Span::ZERO);
        assert_eq!((taken[0].t3.as_nanos(), taken[0].delay().as_nanos()), (1_000_050, 160));
    }

    #[test]
    fn a_late_departure_cancels_where_the_servers_timestamps_were_lost() {
        let mut history = ReportHistory::default();
        history.push(sent(7, 3));
        history.note_departure(7, Raw::from_nanos(7_000_050));
        let taken = history.take(3, 7, Correction::adding(Span::from_nanos(-40)), Span::from_nanos(200));
        assert_eq!((taken[0].offset(), taken[0].delay()), (Span::from_nanos(-460), Span::from_nanos(200)));
    }

    #[test]
    fn a_report_departs_once_and_neither_before_it_was_stamped_nor_long_after() {
        let mut history = ReportHistory::default();
        history.push(sent(1, 1));
        assert_eq!(history.note_departure(2, Raw::from_nanos(1_000_050)), None);
        assert_eq!(history.note_departure(0, Raw::from_nanos(1)), None);
        assert_eq!(history.note_departure(1, Raw::from_nanos(1_000_006)), None);
        assert_eq!(history.note_departure(1, Raw::from_nanos(1_000_008) + MAX_LATENCY), None);
        assert_eq!(history.extra_latency(1), Span::ZERO);
        assert!(history.note_departure(1, Raw::from_nanos(1_000_009)).is_some());
        assert_eq!(history.extra_latency(1), Span::from_nanos(-1));
        assert_eq!(history.note_departure(1, Raw::from_nanos(1_000_050)), None);
    }

    #[test]
    fn old_reports_are_forgotten() {
        let mut history = ReportHistory::default();
        (1..=REPORTS as u32 + 1).for_each(|number| history.push(sent(number, 1)));
        assert_eq!(history.find(1), None);
        assert!(history.find(2).is_some() && history.has_answered(102) && !history.has_answered(101));
        assert_eq!(history.find(0), None);
    }
}

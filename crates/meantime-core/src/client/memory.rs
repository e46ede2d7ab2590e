//! What a client remembers of its reports: a Correction speaks of one of them, not of its own arrival.

use crate::estimation::exchange::Exchange;
use crate::time::{Correction, Raw, Span, Timestamp};
use crate::wire::Stamps;
use alloc::vec::Vec;

/// One report, as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its number.
    pub number: u32,
    /// The round of the probe that it answers.
    pub round: u32,
    /// The nonce of that probe.
    pub nonce: u64,
    /// When the probe was received, by the oscillator. (All times less half of a known asymmetry, as
    /// reported.)
    pub t2: Raw,
    /// When it was handed over for sending, by the oscillator.
    pub handed: Raw,
    /// When the report was sent, by the oscillator, as it says itself.
    pub t3: Raw,
    /// What the published clock showed at t2.
    pub published_t2: Timestamp,
    /// What the published clock showed at t3.
    pub published_t3: Timestamp,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    sent: Sent,
    stamps: Option<Stamps>,
    /// When it really left.
    left: Option<Raw>,
    used: bool,
}

impl Entry {
    /// How much later than it says it really left.
    fn lag(&self) -> Span {
        self.left.map_or(Span::ZERO, |left| left - self.sent.t3)
    }
}

/// The last reports of a session.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    ring: [Entry; REPORTS],
    newest: usize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { ring: [Entry::default(); REPORTS], newest: 0 }
    }
}

impl Memory {
    /// Remembers a report.
    pub(super) fn remember(&mut self, sent: Sent) {
        self.newest = (self.newest + 1) % REPORTS;
        self.ring[self.newest] = Entry { sent, ..Entry::default() };
    }

    /// Whether a probe with this nonce was answered lately.
    pub(super) fn has_answered(&self, nonce: u64) -> bool {
        self.ring.iter().any(|entry| entry.sent.number != 0 && entry.sent.nonce == nonce)
    }

    /// The report with this number, if it is not forgotten.
    pub(super) fn find(&self, number: u32) -> Option<&Sent> {
        self.ring.iter().map(|entry| &entry.sent).find(|sent| number != 0 && sent.number == number)
    }

    /// Takes in when a report really left (less the same), and returns how long after it was handed over that
    /// was; `None` if nobody asked or that cannot be.
    pub(super) fn leave(&mut self, number: u32, left: Raw) -> Option<Span> {
        let entry = self.ring.iter_mut().find(|entry| number != 0 && entry.sent.number == number)?;
        let lag = left - entry.sent.handed;
        if entry.left.is_some() || lag < Span::ZERO || lag > MAX_LAG {
            return None;
        }
        entry.left = Some(left);
        Some(lag)
    }

    /// How much later than it said the report of this number really left; zero if that is not known.
    pub(super) fn lag_of(&self, number: u32) -> Span {
        let of = |entry: &&Entry| number != 0 && entry.sent.number == number;
        self.ring.iter().find(of).map_or(Span::ZERO, Entry::lag)
    }

    /// Takes in the server's side of an exchange.
    pub(super) fn complete(&mut self, stamps: Stamps) {
        if let Some(entry) = self.ring.iter_mut().find(|entry| entry.sent.number == stamps.report) {
            entry.stamps.get_or_insert(stamps);
        }
    }

    /// Whether the server's side of this report's exchange is not known.
    pub(super) fn lacks_stamps_of(&self, number: u32) -> bool {
        self.ring.iter().any(|entry| entry.sent.number == number && entry.stamps.is_none())
    }

    /// The complete exchanges of a round that were not taken before. If there is none, the one that a
    /// correction speaks of is put together from the correction and a `usual` delay: its offset is right, its
    /// delay is a guess.
    pub(super) fn take(
        &mut self,
        round: u32,
        about: u32,
        correction: Correction,
        usual: Span,
    ) -> Vec<Exchange<Timestamp, Raw>> {
        let mut exchanges = Vec::new();
        for entry in self.ring.iter_mut().filter(|entry| !entry.used) {
            let (sent, lag) = (entry.sent, entry.lag());
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
            let (sent, lag) = (entry.sent, entry.lag());
            let t1 = sent.published_t2 + correction.span() - usual.half();
            let t4 = sent.published_t3 + lag + correction.span() + usual.half();
            entry.used = true;
            exchanges.push(Exchange { t1, t2: sent.t2, t3: sent.t3 + lag, t4 });
        }
        exchanges
    }
}

/// What takes longer to leave than this says nothing any more.
const MAX_LAG: Span = Span::from_secs(2);
/// Two of the longest bursts: a Correction that comes later than that has nothing to say any more.
const REPORTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u32, round: u32) -> Sent {
        let at = i64::from(number) * 1_000_000;
        Sent {
            number,
            round,
            nonce: u64::from(number) + 100,
            t2: Raw::from_nanos(at),
            handed: Raw::from_nanos(at + 7),
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
    fn complete_exchanges_of_the_round_are_taken_once() {
        let mut memory = Memory::default();
        (1..=4).for_each(|number| memory.remember(sent(number, 1 + number / 3)));
        (1..=4).for_each(|number| memory.complete(stamps(number)));
        let taken = memory.take(2, 4, Correction::default(), Span::ZERO);
        assert_eq!(taken.len(), 2);
        assert!(taken.iter().all(|exchange| exchange.delay() == Span::from_nanos(200)));
        assert!(memory.take(2, 4, Correction::default(), Span::ZERO).is_empty());
    }

    #[test]
    fn a_correction_alone_is_as_good_as_the_exchange_it_speaks_of() {
        let mut memory = Memory::default();
        memory.remember(sent(7, 3));
        let taken = memory.take(3, 7, Correction::adding(Span::from_nanos(-40)), Span::from_nanos(200));
        assert_eq!(taken.len(), 1);
        // The published clock was 500 ahead of the oscillator and 40 ahead of the cluster.
        assert_eq!((taken[0].offset(), taken[0].delay()), (Span::from_nanos(-460), Span::from_nanos(200)));
    }

    #[test]
    fn a_report_that_left_later_than_it_says_has_less_of_a_way_back() {
        let mut memory = Memory::default();
        memory.remember(sent(1, 1));
        assert_eq!(memory.leave(1, Raw::from_nanos(1_000_050)), Some(Span::from_nanos(43)));
        assert_eq!((memory.lag_of(1), memory.lag_of(2)), (Span::from_nanos(40), Span::ZERO));
        memory.complete(stamps(1));
        let taken = memory.take(1, 1, Correction::default(), Span::ZERO);
        assert_eq!((taken[0].t3.as_nanos(), taken[0].delay().as_nanos()), (1_000_050, 160));
    }

    #[test]
    fn where_the_servers_side_was_lost_the_lag_cancels() {
        let mut memory = Memory::default();
        memory.remember(sent(7, 3));
        memory.leave(7, Raw::from_nanos(7_000_050));
        let taken = memory.take(3, 7, Correction::adding(Span::from_nanos(-40)), Span::from_nanos(200));
        assert_eq!((taken[0].offset(), taken[0].delay()), (Span::from_nanos(-460), Span::from_nanos(200)));
    }

    #[test]
    fn a_report_leaves_once_and_neither_before_it_was_handed_over_nor_long_after() {
        let mut memory = Memory::default();
        memory.remember(sent(1, 1));
        assert_eq!(memory.leave(2, Raw::from_nanos(1_000_050)), None);
        assert_eq!(memory.leave(0, Raw::from_nanos(1)), None);
        assert_eq!(memory.leave(1, Raw::from_nanos(1_000_006)), None);
        assert_eq!(memory.leave(1, Raw::from_nanos(1_000_008) + MAX_LAG), None);
        assert_eq!(memory.lag_of(1), Span::ZERO);
        assert!(memory.leave(1, Raw::from_nanos(1_000_009)).is_some());
        assert_eq!(memory.lag_of(1), Span::from_nanos(-1));
        assert_eq!(memory.leave(1, Raw::from_nanos(1_000_050)), None);
    }

    #[test]
    fn old_reports_are_forgotten() {
        let mut memory = Memory::default();
        (1..=REPORTS as u32 + 1).for_each(|number| memory.remember(sent(number, 1)));
        assert_eq!(memory.find(1), None);
        assert!(memory.find(2).is_some() && memory.has_answered(102) && !memory.has_answered(101));
        assert_eq!(memory.find(0), None);
    }
}

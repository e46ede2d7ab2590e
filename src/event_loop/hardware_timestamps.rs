//! The timestamps of network cards beside the kernel's.
//!
//! The kernel reports a datagram's own timestamp at once and the card's with it (received) or later (sent). A
//! card's timestamp is used in place of the kernel's where there is one that can be used. A sent datagram
//! waits for its card's timestamp for [`MAX_WAIT`]; after that the kernel's takes its place, as it does when
//! more datagrams wait than there is room for. That is earlier, so that the exchange is longer than it was,
//! as in a queue.
//!
//! A datagram without a card's timestamp counts against that card only if it has certainly passed it: it came
//! or left through the card's own interface, or through a VLAN of it. The kernel does not tell by which port
//! of a bridge or a bond a datagram without such a timestamp has come.

use std::collections::VecDeque;

use crate::clock::{Card, Direction, HostRaw, Refusal};
use crate::udp::{CardStamp, ReceivedDatagram, TimestampSource, UpperInterface};
use meantime_core::StampId;
use meantime_core::time::{Monotonic, Span, Timestamp};

/// A network card, and the interfaces that it carries.
#[derive(Debug)]
pub struct InstalledCard {
    /// The card.
    pub card: Card,
    /// The index of its own interface.
    pub interface: u32,
    /// The interfaces above it: VLANs, bonds, bridges.
    pub above: Vec<UpperInterface>,
}

/// All cards of a node, and the datagrams whose card's timestamp is still to come.
#[derive(Debug, Default)]
pub(super) struct HardwareTimestamps {
    cards: Vec<InstalledCard>,
    waiting: VecDeque<Waiting>,
    /// The last datagrams that have waited long enough.
    overdue: VecDeque<StampId>,
    counts: Counts,
    source: Option<TimestampSource>,
}

/// A datagram that was sent.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: StampId,
    until: Monotonic,
    /// What the kernel has reported; `None`: nothing yet.
    kernel: Option<KernelReport>,
    /// Whether the card's timestamp has come, before the kernel's.
    is_stamped: bool,
}

/// What the kernel reports of a datagram that was sent.
#[derive(Clone, Copy, Debug)]
struct KernelReport {
    /// The card that it has left through.
    card: usize,
    /// Whether it has certainly passed that card.
    has_passed: bool,
    /// When it was sent, if that is usable.
    sent_at: Option<HostRaw>,
}

/// What has happened to transmit timestamps of cards that were not used.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// They came after their datagrams had waited long enough.
    late: u64,
    /// They came twice, or of datagrams that did not wait.
    unexpected: u64,
    /// Their datagrams could not wait, because too many others did.
    crowded_out: u64,
}

impl HardwareTimestamps {
    /// The timestamps of these cards.
    pub(super) fn new(cards: Vec<InstalledCard>) -> HardwareTimestamps {
        HardwareTimestamps { cards, ..HardwareTimestamps::default() }
    }

    /// The timestamp source in use; `None`: no card's timestamps are.
    pub(super) fn source(&self) -> Option<TimestampSource> {
        self.source_of(Card::is_in_use)
    }

    /// Timestamps were taken: the cards' clocks are read before the next one is converted.
    pub(super) fn expect_stamps(&mut self) {
        self.cards.iter_mut().for_each(|installed| installed.card.expect_stamps());
    }

    /// When a datagram was received; `kernel` is the kernel's usable timestamp.
    pub(super) fn convert_received(
        &mut self,
        received: &ReceivedDatagram<'_>,
        kernel: Option<HostRaw>,
    ) -> Option<HostRaw> {
        let stamped_by = received.card.and_then(|stamp: CardStamp| stamp.interface);
        let Some(index) = self.card_of(stamped_by.or(received.interface)) else { return kernel };
        let result = match received.card {
            Some(stamp) => self.cards[index].card.convert(Direction::Receive, stamp.time, kernel),
            None => {
                let has_passed = self.has_passed(index, received.interface);
                self.unstamped(index, Direction::Receive, has_passed)
            }
        };
        self.judged(index, Direction::Receive, result).or(kernel)
    }

    /// A datagram was handed over whose timestamps are requested. After each batch of these the caller takes
    /// those that are [overdue](HardwareTimestamps::take_overdue), so that a bounded number waits.
    pub(super) fn sent(&mut self, id: StampId, now: Monotonic) {
        if self.cards.iter().any(|installed| installed.card.stamps(Direction::Transmit)) {
            self.waiting.push_back(Waiting { id, until: now + MAX_WAIT, kernel: None, is_stamped: false });
        }
    }

    /// The kernel reports when a datagram was sent, through this interface. Returns the timestamp if that one
    /// has to do; `None`: the card's is still to come.
    pub(super) fn kernel_has_sent(
        &mut self,
        id: StampId,
        interface: Option<u32>,
        kernel: Option<HostRaw>,
    ) -> Option<HostRaw> {
        let stamps = |index: &usize| self.cards[*index].card.stamps(Direction::Transmit);
        let card = self.card_of(interface).filter(stamps);
        // It does not wait, or does not any more.
        let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) else { return kernel };
        match card {
            _ if self.waiting[at].is_stamped => {
                self.waiting.remove(at);
                None
            }
            Some(card) => {
                let has_passed = self.has_passed(card, interface);
                self.waiting[at].kernel = Some(KernelReport { card, has_passed, sent_at: kernel });
                None
            }
            None => {
                self.waiting.remove(at);
                kernel
            }
        }
    }

    /// The card reports when a datagram was sent. Returns the timestamp if there is a usable one.
    pub(super) fn card_has_sent(
        &mut self,
        id: StampId,
        interface: Option<u32>,
        time: Timestamp,
    ) -> Option<HostRaw> {
        let awaited = |waiting: &Waiting| waiting.id == id && !waiting.is_stamped;
        let Some(at) = self.waiting.iter().position(awaited) else {
            self.card_was_not_awaited(id, interface);
            return None;
        };
        let report = self.waiting[at].kernel;
        if report.is_some() {
            self.waiting.remove(at);
        } else {
            self.waiting[at].is_stamped = true;
        }
        let kernel = report.and_then(|report| report.sent_at);
        let kernels_card = report.map(|report| report.card);
        let Some(index) = self.card_of(interface).or(kernels_card) else { return kernel };
        let result = self.cards[index].card.convert(Direction::Transmit, time, kernel);
        self.judged(index, Direction::Transmit, result).or(kernel)
    }

    /// When the next datagram has waited long enough; `None`: none waits.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// A datagram that has waited long enough by `now`, or for which there is no room, and when it was sent:
    /// by the kernel's timestamp, if that is usable.
    pub(super) fn take_overdue(&mut self, now: Monotonic) -> Option<(StampId, Option<HostRaw>)> {
        let is_crowded = self.waiting.len() > MAX_WAITING;
        let waiting = *self.waiting.front().filter(|waiting| is_crowded || waiting.until <= now)?;
        self.waiting.pop_front();
        if waiting.is_stamped {
            return Some((waiting.id, None));
        }
        let is_overdue = waiting.until <= now;
        match is_overdue {
            true => self.remember_overdue(waiting.id),
            false => self.counts.crowded_out += 1,
        }
        let Some(report) = waiting.kernel else { return Some((waiting.id, None)) };
        // The timestamp of one that was crowded out may still come in time.
        let result = self.unstamped(report.card, Direction::Transmit, report.has_passed && is_overdue);
        self.judged(report.card, Direction::Transmit, result);
        // It left later than that, by what is not known: a time that is too early is only a longer delay.
        Some((waiting.id, report.sent_at))
    }

    /// Logs what was not used.
    pub(super) fn log_unused(&self) {
        let Counts { late, unexpected, crowded_out } = self.counts;
        for (count, what) in [
            (late, "transmit timestamps of network cards came too late"),
            (
                unexpected,
                "transmit timestamps of network cards came twice, or of datagrams that did not wait",
            ),
            (crowded_out, "sent datagrams did not wait for their card's timestamp: too many others did"),
        ] {
            if count > 0 {
                log::info!("{count} {what}");
            }
        }
    }

    /// The card's timestamp of a datagram that does not wait for one.
    fn card_was_not_awaited(&mut self, id: StampId, interface: Option<u32>) {
        let Some(at) = self.overdue.iter().position(|overdue| *overdue == id) else {
            self.counts.unexpected += 1;
            return;
        };
        self.overdue.remove(at);
        self.counts.late += 1;
        if let Some(index) = self.card_of(interface) {
            self.cards[index].card.came_late(Direction::Transmit);
        }
    }

    fn remember_overdue(&mut self, id: StampId) {
        if self.overdue.len() == MAX_WAITING {
            self.overdue.pop_front();
        }
        self.overdue.push_back(id);
    }

    /// A datagram has no timestamp of this card. It counts against the card if it has certainly passed it.
    fn unstamped(
        &mut self,
        index: usize,
        direction: Direction,
        has_passed: bool,
    ) -> Result<Option<HostRaw>, Refusal> {
        let card = &mut self.cards[index].card;
        if has_passed {
            return card.missed(direction).map(|()| None);
        }
        card.note_unstamped(direction);
        Ok(None)
    }

    /// The card below this interface, if it is the only one.
    fn card_of(&self, interface: Option<u32>) -> Option<usize> {
        let interface = interface?;
        if let Some(own) = self.cards.iter().position(|installed| installed.interface == interface) {
            return Some(own);
        }
        let is_below = |at: &usize| self.cards[*at].above.iter().any(|upper| upper.index == interface);
        let mut below = (0..self.cards.len()).filter(is_below);
        below.next().filter(|_| below.next().is_none())
    }

    /// Whether what came or left through this interface has certainly passed the card.
    fn has_passed(&self, index: usize, interface: Option<u32>) -> bool {
        let InstalledCard { interface: own, above, .. } = &self.cards[index];
        interface.is_some_and(|interface| {
            *own == interface || above.iter().any(|upper| upper.index == interface && upper.all_pass)
        })
    }

    /// The timestamp source, if a direction of a card is used when `is_used` says so.
    fn source_of(&self, is_used: impl Fn(&Card, Direction) -> bool) -> Option<TimestampSource> {
        let used = |direction| self.cards.iter().any(|installed| is_used(&installed.card, direction));
        match (used(Direction::Receive), used(Direction::Transmit)) {
            (true, true) => Some(TimestampSource::Hardware),
            (true, false) => Some(TimestampSource::HardwareReceive),
            (false, true) => Some(TimestampSource::HardwareTransmit),
            (false, false) => None,
        }
    }

    /// Logs what a timestamp has changed.
    fn judged(
        &mut self,
        index: usize,
        direction: Direction,
        result: Result<Option<HostRaw>, Refusal>,
    ) -> Option<HostRaw> {
        let name = self.cards[index].card.name();
        if let Err(refusal) = result {
            log::warn!("timestamps: those of the network card {name} of {direction} are refused: {refusal}");
        }
        // A card that stamps now and then, as below a bridge, is not logged each time.
        let source = self.source_of(Card::has_stamped);
        if source != self.source {
            self.source = source;
            match source {
                Some(source) => log::info!("timestamps: {source}; from the network card {name}"),
                None => log::warn!("timestamps: kernel; no network card's are used any more"),
            }
        }
        result.ok().flatten()
    }
}

/// A card stamps within microseconds; its driver may look after that only when it is idle. Longer than that
/// no datagram waits, nor would the core have use for its timestamp.
const MAX_WAIT: Span = Span::from_millis(50);
/// As many as a server sends within that time.
const MAX_WAITING: usize = 1024;

#[cfg(test)]
mod tests;

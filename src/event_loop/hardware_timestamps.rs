//! The timestamps of network cards beside the kernel's.
//!
//! The kernel reports a datagram's own timestamp at once and the card's with it (received) or later (sent). A
//! card's timestamp is used in place of the kernel's where there is one that can be used. A sent datagram
//! waits for its card's timestamp for [`MAX_WAIT`]; after that the kernel's takes its place. That is earlier,
//! so that the exchange is longer than it was, as in a queue.

use std::collections::VecDeque;

use crate::clock::{Card, Direction, HostRaw, Refusal};
use crate::udp::{CardStamp, ReceivedDatagram, TimestampSource};
use meantime_core::StampId;
use meantime_core::time::{Monotonic, Span, Timestamp};

/// A network card, and the interfaces that it carries.
#[derive(Debug)]
pub struct InstalledCard {
    /// The card.
    pub card: Card,
    /// The index of its own interface.
    pub interface: u32,
    /// The indexes of the interfaces above it: VLANs, bonds, bridges.
    pub above: Vec<u32>,
}

/// All cards of a node, and the datagrams whose card's timestamp is still to come.
#[derive(Debug, Default)]
pub(super) struct HardwareTimestamps {
    cards: Vec<InstalledCard>,
    waiting: VecDeque<Waiting>,
    /// Transmit timestamps that came too late, or of no datagram that waits.
    late: u64,
    source: Option<TimestampSource>,
}

/// A datagram that was sent.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: StampId,
    until: Monotonic,
    /// The card that it has left through, and the kernel's timestamp.
    kernel: Option<(usize, Option<HostRaw>)>,
}

impl HardwareTimestamps {
    /// The timestamps of these cards.
    pub(super) fn new(cards: Vec<InstalledCard>) -> HardwareTimestamps {
        HardwareTimestamps { cards, ..HardwareTimestamps::default() }
    }

    /// The timestamp source in use; `None`: no card's timestamps are.
    pub(super) fn source(&self) -> Option<TimestampSource> {
        let in_use = |direction| self.cards.iter().any(|installed| installed.card.is_in_use(direction));
        match (in_use(Direction::Receive), in_use(Direction::Transmit)) {
            (true, true) => Some(TimestampSource::Hardware),
            (true, false) => Some(TimestampSource::HardwareReceive),
            (false, true) => Some(TimestampSource::HardwareTransmit),
            (false, false) => None,
        }
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
        let card = &mut self.cards[index].card;
        let result = match received.card {
            Some(stamp) => card.convert(Direction::Receive, stamp.time, kernel),
            None => card.missed(Direction::Receive).map(|()| None),
        };
        self.judged(index, Direction::Receive, result).or(kernel)
    }

    /// A datagram was handed over whose timestamps are requested.
    pub(super) fn sent(&mut self, id: StampId, now: Monotonic) {
        if self.cards.iter().any(|installed| installed.card.stamps(Direction::Transmit)) {
            if self.waiting.len() == MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(Waiting { id, until: now + MAX_WAIT, kernel: None });
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
        match (self.waiting.iter().position(|waiting| waiting.id == id), card) {
            (Some(at), Some(index)) => {
                self.waiting[at].kernel = Some((index, kernel));
                None
            }
            (Some(at), None) => {
                self.waiting.remove(at);
                kernel
            }
            // The card's has come before.
            (None, Some(_)) => None,
            (None, None) => kernel,
        }
    }

    /// The card reports when a datagram was sent. Returns the timestamp if there is a usable one.
    pub(super) fn card_has_sent(
        &mut self,
        id: StampId,
        interface: Option<u32>,
        time: Timestamp,
    ) -> Option<HostRaw> {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.id == id) else {
            self.late += 1;
            if let Some(index) = self.card_of(interface) {
                self.cards[index].card.came_late(Direction::Transmit);
            }
            return None;
        };
        let waiting = self.waiting.remove(at)?;
        let (kernels_card, kernel) = waiting.kernel.unzip();
        let kernel = kernel.flatten();
        let Some(index) = self.card_of(interface).or(kernels_card) else { return kernel };
        let result = self.cards[index].card.convert(Direction::Transmit, time, kernel);
        self.judged(index, Direction::Transmit, result).or(kernel)
    }

    /// When the next datagram has waited long enough; `None`: none waits.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// A datagram that has waited long enough by `now`, and when it was sent: by the kernel's timestamp, if
    /// that is usable.
    pub(super) fn take_overdue(&mut self, now: Monotonic) -> Option<(StampId, Option<HostRaw>)> {
        let waiting = *self.waiting.front().filter(|waiting| waiting.until <= now)?;
        self.waiting.pop_front();
        let Some((index, kernel)) = waiting.kernel else { return Some((waiting.id, None)) };
        let result = self.cards[index].card.missed(Direction::Transmit).map(|()| None);
        self.judged(index, Direction::Transmit, result);
        // It left later than that, by what is not known: a time that is too early is only a longer delay.
        Some((waiting.id, kernel))
    }

    /// Logs how many timestamps came too late.
    pub(super) fn log_late(&self) {
        if self.late > 0 {
            log::info!("{} transmit timestamps of network cards came too late, or twice", self.late);
        }
    }

    /// The card below this interface, if it is the only one.
    fn card_of(&self, interface: Option<u32>) -> Option<usize> {
        let interface = interface?;
        if let Some(own) = self.cards.iter().position(|installed| installed.interface == interface) {
            return Some(own);
        }
        let mut below = (0..self.cards.len()).filter(|at| self.cards[*at].above.contains(&interface));
        below.next().filter(|_| below.next().is_none())
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
        let source = self.source();
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

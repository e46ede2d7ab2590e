//! A network card: converts its timestamps, and decides whether they can be used.

use std::fmt;
use std::io;

use super::speed::{Fault, MAX_DEVIATION, SpeedCheck};
use crate::clock::converter::{ConversionError, TimestampConverter};
use crate::clock::pair::ClockPair;
use crate::clock::reading::HostRaw;
use meantime_core::time::{Frequency, Span, Timestamp};

/// A card's clock.
pub trait CardClock: fmt::Debug {
    /// The host's oscillator and the card's clock, read together.
    ///
    /// # Errors
    /// When the card's clock cannot be read.
    fn read(&mut self) -> io::Result<ClockPair>;
}

/// What a card stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Datagrams that are received.
    Receive,
    /// Datagrams that are sent.
    Transmit,
}

/// Why the timestamps of a card are not used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The card, or its settings, do not grant them.
    #[error("it does not grant them")]
    NotGranted,
    /// Its clock cannot be read.
    #[error("its clock cannot be read ({0})")]
    Unreadable(io::ErrorKind),
    /// Its clock does not advance.
    #[error("its clock stands still")]
    StandsStill,
    /// Its clock is no clock of this rate over the oscillator's, minus one.
    #[error("its clock runs at another speed: {:+.0} ppm", .0.ppm())]
    Speed(Frequency),
    /// None of so many has come, though it has granted them.
    #[error("it has granted them, and not one of {0} has come")]
    NeverStamps(u32),
    /// None of so many has come in time, but some have come later.
    #[error("it has granted them, and not one of {0} has come in time")]
    TooLate(u32),
    /// They are not where the kernel's are.
    #[error("they contradict the kernel's")]
    Contradicts,
}

/// A network card with a clock of its own.
#[derive(Debug)]
pub struct Card {
    name: String,
    clock: Box<dyn CardClock>,
    converter: TimestampConverter,
    /// Whether the converter has a pair that was read after the timestamps that are to be converted.
    is_read: bool,
    /// That pair.
    pair: ClockPair,
    /// How many attempts in a row to read the clock have failed.
    unreadable: u32,
    speed: SpeedCheck,
    receive: Stamping,
    transmit: Stamping,
}

/// One direction of a card.
#[derive(Clone, Copy, Debug)]
struct Stamping {
    refused: Option<Refusal>,
    /// Whether a timestamp was used.
    has_stamped: bool,
    /// How many datagrams in a row had no timestamp.
    unstamped: u32,
    /// How many of these have certainly passed the card.
    missing: u32,
    /// Whether timestamps of some of these have come too late.
    late: bool,
    /// How many timestamps in a row contradicted the kernel's.
    contradicting: u32,
}

impl Card {
    /// The card `name`, which has granted these timestamps. Watches its clock for a moment: `pause` waits for
    /// so long.
    ///
    /// # Errors
    /// When its clock is none.
    pub fn start(
        name: &str,
        mut clock: Box<dyn CardClock>,
        granted: &[Direction],
        mut pause: impl FnMut(Span),
    ) -> Result<Card, Refusal> {
        let first = clock.read().map_err(|error| Refusal::Unreadable(error.kind()))?;
        let mut speed = SpeedCheck::new(first);
        while !speed.is_confirmed() {
            pause(START_INTERVAL);
            let pair = clock.read().map_err(|error| Refusal::Unreadable(error.kind()))?;
            speed.note(pair, START_INTERVAL.half())?;
        }
        let stamping = |direction| Stamping {
            refused: (!granted.contains(&direction)).then_some(Refusal::NotGranted),
            has_stamped: false,
            unstamped: 0,
            missing: 0,
            late: false,
            contradicting: 0,
        };
        Ok(Card {
            name: name.to_owned(),
            clock,
            converter: TimestampConverter::new(first),
            is_read: false,
            pair: first,
            unreadable: 0,
            speed,
            receive: stamping(Direction::Receive),
            transmit: stamping(Direction::Transmit),
        })
    }

    /// The name of its network interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its timestamps of this direction are wanted.
    pub fn stamps(&self, direction: Direction) -> bool {
        self.stamping(direction).refused.is_none()
    }

    /// Whether its timestamps of this direction have come and are wanted.
    pub fn has_stamped(&self, direction: Direction) -> bool {
        self.stamps(direction) && self.stamping(direction).has_stamped
    }

    /// Whether its timestamps of this direction have come and still come.
    pub fn is_in_use(&self, direction: Direction) -> bool {
        self.has_stamped(direction) && self.stamping(direction).unstamped < MAX_MISSING_IN_USE
    }

    /// Timestamps were taken: before the next one is converted, the card's clock is read.
    pub fn expect_stamps(&mut self) {
        self.is_read = false;
    }

    /// What the oscillator showed when the card's clock showed `timestamp`. `kernel` is the kernel's own
    /// timestamp of the same datagram, if it is usable. `None`: that one has to do.
    ///
    /// # Errors
    /// When this timestamp is the reason why this direction, or the whole card, is refused from now on.
    pub fn convert(
        &mut self,
        direction: Direction,
        timestamp: Timestamp,
        kernel: Option<HostRaw>,
    ) -> Result<Option<HostRaw>, Refusal> {
        if !self.stamps(direction) {
            return Ok(None);
        }
        self.read().inspect_err(|refusal| self.refuse_all(*refusal))?;
        if self.unreadable > 0 {
            return Ok(None);
        }
        let converted = match self.converter.convert(timestamp) {
            // The clock was stepped, or not read closely enough: that is no contradiction.
            Err(ConversionError::Stepped | ConversionError::Wide) => return Ok(None),
            // The datagram itself has waited for long, as when this process was stopped.
            Err(ConversionError::Old) if kernel.is_none() => return Ok(None),
            converted => converted.ok().filter(|at| is_plausible(direction, *at, kernel)),
        };
        let pair = self.pair;
        let stamping = self.stamping_mut(direction);
        (stamping.unstamped, stamping.missing, stamping.late) = (0, 0, false);
        match converted {
            Some(_) => (stamping.contradicting, stamping.has_stamped) = (0, true),
            None => stamping.contradicting += 1,
        }
        if stamping.contradicting < MAX_CONTRADICTING {
            return Ok(converted.map(|at| cautious(direction, at, uncertainty(pair, at))));
        }
        stamping.refused = Some(Refusal::Contradicts);
        Err(Refusal::Contradicts)
    }

    /// A datagram has no timestamp, which may not be the card's fault: it may have passed another port.
    pub fn note_unstamped(&mut self, direction: Direction) {
        let stamping = self.stamping_mut(direction);
        stamping.unstamped = stamping.unstamped.saturating_add(1);
    }

    /// A datagram that has certainly passed the card has no timestamp.
    ///
    /// # Errors
    /// When that is the reason why this direction is refused from now on.
    pub fn missed(&mut self, direction: Direction) -> Result<(), Refusal> {
        self.note_unstamped(direction);
        let stamping = self.stamping_mut(direction);
        stamping.missing = stamping.missing.saturating_add(1);
        let limit = if stamping.has_stamped { MAX_MISSING_IN_USE } else { MAX_MISSING };
        if stamping.refused.is_some() || stamping.missing < limit {
            return Ok(());
        }
        let refusal = if stamping.late { Refusal::TooLate(limit) } else { Refusal::NeverStamps(limit) };
        stamping.refused = Some(refusal);
        Err(refusal)
    }

    /// The timestamp of a datagram has come that was counted as missing.
    pub fn came_late(&mut self, direction: Direction) {
        self.stamping_mut(direction).late = true;
    }

    /// Reads the card's clock, unless that was done since the last timestamps were taken.
    fn read(&mut self) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.is_read, true) {
            return Ok(());
        }
        let pair = match self.clock.read() {
            Ok(pair) => pair,
            Err(error) => {
                self.unreadable += 1;
                return match self.unreadable {
                    ..MAX_UNREADABLE => Ok(()),
                    _ => Err(Refusal::Unreadable(error.kind())),
                };
            }
        };
        self.unreadable = 0;
        self.pair = pair;
        // Its result is what `convert` returns.
        let _ = self.converter.update(pair);
        Ok(self.speed.note(pair, CHECK_INTERVAL)?)
    }

    fn refuse_all(&mut self, refusal: Refusal) {
        for stamping in [&mut self.receive, &mut self.transmit] {
            stamping.refused = stamping.refused.or(Some(refusal));
        }
    }

    fn stamping(&self, direction: Direction) -> &Stamping {
        match direction {
            Direction::Receive => &self.receive,
            Direction::Transmit => &self.transmit,
        }
    }

    fn stamping_mut(&mut self, direction: Direction) -> &mut Stamping {
        match direction {
            Direction::Receive => &mut self.receive,
            Direction::Transmit => &mut self.transmit,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault {
            Fault::StandsStill => Refusal::StandsStill,
            Fault::Speed(rate) => Refusal::Speed(rate),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Receive => "what is received",
            Direction::Transmit => "what is sent",
        })
    }
}

/// Whether a card's timestamp can be of the same datagram as the kernel's: the card sees a datagram before
/// the kernel receives it, and after the kernel has sent it.
fn is_plausible(direction: Direction, card: HostRaw, kernel: Option<HostRaw>) -> bool {
    let Some(kernel) = kernel else { return true };
    let apart = match direction {
        Direction::Receive => kernel.since(card),
        Direction::Transmit => card.since(kernel),
    };
    -MARGIN <= apart && apart <= MAX_APART
}

/// The maximum error of a timestamp that was brought to the oscillator's time `at` by this pair: that of the
/// pair, and what a program that steers the card's clock may have done to its rate since.
fn uncertainty(pair: ClockPair, at: HostRaw) -> Span {
    pair.width.half() + MAX_DEVIATION.over(pair.raw.since(at).max(Span::ZERO))
}

/// A time of receipt that is not too early, or a time of departure that is not too late: what is uncertain of
/// it acts like delay, which the bounds account for.
fn cautious(direction: Direction, at: HostRaw, uncertainty: Span) -> HostRaw {
    match direction {
        Direction::Receive => at.after(uncertainty),
        Direction::Transmit => at.before(uncertainty),
    }
}

/// From one reading of a clock to the next when a card is started.
const START_INTERVAL: Span = Span::from_millis(5);
/// Over such an interval, an error of some microseconds in a reading is no deviation.
const CHECK_INTERVAL: Span = Span::from_millis(100);
/// A card that stamps at all has stamped some of so many.
const MAX_MISSING: u32 = 64;
/// A card may stamp one datagram at a time and let others pass, but not so many in a row. After so many its
/// timestamps do not count as in use, whatever the reason is.
const MAX_MISSING_IN_USE: u32 = 1024;
/// One timestamp may be another datagram's; so many in a row are not.
const MAX_CONTRADICTING: u32 = 8;
/// A card that is being reset cannot be read for a moment.
const MAX_UNREADABLE: u32 = 4;
/// Both timestamps are brought to the oscillator by readings that are tens of microseconds wide at worst.
const MARGIN: Span = Span::from_micros(200);
/// A datagram does not stay longer between card and kernel, even on a busy machine.
const MAX_APART: Span = Span::from_millis(100);

#[cfg(test)]
mod tests;

//! Which timestamps are in use, and what the kernel's say on the node's oscillator.

use std::fmt;

use crate::clock::{ConversionError, NodeClock, TimestampConverter};
use meantime_core::time::{Monotonic, Raw, Span, Timestamp};

/// Where the times come from at which datagrams are received and sent. A network card's own timestamps would
/// be a third kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimestampSource {
    /// The program reads its clock after receiving and before sending.
    User,
    /// The kernel stamps each datagram as it comes in and as it leaves.
    Kernel,
}

impl fmt::Display for TimestampSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimestampSource::User => "user",
            TimestampSource::Kernel => "kernel",
        })
    }
}

/// Converts the kernel's stamps, and keeps account of whether they come.
#[derive(Debug)]
pub struct KernelTimestamps {
    converter: TimestampConverter,
    kind: TimestampSource,
    /// Datagrams in a row that were received without a stamp that could be used.
    bare: u32,
    /// Datagrams in a row whose leaving was asked for and not told.
    untold: u32,
    /// Whether people know that none are told of.
    warned: bool,
    /// Until then it is no wonder that none can be used.
    excused_until: Option<Monotonic>,
}

impl KernelTimestamps {
    /// None yet.
    pub fn new(clock: &impl NodeClock) -> KernelTimestamps {
        KernelTimestamps {
            converter: TimestampConverter::new(clock.pair()),
            kind: TimestampSource::Kernel,
            bare: 0,
            untold: 0,
            warned: false,
            excused_until: None,
        }
    }

    /// The kind in use where the socket was granted the kernel's.
    pub fn kind(&self) -> TimestampSource {
        self.kind
    }

    /// Reads the clocks: what was stamped before is converted by that, until the next time.
    pub fn look(&mut self, clock: &impl NodeClock) {
        // All of a batch depends on it: an interruption is no reason to believe none of them.
        for _ in 0..LOOKS {
            if self.converter.watch(clock.pair()) != Err(ConversionError::Wide) {
                break;
            }
        }
    }

    /// When a datagram was received, by its stamp; `None`: the program's own reading has to do.
    pub fn received(&mut self, clock: &impl NodeClock, stamp: Option<Timestamp>) -> Option<Raw> {
        let received = stamp.and_then(|stamp| self.convert(clock, stamp));
        self.bare = if received.is_some() { 0 } else { self.bare.saturating_add(1) };
        let kind = match (self.kind, received) {
            (TimestampSource::User, None) => TimestampSource::User,
            (_, None) if self.bare >= PATIENCE && !self.is_excused(clock) => TimestampSource::User,
            _ => TimestampSource::Kernel,
        };
        if kind != self.kind {
            self.kind = kind;
            match kind {
                TimestampSource::User => log::warn!(
                    "timestamps: user; the kernel's do not come, or somebody sets the machine's clock"
                ),
                _ => log::info!("timestamps: {kind}; they come again"),
            }
        }
        received
    }

    /// A datagram was sent, and the kernel is to tell when it leaves.
    pub fn asked(&mut self) {
        self.untold = self.untold.saturating_add(1);
        if self.untold >= UNTOLD && !std::mem::replace(&mut self.warned, true) {
            log::warn!(
                "the kernel stamps what is received but not what is sent: the network card's driver does not"
            );
        }
    }

    /// This process itself has stepped the machine's clock: until all is past that was stamped before, no
    /// stamp is believed.
    pub fn stepped(&mut self, now: Monotonic) {
        self.excused_until = Some(now + EXCUSE);
    }

    fn is_excused(&self, clock: &impl NodeClock) -> bool {
        self.excused_until.is_some_and(|until| clock.now().mono < until)
    }

    /// The socket's buffer was full: then the kernel has no room for what it would tell either, and that says
    /// nothing.
    pub fn excuse(&mut self) {
        self.untold = 0;
    }

    /// When a datagram left, by its stamp.
    pub fn left(&mut self, clock: &impl NodeClock, stamp: Timestamp) -> Option<Raw> {
        self.untold = 0;
        self.convert(clock, stamp)
    }

    fn convert(&self, clock: &impl NodeClock, stamp: Timestamp) -> Option<Raw> {
        match self.converter.convert(stamp) {
            Ok(host) => Some(clock.raw_at(host)),
            Err(doubt) => {
                log::trace!("a timestamp of the kernel's is not used: {doubt:?}");
                None
            }
        }
    }
}

/// Twice in a row is rare even on a busy machine.
const LOOKS: usize = 4;
/// Some datagrams without a usable stamp are no reason to doubt; a round's worth of two members is.
const PATIENCE: u32 = 8;
/// So many datagrams sent, and none of them told of: some batches.
const UNTOLD: u32 = 1_024;
/// Longer than stamps are doubted after a step.
const EXCUSE: Span = Span::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Overlay;
    use meantime_core::time::Frequency;

    #[test]
    fn the_kind_in_use_follows_what_comes() {
        let clock = Overlay::start(Span::from_secs(-40), Frequency::ZERO);
        let mut stamps = KernelTimestamps::new(&clock);
        // Stamped, and then looked at.
        let fresh = |stamps: &mut KernelTimestamps| {
            let stamp = clock.pair().real;
            stamps.look(&clock);
            stamps.received(&clock, Some(stamp))
        };
        for _ in 1..PATIENCE {
            assert_eq!(stamps.received(&clock, None), None);
        }
        assert_eq!(stamps.kind(), TimestampSource::Kernel);
        stamps.received(&clock, None);
        assert_eq!(stamps.kind(), TimestampSource::User);
        // One that was interrupted is not used; hardly ever twice in a row.
        let before = clock.now().raw;
        let received = (0..100).find_map(|_| fresh(&mut stamps)).unwrap();
        let passed = received - before;
        assert!(passed > Span::from_millis(-1) && passed < Span::from_secs(1), "{passed}");
        assert_eq!(stamps.kind(), TimestampSource::Kernel);
    }

    /// The kind in use after a round's worth of datagrams without a stamp.
    fn after_bare_ones(stamps: &mut KernelTimestamps, clock: &Overlay) -> TimestampSource {
        for _ in 0..PATIENCE {
            assert_eq!(stamps.received(clock, None), None);
        }
        stamps.kind()
    }

    #[test]
    fn stamps_that_do_not_come_are_given_up_unless_this_process_has_stepped_the_clock() {
        let clock = Overlay::start(Span::ZERO, Frequency::ZERO);
        let mut stamps = KernelTimestamps::new(&clock);
        let now = clock.now().mono;
        stamps.stepped(now);
        assert_eq!(after_bare_ones(&mut stamps, &clock), TimestampSource::Kernel);
        stamps.stepped(now - EXCUSE);
        assert_eq!(after_bare_ones(&mut stamps, &clock), TimestampSource::User);
    }
}

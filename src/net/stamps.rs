//! Which timestamps are in use, and what the kernel's say on the node's oscillator.

use std::fmt;

use crate::clock::{Clock, Converter, Doubt};
use crate::time::{Raw, Timestamp};

/// Where the times come from at which datagrams are received and sent. A network card's own timestamps would be
/// a third kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timestamps {
    /// The program reads its clock after receiving and before sending.
    User,
    /// The kernel stamps each datagram as it comes in and as it leaves.
    Kernel,
}

impl fmt::Display for Timestamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timestamps::User => "user",
            Timestamps::Kernel => "kernel",
        })
    }
}

/// Converts the kernel's stamps, and keeps account of whether they come.
#[derive(Debug)]
pub(super) struct Stamps {
    converter: Converter,
    kind: Timestamps,
    /// Datagrams in a row that were received without a stamp that could be used.
    bare: u32,
    /// Datagrams in a row whose leaving was asked for and not told.
    untold: u32,
    /// Whether people know that none are told of.
    warned: bool,
}

impl Stamps {
    /// None yet.
    pub(super) fn new(clock: &impl Clock) -> Stamps {
        Stamps {
            converter: Converter::new(clock.pair()),
            kind: Timestamps::Kernel,
            bare: 0,
            untold: 0,
            warned: false,
        }
    }

    /// The kind in use where the socket was granted the kernel's.
    pub(super) fn kind(&self) -> Timestamps {
        self.kind
    }

    /// Reads the clocks: what was stamped before is converted by that, until the next time.
    pub(super) fn look(&mut self, clock: &impl Clock) {
        // All of a batch depends on it: an interruption is no reason to believe none of them.
        for _ in 0..LOOKS {
            if self.converter.watch(clock.pair()) != Err(Doubt::Wide) {
                break;
            }
        }
    }

    /// When a datagram was received, by its stamp; `None`: the program's own reading has to do.
    pub(super) fn received(&mut self, clock: &impl Clock, stamp: Option<Timestamp>) -> Option<Raw> {
        let received = stamp.and_then(|stamp| self.convert(clock, stamp));
        self.bare = if received.is_some() { 0 } else { self.bare.saturating_add(1) };
        let kind = match (self.kind, received) {
            (Timestamps::User, None) => Timestamps::User,
            (_, None) if self.bare >= PATIENCE => Timestamps::User,
            _ => Timestamps::Kernel,
        };
        if kind != self.kind {
            self.kind = kind;
            match kind {
                Timestamps::User => log::warn!(
                    "timestamps: user; the kernel's do not come, or somebody sets the machine's clock"
                ),
                _ => log::info!("timestamps: {kind}; they come again"),
            }
        }
        received
    }

    /// A datagram was sent, and the kernel is to tell when it leaves.
    pub(super) fn asked(&mut self) {
        self.untold = self.untold.saturating_add(1);
        if self.untold >= UNTOLD && !std::mem::replace(&mut self.warned, true) {
            log::warn!(
                "the kernel stamps what is received but not what is sent: the network card's driver does not"
            );
        }
    }

    /// The socket's buffer was full: then the kernel has no room for what it would tell either, and that says nothing.
    pub(super) fn excuse(&mut self) {
        self.untold = 0;
    }

    /// When a datagram left, by its stamp.
    pub(super) fn left(&mut self, clock: &impl Clock, stamp: Timestamp) -> Option<Raw> {
        self.untold = 0;
        self.convert(clock, stamp)
    }

    fn convert(&self, clock: &impl Clock, stamp: Timestamp) -> Option<Raw> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Overlay;
    use crate::time::{Frequency, Span};

    #[test]
    fn the_kind_in_use_follows_what_comes() {
        let clock = Overlay::start(Span::from_secs(-40), Frequency::ZERO);
        let mut stamps = Stamps::new(&clock);
        // Stamped, and then looked at.
        let fresh = |stamps: &mut Stamps| {
            let stamp = clock.pair().real;
            stamps.look(&clock);
            stamps.received(&clock, Some(stamp))
        };
        for _ in 1..PATIENCE {
            assert_eq!(stamps.received(&clock, None), None);
        }
        assert_eq!(stamps.kind(), Timestamps::Kernel);
        stamps.received(&clock, None);
        assert_eq!(stamps.kind(), Timestamps::User);
        // One that was interrupted is not used; hardly ever twice in a row.
        let before = clock.now().raw;
        let received = (0..100).find_map(|_| fresh(&mut stamps)).unwrap();
        let passed = received - before;
        assert!(passed > Span::from_millis(-1) && passed < Span::from_secs(1), "{passed}");
        assert_eq!(stamps.kind(), Timestamps::Kernel);
    }
}

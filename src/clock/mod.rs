//! RING 1. The only place that reads a clock.
//!
//! It decides which of the machine's clocks serves as which of the three timescales of
//! [`crate::time`], and never what to do with a reading. Today there is one kind of [`Clock`], the
//! [`Overlay`]: nothing of the machine is ever set, the disciplined clock is arithmetic in the core over
//! the oscillator read here. A clock that disciplines the system's own time will be a second
//! implementation of the same trait. [`Converter`] brings the kernel's timestamps of datagrams, which are
//! readings of the wall clock, to the oscillator.

mod host;
mod oscillator;
mod overlay;
mod sleep;
mod stamps;

pub use host::HostRaw;
pub use oscillator::Oscillator;
pub use overlay::Overlay;
pub use sleep::SleepWatch;
pub use stamps::{Converter, Doubt, Pair};

use crate::time::{Now, Raw, Span};

/// A node's two clocks, and the host's oscillator under them.
pub trait Clock {
    /// All of them, read together.
    fn read(&self) -> Moment;

    /// For how long the machine has slept since this was last asked, and its oscillator with it; `None`: it has not,
    /// or nobody can tell.
    fn slept(&mut self) -> Option<Span> {
        None
    }

    /// The two that the core wants, read together.
    fn now(&self) -> Now {
        self.read().now
    }

    /// What the node's oscillator shows when the host's reads `host`, a moment ago.
    fn raw_at(&self, host: HostRaw) -> Raw {
        let moment = self.read();
        moment.now.raw + host.since(moment.host)
    }

    /// The host's oscillator and the wall clock by which the kernel stamps, read together.
    fn pair(&self) -> Pair {
        host::pair()
    }
}

/// Everything that was read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The host's oscillator, which all processes of one host share: two nodes' readings that carry it
    /// can be compared exactly.
    pub host: HostRaw,
    /// The node's own clocks. Its oscillator is computed from `host`, not read a second time.
    pub now: Now,
}

//! RING 1. The only place that reads a clock.
//!
//! It decides which of the machine's clocks serves as which of the three timescales of
//! [`crate::time`], and never what to do with a reading. Today there is one kind of [`Clock`], the
//! [`Overlay`]: nothing of the machine is ever set, the disciplined clock is arithmetic in the core over
//! the oscillator read here. A clock that disciplines the system's own time will be a second
//! implementation of the same trait.

mod host;
mod oscillator;
mod overlay;
mod sleep;

pub use host::HostRaw;
pub use oscillator::Oscillator;
pub use overlay::Overlay;
pub use sleep::SleepWatch;

use crate::time::{Now, Span};

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

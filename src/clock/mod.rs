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

pub use host::HostRaw;
pub use oscillator::Oscillator;
pub use overlay::Overlay;

use crate::time::Now;

/// A node's two clocks, and the host's oscillator under them.
pub trait Clock {
    /// All of them, read together.
    fn read(&self) -> Moment;

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

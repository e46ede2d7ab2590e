//! RING 1. The only place that reads or sets a clock.
//!
//! It decides which of the machine's clocks serves as which of the three timescales of
//! [`crate::time`], and never what to do with a reading. There are two kinds of [`Clock`]. The
//! [`Overlay`] sets nothing of the machine: the disciplined clock is arithmetic in the core over
//! the oscillator read here. The [`SystemClock`] is an overlay as well, and makes the machine's
//! own time follow it.

mod host;
mod oscillator;
mod overlay;
pub mod system;

pub use host::HostRaw;
pub use oscillator::Oscillator;
pub use overlay::Overlay;
pub use system::SystemClock;
pub use system::steering::{Disturbance, SystemEvent};

use crate::berkeley::Reading;
use crate::time::{Monotonic, Now, Raw, Timestamp};

/// A node's two clocks, and the host's oscillator under them.
pub trait Clock {
    /// All of them, read together.
    fn read(&self) -> Moment;

    /// The two that the core wants, read together.
    fn now(&self) -> Now {
        self.read().now
    }

    /// As [`read`](Clock::read), together with the system's time if this clock steers that.
    fn observe(&self) -> (Moment, Option<Timestamp>) {
        (self.read(), None)
    }

    /// When [`follow`](Clock::follow) wants to be called next, if at all.
    fn follow_at(&self) -> Option<Monotonic> {
        None
    }

    /// Makes the system's time follow the node's, which is a function of its oscillator; `changed` if that may
    /// have become another one. Does nothing before it is due. Returns what there is to tell.
    fn follow(&mut self, changed: bool, node: &dyn Fn(Raw) -> Reading) -> Vec<SystemEvent> {
        let _ = (changed, node);
        Vec::new()
    }
}

/// Whichever clock was asked for.
impl<C: Clock + ?Sized> Clock for Box<C> {
    fn read(&self) -> Moment {
        (**self).read()
    }

    fn observe(&self) -> (Moment, Option<Timestamp>) {
        (**self).observe()
    }

    fn follow_at(&self) -> Option<Monotonic> {
        (**self).follow_at()
    }

    fn follow(&mut self, changed: bool, node: &dyn Fn(Raw) -> Reading) -> Vec<SystemEvent> {
        (**self).follow(changed, node)
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

//! RING 1. The only place that reads or sets a clock.
//!
//! It decides which of the machine's clocks serves as which of the three timescales of
//! [`meantime_core::time`], and never what to do with a reading. There are two kinds of [`NodeClock`]. The
//! [`Overlay`] sets nothing of the machine: the disciplined clock is arithmetic in the core over
//! the oscillator read here. The [`SystemClock`] is an overlay as well, and makes the machine's
//! own time follow it. [`TimestampConverter`] brings the kernel's timestamps of datagrams, which are readings
//! of the wall clock, to the oscillator.

mod host;
mod oscillator;
mod overlay;
mod sleep;
mod stamps;
pub mod system;

pub use host::{HostRaw, monotonic, suspended};
pub use oscillator::NodeOscillator;
pub use overlay::Overlay;
pub use sleep::{MIN_SLEEP, SuspensionDetector};
pub use stamps::{ClockPair, ConversionError, TimestampConverter};
pub use system::SystemClock;
pub use system::steering::{ForeignAdjustment, SystemClockEvent};

use meantime_core::ClockReading;
use meantime_core::time::{Monotonic, Now, Raw, Span, Timestamp};

/// A node's two clocks, and the host's oscillator under them.
pub trait NodeClock {
    /// All of them, read together.
    fn read(&self) -> ClockSample;

    /// For how long the machine has slept since this was last asked, and its oscillator with it; `None`: it
    /// has not, or nobody can tell.
    fn slept(&mut self) -> Option<Span> {
        None
    }

    /// A node has the time from an earlier run: its oscillator shows `time` when the host's reads `host`, and
    /// goes on from there. False: it does not; where the machine's own clock is steered, that has carried the
    /// time.
    fn resume(&mut self, host: HostRaw, time: Timestamp) -> bool;

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
    fn pair(&self) -> ClockPair {
        host::pair()
    }

    /// As [`read`](NodeClock::read), together with the system's time if this clock steers that.
    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        (self.read(), None)
    }

    /// When [`follow`](NodeClock::follow) wants to be called next, if at all.
    fn follow_at(&self) -> Option<Monotonic> {
        None
    }

    /// Makes the system's time follow the node's, which is a function of its oscillator; `changed` if that
    /// may have become another one. Does nothing before it is due. Returns what there is to tell.
    fn follow(&mut self, changed: bool, node: &dyn Fn(Raw) -> ClockReading) -> Vec<SystemClockEvent> {
        let _ = (changed, node);
        Vec::new()
    }
}

/// Whichever clock was asked for.
impl<C: NodeClock + ?Sized> NodeClock for Box<C> {
    fn read(&self) -> ClockSample {
        (**self).read()
    }

    fn slept(&mut self) -> Option<Span> {
        (**self).slept()
    }

    fn resume(&mut self, host: HostRaw, time: Timestamp) -> bool {
        (**self).resume(host, time)
    }

    fn now(&self) -> Now {
        (**self).now()
    }

    fn raw_at(&self, host: HostRaw) -> Raw {
        (**self).raw_at(host)
    }

    fn pair(&self) -> ClockPair {
        (**self).pair()
    }

    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        (**self).observe()
    }

    fn follow_at(&self) -> Option<Monotonic> {
        (**self).follow_at()
    }

    fn follow(&mut self, changed: bool, node: &dyn Fn(Raw) -> ClockReading) -> Vec<SystemClockEvent> {
        (**self).follow(changed, node)
    }
}

/// Everything that was read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// The host's oscillator, which all processes of one host share: two nodes' readings that carry it
    /// can be compared exactly.
    pub host: HostRaw,
    /// The node's own clocks. Its oscillator is computed from `host`, not read a second time.
    pub now: Now,
}

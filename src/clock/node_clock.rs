//! What a node needs of the machine's clocks.

use super::host;
use super::pair::ClockPair;
use super::published_time::PublishedTime;
use super::reading::{ClockSample, HostRaw};
use super::system::event::SystemClockEvent;
use meantime_core::reference::{NoReference, ReferenceReading};
use meantime_core::time::{Monotonic, Now, Raw, Span, Timestamp};

/// A node's two clocks, and the host's oscillator under them.
pub trait NodeClock {
    /// All of them, read together.
    fn read(&self) -> ClockSample;

    /// For how long the machine, and its oscillator, has been suspended since the last call; `None`: it has
    /// not, or that is unknown.
    fn take_suspension(&mut self) -> Option<Span> {
        None
    }

    /// Continues with the time of an earlier run: the node's oscillator shows `time` when the host's reads
    /// `host`, and runs on from there.
    fn resume(&mut self, host: HostRaw, time: Timestamp) -> Resumed;

    /// The two clocks that the core takes, read together.
    fn now(&self) -> Now {
        self.read().now
    }

    /// What the node's oscillator showed when the host's read `host`, a moment ago.
    fn raw_at(&self, host: HostRaw) -> Raw {
        let sample = self.read();
        sample.now.raw + host.since(sample.host)
    }

    /// The host's oscillator and the wall clock, by which the kernel records timestamps, read together.
    fn pair(&self) -> ClockPair {
        host::pair()
    }

    /// What the machine's reference shows.
    ///
    /// # Errors
    /// Why it has none, or was not asked to be one.
    fn reference(&self) -> Result<ReferenceReading, NoReference> {
        Err(NoReference::Unreadable)
    }

    /// As [`read`](NodeClock::read), together with the system's time if this clock steers that.
    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        (self.read(), None)
    }

    /// When [`follow`](NodeClock::follow) must be called next; `None`: never.
    fn follow_at(&self) -> Option<Monotonic> {
        None
    }

    /// The node's published time may be another function of its oscillator now: the next
    /// [`follow`](NodeClock::follow) is due sooner.
    fn published_time_changed(&mut self) {}

    /// Makes the system's time follow the node's published time, a function of its oscillator. Does nothing
    /// before it is due.
    fn follow(&mut self, published: &dyn Fn(Raw) -> PublishedTime) -> Vec<SystemClockEvent> {
        let _ = published;
        Vec::new()
    }
}

impl<C: NodeClock + ?Sized> NodeClock for Box<C> {
    fn read(&self) -> ClockSample {
        (**self).read()
    }

    fn take_suspension(&mut self) -> Option<Span> {
        (**self).take_suspension()
    }

    fn resume(&mut self, host: HostRaw, time: Timestamp) -> Resumed {
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

    fn reference(&self) -> Result<ReferenceReading, NoReference> {
        (**self).reference()
    }

    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        (**self).observe()
    }

    fn follow_at(&self) -> Option<Monotonic> {
        (**self).follow_at()
    }

    fn published_time_changed(&mut self) {
        (**self).published_time_changed();
    }

    fn follow(&mut self, published: &dyn Fn(Raw) -> PublishedTime) -> Vec<SystemClockEvent> {
        (**self).follow(published)
    }
}

/// Whether a clock continues with the time of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It does.
    Yes,
    /// It does not: the machine's own clock is steered, and has carried the time.
    No,
}

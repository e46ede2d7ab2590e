//! Readings of the machine's oscillator, and of a node's clocks over it.

use meantime_core::time::{Now, Span};

/// A reading of the host's oscillator, in nanoseconds since an arbitrary origin (usually the boot).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostRaw(i64);

impl HostRaw {
    /// The reading `ns`.
    pub const fn from_nanos(ns: i64) -> HostRaw {
        HostRaw(ns)
    }

    /// The reading in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this reading.
    pub fn since(self, earlier: HostRaw) -> Span {
        Span::from_nanos(self.0) - Span::from_nanos(earlier.0)
    }

    /// The reading so much later.
    pub fn after(self, span: Span) -> HostRaw {
        self.before(-span)
    }

    /// The reading so much earlier.
    pub(super) fn before(self, span: Span) -> HostRaw {
        HostRaw((Span::from_nanos(self.0) - span).as_nanos())
    }
}

/// The host's oscillator and a node's clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// The host's oscillator, which all processes of one host share: readings of two nodes that carry it
    /// can be compared exactly.
    pub host: HostRaw,
    /// The node's own clocks. Its oscillator is computed from `host`, not read a second time.
    pub now: Now,
}

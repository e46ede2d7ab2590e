//! The machine's clocks, as the operating system hands them out.
//!
//! The oscillator is `CLOCK_MONOTONIC_RAW`, which no time daemon steers. Where it does not exist,
//! `CLOCK_MONOTONIC` has to do: it is never stepped, but an NTP daemon may bend its rate.

use nix::time::{ClockId, clock_gettime};

use crate::time::{Monotonic, Span, Timestamp};

/// A reading of the host's own oscillator, in nanoseconds since an arbitrary origin (usually the boot).
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
}

/// The monotonic clock, for timers.
pub(super) fn monotonic() -> Monotonic {
    Monotonic::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// The oscillator.
pub(super) fn raw() -> HostRaw {
    HostRaw(nanos(OSCILLATOR))
}

/// The wall clock, which anybody may set at any time: good for a first idea only.
pub(super) fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::CLOCK_REALTIME))
}

/// The oscillator and the wall clock at the same moment: of some tries the one that took the least time, and the
/// middle of that.
pub(super) fn together() -> (HostRaw, Timestamp) {
    let tries = (0..TRIES).map(|_| {
        let before = raw();
        let wall = realtime();
        (raw().since(before), before, wall)
    });
    let (took, before, wall) = tries.min_by_key(|(took, ..)| *took).expect("there is at least one try");
    (HostRaw(before.0 + took.half().as_nanos()), wall)
}

/// How long the machine has been suspended since it started; zero where that cannot be known.
pub(super) fn suspended() -> Span {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return Span::from_nanos(nanos(ClockId::CLOCK_BOOTTIME) - monotonic().as_nanos());
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    Span::ZERO
}

/// An interrupt between the readings is rare; five times in a row hardly ever happens.
const TRIES: usize = 5;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
fn nanos(clock: ClockId) -> i64 {
    let read = clock_gettime(clock).expect("every system that this builds for has this clock");
    (Span::from_secs(read.tv_sec()) + Span::from_nanos(read.tv_nsec())).as_nanos()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const OSCILLATOR: ClockId = ClockId::CLOCK_MONOTONIC_RAW;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const OSCILLATOR: ClockId = ClockId::CLOCK_MONOTONIC;

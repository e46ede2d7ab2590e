//! The machine's clocks, as the operating system hands them out.
//!
//! The oscillator is `CLOCK_MONOTONIC_RAW`, which no time daemon steers. Where it does not exist,
//! `CLOCK_MONOTONIC` has to do: it is never stepped, but an NTP daemon may bend its rate.

use nix::time::{ClockId, clock_gettime};

use super::ClockPair;
use meantime_core::time::{Monotonic, Span, Timestamp};

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

    /// The reading so much earlier.
    pub(super) fn before(self, span: Span) -> HostRaw {
        HostRaw((Span::from_nanos(self.0) - span).as_nanos())
    }
}

/// The monotonic clock, for timers.
pub fn monotonic() -> Monotonic {
    Monotonic::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// The time since the boot, that of suspensions included; `None` where there is no such clock.
pub(super) fn boottime() -> Option<Span> {
    BOOTTIME.map(|clock| Span::from_nanos(nanos(clock)))
}

/// The oscillator.
pub(super) fn raw() -> HostRaw {
    HostRaw(nanos(OSCILLATOR))
}

/// The wall clock, which anybody may set at any time: good for a first idea only.
pub(super) fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::CLOCK_REALTIME))
}

/// The oscillator and the wall clock, read together: of some tries the one that took the least time, or the
/// first that took very little.
pub(super) fn pair() -> ClockPair {
    narrowest(PAIR_TRIES, attempt, |pair| pair.width)
}

fn narrowest<T>(tries: usize, attempt: impl Fn() -> T, width: impl Fn(&T) -> Span) -> T {
    let mut best = attempt();
    for _ in 1..tries {
        if width(&best) <= CLOSE {
            break;
        }
        let next = attempt();
        if width(&next) < width(&best) {
            best = next;
        }
    }
    best
}

/// The same as well as it goes, whatever it costs.
pub(super) fn together() -> ClockPair {
    let tries = (0..TRIES).map(|_| attempt());
    tries.min_by_key(|pair| pair.width).expect("there is at least one try")
}

fn attempt() -> ClockPair {
    let before = raw();
    let real = realtime();
    let width = raw().since(before);
    ClockPair { raw: before.before(-width.half()), real, width }
}

/// How long the machine has been suspended since it started; zero where that cannot be known.
pub fn suspended() -> Span {
    // Whoever is held up between the readings would take that for sleep.
    let attempt = || {
        let (before, boottime, after) = (monotonic(), boottime(), monotonic());
        let width = after - before;
        let awake = Span::from_nanos((before + width.half()).as_nanos());
        (width, boottime.map_or(Span::ZERO, |boottime| boottime - awake))
    };
    narrowest(TRIES, attempt, |(width, _)| *width).1
}

/// Two readings without a system call take less; half of this is far below what a network adds.
const CLOSE: Span = Span::from_nanos(200);

/// An interrupt between the readings is rare; twice in a row hardly ever happens.
const PAIR_TRIES: usize = 4;
const TRIES: usize = 5;

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
fn nanos(clock: ClockId) -> i64 {
    let read = clock_gettime(clock).expect("every system that this builds for has this clock");
    (Span::from_secs(read.tv_sec()) + Span::from_nanos(read.tv_nsec())).as_nanos()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const OSCILLATOR: ClockId = ClockId::CLOCK_MONOTONIC_RAW;
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOTTIME: Option<ClockId> = Some(ClockId::CLOCK_BOOTTIME);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOTTIME: Option<ClockId> = None;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const OSCILLATOR: ClockId = ClockId::CLOCK_MONOTONIC;

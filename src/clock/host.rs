//! Reads the machine's clocks from the operating system.
//!
//! The oscillator is `CLOCK_MONOTONIC_RAW`, which no time daemon steers. Where it does not exist,
//! `CLOCK_MONOTONIC` takes its place: it is never stepped, but an NTP daemon may change its rate.

use nix::time::{ClockId, clock_gettime};

use super::pair::ClockPair;
use super::reading::HostRaw;
use meantime_core::time::{Monotonic, Span, Timestamp};

/// The monotonic clock, for timers.
pub fn monotonic() -> Monotonic {
    Monotonic::from_nanos(nanos(ClockId::CLOCK_MONOTONIC))
}

/// The time since the boot, suspensions included; `None` where there is no such clock.
pub(super) fn boottime() -> Option<Span> {
    BOOTTIME.map(|clock| Span::from_nanos(nanos(clock)))
}

/// The oscillator.
pub(super) fn raw() -> HostRaw {
    HostRaw::from_nanos(nanos(OSCILLATOR))
}

/// The wall clock, which other programs may set at any time: a first estimate only.
pub(super) fn realtime() -> Timestamp {
    Timestamp::from_nanos(nanos(ClockId::CLOCK_REALTIME))
}

/// The oscillator and the wall clock, read together: of some attempts the one that took the least time, or
/// the first that took very little.
pub(super) fn pair() -> ClockPair {
    narrowest(MAX_PAIR_ATTEMPTS, attempt, |pair| pair.width)
}

fn narrowest<T>(attempts: usize, attempt: impl Fn() -> T, width: impl Fn(&T) -> Span) -> T {
    let mut best = attempt();
    for _ in 1..attempts {
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

/// The same as exactly as possible, at a higher cost.
pub(super) fn best_pair() -> ClockPair {
    let attempts = (0..ATTEMPTS).map(|_| attempt());
    attempts.min_by_key(|pair| pair.width).expect("there is at least one attempt")
}

fn attempt() -> ClockPair {
    let before = raw();
    let real = realtime();
    let width = raw().since(before);
    ClockPair { raw: before.before(-width.half()), real, width }
}

/// How long the machine has been suspended since it started; zero where that is unknown.
pub fn total_suspension() -> Span {
    // An interruption between the readings would look like a suspension, so the narrowest attempt counts.
    let attempt = || {
        let (before, boottime, after) = (monotonic(), boottime(), monotonic());
        let width = after - before;
        let awake = Span::from_nanos((before + width.half()).as_nanos());
        (width, boottime.map_or(Span::ZERO, |boottime| boottime - awake))
    };
    narrowest(ATTEMPTS, attempt, |(width, _)| *width).1
}

/// Two readings without a system call take less; half of this is far below what a network adds.
const CLOSE: Span = Span::from_nanos(200);

/// An interrupt between the readings is rare; twice in a row hardly ever happens.
const MAX_PAIR_ATTEMPTS: usize = 4;
const ATTEMPTS: usize = 5;

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

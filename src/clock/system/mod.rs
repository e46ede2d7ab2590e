//! The system's clock: `CLOCK_REALTIME`, made to follow the node's published time.
//!
//! The node's own clocks are those of the [`Overlay`]; what is steered is seen by nobody but the machine's
//! other programs. [`kernel`] is what can be set, [`steering`] what is set to what, [`lock`] keeps a second
//! one away. It needs `CAP_SYS_TIME` and nothing else.

pub mod kernel;
#[cfg(target_os = "linux")]
mod linux;
pub mod lock;
pub mod steering;

use std::io;
use std::time::Duration;

use self::kernel::{KernelAdjustment, KernelClock, KernelState, KernelStatus};
#[cfg(target_os = "linux")]
pub use self::linux::LinuxClock;
use self::lock::{ClockLock, LockError};
use self::steering::{Steering, SteeringConfig, SystemClockEvent, SystemClockReading};
use super::{ClockPair, ClockSample, HostRaw, NodeClock, Overlay, host};
use meantime_core::ClockReading;
use meantime_core::time::{Frequency, Monotonic, Raw, Span, Timestamp};

/// The overlay, and the system's clock following it.
#[derive(Debug)]
pub struct SystemClock<K: KernelClock> {
    overlay: Overlay,
    steering: Steering<K>,
    next: Monotonic,
    /// The least time between two settings.
    soonest: Monotonic,
    /// Held for as long as the clock is steered.
    _lock: Option<ClockLock>,
}

/// Why the system's clock is not steered.
#[derive(Debug, thiserror::Error)]
pub enum SystemClockError {
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `CAP_SYS_TIME` is missing.
    #[error(
        "the right to set this machine's clock is missing: run with CAP_SYS_TIME (as root, with AmbientCapabilities=\
         CAP_SYS_TIME, or after setcap cap_sys_time=ep), or without --clock system"
    )]
    Privilege,
    /// Somebody else steers it.
    #[error(
        "{0}: another program keeps this machine's clock; stop it (chronyd, ntpd, systemd-timesyncd), or use --force"
    )]
    Foreign(&'static str),
    /// The kernel has no such call, or refuses for another reason.
    #[error("this machine's clock cannot be set: {0}")]
    Kernel(#[from] io::Error),
}

#[cfg(target_os = "linux")]
impl SystemClock<LinuxClock> {
    /// Takes the lock, makes sure that the clock can be set and that nobody else does, which takes a second
    /// or two. Sets nothing yet.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    pub fn start(settings: SteeringConfig) -> Result<SystemClock<LinuxClock>, SystemClockError> {
        let lock = ClockLock::take(&lock::places())?;
        let mut kernel = LinuxClock;
        admit(&mut kernel, settings.force, lock.left_behind(), || std::thread::sleep(BETWEEN_LOOKS))?;
        Ok(SystemClock::with(kernel, settings, Some(lock)))
    }
}

impl<K: KernelClock> SystemClock<K> {
    fn with(kernel: K, settings: SteeringConfig, lock: Option<ClockLock>) -> SystemClock<K> {
        let overlay = Overlay::start(Span::ZERO, Frequency::ZERO);
        let now = overlay.read().now.mono;
        let steering = Steering::new(kernel, settings);
        SystemClock { overlay, steering, next: now, soonest: now, _lock: lock }
    }
}

impl<K: KernelClock> NodeClock for SystemClock<K> {
    fn read(&self) -> ClockSample {
        self.overlay.read()
    }

    fn slept(&mut self) -> Option<Span> {
        self.overlay.slept()
    }

    fn raw_at(&self, host: HostRaw) -> Raw {
        self.overlay.raw_at(host)
    }

    fn resume(&mut self, _: HostRaw, _: Timestamp) -> bool {
        false
    }

    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        let ClockPair { raw: host, real: system, .. } = host::together();
        (self.overlay.at(host), Some(system))
    }

    fn follow_at(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn follow(&mut self, changed: bool, node: &dyn Fn(Raw) -> ClockReading) -> Vec<SystemClockEvent> {
        let now = self.read().now.mono;
        if changed {
            self.next = self.next.min(now.max(self.soonest));
        }
        if now < self.next {
            return Vec::new();
        }
        (self.next, self.soonest) = (now + PERIOD, now + MIN);
        let ClockPair { raw: host, real: system, .. } = host::together();
        let seen =
            SystemClockReading { raw: self.overlay.at(host).now.raw, system, suspended: host::suspended() };
        self.steering.follow(seen, node)
    }
}

impl<K: KernelClock> Drop for SystemClock<K> {
    fn drop(&mut self) {
        self.steering.release();
    }
}

/// Finds out whether the clock can be set, by setting it to what it is, and whether somebody else sets it, by
/// looking several times. `left_behind`: the last one of ours died and could not say that the clock is
/// unsynchronized.
fn admit(
    kernel: &mut impl KernelClock,
    force: bool,
    left_behind: bool,
    wait: impl Fn(),
) -> Result<(), SystemClockError> {
    let mut before = kernel.state()?;
    let same = KernelAdjustment { frequency: Some(before.frequency), ..KernelAdjustment::default() };
    kernel.adjust(&same).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => SystemClockError::Privilege,
        _ => SystemClockError::Kernel(error),
    })?;
    if force {
        return Ok(());
    }
    for _ in 0..LOOKS {
        wait();
        let after = kernel.state()?;
        if let Some(sign) = foreign(&before, &after, left_behind) {
            return Err(SystemClockError::Foreign(sign));
        }
        before = after;
    }
    Ok(())
}

/// A sign that somebody else keeps the clock, from what the kernel says at two moments.
fn foreign(before: &KernelState, after: &KernelState, left_behind: bool) -> Option<&'static str> {
    if (before.frequency, before.tick) != (after.frequency, after.tick) {
        Some("its frequency changes")
    } else if before.offset != after.offset {
        Some("it is being slewed")
    } else if before.status != after.status || after.max_error < before.max_error {
        Some("its status is kept up to date")
    } else if after.status.has(KernelStatus::UNSYNCHRONIZED) {
        None
    } else if after.status.has(KernelStatus::LOOPS) {
        Some("the kernel steers it for a daemon")
    } else if after.max_error < RECENT && !left_behind {
        Some("it was called synchronized within the last half hour")
    } else {
        None
    }
}

/// The clock is set so often.
const PERIOD: Span = Span::from_secs(1);
/// A server tells of hundreds of things a second; none of them needs the system's clock at once.
const MIN: Span = Span::from_millis(100);
/// The kernel works in seconds: in a little more than one, whatever is going on shows. The looks are an odd
/// part of a second apart, so that nothing that comes back to the same in between can hide.
const LOOKS: u32 = 9;
const BETWEEN_LOOKS: Duration = Duration::from_millis(137);
/// The kernel adds 500 µs a second to the error, and daemons poll up to every 2048 s.
const RECENT: Span = Span::from_millis(1_024);

#[cfg(test)]
mod tests {
    use super::kernel::ScaledPpm;
    use super::*;

    const FREE: KernelState = KernelState {
        frequency: ScaledPpm::from_scaled(0),
        tick: KernelState::NOMINAL_TICK,
        status: KernelStatus::UNSYNCHRONIZED,
        offset: 0,
        max_error: Span::from_secs(16),
    };

    /// A kernel as it was when it was looked at, first and later.
    struct Recorded {
        first: std::cell::Cell<Option<KernelState>>,
        later: KernelState,
        privileged: bool,
        set: Vec<KernelAdjustment>,
    }

    impl Recorded {
        fn new(first: KernelState, later: KernelState) -> Recorded {
            Recorded { first: Some(first).into(), later, privileged: true, set: Vec::new() }
        }
    }

    impl KernelClock for Recorded {
        fn state(&self) -> io::Result<KernelState> {
            Ok(self.first.take().unwrap_or(self.later))
        }

        fn adjust(&mut self, wanted: &KernelAdjustment) -> io::Result<()> {
            self.set.push(*wanted);
            if self.privileged { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::EPERM)) }
        }

        fn quiet(&mut self) -> io::Result<()> {
            panic!("nothing is to be set yet");
        }
    }

    fn refusal(first: KernelState, later: KernelState) -> Option<String> {
        admit(&mut Recorded::new(first, later), false, false, || ()).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_taken_and_left_as_it_is() {
        let foreign_rate = KernelState { frequency: ScaledPpm::from_scaled(-77), ..FREE };
        let mut kernel = Recorded::new(foreign_rate, foreign_rate);
        assert!(admit(&mut kernel, false, false, || ()).is_ok());
        let same =
            KernelAdjustment { frequency: Some(ScaledPpm::from_scaled(-77)), ..KernelAdjustment::default() };
        assert_eq!(kernel.set, [same]);
    }

    #[test]
    fn without_the_privilege_it_is_said_which_one_is_missing() {
        let mut kernel = Recorded { privileged: false, ..Recorded::new(FREE, FREE) };
        let refusal = admit(&mut kernel, true, false, || ()).unwrap_err().to_string();
        assert!(refusal.contains("CAP_SYS_TIME") && !refusal.contains('\n'), "{refusal}");
    }

    #[test]
    fn every_kind_of_daemon_is_noticed() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::from_millis(30), ..FREE };
        let pll =
            KernelState { status: KernelStatus::from_bits(0x2001), max_error: Span::from_secs(8), ..FREE };
        for (first, later, sign) in [
            (FREE, KernelState { frequency: ScaledPpm::from_scaled(1), ..FREE }, "frequency"),
            (FREE, KernelState { tick: 10_001, ..FREE }, "frequency"),
            (KernelState { offset: 500, ..FREE }, KernelState { offset: 400, ..FREE }, "slewed"),
            (FREE, kept, "kept up to date"),
            (kept, KernelState { max_error: Span::from_millis(1), ..kept }, "kept up to date"),
            (kept, kept, "half hour"),
            (pll, pll, "the kernel steers it"),
        ] {
            let said = refusal(first, later).unwrap_or_else(|| panic!("{later:?} after {first:?} is taken"));
            assert!(said.contains(sign) && said.contains("--force"), "{said}");
        }
    }

    #[test]
    fn the_clock_is_set_once_a_second_and_sooner_if_something_has_happened() {
        let kernel = Recorded::new(FREE, FREE);
        let settings = SteeringConfig { step_threshold: Span::from_millis(128), force: false };
        let mut clock = SystemClock::with(kernel, settings, None);
        let ignorant = |raw: Raw| ClockReading {
            time: Timestamp::from_nanos(raw.as_nanos()),
            state: meantime_core::wire::ClientState::Unsynchronized,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
            frequency_error: None,
        };
        let (first, before) = (clock.follow_at().unwrap(), clock.now().mono);
        assert!(first <= before);
        assert!(clock.follow(false, &ignorant).is_empty());
        let second = clock.follow_at().unwrap();
        assert!(second - before >= PERIOD);
        clock.follow(false, &ignorant);
        assert_eq!(clock.follow_at(), Some(second));
        clock.follow(true, &ignorant);
        let sooner = clock.follow_at().unwrap();
        assert!(sooner < second && sooner - before >= MIN);
        assert!(clock.observe().1.is_some());
    }

    #[test]
    fn force_takes_any_clock() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::ZERO, ..FREE };
        let unwatched = || panic!("there is nothing to watch");
        assert!(admit(&mut Recorded::new(kept, kept), true, false, unwatched).is_ok());
    }

    #[test]
    fn what_our_own_predecessor_left_behind_is_no_daemon() {
        let kept = KernelState { status: KernelStatus::default(), max_error: Span::from_millis(30), ..FREE };
        let later = KernelState { max_error: Span::from_millis(31), ..kept };
        assert!(admit(&mut Recorded::new(kept, later), false, true, || ()).is_ok());
        assert!(admit(&mut Recorded::new(later, kept), false, true, || ()).is_err(), "but this one lives");
    }

    #[test]
    fn a_daemon_that_stopped_long_ago_is_in_nobodys_way() {
        let old = KernelState { status: KernelStatus::default(), max_error: Span::from_secs(3), ..FREE };
        assert_eq!(refusal(old, old), None);
    }
}

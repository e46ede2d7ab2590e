//! When the system's clock is steered: once a second, and soon after each change of the published time.

use super::config::SteeringConfig;
use super::event::SystemClockEvent;
use super::kernel::KernelClock;
#[cfg(target_os = "linux")]
use super::linux::LinuxClock;
#[cfg(target_os = "linux")]
use super::lock::places;
use super::lock::{ClockLock, Predecessor};
use super::steering::{Steering, SystemClockReading};
#[cfg(target_os = "linux")]
use super::takeover::{SystemClockError, take_over};
use crate::clock::host;
use crate::clock::node_clock::{NodeClock, Resumed};
use crate::clock::overlay::Overlay;
use crate::clock::pair::ClockPair;
use crate::clock::published_time::PublishedTime;
use crate::clock::reading::{ClockSample, HostRaw};
use meantime_core::time::{Frequency, Monotonic, Raw, Span, Timestamp};

/// An overlay, and the system's clock, which follows it.
#[derive(Debug)]
pub struct SystemClock<K: KernelClock> {
    overlay: Overlay,
    steering: Steering<K>,
    /// When it is adjusted next.
    next: Monotonic,
    /// When that may be at the earliest.
    earliest: Monotonic,
    /// Whether the published time may have become another function of the oscillator.
    changed: bool,
    /// Held while the clock is steered.
    _lock: Option<ClockLock>,
}

#[cfg(target_os = "linux")]
impl SystemClock<LinuxClock> {
    /// Takes the lock, and checks that the clock can be set and that no other program sets it, which takes a
    /// second or two. Sets nothing yet.
    ///
    /// # Errors
    /// When the clock cannot be steered.
    pub fn start(config: SteeringConfig) -> Result<SystemClock<LinuxClock>, SystemClockError> {
        let lock = ClockLock::take(&places())?;
        let mut kernel = LinuxClock;
        take_over(&mut kernel, config.on_conflict, lock.predecessor(), std::thread::sleep)?;
        Ok(SystemClock::with(kernel, config, Some(lock)))
    }
}

impl<K: KernelClock> SystemClock<K> {
    fn with(kernel: K, config: SteeringConfig, lock: Option<ClockLock>) -> SystemClock<K> {
        let overlay = Overlay::start(Span::ZERO, Frequency::ZERO);
        let now = overlay.read().now.mono;
        let predecessor = lock.as_ref().map_or(Predecessor::NoneOrEnded, ClockLock::predecessor);
        let steering = Steering::new(kernel, config, predecessor);
        SystemClock { overlay, steering, next: now, earliest: now, changed: false, _lock: lock }
    }
}

impl<K: KernelClock> NodeClock for SystemClock<K> {
    fn read(&self) -> ClockSample {
        self.overlay.read()
    }

    fn take_suspension(&mut self) -> Option<Span> {
        self.overlay.take_suspension()
    }

    fn raw_at(&self, host: HostRaw) -> Raw {
        self.overlay.raw_at(host)
    }

    fn resume(&mut self, _: HostRaw, _: Timestamp) -> Resumed {
        Resumed::No
    }

    fn observe(&self) -> (ClockSample, Option<Timestamp>) {
        let ClockPair { raw: host, real: system, .. } = host::best_pair();
        (self.overlay.at(host), Some(system))
    }

    fn follow_at(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn published_time_changed(&mut self) {
        self.changed = true;
    }

    fn follow(&mut self, published: &dyn Fn(Raw) -> PublishedTime) -> Vec<SystemClockEvent> {
        let now = self.read().now.mono;
        if std::mem::take(&mut self.changed) {
            self.next = self.next.min(now.max(self.earliest));
        }
        if now < self.next {
            return Vec::new();
        }
        (self.next, self.earliest) = (now + PERIOD, now + MIN_PERIOD);
        let ClockPair { raw: host, real: system, .. } = host::best_pair();
        let reading = SystemClockReading {
            raw: self.overlay.at(host).now.raw,
            system,
            suspended: host::total_suspension(),
        };
        self.steering.follow(reading, published)
    }
}

impl<K: KernelClock> Drop for SystemClock<K> {
    fn drop(&mut self) {
        self.steering.release();
    }
}

/// From one adjustment to the next.
const PERIOD: Span = Span::from_secs(1);
/// A server's clock may change hundreds of times a second; the system's need not follow each change at once.
const MIN_PERIOD: Span = Span::from_millis(100);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::clock::system::config::OnConflict;
    use crate::clock::system::kernel::{KernelAdjustment, KernelState};

    /// A kernel that must not be called.
    struct Untouched;

    impl KernelClock for Untouched {
        fn state(&self) -> io::Result<KernelState> {
            panic!("nothing is to be set yet");
        }

        fn adjust(&mut self, _: &KernelAdjustment) -> io::Result<()> {
            panic!("nothing is to be set yet");
        }

        fn quiet(&mut self) -> io::Result<()> {
            panic!("nothing is to be set yet");
        }
    }

    #[test]
    fn the_clock_is_adjusted_once_a_second_and_sooner_after_a_change() {
        let config = SteeringConfig {
            step_threshold: Span::from_millis(128),
            max_slew: Frequency::from_ppm(500.0),
            on_conflict: OnConflict::GiveWay,
        };
        let mut clock = SystemClock::with(Untouched, config, None);
        let no_cluster_time = |raw: Raw| PublishedTime {
            time: Timestamp::from_nanos(raw.as_nanos()),
            is_cluster_time: false,
            error: None,
            bound: None,
            frequency: Frequency::ZERO,
        };
        let (first, before) = (clock.follow_at().unwrap(), clock.now().mono);
        assert!(first <= before);
        assert!(clock.follow(&no_cluster_time).is_empty());
        let second = clock.follow_at().unwrap();
        assert!(second - before >= PERIOD);
        clock.follow(&no_cluster_time);
        assert_eq!(clock.follow_at(), Some(second));
        clock.published_time_changed();
        clock.follow(&no_cluster_time);
        let sooner = clock.follow_at().unwrap();
        assert!(sooner < second && sooner - before >= MIN_PERIOD);
        assert!(clock.observe().1.is_some());
    }
}

//! The overlay: a node's clocks over the machine's, without setting anything.

use super::host;
use super::node_clock::{NodeClock, Resumed};
use super::oscillator::NodeOscillator;
use super::pair::ClockPair;
use super::reading::{ClockSample, HostRaw};
use super::reference::SystemReference;
use super::suspension::SuspensionDetector;
use meantime_core::reference::{NoReference, ReferenceReading};
use meantime_core::time::{Frequency, Now, Raw, Span, Timestamp};

/// The machine's clocks, read only; the oscillator possibly with a simulated error.
#[derive(Clone, Copy, Debug)]
pub struct Overlay {
    oscillator: NodeOscillator,
    suspension: SuspensionDetector,
    reference: Option<SystemReference>,
}

impl Overlay {
    /// An overlay that starts at the machine's own time, with a simulated `offset` and `drift`.
    pub fn start(offset: Span, drift: Frequency) -> Overlay {
        let ClockPair { raw, real, .. } = host::pair();
        let oscillator = NodeOscillator::machine(raw, real).simulated(offset, drift);
        let mut overlay = Overlay { oscillator, suspension: SuspensionDetector::default(), reference: None };
        // Suspensions count from here on.
        overlay.take_suspension();
        overlay
    }

    /// The same; the machine's own time is a reference that can be read.
    #[must_use]
    pub fn with_reference(self, reference: Option<SystemReference>) -> Overlay {
        Overlay { reference, ..self }
    }

    /// What the clocks show now, when the host's oscillator reads `host`.
    pub(super) fn at(&self, host: HostRaw) -> ClockSample {
        ClockSample { host, now: Now { mono: host::monotonic(), raw: self.oscillator.at(host) } }
    }
}

impl NodeClock for Overlay {
    fn read(&self) -> ClockSample {
        // The oscillator last: whatever gets this time happens after the call.
        let mono = host::monotonic();
        let host = host::raw();
        ClockSample { host, now: Now { mono, raw: self.oscillator.at(host) } }
    }

    fn take_suspension(&mut self) -> Option<Span> {
        let before = host::monotonic();
        let boottime = host::boottime()?;
        self.suspension.check(before, boottime, host::monotonic())
    }

    fn resume(&mut self, host: HostRaw, time: Timestamp) -> Resumed {
        self.oscillator = self.oscillator.restarted(host, time);
        Resumed::Yes
    }

    fn raw_at(&self, host: HostRaw) -> Raw {
        self.oscillator.at(host)
    }

    fn reference(&self) -> Result<ReferenceReading, NoReference> {
        let reference = self.reference.as_ref().ok_or(NoReference::Unreadable)?;
        let pair = host::best_pair();
        let max_error = reference.max_error(&pair)?;
        let at = self.oscillator.at(pair.raw);
        let phase = Span::from_nanos(pair.real.as_nanos()) - Span::from_nanos(at.as_nanos());
        Ok(ReferenceReading { at, phase, max_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_of_a_node_move_forward() {
        let clock = Overlay::start(Span::ZERO, Frequency::ZERO);
        let (one, two) = (clock.read(), clock.read());
        assert!(one.host <= two.host && one.now.mono <= two.now.mono && one.now.raw <= two.now.raw);
    }

    #[test]
    fn a_machine_that_runs_this_is_not_suspended() {
        let mut clock = Overlay::start(Span::ZERO, Frequency::ZERO);
        assert!((0..1_000).all(|_| clock.take_suspension().is_none()));
    }

    #[test]
    fn the_nodes_oscillator_and_the_hosts_are_read_together() {
        let clock = Overlay::start(Span::from_secs(7), Frequency::ZERO);
        let (one, two) = (clock.read(), clock.read());
        assert_eq!(two.now.raw - one.now.raw, two.host.since(one.host));
    }

    #[test]
    fn a_simulated_start_is_ahead_of_the_machines_clock_by_the_offset() {
        let machine = host::pair().real;
        let ahead =
            Overlay::start(Span::from_secs(3_600), Frequency::ZERO).now().raw.as_nanos() - machine.as_nanos();
        let ahead = Span::from_nanos(ahead) - Span::from_secs(3_600);
        assert!(ahead.abs() < Span::from_secs(5), "off by {ahead}");
    }

    #[test]
    fn a_simulated_drift_applies_to_timestamps_as_to_readings() {
        let clock = Overlay::start(Span::from_secs(7), Frequency::from_ppm(400.0));
        let sample = clock.read();
        assert_eq!(clock.raw_at(sample.host), sample.now.raw);
        let later = HostRaw::from_nanos(sample.host.as_nanos() + 1_000_000_000);
        assert_eq!((clock.raw_at(later) - sample.now.raw).as_nanos(), 1_000_400_000);
    }

    #[test]
    fn a_clock_that_resumes_shows_the_given_time_and_keeps_its_drift() {
        let mut clock = Overlay::start(Span::ZERO, Frequency::from_ppm(400.0));
        let then = HostRaw::from_nanos(clock.read().host.as_nanos() - 1_000_000_000);
        assert_eq!(clock.resume(then, Timestamp::from_nanos(5)), Resumed::Yes);
        assert_eq!(clock.raw_at(then).as_nanos(), 5);
        let later = HostRaw::from_nanos(then.as_nanos() + 1_000_000_000);
        assert_eq!(clock.raw_at(later).as_nanos(), 5 + 1_000_400_000);
        assert!(clock.read().now.raw > clock.raw_at(later));
    }

    #[test]
    fn both_clocks_of_a_pair_are_read_together() {
        let (one, two) = (host::pair(), host::pair());
        let between = two.raw.since(one.raw);
        let apart = (two.real - one.real) - between;
        // A time daemon may steer the wall clock meanwhile, by 500 ppm at most.
        let limit = one.width + two.width + Span::from_micros(1) + between.over(2_000);
        assert!(apart.abs() <= limit, "{one:?} {two:?}");
    }
}

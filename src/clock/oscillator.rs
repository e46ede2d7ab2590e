//! A node's oscillator as arithmetic over the host's.
//!
//! It is anchored once: at host reading h₀ it shows r₀, the wall clock at that time (plus a simulated
//! offset). From there it runs like the host's oscillator, apart from a simulated drift d:
//!
//! ```text
//! r(h) = r₀ + (h − h₀) + d·(h − h₀)
//! ```
//!
//! The elapsed time is carried as an integer and only the drift's part as a float. At 500 ppm that part
//! is 2⁻¹¹ of the elapsed time, so its 53 bits are finer than a nanosecond for centuries, which
//! `(h − h₀)(1 + d)` in floating point would be for a hundred days only.

use super::reading::HostRaw;
use meantime_core::time::{Frequency, Raw, Span, Timestamp};

/// An oscillator that is never stepped or steered; real, or simulated on top of the real one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeOscillator {
    anchor: HostRaw,
    start: Raw,
    drift: Frequency,
}

impl NodeOscillator {
    /// The machine's own oscillator, which shows `time` when the host's reads `anchor`.
    pub fn machine(anchor: HostRaw, time: Timestamp) -> NodeOscillator {
        NodeOscillator { anchor, start: Raw::from_nanos(time.as_nanos()), drift: Frequency::ZERO }
    }

    /// The same with a simulated error: `offset` ahead from the start, and fast by `drift`.
    pub fn simulated(self, offset: Span, drift: Frequency) -> NodeOscillator {
        NodeOscillator { start: self.start + offset, drift: self.drift + drift, ..self }
    }

    /// The same, but it shows `time` when the host's reads `host`.
    pub fn restarted(self, host: HostRaw, time: Timestamp) -> NodeOscillator {
        NodeOscillator { drift: self.drift, ..NodeOscillator::machine(host, time) }
    }

    /// What it shows when the host's oscillator reads `host`.
    pub fn at(&self, host: HostRaw) -> Raw {
        let elapsed = host.since(self.anchor);
        self.start + elapsed + self.drift.over(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Span = Span::from_secs(365 * 86_400);

    fn machine() -> NodeOscillator {
        NodeOscillator::machine(HostRaw::from_nanos(1_000), Timestamp::from_nanos(1_755_793_812_000_000_000))
    }

    fn host(elapsed: Span) -> HostRaw {
        HostRaw::from_nanos(1_000 + elapsed.as_nanos())
    }

    #[test]
    fn the_machines_oscillator_starts_at_the_given_time_and_runs_like_the_hosts() {
        assert_eq!(machine().at(host(Span::ZERO)).as_nanos(), 1_755_793_812_000_000_000);
        assert_eq!(machine().at(host(YEAR)) - machine().at(host(Span::ZERO)), YEAR);
    }

    #[test]
    fn a_simulated_offset_is_there_at_once_and_a_drift_accumulates() {
        let bad = machine().simulated(Span::from_secs(-3), Frequency::from_ppm(50.0));
        let error = |elapsed| bad.at(host(elapsed)) - machine().at(host(elapsed));
        assert_eq!(error(Span::ZERO), Span::from_secs(-3));
        assert_eq!(error(Span::from_secs(10)), Span::from_secs(-3) + Span::from_micros(500));
    }

    #[test]
    fn after_ten_years_of_drift_every_nanosecond_still_counts() {
        let bad = machine().simulated(Span::ZERO, Frequency::from_ppm(499.0));
        let later = host(YEAR.times(10));
        let steps: Vec<i64> = (0..1_000)
            .map(|ns| bad.at(HostRaw::from_nanos(later.as_nanos() + ns)) - bad.at(later))
            .map(Span::as_nanos)
            .collect();
        for (ns, step) in steps.iter().enumerate() {
            assert!(
                (step - ns as i64).abs() <= 1,
                "{ns} ns of the host's are {step} ns of the simulated one's"
            );
        }
    }

    #[test]
    fn it_never_runs_backwards() {
        let slow = machine().simulated(Span::ZERO, Frequency::from_ppm(-500.0));
        let readings = (0..10_000).map(|ns| slow.at(host(YEAR + Span::from_nanos(ns)))).collect::<Vec<_>>();
        assert!(readings.is_sorted());
    }
}

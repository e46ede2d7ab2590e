//! Relays: a server whose time is given from outside, and how its clients get that time.
//!
//! A relay is a client of one server and a server for other clients. The time that it follows is an
//! estimate, which each correction from above changes a little. Were its clients measured by that time, their
//! filters would see each change as noise, and as a bad oscillator. So a relay measures by a *scale* of its
//! own: its free-running oscillator, at a rate that it changes slowly and announces by the rate command. All
//! timestamps and corrections are of that scale. What the clients add, it tells them, as a line:
//!
//! ```text
//! base(c) = c + difference + rate · (c − at)              c: time of the scale
//! ```
//!
//! A newer line replaces the older. Clients so move the whole past together: no observation becomes wrong
//! when the relay's estimate changes.
//!
//! Let the relay prove that its estimate is within B of the base time when its scale shows `at`. From then on
//! its proof grows by ρ + s·(T + t) per second ([`bound`](crate::estimation::bound)); `growth` is that at
//! `at`, and `acceleration` is s:
//!
//! ```text
//! B(c) = B + growth · Δ + acceleration · Δ²/2             Δ = c − at
//! ```
//!
//! A client that is within b of the scale by its own proof is within b·(1 + |rate|) + B(c) of the base time.
//! Estimated errors are independent, and add in squares.

use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment, RelayedTime};

/// A cluster's time as a node of another level knows it: a line over the machine's oscillator, and how good
/// it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExternalTime {
    /// The cluster.
    pub cluster: ClusterId,
    /// The state of the clock that follows it: synchronized, or in holdover.
    pub state: ClientState,
    /// The moment, by the machine's oscillator, to which all other fields belong.
    pub at: Raw,
    /// Base time minus the oscillator's reading, as it is estimated; no slew is part of it.
    pub phase: Span,
    /// The rate of base time over the oscillator's, minus one.
    pub frequency: Frequency,
    /// The maximum error of the phase; `None`: unknown.
    pub bound: Option<Span>,
    /// After this moment it is unknown, since a manual time adjustment may have begun; `None`: there is none.
    pub bound_until: Option<Raw>,
    /// How fast the bound grows.
    pub growth: Frequency,
    /// How much faster it grows after each second.
    pub acceleration: Frequency,
    /// One standard deviation of the phase's error.
    pub error: Span,
    /// One standard deviation of the frequency's error.
    pub frequency_error: Frequency,
    /// What the clock that the machine shows still has to be slewed to get there.
    pub residue: Span,
    /// The manual time adjustment of the cluster.
    pub manual_adjustment: ManualAdjustment,
}

impl ExternalTime {
    /// Base time minus the oscillator, which reads `raw`.
    pub(crate) fn phase_at(&self, raw: Raw) -> Span {
        self.phase + self.frequency.over(raw - self.at)
    }

    /// The maximum error of that; `None`: unknown.
    pub(crate) fn bound_at(&self, raw: Raw) -> Option<Span> {
        let bound = self.bound.filter(|_| self.bound_until.is_none_or(|until| raw <= until));
        Some(grown(bound?, self.growth, self.acceleration, raw - self.at))
    }

    /// How fast the maximum error grows then.
    pub(crate) fn growth_at(&self, raw: Raw) -> Frequency {
        accelerated(self.growth, self.acceleration, raw - self.at)
    }

    /// One standard deviation of the phase's error.
    pub(crate) fn error_at(&self, raw: Raw) -> Span {
        aged(self.error, self.frequency_error, raw - self.at)
    }
}

impl RelayedTime {
    /// The scale shows base time itself: that of a server which is no relay.
    pub const NONE: RelayedTime = RelayedTime {
        cluster: ClusterId(0),
        at: Timestamp::from_nanos(0),
        difference: Span::ZERO,
        rate: Frequency::ZERO,
        bound: Some(Span::ZERO),
        growth: Frequency::ZERO,
        acceleration: Frequency::ZERO,
        error: Some(Span::ZERO),
        frequency_error: Frequency::ZERO,
    };

    /// Base time minus the scale, when that shows `scale`.
    pub fn difference_at(&self, scale: Timestamp) -> Span {
        match self.is_none() {
            true => Span::ZERO,
            false => self.difference + self.rate.over(scale - self.at),
        }
    }

    /// The base time when the scale shows `scale`.
    pub fn base_of(&self, scale: Timestamp) -> Timestamp {
        scale + self.difference_at(scale)
    }

    /// What the scale shows at this base time.
    pub fn scale_of(&self, base: Timestamp) -> Timestamp {
        let since = base - self.difference - self.at;
        match self.is_none() {
            true => base,
            false => self.at + since - self.rate.over(since).scaled(1.0 / (1.0 + self.rate.ratio())),
        }
    }

    /// The maximum error of the difference when the scale shows `scale`; `None`: unknown.
    pub fn bound_at(&self, scale: Timestamp) -> Option<Span> {
        match self.is_none() {
            true => Some(Span::ZERO),
            false => Some(grown(self.bound?, self.growth, self.acceleration, scale - self.at)),
        }
    }

    /// The distance from base time that a clock may have that is within `bound` of the scale; `None`:
    /// unknown.
    pub fn reach(&self, scale: Timestamp, bound: Span) -> Option<Span> {
        Some(bound + self.rate.over(bound).abs() + self.bound_at(scale)?)
    }

    /// One standard deviation of the difference's error; `None`: unknown.
    pub fn error_at(&self, scale: Timestamp) -> Option<Span> {
        match self.is_none() {
            true => Some(Span::ZERO),
            false => Some(aged(self.error?, self.frequency_error, scale - self.at)),
        }
    }

    /// How fast the bound grows when the scale shows `scale`.
    pub fn growth_at(&self, scale: Timestamp) -> Frequency {
        match self.is_none() {
            true => Frequency::ZERO,
            false => accelerated(self.growth, self.acceleration, scale - self.at),
        }
    }

    /// Whether the scale shows base time itself.
    pub fn is_none(&self) -> bool {
        *self == RelayedTime::NONE
    }
}

/// A bound some time later; for an earlier moment it is as wide.
fn grown(bound: Span, growth: Frequency, acceleration: Frequency, later: Span) -> Span {
    let s = later.abs().as_secs_f64();
    let by = growth.ratio() * s + acceleration.ratio() * s * s / 2.0;
    bound + Span::from_nanos((by * 1e9).ceil() as i64) + ROUNDING
}

/// How fast a bound grows some time later; at an earlier moment it is as fast.
fn accelerated(growth: Frequency, acceleration: Frequency, later: Span) -> Frequency {
    let s = later.max(Span::ZERO).as_secs_f64();
    Frequency::from_ratio(growth.ratio() + acceleration.ratio() * s)
}

/// An error some time later, in squares.
fn aged(error: Span, frequency_error: Frequency, later: Span) -> Span {
    Span::from_secs_f64(error.as_secs_f64().hypot(frequency_error.over(later).as_secs_f64()))
}

/// The phase and its difference are rounded to nanoseconds, and a rate to parts per trillion.
const ROUNDING: Span = Span::from_nanos(2);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    fn line(difference_ns: i64, ppm: f64) -> RelayedTime {
        RelayedTime {
            cluster: ClusterId(7),
            at: AT,
            difference: Span::from_nanos(difference_ns),
            rate: Frequency::from_ppm(ppm),
            bound: Some(Span::from_micros(50)),
            growth: Frequency::from_ppm(1.0),
            acceleration: Frequency::from_ppm(0.001),
            error: Some(Span::from_micros(3)),
            frequency_error: Frequency::from_ppm(0.004),
        }
    }

    #[test]
    fn a_server_that_is_no_relay_shows_base_time_exactly() {
        let none = RelayedTime::NONE;
        assert_eq!((none.base_of(AT), none.scale_of(AT)), (AT, AT));
        assert_eq!(none.reach(AT, Span::from_nanos(7)), Some(Span::from_nanos(7)));
        assert_eq!(none.error_at(AT), Some(Span::ZERO));
    }

    #[test]
    fn a_bound_grows_with_the_relays_and_errors_add_in_squares() {
        let relayed = line(0, 0.0);
        let later = AT + Span::from_secs(1_000);
        // A ppm for 1,000 s, and a ppb/s of steering.
        let expected = Span::from_micros(50 + 1_000 + 500);
        let bound = relayed.bound_at(later).unwrap();
        assert!((bound - expected).abs() <= Span::from_nanos(3), "{bound}");
        assert_eq!(relayed.reach(later, Span::from_micros(9)), Some(bound + Span::from_micros(9)));
        assert_eq!(relayed.error_at(later), Some(Span::from_micros(5)));
        assert_eq!(relayed.growth_at(later).ppm().round(), 2.0);
    }

    #[test]
    fn what_a_relay_does_not_know_its_clients_do_not_know() {
        let unknown = RelayedTime { bound: None, error: None, ..line(0, 0.0) };
        assert_eq!((unknown.reach(AT, Span::ZERO), unknown.error_at(AT)), (None, None));
    }

    proptest! {
        #[test]
        fn base_time_and_scale_are_inverse(
            difference in -1_000_000_000_000i64..1_000_000_000_000,
            ppm in -500.0..500.0f64,
            later in -1_000_000_000_000i64..1_000_000_000_000,
        ) {
            let (relayed, scale) = (line(difference, ppm), AT + Span::from_nanos(later));
            let back = relayed.scale_of(relayed.base_of(scale));
            prop_assert!((back - scale).abs() <= Span::from_nanos(1), "{}", back - scale);
        }

        #[test]
        fn no_line_overflows(at: i64, difference: i64, rate: i32, scale: i64) {
            let relayed = RelayedTime {
                at: Timestamp::from_nanos(at),
                difference: Span::from_nanos(difference),
                rate: Frequency::from_ppt(rate),
                ..line(0, 0.0)
            };
            let scale = Timestamp::from_nanos(scale);
            let _ = (relayed.base_of(scale), relayed.scale_of(scale), relayed.reach(scale, Span::MAX));
        }
    }
}

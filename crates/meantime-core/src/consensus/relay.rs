//! The timekeeper of a relay: its time is given from outside, and no vote moves it.
//!
//! The server's timescale is then the *scale* of [`relayed_time`](crate::relayed_time): it was set to the
//! given time once, and follows it by its rate alone, which is announced like that of every cluster. It is
//! wanted to be near the given time only so that a client that does not know RelayedTime is not far off, so
//! its rate changes slowly:
//!
//! ```text
//! wanted = f + v(d),      change = (wanted − f_s) · T/τ, ± s·T          d: given time − scale
//! ```
//!
//! with f and f_s the frequencies of both over the oscillator, and v(d) the [law](super::leading_law) by
//! which a cluster is led to UTC. Until the wanted rate has been near for a minute, the relay's own frequency
//! is still being learned, and the scale may follow fast.

use super::leading_law::LeadingPace;
use super::reading::Recipients;
use super::relay_state::GivenTime;
use super::timekeeper::{Phase, Timekeeper};
use crate::event::Adjustment;
use crate::relayed_time::ExternalTime;
use crate::time::{Frequency, Raw, Span};
use crate::wire::{ManualAdjustment, RelayedTime};

impl Timekeeper {
    /// Whether the server is a relay.
    pub fn is_relay(&self) -> bool {
        self.config.relay
    }

    /// Whether the time is given from outside: to a relay, or to a standby server.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// The time that is given now; `None`: none is.
    pub(super) fn given_time(&self) -> Option<ExternalTime> {
        self.given.as_ref()?.given
    }

    /// What the server's clients add to its scale.
    pub fn relayed(&self) -> &RelayedTime {
        &self.relayed
    }

    /// The time is this one now; `None`: it is not known any more. Returns whether the server's clock has
    /// cluster time from now on, which it had not before.
    pub fn set_external_time(&mut self, raw: Raw, time: Option<ExternalTime>) -> bool {
        let Some(given) = &mut self.given else { return false };
        given.given = time;
        let Some(time) = time else {
            (self.phase, self.recipients) = (Phase::Listening(0), Recipients::None);
            return false;
        };
        let begins = self.phase != Phase::Steady;
        if !self.is_relay() {
            self.track(raw, &time);
            return begins;
        }
        if self.relayed.is_none() {
            self.timescale.set(raw, time.phase_at(raw), time.frequency, Adjustment::Step);
        }
        if self.cluster != time.cluster {
            (self.cluster, self.manual_adjustment) = (time.cluster, ManualAdjustment::NONE);
        }
        self.follow_manual_adjustment(&time.manual_adjustment);
        self.compare_with_given(raw);
        if begins {
            self.become_steady();
        }
        begins
    }

    /// The machine has slept. The scale is another one from now on, without a line; it shows what base time
    /// is as far as the machine knows.
    pub(super) fn abandon_scale(&mut self, raw: Raw) {
        if let Some(given) = &mut self.given {
            *given = GivenTime::default();
            let phase =
                self.timescale.phase_at(raw) + self.relayed.difference_at(self.timescale.estimate(raw));
            self.timescale.set(raw, phase, self.timescale.frequency(), Adjustment::Step);
            self.relayed = RelayedTime::NONE;
        }
    }

    /// The server counts manual time adjustments by itself: the server above may have been replaced by one
    /// that counts them differently. If that has none, and so overrules what was announced, the clients are
    /// told one that adds nothing. It keeps its start, since clients refuse one of 1970.
    fn follow_manual_adjustment(&mut self, given: &ManualAdjustment) {
        let known = ManualAdjustment { cluster: self.cluster, ..self.manual_adjustment };
        let given = match given.number {
            0 => ManualAdjustment { before: Span::ZERO, amount: Span::ZERO, ..known },
            _ => ManualAdjustment { cluster: self.cluster, ..*given },
        };
        if !given.has_same_effect_as(&known) {
            let number = self.manual_adjustment.number.checked_add(1).unwrap_or(1);
            self.manual_adjustment = ManualAdjustment { number, ..given };
        }
    }

    /// Steers the scale's rate towards the given time.
    pub(super) fn follow_given_rate(&mut self, now: Raw) {
        let is_relay = self.is_relay();
        let state = self.given.as_mut().filter(|_| is_relay);
        let Some((relay, given)) = state.and_then(|state| state.given.map(|given| (state, given))) else {
            return;
        };
        let (interval, seconds) = (self.config.interval, self.config.interval.as_secs_f64());
        let distance = given.phase_at(now) - self.timescale.phase_at(now);
        let wanted = given.frequency.ratio() + LeadingPace::Gentle.wanted(distance, interval);
        let missing = wanted - self.timescale.frequency().ratio();
        relay.steered += interval;
        relay.near = if missing.abs() < NEAR { relay.near + interval } else { Span::ZERO };
        relay.settled |= relay.near >= SETTLED || relay.steered >= FIRST_FOR;
        let pace = if relay.settled { LeadingPace::Gentle } else { LeadingPace::Brisk };
        let most = pace.acceleration() * seconds;
        let change = (missing * (seconds / TIME_CONSTANT_S).min(1.0)).clamp(-most, most);
        let change = self.anchor.lead(Frequency::from_ratio(change), Frequency::from_ratio(missing));
        self.timescale.shift_frequency(now, change);
        self.ensemble.shift_frequency(now, change);
        self.compare_with_given(now);
    }

    /// Takes the given time against the scale.
    fn compare_with_given(&mut self, now: Raw) {
        let Some(relay) = &self.given else { return };
        let Some(given) = relay.given else { return };
        let own = if relay.settled { LeadingPace::Gentle } else { LeadingPace::Brisk };
        // A client may have a rate command that this line does not know yet.
        let (pace, rounds) = (own.acceleration(), self.config.interval.as_secs_f64());
        let apart = (given.frequency - self.timescale.frequency()).ratio();
        self.relayed = RelayedTime {
            cluster: self.cluster,
            at: self.timescale.estimate(now),
            difference: given.phase_at(now) - self.timescale.phase_at(now),
            rate: Frequency::from_ratio(apart / (1.0 + self.timescale.frequency().ratio())),
            bound: given.bound_at(now),
            growth: Frequency::from_ratio(given.growth_at(now).ratio() + pace * rounds),
            acceleration: Frequency::from_ratio(given.acceleration.ratio() + pace),
            error: Some(given.error_at(now)),
            frequency_error: given.frequency_error,
        };
    }
}

/// A wanted rate that differs by less is near.
const NEAR: f64 = 50e-9;
/// After so long near it the rate has settled.
const SETTLED: Span = Span::from_secs(60);
/// After so long it counts as settled: the relay's frequency is known by then.
const FIRST_FOR: Span = Span::from_secs(1_200);
/// τ: long against the changes of the relay's estimate, which the scale is not to follow.
const TIME_CONSTANT_S: f64 = 100.0;

//! The timekeeper of a server of several, as it becomes a standby server or the active one.
//!
//! A standby server carries the cluster's time, as its own machine's client has learned it from the active
//! server, and measures by it: the timescale is set to it whenever it changes. No filter of a member hangs on
//! that timescale, so it need not be even. When the server takes over, the timescale runs on as it is: that
//! is the cluster's time from then on, and the members learn how exactly it is that of the server before.

use super::ensemble::Ensemble;
use super::reading::Recipients;
use super::relay_state::GivenTime;
use super::timekeeper::{Phase, Timekeeper};
use crate::event::Adjustment;
use crate::relayed_time::ExternalTime;
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClusterId, RelayedTime};

impl Timekeeper {
    /// The server is a standby server from now on: its time is given from outside.
    pub fn stand_by(&mut self) {
        self.given = Some(GivenTime::default());
        (self.phase, self.recipients) = (Phase::Listening(0), Recipients::None);
    }

    /// The server is the active one from now on. If it carries the cluster's time, that goes on as it was
    /// given, and published time from `shown`, what the machine's clock shows; else the server listens, like
    /// one that has just started. Returns the maximum distance of its time from that of the server before,
    /// zero if it has none; `None`: unknown.
    pub fn take_over(
        &mut self,
        raw: Raw,
        shown: Timestamp,
        new_cluster: impl FnOnce() -> ClusterId,
    ) -> Option<Span> {
        let given = self.given.take().and_then(|given| given.given);
        let Some(given) = given.filter(|_| self.phase == Phase::Steady) else {
            self.listen_from(raw);
            return Some(Span::ZERO);
        };
        if self.cluster == ClusterId(0) {
            // The server before has decided the time, and ended before a probe could say in which cluster.
            self.cluster = new_cluster();
        }
        self.timescale.show(raw, shown);
        self.prior = Some((given.frequency, given.frequency_error));
        self.ensemble = Ensemble::with_prior(self.prior);
        // The members have a rate already, and follow that of this server from the next rounds on.
        self.anchor.rest(self.config.interval.times(REST_ROUNDS));
        self.become_steady();
        given.bound_at(raw)
    }

    /// What the server's own clock shows, for the client of its machine; `None`: no cluster's time. It has a
    /// bound if the server carries that time, and does not learn it from its members.
    pub fn carried(&self, raw: Raw) -> Option<ExternalTime> {
        let shows_time = self.cluster != ClusterId(0) && !self.is_given();
        let is_certain = self.phase == Phase::Steady && self.doubted == 0;
        shows_time.then(|| ExternalTime {
            cluster: self.cluster,
            state: self.state(),
            at: raw,
            phase: self.timescale.phase_at(raw),
            frequency: self.timescale.frequency(),
            bound: is_certain.then_some(Span::ZERO),
            bound_until: None,
            growth: Frequency::ZERO,
            acceleration: Frequency::ZERO,
            error: Span::ZERO,
            frequency_error: CARRIED_ERROR,
            residue: self.timescale.residue_at(raw),
            manual_adjustment: self.manual_adjustment,
        })
    }

    /// Whether the server has had the cluster's time, and does not carry it any more: it has to learn it from
    /// its members.
    pub fn has_lost_time(&self) -> bool {
        self.cluster != ClusterId(0) && self.phase != Phase::Steady && !self.is_given()
    }

    /// The time of a standby server is this.
    pub(super) fn track(&mut self, raw: Raw, time: &ExternalTime) {
        self.timescale.set(raw, time.phase_at(raw), time.frequency, Adjustment::Step);
        (self.cluster, self.manual_adjustment) = (time.cluster, time.manual_adjustment);
        self.relayed = RelayedTime::NONE;
        if self.phase != Phase::Steady {
            self.become_steady();
        }
    }
}

/// So many rounds pass before the rate moves: members have followed by then, and report their frequencies
/// against this server's rate command.
const REST_ROUNDS: i64 = 24;
/// How well the frequency is known that the clock goes on with when it follows another server. That one has
/// the rate of this one, or of this one's members, to far better; in a part of a network that was cut off,
/// the rate may have changed by some ppm in an hour.
const CARRIED_ERROR: Frequency = Frequency::from_ppm(1.0);

//! The clock that a client publishes: the scale of its server, plus what a relay tells, which is base time,
//! plus the manual adjustment; and how that clock stands.

use crate::estimation::kalman::Estimate;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, HoldoverReason};
use crate::relayed_time::ExternalTime;
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment, RelayedTime};

use super::limits::ProposedCorrection;

/// A clock over the node's oscillator.
#[derive(Clone, Debug)]
pub(super) struct PublishedClock {
    state: ClientState,
    /// Why the clock is in holdover, if it is.
    holdover: Option<HoldoverReason>,
    /// The cluster whose time it has; 0: none.
    cluster: ClusterId,
    /// The scale of its server: base time, unless the server is a relay.
    scale: Timescale,
    /// Base time against the scale, as the clock shows it.
    relayed: RelayedTime,
    /// The same as the relay has told last, if the clock does not show that yet.
    newer: Option<RelayedTime>,
    /// The manual adjustment; none while the clock has no cluster time.
    manual: ManualAdjustment,
    /// The clock minus its oscillator when it had no cluster time; `None`: its first time is confirmed, by a
    /// later correction that was followed without a step.
    start: Option<Span>,
}

impl PublishedClock {
    /// A clock that shows what its oscillator does.
    pub(super) fn free_running(raw: Raw) -> PublishedClock {
        PublishedClock {
            state: ClientState::Unsynchronized,
            holdover: None,
            cluster: ClusterId::default(),
            scale: Timescale::free_running(raw),
            relayed: RelayedTime::NONE,
            newer: None,
            manual: ManualAdjustment::NONE,
            start: None,
        }
    }

    /// Its state.
    pub(super) fn state(&self) -> ClientState {
        self.state
    }

    /// Whether it has cluster time.
    pub(super) fn has_cluster_time(&self) -> bool {
        self.state.has_cluster_time()
    }

    /// Why it is in holdover, if it is.
    pub(super) fn holdover(&self) -> Option<HoldoverReason> {
        self.holdover
    }

    /// The cluster whose time it had last; 0: none.
    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The manual adjustment that it shows.
    pub(super) fn manual(&self) -> &ManualAdjustment {
        &self.manual
    }

    /// What it shows.
    pub(super) fn time(&self, raw: Raw) -> Timestamp {
        self.manual.shown(self.base_time(raw))
    }

    /// What it shows, without the manual adjustment.
    pub(super) fn base_time(&self, raw: Raw) -> Timestamp {
        self.relayed.base_of(self.scale_time(raw))
    }

    /// The time of its server's scale, as published.
    pub(super) fn scale_time(&self, raw: Raw) -> Timestamp {
        self.scale.published(raw)
    }

    /// The estimate of its server's scale, of which nothing is being slewed.
    pub(super) fn scale(&self) -> &Timescale {
        &self.scale
    }

    /// Base time against the scale, as the clock shows it.
    pub(super) fn relayed(&self) -> &RelayedTime {
        &self.relayed
    }

    /// The same as the relay has told last: bounds are of that.
    pub(super) fn newest_relayed(&self) -> &RelayedTime {
        self.newer.as_ref().unwrap_or(&self.relayed)
    }

    /// The relay has told this, and the clock does not show it yet.
    pub(super) fn note_newer(&mut self, relayed: RelayedTime) {
        self.newer = Some(relayed);
    }

    /// The scale's time minus the oscillator's reading, as published.
    pub(super) fn phase(&self, raw: Raw) -> Span {
        self.scale.phase_at(raw) + self.residue(raw)
    }

    /// What is still to be slewed: published minus estimated time.
    pub(super) fn residue(&self, raw: Raw) -> Span {
        self.scale.residue_at(raw)
    }

    /// Its frequency, in its server's scale.
    pub(super) fn frequency(&self) -> Frequency {
        self.scale.frequency()
    }

    /// Its maximum distance from what the cluster's clocks show, if it is within `bound` of its server's
    /// scale; `None`: unknown.
    pub(super) fn bound(&self, raw: Raw, bound: Span) -> Option<Span> {
        let reach = self.base_reach(self.scale_time(raw), bound)?;
        Some(self.manual.reach(self.base_time(raw), reach))
    }

    /// The distance from base time of what the clock makes of `scale`, if that is within `bound` of its
    /// server's scale; `None`: unknown.
    pub(super) fn base_reach(&self, scale: Timestamp, bound: Span) -> Option<Span> {
        let newest = self.newest_relayed();
        let behind = newest.difference_at(scale) - self.relayed.difference_at(scale);
        Some(newest.reach(scale, bound)? + behind.abs())
    }

    /// By how much the scale changes for a clock that shows the same and follows a server of this cluster
    /// that tells this, and how exactly that is known. `None`: it is not, since the manual adjustment that
    /// the clock has was under way less than `age` ago, when the other server may have measured it, or since
    /// it has no cluster time.
    pub(super) fn rebased(
        &self,
        raw: Raw,
        told: &ToldTime,
        cluster: ClusterId,
        age: Span,
    ) -> Option<(Span, Span)> {
        let change = self.rebased_manually(raw, &told.manual, age)?;
        if cluster == self.cluster || (told.relayed.is_none() && self.relayed.is_none()) {
            return Some((change, Span::ZERO));
        }
        let before = self.scale_time(raw);
        let after = told.relayed.scale_of(self.relayed.base_of(before) + change);
        Some((after - before, told.relayed.bound_at(after)? + self.relayed.bound_at(before)?))
    }

    /// The part of that which another manual adjustment makes.
    fn rebased_manually(&self, raw: Raw, manual: &ManualAdjustment, age: Span) -> Option<Span> {
        let base = self.base_time(raw);
        let is_moving = self.manual.start <= base && base <= self.manual.end() + age;
        match manual.has_same_effect_as(&self.manual) {
            _ if !self.has_cluster_time() => None,
            true => Some(Span::ZERO),
            false if is_moving => None,
            false => Some(manual.base_of(self.manual.shown(base)) - base),
        }
    }

    /// How much more a clock with this manual adjustment shows now.
    pub(super) fn missed(&self, raw: Raw, manual: &ManualAdjustment) -> Span {
        manual.shown(self.base_time(raw)) - self.time(raw)
    }

    /// How much more base time a clock has that is told this.
    pub(super) fn missed_relayed(&self, raw: Raw, relayed: &RelayedTime) -> Span {
        relayed.base_of(self.scale_time(raw)) - self.base_time(raw)
    }

    /// What a correction to this estimate would do, if the scale is ahead of the oscillator by `phase`, to a
    /// clock that follows a server that tells this.
    pub(super) fn propose(
        &self,
        raw: Raw,
        phase: Span,
        estimate: &Estimate,
        told: &ToldTime,
    ) -> ProposedCorrection {
        let ToldTime { relayed, manual } = told;
        let base = relayed.base_of(Timestamp::from_nanos((raw + phase).as_nanos()));
        let (shown, time) = (self.time(raw), manual.shown(base));
        let first = !self.has_cluster_time();
        let start = if first { Some(ahead(shown, raw)) } else { self.start };
        ProposedCorrection {
            first,
            phase,
            difference: time - shown,
            future_step: manual.step_after(base),
            since_start: start.map(|start| ahead(time, raw) - start),
            frequency: estimate.frequency,
            relayed_rate: relayed.rate,
            frequency_error: estimate.frequency_error,
            time,
        }
    }

    /// Follows a proposal to the time of this cluster. Returns the state before.
    pub(super) fn follow(
        &mut self,
        raw: Raw,
        proposal: &ProposedCorrection,
        adjustment: Adjustment,
        told: &ToldTime,
        cluster: ClusterId,
    ) -> ClientState {
        self.start = proposal.since_start.map(|added| ahead(proposal.time, raw) - added);
        self.set_told(raw, told, adjustment);
        self.scale.set(raw, proposal.phase, proposal.frequency, adjustment);
        self.cluster = cluster;
        self.holdover = None;
        core::mem::replace(&mut self.state, ClientState::Synchronized)
    }

    /// The first time that the clock had is confirmed: later steps are judged as such.
    pub(super) fn confirm_start(&mut self) {
        self.start = None;
    }

    /// The clock shows this from now on over its server's scale. If it slews, it shows the same time now.
    pub(super) fn set_told(&mut self, raw: Raw, told: &ToldTime, adjustment: Adjustment) {
        let ToldTime { relayed, manual } = *told;
        let is_same = manual.has_same_effect_as(&self.manual);
        if adjustment == Adjustment::Slew && !(is_same && relayed == self.relayed) {
            // After a step back the clock shows times for the second time: those have two base times.
            let base = if is_same { self.base_time(raw) } else { manual.base_of(self.time(raw)) };
            self.scale.show(raw, relayed.scale_of(base));
        }
        (self.relayed, self.newer, self.manual) = (relayed, None, manual);
    }

    /// The clock follows another server's scale from now on, which is ahead of the one before by `ahead` and
    /// faster by `faster`. It shows the same time.
    pub(super) fn change_scale(
        &mut self,
        raw: Raw,
        (ahead, faster): (Span, Frequency),
        relayed: RelayedTime,
    ) {
        let shown = self.base_time(raw);
        let (phase, frequency) = (self.scale.phase_at(raw) + ahead, self.scale.frequency() + faster);
        self.scale.set(raw, phase, frequency, Adjustment::Step);
        self.scale.show(raw, relayed.scale_of(shown));
        (self.relayed, self.newer) = (relayed, None);
    }

    /// The clock shows this time, which the server of its machine carries.
    pub(super) fn carry(&mut self, raw: Raw, time: &ExternalTime) {
        self.scale.set(raw, time.phase_at(raw), time.frequency, Adjustment::Step);
        self.scale.show(raw, self.scale.estimate(raw) + time.residue);
        (self.state, self.holdover, self.start) = (time.state, None, None);
        (self.cluster, self.manual) = (time.cluster, time.manual_adjustment);
        (self.relayed, self.newer) = (RelayedTime::NONE, None);
    }

    /// The cluster's rate has changed; a clock without cluster time ignores that.
    pub(super) fn shift_frequency(&mut self, raw: Raw, change: Frequency) {
        if self.has_cluster_time() {
            self.scale.shift_frequency(raw, change);
        }
    }

    /// Ends synchronization; returns whether holdover begins.
    pub(super) fn enter_holdover(&mut self, reason: HoldoverReason) -> bool {
        let begins = self.state == ClientState::Synchronized;
        if begins {
            self.state = ClientState::Holdover;
            self.holdover = Some(reason);
        }
        begins
    }

    /// A session begins. What had ended the one before is over; until the server sends a correction, the
    /// clock lacks that.
    pub(super) fn begin_session(&mut self) {
        let ended = self.holdover.is_some_and(|reason| reason != HoldoverReason::CorrectionRefused);
        if ended {
            self.holdover = Some(HoldoverReason::NoCorrections);
        }
    }

    /// The machine was suspended, and the oscillator with it. The clock shows the time that has passed as far
    /// as the machine knows, but no cluster time any more.
    pub(super) fn suspend(&mut self, raw: Raw, slept: Span) {
        let scale = self.scale.estimate(raw);
        let shown = self.manual.shown(self.relayed.base_of(scale));
        let phase = self.scale.phase_at(raw) + slept + (shown - scale);
        (self.relayed, self.newer, self.manual) = (RelayedTime::NONE, None, ManualAdjustment::NONE);
        self.scale.set(raw, phase, self.scale.frequency(), Adjustment::Step);
        self.state = ClientState::Unsynchronized;
    }
}

/// What a server has told of its time, over the scale by which it measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ToldTime {
    /// Base time against the scale.
    pub relayed: RelayedTime,
    /// The manual adjustment that a clock has that follows the server.
    pub manual: ManualAdjustment,
}

/// A clock that shows `time` minus its oscillator, which reads `raw`.
fn ahead(time: Timestamp, raw: Raw) -> Span {
    Span::from_nanos(time.as_nanos() - raw.as_nanos())
}

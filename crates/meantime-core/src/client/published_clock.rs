//! The clock that a client publishes: base time, which it agrees on with its server, plus the manual
//! adjustment; and how that clock stands.

use crate::estimation::kalman::Estimate;
use crate::estimation::timescale::Timescale;
use crate::event::{Adjustment, HoldoverReason};
use crate::time::{Frequency, Raw, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, ManualAdjustment};

use super::limits::ProposedCorrection;

/// A clock over the node's oscillator.
#[derive(Clone, Debug)]
pub(super) struct PublishedClock {
    state: ClientState,
    /// Why the clock is in holdover, if it is.
    holdover: Option<HoldoverReason>,
    /// The cluster whose time it has; 0: none.
    cluster: ClusterId,
    /// The base time.
    base: Timescale,
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
            base: Timescale::free_running(raw),
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
        self.base.published(raw)
    }

    /// Base time minus the oscillator's reading, as published.
    pub(super) fn phase(&self, raw: Raw) -> Span {
        self.base.phase_at(raw) + self.residue(raw)
    }

    /// What is still to be slewed: published minus estimated time.
    pub(super) fn residue(&self, raw: Raw) -> Span {
        self.base.residue_at(raw)
    }

    /// Its frequency.
    pub(super) fn frequency(&self) -> Frequency {
        self.base.frequency()
    }

    /// Its maximum distance from what the cluster's clocks show, if its base time is within `bound`.
    pub(super) fn bound(&self, raw: Raw, bound: Span) -> Span {
        self.manual.reach(self.base_time(raw), bound)
    }

    /// By how much base time changes for a clock that shows the same and has this manual adjustment from now
    /// on; `None`: that is not known exactly, since the adjustment that it has was under way less than
    /// `age` ago, when the other server may have measured this clock, or since it has no cluster time.
    pub(super) fn rebased(&self, raw: Raw, manual: &ManualAdjustment, age: Span) -> Option<Span> {
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

    /// What a correction to this estimate would do, if base time is ahead of the oscillator by `phase`, to a
    /// clock that follows a server with this manual adjustment.
    pub(super) fn propose(
        &self,
        raw: Raw,
        phase: Span,
        estimate: &Estimate,
        manual: &ManualAdjustment,
    ) -> ProposedCorrection {
        let base = Timestamp::from_nanos((raw + phase).as_nanos());
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
        manual: ManualAdjustment,
        cluster: ClusterId,
    ) -> ClientState {
        self.start = proposal.since_start.map(|added| ahead(proposal.time, raw) - added);
        self.set_manual(raw, manual, adjustment);
        self.base.set(raw, proposal.phase, proposal.frequency, adjustment);
        self.cluster = cluster;
        self.holdover = None;
        core::mem::replace(&mut self.state, ClientState::Synchronized)
    }

    /// The first time that the clock had is confirmed: later steps are judged as such.
    pub(super) fn confirm_start(&mut self) {
        self.start = None;
    }

    /// The clock has this manual adjustment from now on. If it slews, it shows the same time now.
    pub(super) fn set_manual(&mut self, raw: Raw, manual: ManualAdjustment, adjustment: Adjustment) {
        if adjustment == Adjustment::Slew && !manual.has_same_effect_as(&self.manual) {
            let base = manual.base_of(self.time(raw));
            self.base.show(raw, base);
        }
        self.manual = manual;
    }

    /// The cluster's rate has changed; a clock without cluster time ignores that.
    pub(super) fn shift_frequency(&mut self, raw: Raw, change: Frequency) {
        if self.has_cluster_time() {
            self.base.shift_frequency(raw, change);
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
        let added = self.manual.added_at(self.base.estimate(raw));
        let phase = self.base.phase_at(raw) + slept + added;
        self.manual = ManualAdjustment::NONE;
        self.base.set(raw, phase, self.base.frequency(), Adjustment::Step);
        self.state = ClientState::Unsynchronized;
    }
}

/// A clock that shows `time` minus its oscillator, which reads `raw`.
fn ahead(time: Timestamp, raw: Raw) -> Span {
    Span::from_nanos(time.as_nanos() - raw.as_nanos())
}

//! Founding: an operator says what time it is while no majority of clocks can.

use super::ensemble::Ensemble;
use super::manual_adjustment::SetTimeError;
use super::reading::{PhaseReading, Recipients};
use super::timekeeper::Timekeeper;
use crate::event::{Adjustment, Exclusion, UndecidedReason};
use crate::time::{Correction, Frequency, Raw, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};

impl Timekeeper {
    /// Why the cluster has no time; `None`: it has one.
    pub fn undecided(&self) -> Option<UndecidedReason> {
        (self.cluster == ClusterId(0)).then_some(self.undecided_reason)
    }

    /// Founds the cluster's time: the server's own clock shows `time` at `raw`, and carries that as the time
    /// of `new_cluster` from now on. Returns what was added to the server's own clock.
    ///
    /// # Errors
    /// If there is a cluster time, or `time` is implausible; then nothing has changed.
    pub fn found(
        &mut self,
        raw: Raw,
        time: Timestamp,
        new_cluster: ClusterId,
    ) -> Result<Correction, SetTimeError> {
        if self.cluster != ClusterId(0) {
            return Err(SetTimeError::Unsure);
        }
        if !self.config.plausible.contains(time) {
            return Err(SetTimeError::Implausible);
        }
        let phase = time - Timestamp::from_nanos(raw.as_nanos());
        // As in the first vote.
        let frequency = self.prior.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        let correction = self.timescale.set(raw, phase, frequency, Adjustment::Step);
        (self.cluster, self.manual_adjustment) = (new_cluster, ManualAdjustment::NONE);
        self.ensemble = Ensemble::with_prior(self.prior);
        self.recipients = Recipients::All;
        self.become_steady();
        Ok(correction)
    }
}

/// Why the first vote has no result: `readings` are those of all members, the server's own the first, and
/// `excluded` says which of them are implausible.
pub(super) fn reason(readings: &[Option<PhaseReading>], excluded: &[Option<Exclusion>]) -> UndecidedReason {
    let members = readings.len();
    let is_majority = |count: usize| 2 * count > members;
    let heard = readings.iter().flatten().count();
    let before = excluded.iter().filter(|why| **why == Some(Exclusion::BeforePlausible)).count();
    let after = excluded.iter().filter(|why| **why == Some(Exclusion::AfterPlausible)).count();
    match members {
        _ if !is_majority(heard) => UndecidedReason::Unheard,
        _ if !is_majority(heard - before - after) && before >= after => UndecidedReason::BeforePlausible,
        _ if !is_majority(heard - before - after) => UndecidedReason::AfterPlausible,
        2 => UndecidedReason::TwoDiffer,
        _ => UndecidedReason::TooFarApart,
    }
}

//! Founding: an operator says what time it is while no majority of clocks can.

use super::ensemble::Ensemble;
use super::manual_adjustment::SetTimeError;
use super::reading::{Candidate, Recipients};
use super::timekeeper::{CONSENT_AFTER, MAX_WAITING_VOTES, Phase, Timekeeper};
use super::weight::Weight;
use crate::event::{Adjustment, Exclusion, UndecidedReason};
use crate::time::{Correction, Frequency, Raw, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};

impl Timekeeper {
    /// Why the server has no cluster time that it trusts; `None`: it has one.
    pub fn undecided(&self) -> Option<UndecidedReason> {
        let listens = matches!(self.phase, Phase::Listening(_)) && !self.is_given();
        listens.then_some(self.undecided_reason)
    }

    /// In how many rounds the server has waited for its clients, if the cluster has no time because of that,
    /// and none is added meanwhile.
    pub fn waits_rounds(&self) -> Option<u32> {
        let Phase::Listening(votes) = self.phase else { return None };
        let last = match self.undecided_reason {
            UndecidedReason::Waiting => MAX_WAITING_VOTES,
            UndecidedReason::WaitingForCarriers => CONSENT_AFTER,
            _ => return None,
        };
        // The vote after so many others decides.
        Some((last + 1).saturating_sub(votes).max(1))
    }

    /// Founds the cluster's time: the server's own clock shows `time` at `raw`, and carries that as the time
    /// of `new_cluster` from now on.
    ///
    /// # Errors
    /// If the server has a cluster time, or `time` is implausible; then nothing has changed.
    pub fn found(
        &mut self,
        raw: Raw,
        time: Timestamp,
        new_cluster: ClusterId,
    ) -> Result<Founded, SetTimeError> {
        if !matches!(self.phase, Phase::Listening(_)) {
            return Err(SetTimeError::Unsure);
        }
        if !self.config.plausible.contains(time) {
            return Err(SetTimeError::Implausible);
        }
        let phase = time - Timestamp::from_nanos(raw.as_nanos());
        let manual_before = self.manual_part(raw);
        // As in the first vote.
        let frequency = self.prior.map_or(Frequency::ZERO, |(frequency, _)| frequency);
        let correction = self.timescale.set(raw, phase, frequency, Adjustment::Step);
        (self.cluster, self.manual_adjustment) = (new_cluster, ManualAdjustment::NONE);
        self.utc.note_set_time();
        self.ensemble = Ensemble::with_prior(self.prior);
        self.recipients = Recipients::All;
        self.become_steady();
        Ok(Founded { correction, added: Correction::adding(correction.span() - manual_before) })
    }
}

/// What founding has added to the server's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    /// To its base time.
    pub correction: Correction,
    /// To the time that it shows: the manual time adjustment, if it had one, is gone.
    pub added: Correction,
}

/// Why the first vote of these clocks has no result.
pub(super) fn reason(candidates: &[Candidate]) -> UndecidedReason {
    let weight = |counts: &dyn Fn(&&Candidate) -> bool| -> Weight {
        candidates.iter().filter(counts).map(|it| it.weight).sum()
    };
    let all = weight(&|_| true);
    let heard = weight(&|it| it.reading.is_some());
    let plausible = weight(&|it| it.reading.is_some() && it.excluded.is_none());
    let before = weight(&|it| it.excluded == Some(Exclusion::BeforePlausible));
    let after = weight(&|it| it.excluded == Some(Exclusion::AfterPlausible));
    match candidates.len() {
        _ if !heard.is_majority_of(all) => UndecidedReason::Unheard,
        _ if !plausible.is_majority_of(all) && before >= after => UndecidedReason::BeforePlausible,
        _ if !plausible.is_majority_of(all) => UndecidedReason::AfterPlausible,
        2 => UndecidedReason::TwoDiffer,
        _ => UndecidedReason::TooFarApart,
    }
}

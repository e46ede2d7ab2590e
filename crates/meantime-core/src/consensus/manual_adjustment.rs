//! The cluster's time is set by hand: whether it can be, and what that is; and how it outlives the server.

use super::{MemberReading, Phase, Timekeeper};
use crate::config::PLAUSIBLE_FOR;
use crate::event::Adjustment;
use crate::manual_adjustment::{MAX_SLEW_AMOUNT, MAX_SLEW_DURATION, announcement, takes};
use crate::time::{Raw, Span, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::vec::Vec;

/// Why the cluster's time cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsettable {
    /// There is none.
    #[error("the cluster has no time yet; `meantime status` shows how it stands")]
    NoTime,
    /// The server does not carry it for sure.
    #[error(
        "the server is not sure of the cluster's time now; try again when a round has ended in agreement"
    )]
    Unsure,
    /// It is being set already.
    #[error("the cluster's time is being set already, for {0} more")]
    Busy(Span),
    /// That would change nothing.
    #[error("to set the time by 0 changes nothing")]
    Nothing,
    /// It would be one that cannot be.
    #[error("that cannot be the time: it lies before the server's --plausible-from, or 50 years after that")]
    Implausible,
    /// Nobody wants to wait for so long.
    #[error("to slew {0} takes {1}, and no more than {2} is slewed; add --step to set it at once")]
    TooLong(Span, Span, Span),
}

impl Timekeeper {
    /// What somebody has set the cluster's time by.
    pub fn setting(&self) -> &ManualAdjustment {
        &self.setting
    }

    /// What the server's own clock shows.
    pub fn shown(&self, raw: Raw) -> Timestamp {
        self.setting.shown(self.timescale.published(raw))
    }

    /// For how long the cluster's time is still being set, before that begins included; zero: it is not.
    pub fn is_set_for(&self, raw: Raw) -> Span {
        let over = self.setting.end() - self.timescale.published(raw);
        if self.setting.number == 0 { Span::ZERO } else { over.max(Span::ZERO) }
    }

    /// Sets the cluster's time by so much, beginning when every member knows it.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn set_time(&mut self, raw: Raw, by: Span, how: Adjustment) -> Result<ManualAdjustment, Unsettable> {
        if self.cluster == ClusterId(0) {
            return Err(Unsettable::NoTime);
        }
        if self.phase != Phase::Steady || self.doubt.is_some() || self.unsure > 0 {
            return Err(Unsettable::Unsure);
        }
        if by == Span::ZERO {
            return Err(Unsettable::Nothing);
        }
        let busy = self.is_set_for(raw);
        if busy > Span::ZERO {
            return Err(Unsettable::Busy(busy));
        }
        let (then, from) = (self.shown(raw) + by, self.settings.plausible_from);
        if then < from || then > from + PLAUSIBLE_FOR {
            return Err(Unsettable::Implausible);
        }
        let step = how == Adjustment::Step;
        if !step && takes(by) > MAX_SLEW_DURATION {
            return Err(Unsettable::TooLong(by.abs(), takes(by), MAX_SLEW_AMOUNT));
        }
        self.setting = ManualAdjustment {
            cluster: self.cluster,
            number: self.setting.number.checked_add(1).unwrap_or(1),
            before: self.setting.before + self.setting.amount,
            amount: by,
            start: self.timescale.published(raw) + announcement(self.settings.interval),
            step,
        };
        Ok(self.setting)
    }
}

/// The setting that most of the clients that carry this cluster's time carry, or that most of all carry that
/// nobody has set it; `None` as long as it is not known of most of them what they carry. A time that has no
/// cluster's name yet nobody has set.
pub(super) fn commonest(ballots: &[MemberReading<'_>], cluster: ClusterId) -> Option<ManualAdjustment> {
    let carriers =
        ballots.iter().filter(|ballot| ballot.state.has_cluster_time() && ballot.cluster == cluster);
    let count = carriers.clone().count();
    if count == 0 {
        return Some(ManualAdjustment::NONE);
    }
    let mut known: Vec<&ManualAdjustment> = carriers.filter_map(|ballot| ballot.setting).collect();
    known.sort_unstable();
    let enough = 2 * known.len() > count;
    let commonest = known.chunk_by(|one, other| one == other).max_by_key(|same| same.len());
    commonest.map(|same| *same[0]).filter(|_| enough)
}

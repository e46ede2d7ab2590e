//! Manual time adjustments: when one can be made, and how it survives a restart of the server.

use super::timekeeper::{Phase, Timekeeper};
use crate::event::Adjustment;
use crate::manual_adjustment::{MAX_SLEW_AMOUNT, MAX_SLEW_DURATION, announcement, takes};
use crate::time::{Raw, Span, Timestamp};
use crate::wire::{ClusterId, ManualAdjustment};
use alloc::string::String;
use core::net::SocketAddr;

/// Why the cluster time cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetTimeError {
    /// There is no cluster time to which an offset could be added.
    #[error("the cluster has no time yet, to which an offset could be added")]
    NoClusterTime,
    /// There is no cluster time, but the server is taking over the one that most clients carry.
    #[error("the server is taking over the time that {carriers} of {clients} clients carry")]
    TakingOver {
        /// How many clients carry a cluster's time.
        carriers: usize,
        /// How many clients there are.
        clients: usize,
    },
    /// No member has the name or the address from which the time is to be taken.
    #[error("no member has the name or the address '{0}'")]
    UnknownMember(String),
    /// Several members have it.
    #[error("{count} members have the name or the address '{name}'; one of them is at {example}")]
    SeveralMembers {
        /// The name or address in the request.
        name: String,
        /// How many members have it.
        count: usize,
        /// The address of one of them.
        example: SocketAddr,
    },
    /// What the member's clock shows is not known now.
    #[error("what the clock of '{0}' shows is not known: it was not measured lately")]
    NotMeasured(String),
    /// The member has just been sent a correction, so the last measurement is not what its clock shows.
    #[error("the clock of '{0}' is being corrected by {1} just now")]
    BeingCorrected(String, Span),
    /// The server is not sure of the cluster time.
    #[error("the server is not sure of the cluster's time now")]
    Unsure,
    /// The last manual time adjustment is not complete.
    #[error("the cluster's time is being set already, for {0} more")]
    InProgress(Span),
    /// The adjustment is zero.
    #[error("to set the time by 0 changes nothing")]
    Zero,
    /// The server is a standby server.
    #[error("the server is a standby server: the time is set at the active server")]
    Standby,
    /// The server is a relay.
    #[error("the server is a relay: the time is set at the server that decides it")]
    Relay,
    /// References lead the cluster's time, and it would be farther from them.
    #[error(
        "references lead the cluster's time, and say that {0} is missing: set it nearer to them, or start the server without --follow-references"
    )]
    AwayFromReferences(Span),
    /// The result would be an implausible time.
    #[error("that cannot be the time: it is before the earliest plausible time, or after the latest")]
    Implausible,
    /// The slew would take too long.
    #[error("to slew {amount} takes {duration}, and no more than {max_amount} is slewed")]
    SlewTooLong {
        /// The adjustment, without its sign.
        amount: Span,
        /// How long the slew would take.
        duration: Span,
        /// The largest adjustment that is slewed.
        max_amount: Span,
    },
}

impl Timekeeper {
    /// The newest manual time adjustment.
    pub fn manual_adjustment(&self) -> &ManualAdjustment {
        &self.manual_adjustment
    }

    /// What the server's own clock shows.
    pub fn shown(&self, raw: Raw) -> Timestamp {
        self.manual_adjustment.shown(self.base_time(raw))
    }

    /// The base time that the server's own clock shows.
    pub fn base_time(&self, raw: Raw) -> Timestamp {
        self.relayed.base_of(self.timescale.published(raw))
    }

    /// What the manual time adjustment adds to the estimate of base time.
    pub fn manual_part(&self, raw: Raw) -> Span {
        self.manual_adjustment.added_at(self.relayed.base_of(self.timescale.estimate(raw)))
    }

    /// How long until the newest manual time adjustment is complete; zero: it is.
    pub fn adjustment_rest(&self, raw: Raw) -> Span {
        let over = self.manual_adjustment.end() - self.base_time(raw);
        if self.manual_adjustment.number == 0 { Span::ZERO } else { over.max(Span::ZERO) }
    }

    /// Sets the cluster time by so much, beginning when it has been announced to all members, and when relays
    /// among them, which need `below` for that, have passed it on.
    ///
    /// # Errors
    /// If that is impossible; then nothing has changed.
    pub fn set_time(
        &mut self,
        raw: Raw,
        by: Span,
        how: Adjustment,
        below: Span,
    ) -> Result<ManualAdjustment, SetTimeError> {
        if self.is_relay() {
            return Err(SetTimeError::Relay);
        }
        if self.is_given() {
            return Err(SetTimeError::Standby);
        }
        if self.cluster == ClusterId(0) {
            return Err(SetTimeError::NoClusterTime);
        }
        if self.phase != Phase::Steady || self.doubted > 0 || self.unsure > 0 {
            return Err(SetTimeError::Unsure);
        }
        if by == Span::ZERO {
            return Err(SetTimeError::Zero);
        }
        if let Some(missing) = self.utc.led_by().filter(|missing| (*missing - by).abs() > missing.abs()) {
            return Err(SetTimeError::AwayFromReferences(missing));
        }
        let rest = self.adjustment_rest(raw);
        if rest > Span::ZERO {
            return Err(SetTimeError::InProgress(rest));
        }
        if !self.config.plausible.contains(self.shown(raw) + by) {
            return Err(SetTimeError::Implausible);
        }
        let step = how == Adjustment::Step;
        if !step && takes(by) > MAX_SLEW_DURATION {
            return Err(SetTimeError::SlewTooLong {
                amount: by.abs(),
                duration: takes(by),
                max_amount: MAX_SLEW_AMOUNT,
            });
        }
        self.utc.note_set_time();
        self.manual_adjustment = ManualAdjustment {
            cluster: self.cluster,
            number: self.manual_adjustment.number.checked_add(1).unwrap_or(1),
            before: self.manual_adjustment.before + self.manual_adjustment.amount,
            amount: by,
            start: self.timescale.published(raw) + announcement(self.config.interval, below),
            step,
        };
        Ok(self.manual_adjustment)
    }
}

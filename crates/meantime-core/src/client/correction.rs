//! A correction as a session hands it to the clock, and why the clock may not follow it.

use super::limits::Refused;
use super::published_clock::ToldTime;
use crate::estimation::bound::SteeringPace;
use crate::estimation::discipline::OutlierLimit;
use crate::estimation::exchange::Exchange;
use crate::time::{Raw, Span, Timestamp};
use crate::wire::{ClusterId, CorrectionMessage};

/// A correction, and what the session knows about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedCorrection<'a> {
    /// The round.
    pub round: u32,
    /// The server's message.
    pub message: &'a CorrectionMessage,
    /// The exchanges that it is based on.
    pub burst: &'a [Exchange<Timestamp, Raw>],
    /// How readily an outlier is followed.
    pub outlier_limit: OutlierLimit,
    /// The cluster whose time the server keeps.
    pub cluster: ClusterId,
    /// What the server has told of its time.
    pub told: ToldTime,
    /// The interval of the server's rounds.
    pub interval: Span,
}

/// Why a correction had no effect.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotFollowed {
    /// Its exchanges are implausible.
    Implausible,
    /// It is beyond a limit.
    Refused(Refused),
    /// It was taken for an outlier.
    Outlier,
}

/// What a session knows about the exchanges from which the clock updates its bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundUpdate {
    /// Whether they may be compared with earlier ones.
    pub continuity: Continuity,
    /// Whether the server states that it is learning the time itself; then they prove nothing.
    pub learning: bool,
    /// How fast the server states that it may change the cluster's rate.
    pub steering: SteeringPace,
    /// What the server has told of its time.
    pub told: ToldTime,
    /// The cluster whose time the server keeps.
    pub cluster: ClusterId,
    /// How long ago the server may have measured the clock on which it bases its time.
    pub oldest_reading: Span,
}

/// Whether the server's time is the one that earlier exchanges were about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// It is.
    Same,
    /// It may be another server's, or another cluster's.
    Broken,
}

//! What can be seen of a node at a moment: for whoever looks after it, and for their programs.
//!
//! Plain data, taken by [`Server::view`](super::Server::view) and [`Client::view`](super::Client::view);
//! nothing in here changes anything.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::event::{Adjustment, Exclusion, HoldoverReason, Peer, RoundReport};
use crate::time::{Correction, Frequency, Offset, Span, Timestamp};
use crate::wire::{ClientState, ClusterId, KeyId, ManualAdjustment};

/// A cluster, as its server sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// The cluster whose time is kept; 0: none yet.
    pub cluster: ClusterId,
    /// How the server's own clock stands.
    pub state: ClientState,
    /// From one round to the next.
    pub interval: Span,
    /// What the last round has found; `None`: none is over.
    pub last_round: Option<RoundReport>,
    /// How long ago it ended.
    pub last_round_ago: Option<Span>,
    /// The rate of the cluster's time over the server's oscillator, minus one.
    pub frequency: Frequency,
    /// One standard deviation of how far that is off the rate that the members follow; `None`: unknown.
    pub frequency_error: Option<Frequency>,
    /// Why the vote leaves the server's own clock out, if it does.
    pub exclusion: Option<Exclusion>,
    /// What somebody has set the cluster's time by, if that is not over.
    pub setting: Option<ManualAdjustmentView>,
    /// The server's own clock's guaranteed distance from the cluster's time.
    pub bound: Option<Span>,
    /// Exchanges with each client in a round.
    pub burst: u8,
    /// Datagrams that the server's machine had no room for.
    pub lost: u64,
    /// The clients, in the order of their places in the server's table.
    pub members: Vec<MemberView>,
    /// Whose votes somebody has taken away, of those that are not registered now.
    pub removed: Vec<Peer>,
}

/// Somebody has set the cluster's time, and that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManualAdjustmentView {
    /// By how much.
    pub amount: Span,
    /// How.
    pub adjustment: Adjustment,
    /// How long until it begins; zero: it has begun.
    pub starts_in: Span,
    /// How long until it is over.
    pub ends_in: Span,
}

impl ManualAdjustmentView {
    /// What is still to be seen of a setting when the cluster's base time is `base`.
    pub fn of(setting: &ManualAdjustment, base: Timestamp) -> Option<ManualAdjustmentView> {
        let (starts_in, ends_in) = (setting.start - base, setting.end() - base);
        let adjustment = if setting.step { Adjustment::Step } else { Adjustment::Slew };
        let view = ManualAdjustmentView {
            amount: setting.amount,
            adjustment,
            starts_in: starts_in.max(Span::ZERO),
            ends_in,
        };
        (setting.number != 0 && ends_in > Span::ZERO).then_some(view)
    }
}

/// A client, as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemberView {
    /// Who.
    pub peer: Peer,
    /// The key that it used last; 0: there are no keys.
    pub key: KeyId,
    /// How its clock stands, by its own word.
    pub state: ClientState,
    /// What its last burst has measured; `None`: not measured yet.
    pub measured: Option<MeasuredView>,
    /// One standard deviation of its estimated distance from the cluster's time, by its own word.
    pub error: Option<Span>,
    /// Its guaranteed distance from the cluster's time, by its own word.
    pub bound: Option<Span>,
    /// The rate of its clock over its oscillator's, minus one, when it was sure of it last.
    pub frequency: Option<Frequency>,
    /// One standard deviation of that.
    pub frequency_error: Option<Frequency>,
    /// For each of the last eight rounds whether it was heard; the newest is the lowest bit.
    pub heard: u8,
    /// How many of these rounds it was asked in.
    pub asked: u8,
    /// Why the vote leaves it out, if it does.
    pub exclusion: Option<Exclusion>,
    /// Since when it is registered.
    pub admitted_ago: Span,
    /// Since when nothing valid was heard of it.
    pub heard_ago: Span,
}

/// What a burst has measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeasuredView {
    /// The client's clock against the cluster's time.
    pub offset: Offset,
    /// One standard deviation of that, by what such measurements usually scatter and by this one's delay.
    pub error: Span,
    /// The round-trip delay of the best exchange.
    pub delay: Span,
    /// How long ago.
    pub ago: Span,
}

/// A client, as it sees itself. Its clock's reading is not in here: that is told beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientView {
    /// Where its server is, if that is known.
    pub server: Option<SocketAddr>,
    /// Whether it is registered there.
    pub registered: bool,
    /// The cluster whose time it has; 0: none.
    pub cluster: ClusterId,
    /// From one of the server's rounds to the next; `None`: not registered.
    pub interval: Option<Span>,
    /// What somebody has set the cluster's time by, if that is not over.
    pub setting: Option<ManualAdjustmentView>,
    /// The last correction that it has followed.
    pub last_correction: Option<CorrectionView>,
    /// Why it is in holdover, if it is.
    pub holdover: Option<HoldoverReason>,
    /// Since when nothing valid was heard of the server; `None`: not registered.
    pub heard_ago: Option<Span>,
}

/// A correction that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorrectionView {
    /// What was added, at once or over time.
    pub added: Correction,
    /// How.
    pub adjustment: Adjustment,
    /// The least round-trip delay of the burst.
    pub delay: Span,
    /// The round.
    pub round: u32,
    /// How long ago.
    pub ago: Span,
}

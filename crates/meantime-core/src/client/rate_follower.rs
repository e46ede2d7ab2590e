//! The rate command, as a client follows it: the server sends the sum of all changes that it has ever made
//! to the cluster's rate, and the client applies the difference from the sum that it knows.

use crate::time::{Frequency, Monotonic};
use crate::wire::{Header, NodeId};

/// The newest cumulative rate command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateFollower {
    /// The server that sent it.
    server: NodeId,
    /// The command, which the clock's frequency includes.
    rate: Frequency,
    /// The sequence number of its datagram: a reordered one must not bring an older command back.
    sequence: u32,
    /// When it came.
    at: Monotonic,
}

impl RateFollower {
    /// The cumulative rate command that the clock's frequency includes.
    pub(super) fn rate(&self) -> Frequency {
        self.rate
    }

    /// A new session begins with this rate command. Returns the change that the client has missed: of the
    /// server that it has followed before, the difference; another server counts from another zero.
    pub(super) fn rebase(&mut self, now: Monotonic, header: &Header, rate: Frequency) -> Frequency {
        let same_server = self.server == header.sender;
        let missed = if same_server { rate - self.rate } else { Frequency::ZERO };
        *self = RateFollower { server: header.sender, rate, sequence: header.sequence, at: now };
        missed
    }

    /// The change that a datagram brings; `None`: its command is not newer. A newer datagram is ahead, though
    /// not by absurdly much, and its change is one that a server can have made since the last.
    pub(super) fn change(&self, now: Monotonic, header: &Header, rate: Frequency) -> Option<Frequency> {
        let change = rate - self.rate;
        let ahead = header.sequence.wrapping_sub(self.sequence);
        let max_change = MAX_CHANGE_AT_ONCE + MAX_CHANGE_PER_SECOND * (now - self.at).as_secs_f64();
        let newer = (1..MAX_SEQUENCE_AHEAD).contains(&ahead) && change.ratio().abs() <= max_change;
        newer.then_some(change)
    }

    /// The clock follows this command from now on.
    pub(super) fn accept(&mut self, now: Monotonic, header: &Header, rate: Frequency) {
        *self = RateFollower { rate, sequence: header.sequence, at: now, ..*self };
    }
}

/// A server changes its rate command at once by at most this, …
const MAX_CHANGE_AT_ONCE: f64 = 2e-6;
/// … and in each second by at most this: twice what servers do.
const MAX_CHANGE_PER_SECOND: f64 = 200e-9;
/// More datagrams than a session can lose.
pub(super) const MAX_SEQUENCE_AHEAD: u32 = 1 << 16;

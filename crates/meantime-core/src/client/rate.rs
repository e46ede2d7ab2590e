//! The cluster's rate: the server tells the sum of all that it has ever changed of it, and the client takes
//! over what is new.

use super::{Client, Link};
use crate::event::Refusal;
use crate::time::{self, Frequency, Monotonic, Now};
use crate::wire::{Header, NodeId};

/// The newest cumulative rate command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateCommand {
    /// Whose.
    server: NodeId,
    /// The command, which the clock's frequency includes.
    pub rate: Frequency,
    /// The sequence number of the datagram that brought it: a reordered one must not bring an older command
    /// back.
    from: u32,
    /// When it came.
    at: Monotonic,
}

impl RateCommand {
    /// Whether a datagram may bring a newer command: it is newer itself, if not by absurdly much, and the
    /// change is one that a server can have made in the meantime.
    fn is_newer(&self, header: &Header, change: Frequency, now: Monotonic) -> bool {
        let ahead = header.sequence.wrapping_sub(self.from);
        let possible = RATE_SLACK + RATE_OF_RATE * (now - self.at).as_secs_f64();
        (1..SEQUENCE_AHEAD).contains(&ahead) && change.ratio().abs() <= possible
    }
}

impl Client {
    /// A new session begins with this rate command. Of the server that it has followed before, the client has
    /// missed what is new in it; another server counts from another zero.
    pub(super) fn take_rate_base(&mut self, now: Now, header: &Header, rate: Frequency) {
        let missed =
            if self.command.server == header.sender { rate - self.command.rate } else { Frequency::ZERO };
        self.command = RateCommand { server: header.sender, rate, from: header.sequence, at: now.mono };
        match self.refuses_change(now, missed) {
            // Nothing of it: what comes later is counted from here.
            Some(reason) => self.refuse(now, header.round, time::Correction::default(), reason),
            None => self.change_rate(now, missed),
        }
    }

    /// Takes over what is new in the cumulative rate command, unless that is beyond what is accepted.
    pub(super) fn follow_rate(&mut self, now: Now, header: &Header, rate: Frequency) -> Result<(), Refusal> {
        let change = rate - self.command.rate;
        if self.command.is_newer(header, change, now.mono) {
            if let Some(reason) = self.refuses_change(now, change) {
                return Err(reason);
            }
            self.command = RateCommand { rate, from: header.sequence, at: now.mono, ..self.command };
            self.change_rate(now, change);
        }
        Ok(())
    }

    fn change_rate(&mut self, now: Now, change: Frequency) {
        let rho = self.rho(now.raw);
        if let Link::Member(session) = &self.link {
            self.bound.steer(now.raw, change, session.terms.interval, rho);
        }
        // What is known of the frequency outlives a sleep, and what has changed meanwhile belongs to it.
        self.estimator.shift_frequency(now.raw, change);
        if self.state.has_cluster_time() {
            self.timescale.shift_frequency(now.raw, change);
        }
    }
}

/// A server changes its rate command by so much at once, at most …
const RATE_SLACK: f64 = 2e-6;
/// … and by so much per second, at most: twice what servers do.
const RATE_OF_RATE: f64 = 200e-9;
/// More datagrams than a session can lose.
const SEQUENCE_AHEAD: u32 = 1 << 16;

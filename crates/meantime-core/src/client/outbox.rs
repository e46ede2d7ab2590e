//! What a client hands to the program that drives it, in order: datagrams, actions and events.

use alloc::collections::VecDeque;

use crate::report_limit::ReportLimit;
use crate::roles::rank::Rank;
use crate::time::{Monotonic, Raw};
use crate::wire::Body;
use crate::{Action, ClientEvent};

/// The queues behind [`Node`](crate::Node)'s `poll_*` methods.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub datagrams: VecDeque<QueuedDatagram>,
    pub actions: VecDeque<Action>,
    pub events: VecDeque<ClientEvent>,
    doubts: ReportLimit,
}

/// A datagram that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum QueuedDatagram {
    /// Its body is complete.
    Ready(Body),
    /// The answer to a probe. It is written when it is sent, because it carries that time.
    Report(PendingReport),
}

/// The probe that a report will answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingReport {
    /// The probe's nonce.
    pub nonce: u64,
    /// The probe's round.
    pub round: u32,
    /// When the probe was received, by the oscillator.
    pub t2: Raw,
}

impl Outbox {
    /// Queues a datagram whose body is complete.
    pub(super) fn send(&mut self, body: Body) {
        self.datagrams.push_back(QueuedDatagram::Ready(body));
    }

    /// Queues an event.
    pub(super) fn report(&mut self, event: ClientEvent) {
        self.events.push_back(event);
    }

    /// Queues the event that a server is doubted, which one that lies could cause with each correction.
    pub(super) fn report_doubt(&mut self, now: Monotonic, event: ClientEvent) {
        if self.doubts.allow(now) {
            self.report(event);
        }
    }

    /// Asks for the server's address to be resolved.
    pub(super) fn resolve(&mut self, rank: Rank) {
        self.actions.push_back(Action::Resolve(rank));
    }
}

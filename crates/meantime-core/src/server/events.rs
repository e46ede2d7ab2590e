//! The events that wait to be reported.
//!
//! The network decides how many datagrams are refused or forged. So each kind of these is reported once a
//! minute at most.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::ServerEvent;
use crate::time::{Monotonic, Now, Span};
use crate::wire::{KeyId, Name, RejectReason};

/// The queue of events, and what limits it.
#[derive(Debug)]
pub(super) struct EventQueue {
    queue: VecDeque<ServerEvent>,
    per_client: PerClientEvents,
    /// When a refusal was reported last, by reason.
    refusals: Vec<(RejectReason, Monotonic)>,
    forgeries: ForgeryReports,
}

/// Whether each member's measurements and corrections are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PerClientEvents {
    Reported,
    Omitted,
}

/// When a wrong tag was reported last, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct ForgeryReports {
    no_key: Option<Monotonic>,
    unknown_key: Option<Monotonic>,
    wrong_key: Option<Monotonic>,
}

/// A datagram whose tag is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgery {
    /// Its source address.
    pub address: SocketAddr,
    /// The key that its header names.
    pub key: KeyId,
    /// Whether the server has that key.
    pub known: bool,
    /// The name in it, which is not authentic; empty: none.
    pub name: Name,
}

impl EventQueue {
    /// An empty queue.
    pub(super) fn new() -> EventQueue {
        EventQueue {
            queue: VecDeque::new(),
            per_client: PerClientEvents::Reported,
            refusals: Vec::new(),
            forgeries: ForgeryReports::default(),
        }
    }

    /// Reports an event.
    pub(super) fn push(&mut self, event: ServerEvent) {
        self.queue.push_back(event);
    }

    /// The next event.
    pub(super) fn pop(&mut self) -> Option<ServerEvent> {
        self.queue.pop_front()
    }

    /// With at most `limit` clients, each one's measurements and corrections are reported.
    pub(super) fn choose_per_client_events(&mut self, clients: usize, limit: usize) {
        self.per_client = if clients <= limit { PerClientEvents::Reported } else { PerClientEvents::Omitted };
    }

    /// Reports a measurement or a correction of one client, unless there are too many clients.
    pub(super) fn push_per_client(&mut self, event: impl FnOnce() -> ServerEvent) {
        if self.per_client == PerClientEvents::Reported {
            self.push(event());
        }
    }

    /// Reports a refusal, unless one with the same reason was reported within the last minute.
    pub(super) fn push_refusal(&mut self, now: Now, address: SocketAddr, reason: RejectReason, version: u8) {
        match self.refusals.iter_mut().find(|(reported, _)| *reported == reason) {
            Some((_, at)) if now.mono - *at < MIN_PAUSE => return,
            Some((_, at)) => *at = now.mono,
            None => self.refusals.push((reason, now.mono)),
        }
        self.push(ServerEvent::Refused { address, reason, version });
    }

    /// Reports a wrong tag, unless one of the same kind was reported within the last minute. The kinds are:
    /// no key, a key that the server does not have, and a key that has not made the tag.
    pub(super) fn push_forgery(&mut self, now: Now, forgery: Forgery) {
        let Forgery { address, key, known, name } = forgery;
        let reported = match key {
            KeyId::NONE => &mut self.forgeries.no_key,
            _ if known => &mut self.forgeries.wrong_key,
            _ => &mut self.forgeries.unknown_key,
        };
        if reported.is_some_and(|at| now.mono - at < MIN_PAUSE) {
            return;
        }
        *reported = Some(now.mono);
        self.push(ServerEvent::Unauthentic { address, key, known, name });
    }
}

impl Extend<ServerEvent> for EventQueue {
    fn extend<I: IntoIterator<Item = ServerEvent>>(&mut self, events: I) {
        self.queue.extend(events);
    }
}

/// The minimum time between two reports of the same kind.
const MIN_PAUSE: Span = Span::from_secs(60);

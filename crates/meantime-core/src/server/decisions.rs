//! What an operator has decided about clients goes from the active server to the standby servers, so that it
//! holds after a takeover.
//!
//! The list of decisions has a number, which each change raises. The client of a standby server says in its
//! heartbeats how much of which list it has, and the server answers with the next entries. So nothing has to
//! be remembered of who has what, and the loss of a datagram only delays the list.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Server;
use super::handles::Slot;
use crate::time::Now;
use crate::wire::{Body, DecidedClients, Decision, DecisionProgress, Ruling};

impl Server {
    /// An operator has changed the list.
    pub(super) fn note_decision(&mut self) {
        self.decisions = self.decisions.checked_add(1).unwrap_or(1);
    }

    /// Sends the next entries of the list to the client of a standby server that has got so far with it.
    pub(super) fn send_decisions(&mut self, slot: Slot, progress: DecisionProgress) {
        let is_peer = self.context.members.path(slot).is_some_and(|path| self.peers.contains(&path.peer));
        if self.context.is_standby() || !is_peer {
            return;
        }
        let removed = self.removed.decided();
        let list: Vec<DecidedClients> = removed.chain(self.registrar.bans().decided()).collect();
        let generation = self.decisions;
        let is_known = progress.generation == generation;
        let from = if is_known { usize::from(progress.entries) } else { 0 };
        if list.is_empty() && !is_known {
            let empty = Decision { generation, index: 0, last: true, decided: None };
            self.context.send(slot, 0, Body::Decision(empty));
        }
        for (place, decided) in list.iter().enumerate().skip(from).take(ENTRIES_AT_ONCE) {
            let (index, last) = (place as u16, place + 1 == list.len());
            let decision = Decision { generation, index, last, decided: Some(*decided) };
            self.context.send(slot, 0, Body::Decision(decision));
        }
    }

    /// The other servers are at these addresses: their clients are sent the list.
    pub(crate) fn set_peers(&mut self, peers: Vec<SocketAddr>) {
        self.peers = peers;
    }

    /// The server has taken over, with the list of the server before; `None`: it goes on with its own.
    pub(crate) fn adopt_decisions(&mut self, now: Now, list: Option<&[DecidedClients]>) {
        let Some(list) = list else { return };
        let of = |ruling| list.iter().copied().filter(move |decided| decided.ruling == ruling);
        self.removed.adopt(&mut self.context.members, of(Ruling::Removed));
        for address in self.registrar.bans_mut().adopt(&self.context.members, of(Ruling::Banned)) {
            self.expel(now, address);
        }
        self.note_decision();
    }
}

/// Entries in answer to one heartbeat.
const ENTRIES_AT_ONCE: usize = 16;

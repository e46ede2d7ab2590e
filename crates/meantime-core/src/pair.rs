//! A server and a client in one process: they share a socket, and each input goes to the one that it
//! concerns.

use core::net::SocketAddr;

use crate::time::{Monotonic, Now, Raw};
use crate::wire::{DecodeError, Direction, Kind, Message};
use crate::{Client, Counters, Node, Server, StampId, Transmit};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Pair {
    pub client: Client,
    pub server: Server,
    counters: Counters,
}

impl Pair {
    /// These two.
    pub(crate) fn new(client: Client, server: Server) -> Pair {
        Pair { client, server, counters: Counters::default() }
    }

    /// Whether a datagram is of a session of the client. Two processes that are each other's clients exchange
    /// datagrams of two sessions between the same two addresses.
    pub(crate) fn is_for_client(&self, peer: SocketAddr, datagram: &[u8]) -> bool {
        if !self.client.has_server(peer) {
            return false;
        }
        match Message::decode(datagram).map(|message| (message.body.kind().direction(), message.header)) {
            Ok((Some(direction), _)) => direction == Direction::ToClient,
            Ok((None, header)) => self.client.has_session(peer, header.session),
            Err(DecodeError::Version { kind, .. }) => kind == Kind::Reject as u8,
            Err(_) => true,
        }
    }

    /// A datagram with this id departed.
    pub(crate) fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        match id.0 & OF_CLIENT {
            0 => self.server.handle_transmitted(id, raw),
            _ => self.client.handle_transmitted(StampId(id.0 & !OF_CLIENT), raw),
        }
    }

    /// The next datagram of either.
    pub(crate) fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        // Reports first: while they wait, the clock that they state grows old.
        if let Some(mut transmit) = self.client.poll_transmit(now) {
            transmit.stamp = transmit.stamp.map(|StampId(id)| StampId(id | OF_CLIENT));
            return Some(transmit);
        }
        self.server.poll_transmit(now)
    }

    /// The earlier deadline of both.
    pub(crate) fn poll_timeout(&self) -> Option<Monotonic> {
        [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// Adds up the counts of both.
    pub(crate) fn count(&mut self) {
        self.counters = self.client.counters().plus(self.server.counters());
    }

    /// The counts of both, as they were added up last.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Whether this deadline has passed.
pub(crate) fn is_due(deadline: Option<Monotonic>, now: Now) -> bool {
    deadline.is_some_and(|deadline| deadline <= now.mono)
}

/// Set in the ids of the client's datagrams. The server's begin with a slot of its table, which is less than
/// 2³¹; the client's with the place of a server in its list.
const OF_CLIENT: u64 = 1 << 63;

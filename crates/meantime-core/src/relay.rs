//! A relay: a server that is also a client of another server, and serves that server's time.
//!
//! Both nodes are of one process, have the machine's oscillator, and share a socket. [`Relay`] gives each
//! input to the node that it concerns, and the server the time that the client follows, after each input.
//! What the time of a relay is, [`relayed_time`](crate::relayed_time) says.

use core::net::SocketAddr;

use crate::event::RelayEvent;
use crate::reference::{NoReference, ReferenceReading};
use crate::time::{Monotonic, Now, Raw, Span};
use crate::wire::{DecodeError, Direction, Kind, Message};
use crate::{
    Action, Client, ClientConfig, ClockReading, Counters, Node, Path, Server, ServerConfig, StampId, Transmit,
};

/// A server and the client by which it gets its time; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Relay {
    client: Client,
    server: Server,
    counters: Counters,
}

impl Relay {
    /// A relay that starts now. `seeds` must be unpredictable where an attacker can send datagrams; one is
    /// for the client, and one for the server.
    pub fn new(client: ClientConfig, server: ServerConfig, seeds: [[u8; 32]; 2], now: Now) -> Relay {
        let [client_seed, server_seed] = seeds;
        // The machine has one reference, which the client offers.
        let server = ServerConfig { relay: true, offers_reference: false, ..server };
        let server = Server::new(server, server_seed, now);
        let mut client = Client::new(client, client_seed, now);
        client.serve(server.node());
        Relay { client, server, counters: Counters::default() }
    }

    /// The node that follows the server above.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The node that serves those below.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The same.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Gives the client an input, and the server what the client knows after it.
    fn with_client(&mut self, now: Now, input: impl FnOnce(&mut Client)) {
        self.client.set_relay_lead(self.server.relay_lead(now));
        input(&mut self.client);
        self.server.set_lineage(self.client.lineage());
        self.server.set_external_time(now, self.client.external_time(now));
    }

    /// Whether a datagram is of the client's session. Relays that are each other's clients exchange datagrams
    /// of two sessions between the same two addresses.
    fn is_for_client(&self, peer: SocketAddr, datagram: &[u8]) -> bool {
        if self.client.server() != Some(peer) {
            return false;
        }
        match Message::decode(datagram).map(|message| (message.body.kind().direction(), message.header)) {
            Ok((Some(direction), _)) => direction == Direction::ToClient,
            Ok((None, header)) => self.client.has_session(header.session),
            Err(DecodeError::Version { kind, .. }) => kind == Kind::Reject as u8,
            Err(_) => true,
        }
    }

    fn count(&mut self) {
        self.counters = self.client.counters().plus(self.server.counters());
    }
}

impl Node for Relay {
    type Event = RelayEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        match self.is_for_client(path.peer, datagram) {
            true => self.with_client(now, |client| client.handle_received(now, received, path, datagram)),
            false => self.server.handle_received(now, received, path, datagram),
        }
        self.count();
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        match id.0 & OF_CLIENT {
            0 => self.server.handle_transmitted(id, raw),
            _ => self.client.handle_transmitted(StampId(id.0 & !OF_CLIENT), raw),
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.server.handle_lost(datagrams);
        self.count();
    }

    fn handle_timeout(&mut self, now: Now) {
        let is_due = |deadline: Option<Monotonic>| deadline.is_some_and(|deadline| deadline <= now.mono);
        let is_clients = is_due(self.client.poll_timeout());
        // Bursts and corrections begin with a line, whose age counts: it is of this moment, however long the
        // rounds of the server above are.
        self.with_client(now, |client| {
            if is_clients {
                client.handle_timeout(now);
            }
        });
        if is_due(self.server.poll_timeout()) {
            self.server.handle_timeout(now);
        }
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.client.handle_shutdown(now);
        self.server.handle_shutdown(now);
    }

    fn handle_resolved(&mut self, now: Now, server: Option<SocketAddr>) {
        self.with_client(now, |client| client.handle_resolved(now, server));
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        self.client.handle_reference(now, reading);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.with_client(now, |client| client.handle_suspended(now, slept));
        self.server.handle_suspended(now, slept);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        // Reports first: while they wait, the clock that they state grows old.
        if let Some(mut transmit) = self.client.poll_transmit(now) {
            transmit.stamp = transmit.stamp.map(|StampId(id)| StampId(id | OF_CLIENT));
            return Some(transmit);
        }
        self.server.poll_transmit(now)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.client.poll_action()
    }

    fn poll_event(&mut self) -> Option<RelayEvent> {
        let above = self.client.poll_event().map(RelayEvent::Upstream);
        above.or_else(|| self.server.poll_event().map(RelayEvent::Server))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min()
    }

    /// What its client's clock shows: the machine has one clock.
    fn read(&self, raw: Raw) -> ClockReading {
        self.client.read(raw)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Set in the ids of the client's datagrams. The server's begin with a slot of its table, which is less than
/// 2³¹; the client's are numbers of 32 bits.
const OF_CLIENT: u64 = 1 << 63;

//! A relay: a server that is also a client of another server, and serves that server's time.
//!
//! Both nodes are of one process, have the machine's oscillator, and share a socket. [`Relay`] gives each
//! input to the node that it concerns, and the server the time that the client follows, after each input.
//! What the time of a relay is, [`relayed_time`](crate::relayed_time) says.

use core::net::SocketAddr;

use crate::event::RelayEvent;
use crate::pair::{Pair, is_due};
use crate::reference::{NoReference, ReferenceReading};
use crate::roles::rank::Rank;
use crate::time::{Monotonic, Now, Raw, Span};
use crate::{
    Action, Client, ClientConfig, ClockReading, Counters, Node, Path, Server, ServerConfig, StampId, Transmit,
};

/// A server and the client by which it gets its time; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct Relay {
    pair: Pair,
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
        Relay { pair: Pair::new(client, server) }
    }

    /// The node that follows the server above.
    pub fn client(&self) -> &Client {
        &self.pair.client
    }

    /// The same.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.pair.client
    }

    /// The node that serves those below.
    pub fn server(&self) -> &Server {
        &self.pair.server
    }

    /// The same.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.pair.server
    }

    /// Gives the client an input, and the server what the client knows after it.
    fn with_client(&mut self, now: Now, input: impl FnOnce(&mut Client)) {
        let Pair { client, server, .. } = &mut self.pair;
        client.set_relay_lead(server.relay_lead(now));
        input(client);
        server.set_lineage(client.lineage());
        server.set_external_time(now, client.external_time(now));
    }
}

impl Node for Relay {
    type Event = RelayEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        match self.pair.is_for_client(path.peer, datagram) {
            true => self.with_client(now, |client| client.handle_received(now, received, path, datagram)),
            false => self.pair.server.handle_received(now, received, path, datagram),
        }
        self.pair.count();
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        self.pair.handle_transmitted(id, raw);
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.pair.server.handle_lost(datagrams);
        self.pair.count();
    }

    fn handle_timeout(&mut self, now: Now) {
        let is_clients = is_due(self.pair.client.poll_timeout(), now);
        // Bursts and corrections begin with a line, whose age counts: it is of this moment, however long the
        // rounds of the server above are.
        self.with_client(now, |client| {
            if is_clients {
                client.handle_timeout(now);
            }
        });
        if is_due(self.pair.server.poll_timeout(), now) {
            self.pair.server.handle_timeout(now);
        }
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.pair.client.handle_shutdown(now);
        self.pair.server.handle_shutdown(now);
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        self.with_client(now, |client| client.handle_resolved(now, rank, server));
    }

    fn handle_reference(&mut self, now: Now, reading: Result<ReferenceReading, NoReference>) {
        self.pair.client.handle_reference(now, reading);
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        self.with_client(now, |client| client.handle_suspended(now, slept));
        self.pair.server.handle_suspended(now, slept);
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        self.pair.poll_transmit(now)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.pair.client.poll_action()
    }

    fn poll_event(&mut self) -> Option<RelayEvent> {
        let above = self.pair.client.poll_event().map(RelayEvent::Upstream);
        above.or_else(|| self.pair.server.poll_event().map(RelayEvent::Server))
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.pair.poll_timeout()
    }

    /// What its client's clock shows: the machine has one clock.
    fn read(&self, raw: Raw) -> ClockReading {
        self.pair.client.read(raw)
    }

    fn counters(&self) -> &Counters {
        self.pair.counters()
    }
}

//! A server and a load generator in memory, with the time that the server takes.

#![allow(dead_code, reason = "each program uses a part of this")]

use std::net::SocketAddr;

use meantime::clock::monotonic;
use meantime_core::time::Span;
use meantime_core::{MasterKeys, Server, ServerConfig, ServerEvent};
use meantime_load::{ClientAddresses, LoadEvent, LoadGenerator, LoadPlan, LoadStatistics};
use meantime_sim::testkit::{Endpoint, Flight, Host, HostClock, LoadedServer, moment};

/// A server under load.
pub(crate) type Loaded = LoadedServer<LoadGenerator, TimedServer>;

/// A server, and what calls to it took.
pub(crate) struct TimedServer {
    /// The server.
    pub host: Host<Server>,
    /// The time that calls took.
    pub spent: Span,
    /// How often the server was called.
    pub calls: u64,
    /// The maximum number of datagrams that it sent after one call.
    pub max_at_once: usize,
    /// How many probes, corrections and Leave messages it has sent.
    pub sent: u64,
    /// Its events, but for those of single members.
    pub events: Vec<ServerEvent>,
}

/// A server and so many clients that begin to register.
pub(crate) fn loaded(config: ServerConfig, clients: usize) -> Loaded {
    let plan = LoadPlan {
        keys: MasterKeys::default(),
        clients,
        seed: 1,
        join_rate: 1_000_000,
        // For 36 rounds newcomers are measured more often, and one burst cuts the other short.
        settle: Span::from_secs(200),
        duration: Span::from_secs(1_000_000),
        pressure: 0,
    };
    let addresses = ClientAddresses::new([10, 0, 1, 0].into(), vec![1_000, 2_000, 3_000, 4_000]);
    let config =
        ServerConfig { max_clients: clients.max(config.max_clients), per_client_event_limit: 0, ..config };
    let start = |now| Server::new(config, [1; 32], now);
    let host = Host::start(0, HostClock::Offset(Span::ZERO), Span::ZERO, start);
    let generator = LoadGenerator::new(plan, addresses, moment(Span::ZERO, Span::ZERO));
    LoadedServer::new(TimedServer::new(host), generator)
}

/// Ends the load; what it has measured since no client was a newcomer any more.
pub(crate) fn finish(loaded: &mut Loaded) -> Box<LoadStatistics> {
    let at = loaded.now();
    let load = &mut loaded.load.0;
    load.input(at, meantime_core::Node::handle_shutdown);
    let statistics = load.events().into_iter().find_map(|event| match event {
        LoadEvent::Finished(statistics, ..) => Some(statistics),
        _ => None,
    });
    statistics.expect("a load ends once")
}

/// The server ends; how many datagrams it sends for that.
pub(crate) fn shut_down(loaded: &mut Loaded) -> usize {
    let at = loaded.now();
    let host = &mut loaded.server.host;
    host.input(at, meantime_core::Node::handle_shutdown);
    host.transmits(at).len()
}

impl TimedServer {
    fn new(host: Host<Server>) -> TimedServer {
        TimedServer { host, spent: Span::ZERO, calls: 0, max_at_once: 0, sent: 0, events: Vec::new() }
    }

    fn timed(&mut self, call: impl FnOnce(&mut Host<Server>)) {
        let before = monotonic();
        call(&mut self.host);
        self.spent += monotonic() - before;
        self.calls += 1;
        let events = self.host.events().into_iter();
        self.events.extend(
            events.filter(|event| {
                !matches!(event, ServerEvent::Connected { .. } | ServerEvent::Falseticker(_))
            }),
        );
    }
}

impl Endpoint for TimedServer {
    fn owns(&self, address: SocketAddr) -> bool {
        self.host.owns(address)
    }

    fn deadline(&self) -> Option<Span> {
        self.host.deadline()
    }

    fn wake(&mut self, at: Span) {
        if self.host.is_due(at) {
            self.timed(|host| host.wake(at));
        }
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        self.timed(|host| host.receive(at, flights));
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        let before = leaving.len();
        self.timed(|host| host.transmit(at, leaving));
        let sent = leaving.len() - before;
        self.max_at_once = self.max_at_once.max(sent);
        self.sent += sent as u64;
    }
}

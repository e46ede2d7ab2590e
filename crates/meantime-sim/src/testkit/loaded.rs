//! A server and a load generator: rounds of very many members in memory.
//!
//! A load generator is one node that stands for many clients. The peer of its paths is not the server but the
//! *client*, one of its own addresses; [`LoadHost`] turns that around. Paths take 50 µs each way, and timers
//! have a resolution of 1 ms, as with `epoll`.

use std::net::SocketAddr;

use meantime_core::time::Span;
use meantime_core::{Node, Path, Server, Transmit};

use super::address::address;
use super::delay::Delay;
use super::host::{Host, HostClock};
use super::network::{Endpoint, Flight, Network};

/// A server, wrapped in `S` if the caller wants to observe its calls, and a load generator.
#[derive(Debug)]
pub struct LoadedServer<L, S = Host<Server>> {
    /// The server.
    pub server: S,
    /// The load generator.
    pub load: LoadHost<L>,
    network: Network,
}

/// A load generator.
#[derive(Debug)]
pub struct LoadHost<L>(pub Host<L>);

impl<L: Node, S: Endpoint> LoadedServer<L, S> {
    /// Both, at time zero.
    pub fn new(server: S, load: L) -> LoadedServer<L, S> {
        let load = Host::start(1, HostClock::Offset(Span::ZERO), Span::ZERO, |_| load);
        let network = Network::new(Delay::constant(DELAY)).with_timer_resolution(TIMER_RESOLUTION);
        LoadedServer { server, load: LoadHost(load), network }
    }

    /// True time.
    pub fn now(&self) -> Span {
        self.network.now()
    }

    /// Lets so much time pass.
    pub fn run(&mut self, span: Span) {
        let until = self.network.now() + span;
        self.network.run_until(until, &mut [&mut self.server, &mut self.load]);
    }
}

impl<L: Node> Endpoint for LoadHost<L> {
    fn owns(&self, address: SocketAddr) -> bool {
        address != self.0.server
    }

    fn deadline(&self) -> Option<Span> {
        self.0.deadline()
    }

    fn wake(&mut self, at: Span) {
        self.0.wake(at);
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        let now = self.0.now(at);
        for flight in flights {
            let path = Path { peer: flight.to, local: None };
            self.0.node.handle_received(now, now.raw, path, &flight.datagram);
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        let (now, to) = (self.0.now(at), self.0.server);
        while let Some(Transmit { path, datagram, .. }) = self.0.node.poll_transmit(now) {
            leaving.push(Flight { from: path.peer, to, datagram });
        }
    }
}

/// The address of the server of a [`LoadedServer`].
pub fn server_address() -> SocketAddr {
    address(0)
}

/// One way.
const DELAY: Span = Span::from_micros(50);
/// Of `epoll`.
const TIMER_RESOLUTION: Span = Span::from_millis(1);

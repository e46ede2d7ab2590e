//! One node and its oscillator.

use std::net::SocketAddr;

use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::{Action, ClockReading, Node, Path, Transmit};

use super::address::address;
use super::network::{Endpoint, Flight};
use crate::START;
use crate::oscillator::Oscillator;

/// A node, its address, and the oscillator of its machine.
///
/// Every input is followed by a drain, as the contract of [`Node`] asks: [`Host::transmits`] for datagrams,
/// [`Host::events`] for events. Name lookups of any server are answered at once, with [`Host::server`].
#[derive(Debug)]
pub struct Host<N> {
    /// The node.
    pub node: N,
    /// Its oscillator.
    pub clock: HostClock,
    /// Where it is.
    pub address: SocketAddr,
    /// Where its server is, which lookups find.
    pub server: SocketAddr,
}

/// What a host's oscillator shows.
#[derive(Clone, Debug)]
pub enum HostClock {
    /// True time plus a constant.
    Offset(Span),
    /// A simulated oscillator.
    Oscillator(Box<Oscillator>),
}

impl HostClock {
    /// Both clocks of the machine at a true time.
    pub fn now(&mut self, at: Span) -> Now {
        match self {
            HostClock::Offset(offset) => moment(at, *offset),
            HostClock::Oscillator(oscillator) => Now { mono: monotonic(at), raw: oscillator.raw(at) },
        }
    }
}

impl<N: Node> Host<N> {
    /// A node with this number that has just been started by `start`, which gets the machine's clocks.
    pub fn start(number: usize, mut clock: HostClock, at: Span, start: impl FnOnce(Now) -> N) -> Host<N> {
        let node = start(clock.now(at));
        Host { node, clock, address: address(number), server: address(0) }
    }

    fn borrowed(&mut self) -> Borrowed<'_, N> {
        let Host { node, clock, address, server } = self;
        Borrowed { node, clock, address: *address, server: *server }
    }

    /// The machine's clocks at a true time.
    pub fn now(&mut self, at: Span) -> Now {
        self.clock.now(at)
    }

    /// Gives the node one input at a true time.
    pub fn input<T>(&mut self, at: Span, input: impl FnOnce(&mut N, Now) -> T) -> T {
        let now = self.now(at);
        input(&mut self.node, now)
    }

    /// Whether the node's deadline has passed.
    pub fn is_due(&self, at: Span) -> bool {
        self.node.poll_timeout().is_some_and(|deadline| deadline <= monotonic(at))
    }

    /// All datagrams that the node sends now.
    pub fn transmits(&mut self, at: Span) -> Vec<Transmit> {
        let now = self.now(at);
        drain(&mut self.node, now)
    }

    /// Whether the node wants its server's name looked up.
    pub fn wants_address(&mut self) -> bool {
        std::iter::from_fn(|| self.node.poll_action()).any(|action| matches!(action, Action::Resolve(_)))
    }

    /// All events that the node reports.
    pub fn events(&mut self) -> Vec<N::Event> {
        events(&mut self.node)
    }

    /// What the node's clock shows at a true time.
    pub fn read(&mut self, at: Span) -> ClockReading {
        let now = self.now(at);
        self.node.read(now.raw)
    }
}

/// A node that belongs to the caller, as an endpoint for the length of a run.
#[derive(Debug)]
pub struct Borrowed<'a, N> {
    /// The node.
    pub node: &'a mut N,
    /// Its oscillator.
    pub clock: &'a mut HostClock,
    /// Where it is.
    pub address: SocketAddr,
    /// Where its server is.
    pub server: SocketAddr,
}

impl<N: Node> Endpoint for Borrowed<'_, N> {
    fn owns(&self, address: SocketAddr) -> bool {
        address == self.address
    }

    fn deadline(&self) -> Option<Span> {
        self.node.poll_timeout().map(|deadline| deadline - monotonic(Span::ZERO))
    }

    fn wake(&mut self, at: Span) {
        let now = self.clock.now(at);
        if self.node.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.node.handle_timeout(now);
        }
        while let Some(Action::Resolve(rank)) = self.node.poll_action() {
            self.node.handle_resolved(now, rank, Some(self.server));
        }
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        let now = self.clock.now(at);
        for flight in flights {
            let path = Path { peer: flight.from, local: None };
            self.node.handle_datagram(now, path, &flight.datagram);
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        let (now, from) = (self.clock.now(at), self.address);
        while let Some(Transmit { path, datagram, .. }) = self.node.poll_transmit(now) {
            leaving.push(Flight { from, to: path.peer, datagram });
        }
    }
}

impl<N: Node> Endpoint for Host<N> {
    fn owns(&self, address: SocketAddr) -> bool {
        address == self.address
    }

    fn deadline(&self) -> Option<Span> {
        self.node.poll_timeout().map(|deadline| deadline - monotonic(Span::ZERO))
    }

    fn wake(&mut self, at: Span) {
        self.borrowed().wake(at);
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        self.borrowed().receive(at, flights);
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        self.borrowed().transmit(at, leaving);
    }
}

/// Both clocks at a true time, of a machine whose oscillator is perfect but for a constant offset.
pub fn moment(at: Span, offset: Span) -> Now {
    Now { mono: monotonic(at), raw: Raw::from_nanos(START.as_nanos()) + at + offset }
}

/// The monotonic clock of every host at a true time.
pub fn monotonic(at: Span) -> Monotonic {
    Monotonic::from_nanos(0) + at
}

/// All datagrams that a node sends now.
pub fn drain<N: Node>(node: &mut N, now: Now) -> Vec<Transmit> {
    std::iter::from_fn(|| node.poll_transmit(now)).collect()
}

/// All events that a node reports.
pub fn events<N: Node>(node: &mut N) -> Vec<N::Event> {
    std::iter::from_fn(|| node.poll_event()).collect()
}

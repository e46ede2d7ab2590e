//! A server and its clients, as pure state machines, with nothing between them but delays.
//!
//! One datagram travels at a time: who has something to send, sends it, and it arrives. So there is no queue
//! of events whose work would be measured, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meantime_core::time::{Monotonic, Now, Span};
use meantime_core::wire::{ClientState, DEFAULT_PORT, Name};
use meantime_core::{Action, Client, ClientConfig, Node, Path, Server, ServerConfig};
use meantime_sim::oscillator::Oscillator;

use super::{INTERVAL, Way, oscillator};

/// The nodes, and the true time.
pub(crate) struct Island {
    /// The server.
    pub server: Server,
    /// Its clients.
    pub clients: Vec<Client>,
    /// The server's, then the clients'.
    oscillators: Vec<Oscillator>,
    way: Way,
    at: Span,
}

impl Island {
    /// Nodes that have just been started.
    pub(crate) fn new(clients: usize) -> Island {
        let mut oscillators: Vec<Oscillator> = (0..=clients).map(oscillator).collect();
        let server = Server::new(ServerConfig::default(), [0; 32], now(Span::ZERO, &mut oscillators[0]));
        let client = |number: usize| {
            let config =
                ClientConfig { name: Name::new(&format!("client-{number}")), ..ClientConfig::default() };
            let mut seed = [1; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            Client::new(config, seed, now(Span::ZERO, &mut oscillators[number]))
        };
        let clients = (1..=clients).map(client).collect();
        Island { server, clients, oscillators, way: Way::new(), at: Span::ZERO }
    }

    /// Lets so many rounds pass.
    pub(crate) fn run(&mut self, rounds: i64) {
        let end = self.at + INTERVAL.times(rounds);
        while self.at < end {
            self.wake();
            self.exchange();
            self.sleep(end);
        }
    }

    /// How many clients have the cluster's time.
    pub(crate) fn synchronized(&mut self) -> usize {
        let at = self.at;
        let clocks = self.clients.iter().zip(&mut self.oscillators[1..]);
        let states = clocks.map(|(client, oscillator)| client.read(oscillator.raw(at)).state);
        states.filter(|state| *state == ClientState::Synchronized).count()
    }

    /// Tells everybody whose deadline has passed.
    fn wake(&mut self) {
        let at = self.at;
        let due = |deadline: Option<Monotonic>| deadline.is_some_and(|deadline| deadline <= monotonic(at));
        if due(self.server.poll_timeout()) {
            self.server.handle_timeout(now(at, &mut self.oscillators[0]));
        }
        for (client, oscillator) in self.clients.iter_mut().zip(&mut self.oscillators[1..]) {
            let now = now(at, oscillator);
            if due(client.poll_timeout()) {
                client.handle_timeout(now);
            }
            while client.poll_action() == Some(Action::Resolve) {
                client.handle_resolved(now, Some(address(0)));
            }
        }
    }

    /// Carries datagrams until nobody has anything to say.
    fn exchange(&mut self) {
        while self.carry_down() | self.carry_up() {}
        while self.server.poll_event().is_some() {}
        self.clients.iter_mut().for_each(|client| while client.poll_event().is_some() {});
    }

    /// Carries what the server has to say; whether that was anything.
    fn carry_down(&mut self) -> bool {
        let mut some = false;
        while let Some(transmit) = self.server.poll_transmit(now(self.at, &mut self.oscillators[0])) {
            self.at += self.way.delay();
            let number = number(transmit.path.peer);
            let now = now(self.at, &mut self.oscillators[number]);
            self.clients[number - 1].handle_datagram(now, path(0), &transmit.datagram);
            some = true;
        }
        some
    }

    /// Carries what the clients have to say; whether that was anything.
    fn carry_up(&mut self) -> bool {
        let mut some = false;
        for (client, number) in self.clients.iter_mut().zip(1..) {
            while let Some(transmit) = client.poll_transmit(now(self.at, &mut self.oscillators[number])) {
                self.at += self.way.delay();
                let now = now(self.at, &mut self.oscillators[0]);
                self.server.handle_datagram(now, path(number), &transmit.datagram);
                some = true;
            }
        }
        some
    }

    /// Until the next deadline nothing happens.
    fn sleep(&mut self, end: Span) {
        let clients = self.clients.iter().filter_map(Client::poll_timeout);
        let deadline = clients.chain(self.server.poll_timeout()).min();
        let next = deadline.map_or(end, |deadline| deadline - monotonic(Span::ZERO));
        self.at = self.at.max(next.min(end));
    }
}

/// What a node is told of a true time.
fn now(at: Span, oscillator: &mut Oscillator) -> Now {
    Now { mono: monotonic(at), raw: oscillator.raw(at) }
}

fn monotonic(at: Span) -> Monotonic {
    Monotonic::from_nanos(0) + at
}

/// The path to a node: 0 is the server.
fn path(number: usize) -> Path {
    Path { peer: address(number), local: None }
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(NETWORK + number as u32)), DEFAULT_PORT)
}

fn number(address: SocketAddr) -> usize {
    match address.ip() {
        IpAddr::V4(ip) => (ip.to_bits() - NETWORK) as usize,
        IpAddr::V6(_) => unreachable!("nobody has one"),
    }
}

/// The server is 10.0.0.1; the first client follows.
const NETWORK: u32 = 0x0a00_0001;

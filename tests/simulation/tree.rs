//! A tree of servers: one that is a client of another tells its own members the time that it follows.
//!
//! The lower server's oscillator is the upper client's published clock, and that is *given*: no vote moves
//! it. A leaf proves a bound to its relay's clock, the relay one to the root's; a leaf is off the root's time
//! by the sum at most.

use std::collections::BinaryHeap;
use std::net::SocketAddr;

use meantime_core::time::{Frequency, Monotonic, Now, Raw, Span, Timestamp};
use meantime_core::wire::{ClientState, ClusterId};
use meantime_core::{Action, Client, ClientConfig, Node, Path, Server, ServerConfig};
use meantime_sim::Jitter;
use meantime_sim::oscillator::{Errs, Oscillator};
use meantime_sim::seed::{Purpose, Seed};
use rand_chacha::ChaCha8Rng;

use crate::support::us;

/// A machine of the tree: a client of the one above it, and a server for those below.
struct Machine {
    oscillator: Oscillator,
    parent: Option<usize>,
    client: Option<Client>,
    server: Option<Server>,
}

impl Machine {
    fn now(&mut self, at: Span) -> Now {
        Now { mono: Monotonic::from_nanos(0) + at, raw: self.oscillator.raw(at) }
    }

    /// What the server takes for its oscillator: of the root the machine's own, of a relay its client's
    /// clock.
    fn server_now(&mut self, at: Span) -> Now {
        let now = self.now(at);
        match &self.client {
            Some(client) => Now { raw: Raw::from_nanos(client.read(now.raw).time.as_nanos()), ..now },
            None => now,
        }
    }

    fn shows(&mut self, at: Span) -> Timestamp {
        match &self.client {
            Some(client) => client.read(self.oscillator.raw(at)).time,
            None => self.server.as_ref().expect("the root").read(self.oscillator.raw(at)).time,
        }
    }

    fn bound(&mut self, at: Span) -> Option<Span> {
        let raw = self.oscillator.raw(at);
        self.client.as_ref().and_then(|client| client.read(raw).bound)
    }
}

/// A datagram under way: when it arrives, its number, from whom, to whom, and whether to the server there.
type Flight = (std::cmp::Reverse<(i64, u64)>, usize, usize, bool, Vec<u8>);

struct Tree {
    machines: Vec<Machine>,
    flights: BinaryHeap<Flight>,
    sent: u64,
    way: (Jitter, ChaCha8Rng),
    at: Span,
}

const RELAYS: usize = 3;
const LEAVES: usize = 4;

impl Tree {
    fn new(seed: u64) -> Tree {
        let seed = Seed(seed);
        let machine = |number: usize| {
            let errs = Errs {
                offset: Span::from_millis(137 * number as i64 - 800),
                drift: Frequency::from_ppm(7.0 * (number % 9) as f64 - 28.0),
                wander: 1e-9,
            };
            let mut oscillator = Oscillator::new(errs, seed.stream(Purpose::Wander, number));
            let start = Now { mono: Monotonic::from_nanos(0), raw: oscillator.raw(Span::ZERO) };
            let parent = match number {
                0 => None,
                relay if relay <= RELAYS => Some(0),
                leaf => Some(1 + (leaf - RELAYS - 1) / LEAVES),
            };
            let bytes = [number as u8 + 1; 32];
            let client = parent.map(|_| Client::new(ClientConfig::default(), bytes, start));
            let server = (number == 0).then(|| Server::new(ServerConfig::default(), bytes, start));
            Machine { oscillator, parent, client, server }
        };
        let machines = (0..=RELAYS + RELAYS * LEAVES).map(machine).collect();
        let way = (Jitter::Exponential { mean: us(20) }, seed.stream(Purpose::Down, 0));
        Tree { machines, flights: BinaryHeap::new(), sent: 0, way, at: Span::ZERO }
    }

    fn run(&mut self, until: Span) {
        while self.at < until {
            self.open_relays();
            self.wake();
            self.send();
            let next = self.flights.peek().map(|flight| Span::from_nanos(flight.0.0.0));
            // Timers are looked at every two milliseconds: they are late, never early.
            self.at = next.unwrap_or(until).min(self.at + us(2_000)).min(until);
            while self.flights.peek().is_some_and(|flight| flight.0.0.0 <= self.at.as_nanos()) {
                let Some((_, from, to, up, datagram)) = self.flights.pop() else { break };
                self.deliver(from, to, up, &datagram);
            }
        }
    }

    /// A relay begins to serve once it has the root's time.
    fn open_relays(&mut self) {
        let at = self.at;
        for (number, machine) in self.machines.iter_mut().enumerate().skip(1).take(RELAYS) {
            let raw = machine.oscillator.raw(at);
            let ready = |client: &Client| {
                client.read(raw).state == ClientState::Synchronized && at > Span::from_secs(60)
            };
            if machine.server.is_none() && machine.client.as_ref().is_some_and(ready) {
                let config = ServerConfig { external_cluster: Some(ClusterId(7)), ..ServerConfig::default() };
                let now = machine.server_now(at);
                machine.server = Some(Server::new(config, [number as u8 + 100; 32], now));
            }
        }
    }

    fn wake(&mut self) {
        let at = self.at;
        let due =
            |deadline: Option<Monotonic>| deadline.is_some_and(|due| due <= Monotonic::from_nanos(0) + at);
        for machine in &mut self.machines {
            let (now, server_now) = (machine.now(at), machine.server_now(at));
            let parent = machine.parent.map(address);
            if let Some(client) = &mut machine.client {
                if due(client.poll_timeout()) {
                    client.handle_timeout(now);
                }
                while client.poll_action() == Some(Action::Resolve) {
                    client.handle_resolved(now, parent);
                }
                while client.poll_event().is_some() {}
            }
            if let Some(server) = &mut machine.server {
                if due(server.poll_timeout()) {
                    server.handle_timeout(server_now);
                }
                while server.poll_event().is_some() {}
            }
        }
    }

    fn send(&mut self) {
        let at = self.at;
        for number in 0..self.machines.len() {
            let machine = &mut self.machines[number];
            let (now, server_now) = (machine.now(at), machine.server_now(at));
            let mut leaving = Vec::new();
            if let (Some(client), Some(parent)) = (&mut machine.client, machine.parent) {
                while let Some(transmit) = client.poll_transmit(now) {
                    leaving.push((parent, true, transmit.datagram.to_vec()));
                }
            }
            if let Some(server) = &mut machine.server {
                while let Some(transmit) = server.poll_transmit(server_now) {
                    leaving.push((number_at(transmit.path.peer), false, transmit.datagram.to_vec()));
                }
            }
            for (to, up, datagram) in leaving {
                let arrives = at + us(100) + self.way.0.draw(&mut self.way.1);
                self.sent += 1;
                self.flights.push((
                    std::cmp::Reverse((arrives.as_nanos(), self.sent)),
                    number,
                    to,
                    up,
                    datagram,
                ));
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, up: bool, datagram: &[u8]) {
        let at = self.at;
        let machine = &mut self.machines[to];
        let path = Path { peer: address(from), local: None };
        let (now, server_now) = (machine.now(at), machine.server_now(at));
        match (up, &mut machine.server, &mut machine.client) {
            (true, Some(server), _) => server.handle_datagram(server_now, path, datagram),
            (false, _, Some(client)) => client.handle_datagram(now, path, datagram),
            // A relay that does not serve yet.
            _ => {}
        }
    }
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8 + 1], 5525))
}

fn number_at(address: SocketAddr) -> usize {
    match address.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => unreachable!("nobody has one"),
    }
}

#[ignore = "long: scripts/check.sh runs it"]
#[test]
fn in_a_tree_of_servers_the_bounds_add_up() {
    let mut tree = Tree::new(1);
    tree.run(WARM_UP);
    let (mut relays, mut leaves, mut bounded) = ((0.0, 0.0), (0.0, 0.0), 0);
    // A leaf's bound is of its relay's clock at some exchange not long ago.
    let mut relay_bounds = vec![Vec::new(); RELAYS + 1];
    for step in 0..STEPS {
        let at = WARM_UP + Span::from_millis(100).times(step);
        tree.run(at);
        let root = tree.machines[0].shows(at);
        for number in 1..tree.machines.len() {
            let off = tree.machines[number].shows(at) - root;
            let own = tree.machines[number].bound(at);
            let (sum, bound) = if number <= RELAYS {
                relay_bounds[number].extend(own);
                (&mut relays, own)
            } else {
                let above: &Vec<Span> = &relay_bounds[tree.machines[number].parent.unwrap()];
                let recent = above.iter().rev().take(LOOK_BACK).max().copied();
                (&mut leaves, own.zip(recent).map(|(own, above)| own + above))
            };
            sum.0 += off.as_secs_f64().powi(2);
            sum.1 += 1.0;
            if let Some(bound) = bound {
                bounded += 1;
                assert!(off.abs() <= bound, "at {at} machine {number} is off by {off}, more than {bound}");
            }
        }
    }
    let rms = |(squares, count): (f64, f64)| (squares / count).sqrt() * 1e6;
    let (relays, leaves) = (rms(relays), rms(leaves));
    assert!(bounded > STEPS as usize * (RELAYS + RELAYS * LEAVES) * 9 / 10, "only {bounded} bounds");
    assert!(relays > 0.1 && relays < 20.0, "relays are off by {relays} us");
    // More than the root of the sum of squares: a relay's clock is bent by its corrections, and its members
    // follow late.
    assert!(
        leaves > relays && leaves < 10.0 * relays,
        "leaves are off by {leaves} us, relays by {relays} us"
    );
}

/// The relays have settled by then, and their members.
const WARM_UP: Span = Span::from_secs(200);
/// So many tenths of a second are looked at.
const STEPS: i64 = 1_500;
/// Fifteen seconds of tenths.
const LOOK_BACK: usize = 150;

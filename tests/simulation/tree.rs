//! A tree of servers: a client of one server can itself serve that server's time to others.
//!
//! The lower server's oscillator is the upper client's published clock, and that is *given*: no vote moves
//! it. A leaf proves a bound to its relay's clock, the relay one to the root's; a leaf is off the root's time
//! by the sum at most.

use std::net::SocketAddr;

use meantime_core::time::{Frequency, Raw, Span, Timestamp};
use meantime_core::wire::{ClientState, ClusterId};
use meantime_core::{Client, ClientConfig, Node, Server, ServerConfig};
use meantime_sim::oscillator::{Oscillator, OscillatorError};
use meantime_sim::seed::{Purpose, Seed};
use meantime_sim::testkit::address::address;
use meantime_sim::testkit::host::Borrowed;
use meantime_sim::testkit::{Delay, Endpoint, Flight, HostClock, Network};

use crate::support::us;

/// A machine of the tree: a client of the one above it, and a server for those below.
struct Machine {
    number: usize,
    oscillator: HostClock,
    parent: Option<usize>,
    client: Option<Client>,
    server: Option<Server>,
}

impl Machine {
    fn new(number: usize, seed: Seed) -> Machine {
        let error = OscillatorError {
            offset: Span::from_millis(137 * number as i64 - 800),
            drift: Frequency::from_ppm(7.0 * (number % 9) as f64 - 28.0),
            wander: 1e-9,
        };
        let oscillator = Oscillator::new(error, seed.stream(Purpose::Wander, number));
        let mut oscillator = HostClock::Oscillator(Box::new(oscillator));
        let start = oscillator.now(Span::ZERO);
        let parent = match number {
            0 => None,
            relay if relay <= RELAYS => Some(0),
            leaf => Some(1 + (leaf - RELAYS - 1) / LEAVES),
        };
        let bytes = [number as u8 + 1; 32];
        let client = parent.map(|_| Client::new(ClientConfig::default(), bytes, start));
        let server = (number == 0).then(|| Server::new(ServerConfig::default(), bytes, start));
        Machine { number, oscillator, parent, client, server }
    }

    /// The oscillator of the machine's server: the root's own, or the clock of a relay's client.
    fn server_clock(&mut self, at: Span) -> HostClock {
        let perfect = HostClock::Offset(Span::ZERO).now(at).raw;
        let raw = match &self.client {
            Some(client) => Raw::from_nanos(client.read(self.oscillator.now(at).raw).time.as_nanos()),
            None => self.oscillator.now(at).raw,
        };
        HostClock::Offset(raw - perfect)
    }

    /// A relay begins to serve once it has the root's time.
    fn serve(&mut self, at: Span) {
        let Some(client) = self.client.as_ref().filter(|_| self.server.is_none()) else { return };
        let state = client.read(self.oscillator.now(at).raw).state;
        if state == ClientState::Synchronized && at > Span::from_secs(60) {
            let config = ServerConfig { external_cluster: Some(ClusterId(7)), ..ServerConfig::default() };
            let now = self.server_clock(at).now(at);
            self.server = Some(Server::new(config, [self.number as u8 + 100; 32], now));
        }
    }

    fn as_client(&mut self) -> Option<Borrowed<'_, Client>> {
        let (address, server) = (address(self.number), address(self.parent?));
        Some(Borrowed { node: self.client.as_mut()?, clock: &mut self.oscillator, address, server })
    }

    /// Calls the server, if there is one, as an endpoint.
    fn with_server(&mut self, at: Span, call: impl FnOnce(&mut Borrowed<'_, Server>)) {
        let (mut clock, address) = (self.server_clock(at), address(self.number));
        if let Some(node) = &mut self.server {
            call(&mut Borrowed { node, clock: &mut clock, address, server: address });
        }
    }

    fn published(&mut self, at: Span) -> Timestamp {
        let raw = self.oscillator.now(at).raw;
        match &self.client {
            Some(client) => client.read(raw).time,
            None => self.server.as_ref().expect("the root has a server").read(raw).time,
        }
    }

    fn bound(&mut self, at: Span) -> Option<Span> {
        let raw = self.oscillator.now(at).raw;
        self.client.as_ref().and_then(|client| client.read(raw).bound)
    }
}

/// Both nodes of a machine share its address: what comes from its parent is for the client, all else for the
/// server.
impl Endpoint for Machine {
    fn owns(&self, to: SocketAddr) -> bool {
        to == address(self.number)
    }

    fn deadline(&self) -> Option<Span> {
        let start = HostClock::Offset(Span::ZERO).now(Span::ZERO).mono;
        let nodes = [
            self.client.as_ref().and_then(Node::poll_timeout),
            self.server.as_ref().and_then(Node::poll_timeout),
        ];
        nodes.into_iter().flatten().min().map(|deadline| deadline - start)
    }

    fn wake(&mut self, at: Span) {
        if let Some(mut client) = self.as_client() {
            client.wake(at);
            while client.node.poll_event().is_some() {}
        }
        self.serve(at);
        self.with_server(at, |server| {
            server.wake(at);
            while server.node.poll_event().is_some() {}
        });
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        let parent = self.parent.map(address);
        for flight in flights {
            if Some(flight.from) == parent {
                self.as_client().expect("it has a parent").receive(at, &[*flight]);
            } else {
                self.with_server(at, |server| server.receive(at, &[*flight]));
            }
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        if let Some(mut client) = self.as_client() {
            client.transmit(at, leaving);
        }
        self.with_server(at, |server| server.transmit(at, leaving));
    }
}

struct Tree {
    machines: Vec<Machine>,
    network: Network,
}

const RELAYS: usize = 3;
const LEAVES: usize = 4;

impl Tree {
    fn new(seed: u64) -> Tree {
        let machines = (0..=RELAYS + RELAYS * LEAVES).map(|number| Machine::new(number, Seed(seed)));
        // Timers are late by up to two milliseconds, never early.
        let network = Network::new(Delay::lan(Seed(seed))).with_timer_resolution(us(2_000));
        Tree { machines: machines.collect(), network }
    }

    fn run(&mut self, until: Span) {
        let mut endpoints: Vec<&mut dyn Endpoint> = Vec::new();
        endpoints.extend(self.machines.iter_mut().map(|machine| machine as &mut dyn Endpoint));
        self.network.run_until(until, &mut endpoints);
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
        let root = tree.machines[0].published(at);
        for number in 1..tree.machines.len() {
            let off = tree.machines[number].published(at) - root;
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

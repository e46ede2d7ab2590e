//! The machines of a tree, and the network between them.

use std::net::SocketAddr;

use meantime_core::event::Adjustment;
use meantime_core::server::Target;
use meantime_core::time::{Frequency, Span};
use meantime_core::{Client, ClientConfig, ClientEvent, ClockReading, Node, Server, ServerConfig};
use meantime_sim::oscillator::{Oscillator, OscillatorError};
use meantime_sim::seed::{Purpose, Seed};
use meantime_sim::testkit::address::address;
use meantime_sim::testkit::host::{Borrowed, monotonic};
use meantime_sim::testkit::{Delay, Endpoint, Flight, HostClock, Network};
use rand::RngExt;

use crate::support::us;

/// A machine of the tree: a client of the one above it, and a server for those below. Both nodes have the
/// machine's oscillator.
pub(super) struct Machine {
    number: usize,
    pub(super) oscillator: HostClock,
    /// The number of the machine above.
    pub(super) parent: Option<usize>,
    pub(super) client: Option<Client>,
    pub(super) server: Option<Server>,
    /// How often its client has reported that its bound was broken.
    pub(super) broken: usize,
    /// Whether it is suspended.
    asleep: bool,
}

impl Machine {
    fn new(number: usize, parent: Option<usize>, serves: Option<Span>, seed: Seed) -> Machine {
        let error = OscillatorError {
            offset: Span::from_millis(137 * number as i64 - 800),
            drift: Frequency::from_ppm(7.0 * (number % 9) as f64 - 28.0),
            wander: 1e-9,
        };
        let oscillator = Oscillator::new(error, seed.stream(Purpose::Wander, number));
        let mut oscillator = HostClock::Oscillator(Box::new(oscillator));
        let start = oscillator.now(Span::ZERO);
        let bytes = [number as u8 + 1; 32];
        let client = parent.map(|_| Client::new(ClientConfig::default(), bytes, start));
        let server = serves.map(|interval| {
            let relay = parent.is_some();
            let config = ServerConfig { relay, interval, max_relay_lead: HOUR, ..ServerConfig::default() };
            Server::new(config, [number as u8 + 100; 32], start)
        });
        Machine { number, oscillator, parent, client, server, broken: 0, asleep: false }
    }

    /// Gives the client an input, and the server the time that the client follows after it.
    fn with_client(&mut self, at: Span, input: impl FnOnce(&mut Borrowed<'_, Client>)) {
        let Some(parent) = self.parent else { return };
        let (address, server, clock) = (address(self.number), address(parent), &mut self.oscillator);
        let Some(node) = &mut self.client else { return };
        node.set_relay_lead(self.server.as_ref().map_or(Span::ZERO, Server::relay_lead));
        input(&mut Borrowed { node, clock, address, server });
        while let Some(event) = node.poll_event() {
            self.broken += usize::from(matches!(event, ClientEvent::BoundBroken { .. }));
        }
        let now = self.oscillator.now(at);
        if let Some(server) = &mut self.server {
            server.set_external_time(now, node.external_time(now));
        }
    }

    fn with_server(&mut self, input: impl FnOnce(&mut Borrowed<'_, Server>)) {
        let (clock, address) = (&mut self.oscillator, address(self.number));
        if let Some(node) = &mut self.server {
            input(&mut Borrowed { node, clock, address, server: address });
            while node.poll_event().is_some() {}
        }
    }

    /// It was suspended for so long, and its oscillator stood still; its processes are told `told`.
    fn resume(&mut self, at: Span, slept: Span, told: Span) {
        self.asleep = false;
        if let HostClock::Oscillator(oscillator) = &mut self.oscillator {
            oscillator.jump(at, -slept);
        }
        let now = self.oscillator.now(at);
        self.with_client(at, |client| client.node.handle_suspended(now, told));
        self.with_server(|server| server.node.handle_suspended(now, told));
    }

    /// What its clock shows: its client's, if it has one.
    fn read(&mut self, at: Span) -> ClockReading {
        let raw = self.oscillator.now(at).raw;
        match (&self.client, &self.server) {
            (Some(client), _) => client.read(raw),
            (None, Some(server)) => server.read(raw),
            (None, None) => unreachable!("a machine has a node"),
        }
    }
}

/// Both nodes of a machine share its address: what comes from its parent is for the client, all else for the
/// server.
impl Endpoint for Machine {
    fn owns(&self, to: SocketAddr) -> bool {
        to == address(self.number)
    }

    fn deadline(&self) -> Option<Span> {
        if self.asleep {
            return None;
        }
        let client = self.client.as_ref().and_then(Node::poll_timeout);
        let server = self.server.as_ref().and_then(Node::poll_timeout);
        [client, server].into_iter().flatten().min().map(|deadline| deadline - monotonic(Span::ZERO))
    }

    fn wake(&mut self, at: Span) {
        self.with_client(at, |client| client.wake(at));
        self.with_server(|server| server.wake(at));
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        if self.asleep {
            return;
        }
        let parent = self.parent.map(address);
        for flight in flights {
            match Some(flight.from) == parent {
                true => self.with_client(at, |client| client.receive(at, &[*flight])),
                false => self.with_server(|server| server.receive(at, &[*flight])),
            }
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        self.with_client(at, |client| client.transmit(at, leaving));
        self.with_server(|server| server.transmit(at, leaving));
    }
}

/// Machines, and a network that loses some of what they send.
pub(super) struct Tree {
    pub(super) machines: Vec<Machine>,
    network: Network,
    loss: f64,
    lost: rand_chacha::ChaCha8Rng,
    /// The machine of which nothing arrives.
    pub(super) silent: Option<usize>,
}

impl Tree {
    /// Machine n has the parent `parents[n]`; those with children serve.
    pub(super) fn new(parents: &[Option<usize>], loss: f64, seed: Seed) -> Tree {
        Tree::with_intervals(parents, loss, seed, &[])
    }

    /// The same; the rounds of a machine of level n have the length `intervals[n]`, if there is that.
    pub(super) fn with_intervals(
        parents: &[Option<usize>],
        loss: f64,
        seed: Seed,
        intervals: &[Span],
    ) -> Tree {
        let depth = |number: usize| std::iter::successors(parents[number], |above| parents[*above]).count();
        let interval = |number| intervals.get(depth(number)).copied().unwrap_or(Span::from_secs(5));
        let serves = |number| parents.contains(&Some(number)).then(|| interval(number));
        let machines = parents.iter().enumerate();
        let machines = machines.map(|(number, parent)| Machine::new(number, *parent, serves(number), seed));
        // Timers are late by up to two milliseconds, never early.
        let network = Network::new(Delay::lan(seed)).with_timer_resolution(us(2_000));
        Tree { machines: machines.collect(), network, loss, lost: seed.stream(Purpose::Up, 0), silent: None }
    }

    pub(super) fn run(&mut self, until: Span) {
        let Tree { machines, network, loss, lost, silent } = self;
        let silent = silent.map(address);
        let mut endpoints: Vec<&mut dyn Endpoint> = Vec::new();
        endpoints.extend(machines.iter_mut().map(|machine| machine as &mut dyn Endpoint));
        network.run_altering(until, &mut endpoints, |flight| {
            let is_lost = *loss > 0.0 && lost.random_bool(*loss);
            !is_lost && Some(flight.from) != silent
        });
    }

    /// Suspends a machine for so long. Afterwards its processes are told that it was longer by `wrong`.
    pub(super) fn suspend(&mut self, number: usize, slept: Span, wrong: Span) {
        self.machines[number].asleep = true;
        self.run(self.now() + slept);
        let at = self.now();
        self.machines[number].resume(at, slept, slept + wrong);
    }

    pub(super) fn now(&self) -> Span {
        self.network.now()
    }

    /// An operator sets the time of all roots.
    pub(super) fn set_time(&mut self, by: Span, how: Adjustment) {
        let at = self.now();
        for machine in self.machines.iter_mut().filter(|machine| machine.client.is_none()) {
            let now = machine.oscillator.now(at);
            let Some(server) = &mut machine.server else { continue };
            server.set_time(now, Target::By(by), how).expect("the root's time can be set");
        }
    }

    /// The clock of a machine now.
    pub(super) fn read(&mut self, number: usize) -> ClockReading {
        let at = self.now();
        self.machines[number].read(at)
    }

    /// What a machine's clock shows minus what that of its root does.
    pub(super) fn off(&mut self, number: usize) -> Span {
        let above = std::iter::successors(Some(number), |number| self.machines[*number].parent);
        let root = above.last().expect("it is its own root if it has no parent");
        self.read(number).time - self.read(root).time
    }

    /// How many machines are above this one.
    pub(super) fn level(&self, number: usize) -> usize {
        self.machines[number].parent.map_or(0, |parent| 1 + self.level(parent))
    }
}

/// More than any relay of a tree needs.
const HOUR: Span = Span::from_secs(3_600);

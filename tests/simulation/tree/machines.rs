//! The machines of a tree, and the network between them.

use std::net::SocketAddr;

use meantime_core::event::Adjustment;
use meantime_core::server::Target;
use meantime_core::time::{Frequency, Span};
use meantime_core::{
    Client, ClientConfig, ClientEvent, ClockReading, Node, Relay, RelayEvent, Server, ServerConfig,
};
use meantime_sim::oscillator::{Oscillator, OscillatorError};
use meantime_sim::seed::{Purpose, Seed};
use meantime_sim::testkit::address::address;
use meantime_sim::testkit::host::{Borrowed, monotonic};
use meantime_sim::testkit::{Delay, Endpoint, Flight, HostClock, Network};
use rand::RngExt;

use crate::support::us;

/// A machine of the tree.
pub(super) struct Machine {
    number: usize,
    pub(super) oscillator: HostClock,
    /// The number of the machine above.
    pub(super) parent: Option<usize>,
    node: TreeNode,
    /// How often its client has reported that its bound was broken.
    pub(super) broken: usize,
    /// How often it has refused to follow a server because of a loop.
    pub(super) loops: usize,
    /// Whether it is suspended.
    asleep: bool,
}

/// What runs on a machine.
enum TreeNode {
    Root(Box<Server>),
    Relay(Box<Relay>),
    Leaf(Box<Client>),
}

/// Calls a method of the node, whichever it is.
macro_rules! on_node {
    ($machine:expr, $node:ident => $call:expr) => {
        match &mut $machine.node {
            TreeNode::Root($node) => $call,
            TreeNode::Relay($node) => $call,
            TreeNode::Leaf($node) => $call,
        }
    };
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
        let seeds = [[number as u8 + 1; 32], [number as u8 + 100; 32]];
        let client = ClientConfig::default();
        let server =
            serves.map(|interval| ServerConfig { interval, max_relay_lead: HOUR, ..ServerConfig::default() });
        let node = match (parent, server) {
            (Some(_), Some(server)) => TreeNode::Relay(Box::new(Relay::new(client, server, seeds, start))),
            (Some(_), None) => TreeNode::Leaf(Box::new(Client::new(client, seeds[0], start))),
            (None, server) => {
                TreeNode::Root(Box::new(Server::new(server.unwrap_or_default(), seeds[1], start)))
            }
        };
        Machine { number, oscillator, parent, node, broken: 0, loops: 0, asleep: false }
    }

    /// Gives the node an input, as a host of the network.
    fn with_endpoint(&mut self, input: impl FnOnce(&mut dyn Endpoint)) {
        let (number, parent) = (self.number, self.parent.unwrap_or(self.number));
        let (clock, address, server) = (&mut self.oscillator, address(number), address(parent));
        on_node!(self, node => input(&mut Borrowed { node: &mut **node, clock, address, server }));
        self.count_events();
    }

    /// Takes all events of the node.
    fn count_events(&mut self) {
        let mut of_client = Vec::new();
        match &mut self.node {
            TreeNode::Root(server) => while server.poll_event().is_some() {},
            TreeNode::Relay(relay) => {
                while let Some(event) = relay.poll_event() {
                    of_client.extend(if let RelayEvent::Upstream(event) = event {
                        Some(event)
                    } else {
                        None
                    });
                }
            }
            TreeNode::Leaf(client) => of_client.extend(std::iter::from_fn(|| client.poll_event())),
        }
        for event in of_client {
            self.broken += usize::from(matches!(event, ClientEvent::BoundBroken { .. }));
            self.loops += usize::from(matches!(event, ClientEvent::UpstreamRefused { .. }));
        }
    }

    /// It was suspended for so long, and its oscillator stood still; its processes are told `told`.
    fn resume(&mut self, at: Span, slept: Span, told: Span) {
        self.asleep = false;
        if let HostClock::Oscillator(oscillator) = &mut self.oscillator {
            oscillator.jump(at, -slept);
        }
        let now = self.oscillator.now(at);
        on_node!(self, node => node.handle_suspended(now, told));
        self.count_events();
    }

    /// What its clock shows.
    fn read(&mut self, at: Span) -> ClockReading {
        let raw = self.oscillator.now(at).raw;
        on_node!(self, node => node.read(raw))
    }
}

impl Endpoint for Machine {
    fn owns(&self, to: SocketAddr) -> bool {
        to == address(self.number)
    }

    fn deadline(&self) -> Option<Span> {
        if self.asleep {
            return None;
        }
        let deadline = match &self.node {
            TreeNode::Root(server) => server.poll_timeout(),
            TreeNode::Relay(relay) => relay.poll_timeout(),
            TreeNode::Leaf(client) => client.poll_timeout(),
        };
        deadline.map(|deadline| deadline - monotonic(Span::ZERO))
    }

    fn wake(&mut self, at: Span) {
        if !self.asleep {
            self.with_endpoint(|node| node.wake(at));
        }
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        if !self.asleep {
            self.with_endpoint(|node| node.receive(at, flights));
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        if !self.asleep {
            self.with_endpoint(|node| node.transmit(at, leaving));
        }
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

    /// An operator sets the time of all roots that have one: those with clients.
    pub(super) fn set_time(&mut self, by: Span, how: Adjustment) {
        let at = self.now();
        for machine in &mut self.machines {
            let now = machine.oscillator.now(at);
            let TreeNode::Root(server) = &mut machine.node else { continue };
            if server.clients() > 0 {
                server.set_time(now, Target::By(by), how).expect("the root's time can be set");
            }
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

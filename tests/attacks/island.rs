//! The good machines, their network, and the attacker on it.

use std::net::{IpAddr, SocketAddr};

use meantime_core::event::Voter;
use meantime_core::time::Span;
use meantime_core::wire::{KeyId, Master, Name};
use meantime_core::{
    Action, Client, ClientConfig, ClientEvent, Keyring, Node, Server, ServerConfig, ServerEvent,
};
use meantime_sim::testkit::{Delay, Endpoint, Flight, Host, HostClock, Network, moment};
use meantime_sim::{Jitter, ReferenceModel, START, seed::Seed};

use crate::attacker::Attacker;
use crate::guarantee::Guarantee;

/// A server, its good clients, and the attacker. Client k is at 10.0.0.(k + 1).
pub(crate) struct Island {
    pub server: Host<Server>,
    pub good: Vec<Host<Client>>,
    pub attacker: Attacker,
    /// What the server has reported.
    pub told: Vec<ServerEvent>,
    /// What each good client has reported.
    pub clients_told: Vec<Vec<ClientEvent>>,
    /// What the machines of the good clocks, the server's first, know of UTC, which is true time.
    pub references: Vec<Option<ReferenceModel>>,
    network: Network,
    /// The good clients are switched on at this time; each its own.
    starts: Vec<Span>,
    /// What each good clock, the server's first, was ahead of true time at the mark; `None`: it had no
    /// cluster time.
    marked: Vec<Option<Span>>,
    /// The largest distance of a good clock from where it was at the mark.
    moved: Span,
    guarantee: Guarantee,
}

impl Island {
    /// A server of this configuration and so many good clients. Their clocks are apart by up to two seconds.
    pub(crate) fn new(config: ServerConfig, good: usize) -> Island {
        let keyed = !config.keys.is_empty();
        let client = |number: usize| {
            let name = Name::new(&format!("good-{number}"));
            let keys = keyed.then(|| (KEY, master().node(&name)));
            let keys = vec![Keyring::new(keys.into_iter().collect())];
            ClientConfig { name, keys, ..ClientConfig::default() }
        };
        Island::with_clients(config, (1..=good).map(client).collect())
    }

    /// The same, with clients of these configurations.
    pub(crate) fn with_clients(config: ServerConfig, clients: Vec<ClientConfig>) -> Island {
        Island::with_clocks(config, clients, apart)
    }

    /// The same; each clock, the server's first, is so far ahead of true time.
    pub(crate) fn with_clocks(
        config: ServerConfig,
        clients: Vec<ClientConfig>,
        ahead: impl Fn(usize) -> Span,
    ) -> Island {
        let delay = Jitter::Exponential { mean: Span::from_micros(20) };
        let delay = Delay::jittered(Span::from_micros(100), delay, Seed(15));
        let good = |(index, config): (usize, ClientConfig)| {
            let mut seed = [1; 32];
            seed[..8].copy_from_slice(&(index + 1).to_be_bytes());
            let clock = HostClock::Offset(ahead(index + 1));
            Host::start(index + 1, clock, Span::ZERO, |now| Client::new(config, seed, now))
        };
        let good: Vec<_> = clients.into_iter().enumerate().map(good).collect();
        let starts = vec![Span::ZERO; good.len()];
        Island {
            server: server(config, ahead(0), Span::ZERO),
            clients_told: good.iter().map(|_| Vec::new()).collect(),
            good,
            attacker: Attacker::default(),
            told: Vec::new(),
            references: vec![None; starts.len() + 1],
            network: Network::new(delay),
            starts,
            marked: Vec::new(),
            moved: Span::ZERO,
            guarantee: Guarantee::default(),
        }
    }

    /// The good clients are on the network from this time on.
    pub(crate) fn start_good_at(&mut self, at: Span) {
        self.starts.fill(at);
    }

    /// The same of one good client.
    pub(crate) fn start_one_at(&mut self, client: usize, at: Span) {
        self.starts[client] = at;
    }

    /// The bad groups are so many that they may take the good clocks over, as long as a node says that bounds
    /// are broken. If not, every good clock is within what it states, at every moment.
    pub(crate) fn may_be_taken_over(&mut self) {
        self.guarantee.may_be_broken = true;
    }

    /// True time.
    pub(crate) fn now(&self) -> Span {
        self.network.now()
    }

    /// Lets so many seconds pass, and looks at the good clocks every second.
    pub(crate) fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.run_one_second();
            let at = self.now();
            let ahead = self.ahead(at);
            for (marked, now) in self.marked.iter().zip(ahead) {
                if let (Some(marked), Some(now)) = (marked, now) {
                    self.moved = self.moved.max((now - *marked).abs());
                }
            }
        }
    }

    fn run_one_second(&mut self) {
        for _ in 0..4 {
            self.run_for(Span::from_millis(250));
            let is_told = self.take_events();
            let at = self.now();
            let server = self.server.read(at);
            let readings: Vec<_> =
                std::iter::once(server).chain(self.good.iter_mut().map(|client| client.read(at))).collect();
            if let Err(what) = self.guarantee.look(at, readings, is_told) {
                panic!("at {at}: {what}");
            }
        }
    }

    fn run_for(&mut self, duration: Span) {
        let now = self.network.now();
        let Island { server, good, attacker, network, starts, references, .. } = self;
        let (own, references) = references.split_first().expect("the server's own");
        let mut server = Machine { host: server, reference: own.as_ref() };
        let running = good.iter_mut().zip(references).zip(starts).filter(|(_, start)| **start <= now);
        let mut clients: Vec<_> =
            running.map(|((host, reference), _)| Machine { host, reference: reference.as_ref() }).collect();
        let mut endpoints: Vec<&mut dyn Endpoint> = vec![&mut server, attacker];
        endpoints.extend(clients.iter_mut().map(|client| client as &mut dyn Endpoint));
        network.run_until(now + duration, &mut endpoints);
    }

    /// Takes what the good nodes report. Returns whether one has said that bounds are broken.
    fn take_events(&mut self) -> bool {
        let told = self.server.events();
        let mut broken = told.iter().any(|event| matches!(event, ServerEvent::BoundsBroken { .. }));
        self.told.extend(told);
        for (client, all) in self.good.iter_mut().zip(&mut self.clients_told) {
            let told = client.events();
            broken |= told.iter().any(|event| matches!(event, ClientEvent::BoundBroken { .. }));
            all.extend(told);
        }
        broken
    }

    /// What the good clocks are ahead of true time, the server's first; `None`: it has no cluster time.
    pub(crate) fn ahead(&mut self, at: Span) -> Vec<Option<Span>> {
        let server = self.server.read(at);
        let clients = self.good.iter_mut().map(|client| client.read(at));
        let ahead = |reading: meantime_core::ClockReading| {
            let ahead = reading.time - (START + at);
            reading.state.has_cluster_time().then_some(ahead)
        };
        std::iter::once(server).chain(clients).map(ahead).collect()
    }

    /// From now on movements of good clocks count, and only what is reported from now on.
    pub(crate) fn mark(&mut self) {
        let at = self.now();
        (self.marked, self.moved) = (self.ahead(at), Span::ZERO);
        self.told.clear();
    }

    /// Marks a cluster in which every good clock has cluster time.
    pub(crate) fn mark_synchronized(&mut self) {
        self.mark();
        assert!(self.marked.iter().all(Option::is_some), "at {}: {:?}", self.now(), self.marked);
    }

    /// The largest distance of a good clock since the mark from where it was then.
    pub(crate) fn moved(&self) -> Span {
        self.moved
    }

    /// What each good clock that had cluster time at the mark was ahead of true time then, and is now.
    pub(crate) fn since_mark(&mut self, at: Span) -> Vec<(Span, Span)> {
        let now = self.ahead(at);
        self.marked.iter().zip(now).filter_map(|(marked, now)| Some(((*marked)?, now?))).collect()
    }

    /// How many addresses of the attacker the vote has named as falsetickers since the mark.
    pub(crate) fn named(&self) -> usize {
        let mut named: Vec<IpAddr> =
            self.falsetickers().filter(|at| self.attacker.is_at(*at)).map(|at| at.ip()).collect();
        named.sort_unstable();
        named.dedup();
        named.len()
    }

    /// Whether the vote has named a clock at this address since the mark.
    pub(crate) fn is_named(&self, ip: IpAddr) -> bool {
        self.falsetickers().any(|at| at.ip() == ip)
    }

    /// Whether the vote has named no good clock as a falseticker since the mark.
    pub(crate) fn no_good_clock_is_named(&self) -> bool {
        let own =
            |event: &ServerEvent| matches!(event, ServerEvent::Falseticker(it) if it.voter == Voter::Server);
        !self.told.iter().any(own) && self.falsetickers().all(|at| self.attacker.is_at(at))
    }

    fn falsetickers(&self) -> impl Iterator<Item = SocketAddr> {
        self.told.iter().filter_map(|event| match event {
            ServerEvent::Falseticker(it) => match it.voter {
                Voter::Client(peer) => Some(peer.address),
                Voter::Server => None,
            },
            _ => None,
        })
    }

    /// How many clocks have a vote by the last round, the server's included.
    pub(crate) fn voters(&self) -> usize {
        self.last_round().members
    }

    /// The last round.
    pub(crate) fn last_round(&self) -> meantime_core::event::RoundReport {
        let last = self.told.iter().rev().find_map(|event| match event {
            ServerEvent::RoundEnded(report) => Some(*report),
            _ => None,
        });
        last.expect("a round has ended")
    }

    /// How often the server has reported what this says.
    pub(crate) fn count(&self, is: impl Fn(&ServerEvent) -> bool) -> usize {
        self.told.iter().filter(|event| is(event)).count()
    }

    /// The server's process ends and a new one begins, whose oscillator is ahead of true time by so much.
    pub(crate) fn restart(&mut self, config: ServerConfig, ahead: Span) {
        self.server = server(config, ahead, self.now());
    }
}

/// A good machine that may have a time from outside.
struct Machine<'a, N> {
    host: &'a mut Host<N>,
    reference: Option<&'a ReferenceModel>,
}

impl<N: Node> Machine<'_, N> {
    /// Reads the reference when the node asks for it.
    fn read_reference(&mut self, at: Span) {
        let (Some(reference), now) = (self.reference, self.host.now(at)) else { return };
        while let Some(action) = self.host.node.poll_action() {
            match action {
                Action::Resolve(rank) => {
                    self.host.node.handle_resolved(now, rank, Some(self.host.server));
                }
                Action::ReadReference => self.host.node.handle_reference(now, reference.read(at, now.raw)),
            }
        }
    }
}

impl<N: Node> Endpoint for Machine<'_, N> {
    fn owns(&self, address: SocketAddr) -> bool {
        self.host.owns(address)
    }

    fn deadline(&self) -> Option<Span> {
        self.host.deadline()
    }

    fn wake(&mut self, at: Span) {
        if self.reference.is_some() && self.host.is_due(at) {
            let now = self.host.now(at);
            self.host.node.handle_timeout(now);
            self.read_reference(at);
        }
        self.host.wake(at);
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        self.host.receive(at, flights);
        self.read_reference(at);
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        self.host.transmit(at, leaving);
    }
}

fn server(config: ServerConfig, ahead: Span, at: Span) -> Host<Server> {
    let seed = [(at.as_nanos() % 251) as u8; 32];
    let mut host = Host::start(0, HostClock::Offset(ahead), at, |now| Server::new(config, seed, now));
    assert_eq!(host.now(at), moment(at, ahead));
    host
}

/// What the clock of a good machine is ahead of true time: −2 s to 2 s.
fn apart(number: usize) -> Span {
    Span::from_millis((number as i64 * 1_370) % 4_001 - 2_000)
}

/// The configuration of a server with keys.
pub(crate) fn keyed() -> ServerConfig {
    ServerConfig { keys: Keyring::new(vec![(KEY, master())]), ..ServerConfig::default() }
}

/// The cluster's secret.
pub(crate) fn master() -> Master {
    Master::new(&[7; 32])
}

/// The number of its key.
pub(crate) const KEY: KeyId = KeyId(1);

/// Good clocks on this network, left alone, are never farther from where they were at a mark.
pub(crate) const NOISE: Span = Span::from_micros(60);

/// So many seconds.
pub(crate) const fn s(seconds: i64) -> Span {
    Span::from_secs(seconds)
}

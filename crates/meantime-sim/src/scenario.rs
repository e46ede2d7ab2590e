//! A world described: every parameter there is, each with a default.
//!
//! The default is a good LAN with three clients whose clocks are seconds apart. Tests and users
//! override two or three fields.

use rand::{Rng, RngExt};

use super::fault::Fault;
use super::jitter::{Jitter, SlowQueue};
use super::link::{Impairments, NetworkLink};
use super::machine::{Machine, ProcessModel};
use super::mesh::Mesh;
use super::moderation::{Moderation, NetworkCard};
use super::node::{NodeConfig, SimNode};
use super::oscillator::{Oscillator, OscillatorError};
use super::reference::ReferenceModel;
use super::seed::{Purpose, Seed};
use super::wake_up::{Processor, WakeUp};
use super::world::Guest;
use super::{Lie, MemberIndex, World};
use meantime_core::config::{FollowedReferences, MAX_DELAY, ServerPlace};
use meantime_core::roles::server_role::Quorum;
use meantime_core::time::{Frequency, Span};
use meantime_core::wire::{KeyBytes, KeyId, Master, Name};
use meantime_core::{ClientConfig, Keyring, NodeKeys, ServerConfig};

/// A world described.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Everything random follows from it.
    pub seed: Seed,
    /// How many clients there are, liars included.
    pub clients: usize,
    /// How many servers there are, 1 to 15.
    pub servers: usize,
    /// How many of the members that it knew one of several servers must hear to be active.
    pub quorum: Quorum,
    /// For how long the world runs.
    pub duration: Span,
    /// Disagreement is summed up only after this time.
    pub settle: Span,
    /// How often the truth is looked at.
    pub sample: Span,
    /// From one round to the next.
    pub interval: Span,
    /// Exchanges with each member in each round.
    pub burst: u8,

    /// The least delay of each way.
    pub delay: Span,
    /// How much longer than `delay` the way from server to client is, and from a server to another one of a
    /// worse rank.
    pub asymmetry: Span,
    /// What each datagram waits on top, either way.
    pub jitter: Jitter,
    /// A slow queue on top of that, one for each way.
    pub queue: Option<SlowQueue>,
    /// How often datagrams come to harm, either way.
    pub impairments: Impairments,
    /// Whether the nodes have keys.
    pub keys: bool,
    /// Exchanges that take longer measure nothing, on either side.
    pub max_delay: Span,

    /// What processes and timestamps are like.
    pub process: ProcessModel,
    /// How processors sleep and wake up.
    pub wake_up: WakeUp,
    /// How network cards moderate their interrupts.
    pub moderation: Moderation,
    /// Clocks start within so much of the truth, either way.
    pub offset: Span,
    /// Frequency errors lie within this, either way.
    pub drift: Frequency,
    /// Random walk of every oscillator's frequency, per √s.
    pub wander: f64,
    /// What is different about single oscillators.
    pub clocks: Vec<(MemberIndex, ClockOverride)>,

    /// The members that offer a time from outside, which the servers follow.
    pub references: Vec<(MemberIndex, ReferenceModel)>,

    /// How many clients lie: those with the highest numbers.
    pub liars: usize,
    /// On how many machines, with one address each, the liars run in turn; `None`: each on one of its own.
    pub liar_machines: Option<usize>,
    /// Their lies, in turn.
    pub lies: Vec<Lie>,
    /// What goes wrong, and when.
    pub faults: Vec<(Span, Fault)>,
    /// When the first server starts.
    pub server_start: Span,
    /// Clients and other servers start at random within so much of the beginning.
    pub start_within: Span,
    /// Members that start at a time of their own.
    pub joins: Vec<(MemberIndex, Span)>,
}

/// What is different about one oscillator; `None`: as for all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockOverride {
    /// Its reading at true time zero minus the truth.
    pub offset: Option<Span>,
    /// Its constant frequency error.
    pub drift: Option<Frequency>,
    /// The random walk of its frequency, per √s.
    pub wander: Option<f64>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            seed: Seed(1),
            clients: 3,
            servers: 1,
            quorum: Quorum::Any,
            duration: Span::from_secs(600),
            settle: Span::from_secs(60),
            sample: Span::from_secs(1),
            interval: Span::from_secs(5),
            burst: 4,
            delay: Span::from_micros(100),
            asymmetry: Span::ZERO,
            jitter: Jitter::Exponential { mean: Span::from_micros(20) },
            queue: None,
            impairments: Impairments::default(),
            keys: false,
            max_delay: MAX_DELAY,
            process: ProcessModel { turnaround: Span::from_micros(10), ..ProcessModel::default() },
            wake_up: WakeUp::None,
            moderation: Moderation::None,
            offset: Span::from_secs(10),
            drift: Frequency::from_ppm(100.0),
            wander: 1e-9,
            clocks: Vec::new(),
            references: Vec::new(),
            liars: 0,
            liar_machines: None,
            lies: vec![Lie::Constant(Span::from_secs(1))],
            faults: Vec::new(),
            server_start: Span::ZERO,
            start_within: Span::from_millis(200),
            joins: Vec::new(),
        }
    }
}

impl Scenario {
    /// The default scenario with this seed.
    pub fn seeded(seed: u64) -> Scenario {
        Scenario { seed: Seed(seed), ..Scenario::default() }
    }

    /// All members, in the order of their places.
    pub fn members(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        let (clients, servers) = (self.clients, self.servers.max(1));
        (0..clients + servers).map(move |place| MemberIndex::at(place, clients, servers))
    }

    /// Whether there is this member. The only server is none of several.
    pub fn has(&self, member: MemberIndex) -> bool {
        self.members().any(|known| known == member)
    }

    /// Whether a client lies from the start.
    pub fn is_liar(&self, member: MemberIndex) -> bool {
        !member.is_server() && member.place(self.clients) + self.liars > self.clients
    }

    /// When a member's process starts.
    pub fn start(&self, member: MemberIndex) -> Span {
        match self.joins.iter().find(|(joiner, _)| *joiner == member) {
            Some((_, at)) => *at,
            None if member.place(self.clients) == 0 => self.server_start,
            None => self.start_within.scaled(self.seed.stream(Purpose::Process, member.stream()).random()),
        }
    }

    /// The world as it is described, with all that is going to go wrong planned.
    pub fn world<N: SimNode>(&self) -> World<N> {
        let machines = self.members().map(|member| self.machine(member)).collect();
        let mesh = Mesh::new(self.seed, self.clients, self.servers, |number| self.links(number));
        let mut world = World::new(self.seed, machines, mesh).with_guests(self.guests());
        for member in self.members().filter(|member| self.is_liar(*member)) {
            let turn = member.place(self.clients) + self.liars - self.clients - 1;
            if let Some(lie) = self.lies.get(turn % self.lies.len().max(1)) {
                world.plan(Span::ZERO, Fault::Lie(member, *lie));
            }
        }
        for member in self.members() {
            world.plan(self.start(member), Fault::Start(member));
        }
        for (at, fault) in &self.faults {
            world.plan(*at, fault.clone());
        }
        world
    }

    /// The liars that run on the machines of others.
    fn guests(&self) -> Vec<Guest> {
        let liars: Vec<MemberIndex> = self.members().filter(|member| self.is_liar(*member)).collect();
        let machines = self.liar_machines.unwrap_or(liars.len()).clamp(1, liars.len().max(1));
        let guests = liars.iter().enumerate().skip(machines);
        guests.map(|(turn, member)| Guest { member: *member, host: liars[turn % machines] }).collect()
    }

    fn machine<N: SimNode>(&self, member: MemberIndex) -> Machine<N> {
        let wander = self.seed.stream(Purpose::Wander, member.stream());
        let oscillator = Oscillator::new(self.error(member), wander);
        let processes = self.seed.stream(Purpose::Process, member.stream() + SEEDS_APART);
        let stamping = self.seed.stream(Purpose::Stamping, member.stream());
        let machine = Machine::new(member, self.plan(member), oscillator, self.process, processes, stamping);
        let waking = self.seed.stream(Purpose::WakeUp, member.stream());
        let card = self.seed.stream(Purpose::Moderation, member.stream());
        machine
            .with_reference(self.reference(member).cloned())
            .with_processor(Processor::new(self.wake_up, waking))
            .with_card(NetworkCard::new(self.moderation, card))
    }

    fn reference(&self, member: MemberIndex) -> Option<&ReferenceModel> {
        self.references.iter().find(|(whose, _)| *whose == member).map(|(_, reference)| reference)
    }

    fn error(&self, member: MemberIndex) -> OscillatorError {
        let mut rng = self.seed.stream(Purpose::Start, member.stream());
        let drawn_offset = self.offset.scaled(rng.random_range(-1.0..=1.0));
        let drawn_drift = self.drift.ratio() * rng.random_range(-1.0..=1.0);
        let special = self.clocks.iter().find(|(whose, _)| *whose == member).map(|(_, clock)| clock.clone());
        let ClockOverride { offset, drift, wander } = special.unwrap_or_default();
        OscillatorError {
            offset: offset.unwrap_or(drawn_offset),
            drift: drift.unwrap_or(Frequency::from_ratio(drawn_drift)),
            wander: wander.unwrap_or(self.wander),
        }
    }

    fn plan(&self, member: MemberIndex) -> NodeConfig {
        let servers = self.servers.max(1) as u8;
        match member.rank() {
            None => NodeConfig::Client(self.client_config(member)),
            Some(_) if servers == 1 => NodeConfig::Server(Box::new(self.server_config(member))),
            Some(rank) => NodeConfig::Replica {
                place: ServerPlace { rank, servers, quorum: self.quorum },
                client: Box::new(self.client_config(member)),
                server: Box::new(self.server_config(member)),
            },
        }
    }

    fn server_config(&self, member: MemberIndex) -> ServerConfig {
        ServerConfig {
            name: Name::new(&member.to_string()),
            interval: self.interval,
            burst: self.burst,
            max_delay: self.max_delay,
            keys: self.ring(|master| master),
            follow_references: FollowedReferences::Any,
            offers_reference: self.reference(member).is_some(),
            ..ServerConfig::default()
        }
    }

    fn client_config(&self, member: MemberIndex) -> ClientConfig {
        let name = Name::new(&member.to_string());
        let keys: NodeKeys = self.ring(|master| master.node(&name));
        ClientConfig {
            name,
            max_delay: self.max_delay,
            servers: self.servers.max(1) as u8,
            keys: vec![keys],
            offers_reference: self.reference(member).is_some(),
            ..ClientConfig::default()
        }
    }

    /// What a node knows of keys.
    fn ring<K>(&self, made: impl Fn(Master) -> K) -> Keyring<K> {
        let mut secret = KeyBytes::default();
        self.seed.stream(Purpose::Keys, 0).fill_bytes(&mut secret);
        let key = self.keys.then(|| (KeyId(1), made(Master::new(&secret))));
        Keyring::new(key.into_iter().collect())
    }

    /// The links of the path with this number.
    fn links(&self, number: usize) -> (NetworkLink, NetworkLink) {
        let link = |base, purpose| {
            let mut link = NetworkLink::new(base, self.jitter, self.seed.stream(purpose, number));
            (link.queue, link.impairments) = (self.queue, self.impairments);
            link
        };
        (link(self.delay + self.asymmetry, Purpose::Down), link(self.delay, Purpose::Up))
    }
}

/// Start times and seeds of processes come from different streams.
const SEEDS_APART: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_clients_are_the_liars() {
        let scenario = Scenario { clients: 5, liars: 2, ..Scenario::default() };
        let liars: Vec<usize> =
            scenario.members().filter(|m| scenario.is_liar(*m)).map(|m| m.place(5)).collect();
        assert_eq!(liars, [4, 5]);
        assert!(!Scenario { liars: 99, ..scenario }.is_liar(MemberIndex::SERVER));
    }

    #[test]
    fn liars_run_on_so_many_machines_in_turn() {
        let scenario = Scenario { clients: 6, liars: 5, liar_machines: Some(2), ..Scenario::default() };
        let guests: Vec<[usize; 2]> =
            scenario.guests().iter().map(|guest| [guest.member.place(6), guest.host.place(6)]).collect();
        assert_eq!(guests, [[4, 2], [5, 3], [6, 2]]);
        assert!(Scenario { liar_machines: None, ..scenario }.guests().is_empty());
    }

    #[test]
    fn another_client_changes_nothing_for_those_before_it() {
        let small = Scenario { clients: 3, ..Scenario::default() };
        let large = Scenario {
            clients: 8,
            impairments: Impairments { loss: 0.2, ..Impairments::default() },
            ..small.clone()
        };
        for member in small.members() {
            assert_eq!(small.error(member), large.error(member));
            assert_eq!(small.start(member), large.start(member));
        }
    }

    #[test]
    fn several_servers_and_clients_know_the_length_of_the_list() {
        let scenario = Scenario { clients: 2, servers: 3, keys: true, ..Scenario::default() };
        let names: Vec<String> = scenario.members().map(|member| member.to_string()).collect();
        assert_eq!(names, ["server-1", "client-1", "client-2", "server-2", "server-3"]);
        for member in scenario.members() {
            let (client, of_client) = match scenario.plan(member) {
                NodeConfig::Replica { place, client, server } => {
                    assert_eq!((Some(place.rank), place.servers), (member.rank(), 3));
                    assert_eq!(server.keys, scenario.ring(|master| master));
                    (*client, false)
                }
                NodeConfig::Client(client) => (client, true),
                NodeConfig::Server(_) => panic!("{member} is one of several"),
            };
            assert_eq!((client.servers, of_client), (3, !member.is_server()));
            assert_eq!(client.name, Name::new(&member.to_string()));
        }
    }

    #[test]
    fn another_server_changes_nothing_for_those_before_it() {
        let [few, many] = [2, 5].map(|servers| Scenario { servers, ..Scenario::default() });
        for member in few.members() {
            assert_eq!(few.error(member), many.error(member));
        }
        let alone = Scenario::default();
        assert_eq!(few.error(MemberIndex::server(1)), alone.error(MemberIndex::SERVER));
    }

    #[test]
    fn clocks_start_within_the_range() {
        let scenario = Scenario { clients: 200, ..Scenario::default() };
        let error: Vec<OscillatorError> = scenario.members().map(|member| scenario.error(member)).collect();
        assert!(error.iter().all(|error| error.offset.abs() <= scenario.offset));
        assert!(error.iter().any(|error| error.offset > Span::from_secs(8)));
        assert!(error.iter().any(|error| error.drift.ppm() < -80.0));
    }
}

//! Three servers and two clients, all of them real nodes, whose network, clocks and processes an input
//! controls. One of the servers may lie: an input overwrites what it sends, and tags it with its own keys.
//!
//! Assertions after every single input: nothing panics, and no node spins; what an honest node sends can be
//! read; the numbers of datagrams and events are bounded; published time jumps only if a step is reported,
//! also when a server takes over or steps down; bounds are never negative; no node's term decreases while its
//! process runs; no two honest servers are active in one term. If nobody has lied and no clock has jumped,
//! nodes that follow one term differ by no more than the sum of their bounds; and the faults end with the
//! input: then there is one active server at last, and all others follow it.

use std::array;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meantime_core::config::ServerPlace;
use meantime_core::event::Adjustment::Step;
use meantime_core::event::{Adjustment, ReplicaEvent};
use meantime_core::roles::rank::Rank;
use meantime_core::roles::server_role::Quorum;
use meantime_core::roles::statement::Role;
use meantime_core::roles::term::Term;
use meantime_core::server::Target;
use meantime_core::time::{Monotonic, Now, Raw, Span};
use meantime_core::wire::{
    Body, ClientState, DEFAULT_PORT, Datagram, Direction, KeyId, Master, Message, Name, NodeKey,
};
use meantime_core::{
    Action, Client, ClientConfig, ClientEvent, ClockReading, Keyring, MasterKeys, Node, NodeKeys, Path,
    Replica, ServerConfig, ServerEvent, StampId, Transmit,
};

use crate::Bytes;

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let Some(settings) = bytes.byte() else { return };
    let mut island = Island::new(settings);
    for _ in 0..MAX_STEPS {
        if island.step(&mut bytes).is_none() {
            break;
        }
        if island.fair {
            island.check_bounds();
        }
    }
    island.end();
}

struct Island {
    settings: u8,
    nodes: [Process; NODES],
    /// True time since the beginning, and each oscillator minus that.
    now: Span,
    off: [Span; NODES],
    in_flight: VecDeque<Flight>,
    /// What the network does not carry: from the first to the second.
    cut: [[bool; NODES]; NODES],
    /// In 256ths, what it loses, and what decides which.
    loss: u8,
    chance: u64,
    /// What happens to the next datagrams that the lying server sends.
    lies: VecDeque<(u8, i64)>,
    /// Whether the cluster has to agree after the faults.
    fair: bool,
    /// Who has claimed a term.
    claims: BTreeMap<Term, usize>,
    /// How many more events may happen.
    events_left: u32,
}

struct Flight {
    at: Span,
    from: usize,
    to: usize,
    datagram: Datagram,
}

/// A process; `None`: it has crashed.
struct Process {
    node: Option<AnyNode>,
    boots: u8,
    /// Until when it is stopped.
    stopped_until: Span,
    /// The highest term that it has stated to each of the others since it began.
    stated: [Term; NODES],
}

enum AnyNode {
    Server(Box<Replica>),
    Client(Box<Client>),
}

impl Island {
    fn new(settings: u8) -> Island {
        let process =
            || Process { node: None, boots: 0, stopped_until: Span::ZERO, stated: [Term::NONE; NODES] };
        let mut island = Island {
            settings,
            nodes: array::from_fn(|_| process()),
            now: Span::ZERO,
            off: [0, 1_700, -900, 20, -4_000].map(Span::from_millis),
            in_flight: VecDeque::new(),
            cut: [[false; NODES]; NODES],
            loss: 0,
            chance: 1,
            lies: VecDeque::new(),
            fair: true,
            claims: BTreeMap::new(),
            events_left: MAX_EVENTS,
        };
        (0..NODES).for_each(|who| island.start(who));
        island
    }

    /// One step of the input; `None`: the input is over.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.byte()? % 16 {
            0 => self.run_events(u32::from(bytes.byte()?)),
            1 | 2 => self.run_for(INTERVAL.times(i64::from(bytes.byte()? % 32)).over(4)),
            7 => self.nodes[node(bytes)?].node = None,
            8 => self.start(node(bytes)?),
            9 => {
                let (who, quarters) = (node(bytes)?, i64::from(bytes.byte()? % 64));
                self.nodes[who].stopped_until = self.now + INTERVAL.times(quarters).over(4);
            }
            10 => {
                let who = node(bytes)?;
                self.input(who, |node, now| {
                    if let AnyNode::Server(server) = node {
                        let _ = server.resign(now, None);
                    }
                });
            }
            network @ (3..=6 | 14) => self.change_network(network, bytes)?,
            unfair => self.disturb(unfair, bytes)?,
        }
        Some(())
    }

    /// The network loses something, or is mended.
    fn change_network(&mut self, how: u8, bytes: &mut Bytes<'_>) -> Option<()> {
        match how {
            3 => {
                let (from, to) = (node(bytes)?, node(bytes)?);
                self.cut[from][to] = true;
            }
            4 => {
                let side = bytes.byte()?;
                let is_left = |who: usize| side & (1 << who) != 0;
                self.cut = array::from_fn(|from| array::from_fn(|to| is_left(from) != is_left(to)));
            }
            5 => (self.cut, self.loss) = ([[false; NODES]; NODES], 0),
            6 => self.loss = bytes.byte()? / 2,
            _ => {
                let late = INTERVAL.over(i64::from(bytes.byte()?) + 1);
                if let Some(flight) = self.in_flight.pop_front() {
                    self.in_flight.push_back(Flight { at: flight.at + late, ..flight });
                }
            }
        }
        Some(())
    }

    /// Something after which the cluster need not agree soon.
    fn disturb(&mut self, how: u8, bytes: &mut Bytes<'_>) -> Option<()> {
        self.fair = false;
        if how == 15 {
            self.lies.push_back((bytes.byte()?, bytes.number()?));
            return Some(());
        }
        let (who, by) = (node(bytes)?, bytes.number()? % YEARS);
        match how {
            11 => self.input(who, |node, now| {
                if let AnyNode::Server(server) = node {
                    // A refusal is an answer, too.
                    let by = Target::By(Span::from_nanos(by));
                    let _ = server.server_mut().set_time(now, by, Adjustment::Slew);
                }
            }),
            12 => self.off[who] = Span::from_nanos((self.off[who].as_nanos() + by) % YEARS),
            _ => {
                self.input(who, |node, now| node.handle_suspended(now, Span::from_nanos(by.saturating_abs())))
            }
        }
        Some(())
    }

    /// The faults end, and all nodes run.
    fn end(&mut self) {
        if !self.fair {
            return;
        }
        (self.cut, self.loss) = ([[false; NODES]; NODES], 0);
        for who in 0..NODES {
            self.nodes[who].stopped_until = self.now;
            if self.nodes[who].node.is_none() {
                self.start(who);
            }
        }
        self.events_left = u32::MAX;
        self.run_for(INTERVAL.times(PEACE));
        let now = self.moment(0);
        let statements: Vec<_> = self.nodes.iter().filter_map(|process| process.server()).collect();
        let views = statements.iter().map(|server| server.view(now)).collect::<Vec<_>>();
        let active: Vec<_> = views.iter().filter(|view| view.statement.role == Role::Active).collect();
        assert_eq!(active.len(), 1, "{views:#?}");
        let term = active[0].statement.term;
        assert!(views.iter().all(|view| view.statement.term == term), "{views:#?}");
        for who in SERVERS..NODES {
            let Some(AnyNode::Client(client)) = &self.nodes[who].node else { continue };
            let view = client.view(self.moment(who));
            let followed = view.servers.iter().find(|server| server.followed).map(|server| server.rank);
            assert_eq!(followed, term.rank(), "client {who} follows another server: {:#?}", view.servers);
        }
        self.check_bounds();
    }

    /// Any two nodes that follow one term differ by no more than the sum of their bounds.
    fn check_bounds(&self) {
        let reading =
            |process: &Process, who| process.node.as_ref().map(|node| node.read(self.moment(who).raw));
        let known: Vec<(Term, ClockReading)> = (0..NODES)
            .filter_map(|who| Some((self.nodes[who].term(), reading(&self.nodes[who], who)?)))
            .filter(|(term, reading)| !term.is_none() && reading.state == ClientState::Synchronized)
            .collect();
        for (term, one) in &known {
            for (_, other) in known.iter().filter(|(of, other)| of == term && other.cluster == one.cluster) {
                let Some((a, b)) = one.bound.zip(other.bound) else { continue };
                assert!((one.time - other.time).abs() <= a + b + ROUNDING, "{known:#?}");
            }
        }
    }

    fn run_events(&mut self, times: u32) {
        for _ in 0..times {
            self.happen(self.now + INTERVAL.times(64));
        }
    }

    fn run_for(&mut self, span: Span) {
        let until = self.now + span;
        while self.happen(until) {}
        self.now = self.now.max(until);
    }

    /// The next event happens, if it is not later than that.
    fn happen(&mut self, until: Span) -> bool {
        if self.events_left == 0 {
            return false;
        }
        let arrival = |(place, flight): (usize, &Flight)| {
            (flight.at.max(self.nodes[flight.to].stopped_until), Some(place), flight.to)
        };
        let arrivals = self.in_flight.iter().enumerate().map(arrival);
        let deadline = |who: usize| {
            let process = &self.nodes[who];
            let due = process.node.as_ref()?.poll_timeout()? - Monotonic::from_nanos(BEGINNING_MONO);
            Some((due.max(process.stopped_until).max(self.now), None, who))
        };
        let deadlines = (0..NODES).filter_map(deadline);
        let Some((at, flight, who)) = arrivals.chain(deadlines).min_by_key(|(at, ..)| *at) else {
            return false;
        };
        if at > until {
            return false;
        }
        self.events_left -= 1;
        self.now = self.now.max(at);
        match flight.and_then(|place| self.in_flight.remove(place)) {
            Some(Flight { from, datagram, .. }) => {
                let path = Path { peer: address(from), local: None };
                self.input(who, |node, now| node.handle_datagram(now, path, &datagram));
            }
            None => self.wake(who),
        }
        true
    }

    /// A deadline of this node has passed.
    fn wake(&mut self, who: usize) {
        for _ in 0..MAX_WAKES {
            self.input(who, AnyNode::handle_timeout);
            let now = self.moment(who);
            let next = self.nodes[who].node.as_ref().and_then(AnyNode::poll_timeout);
            if next.is_none_or(|next| next > now.mono) {
                return;
            }
        }
        panic!("node {who} spins");
    }

    /// Gives a node one input, and takes what it wants.
    fn input(&mut self, who: usize, input: impl FnOnce(&mut AnyNode, Now)) {
        let now = self.moment(who);
        if self.nodes[who].stopped_until > self.now {
            return;
        }
        let Some(node) = &mut self.nodes[who].node else { return };
        let before = node.read(now.raw);
        input(node, now);
        while let Some(Action::Resolve(rank)) = node.poll_action() {
            node.handle_resolved(now, rank, Some(address(rank.place().into())));
        }
        let after = node.read(now.raw);
        let events = node.take_events();
        if before.state.has_cluster_time() && !events.iter().any(is_step) {
            let jump = after.time - before.time;
            let is_steady = jump.abs() <= ROUNDING;
            assert!(
                is_steady,
                "node {who}: published time jumped by {jump}, no step was reported: {events:#?}"
            );
        }
        let bounds = [before.bound, after.bound, before.error, after.error];
        assert!(bounds.into_iter().flatten().all(|bound| bound >= Span::ZERO), "{bounds:?}");
        let mut sent = 0;
        while let Some(transmit) = self.nodes[who].node.as_mut().and_then(|node| node.poll_transmit(now)) {
            sent += 1;
            assert!(sent <= MANY, "node {who} sends without end");
            self.send(who, transmit);
        }
    }

    fn send(&mut self, who: usize, transmit: Transmit) {
        let Transmit { path, mut datagram, stamp } = transmit;
        let message = Message::decode(&datagram).expect("what a node sends can be read");
        let left = self.moment(who).raw + Span::from_micros(7);
        if let (Some(StampId(id)), Some(node)) = (stamp, &mut self.nodes[who].node) {
            node.handle_transmitted(StampId(id), left);
        }
        let Some(to) = (0..NODES).find(|to| address(*to) == path.peer) else { return };
        self.note_statement(who, to, &message);
        if who == self.liar() {
            self.lie(to, &message, &mut datagram);
        }
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_lost = (self.chance >> 56) < u64::from(self.loss) || self.cut[who][to];
        if !is_lost && self.in_flight.len() < MAX_IN_FLIGHT {
            self.in_flight.push_back(Flight { at: self.now + ON_THE_WAY, from: who, to, datagram });
        }
    }

    /// The lying server overwrites what it sends.
    fn lie(&mut self, to: usize, message: &Message, datagram: &mut Datagram) {
        let Some((at, with)) = self.lies.pop_front() else { return };
        let at = usize::from(at) % (BODY_END - 8);
        datagram[at..at + 8].copy_from_slice(&with.to_be_bytes());
        let liar = self.liar();
        if has_keys(self.settings) {
            let (direction, key) = match message.body.kind().direction() {
                Some(Direction::ToServer) => (Direction::ToServer, node_key(to, liar)),
                _ => (Direction::ToClient, node_key(liar, to)),
            };
            key.sign(direction, datagram);
        }
    }

    /// Statements of honest nodes: terms only grow, and no two claim the same.
    fn note_statement(&mut self, who: usize, to: usize, message: &Message) {
        let term = match &message.body {
            Body::Role(role) => role.statement.term,
            Body::Heartbeat(heartbeat) => match heartbeat.statement {
                Some(statement) => statement.follows,
                None => return,
            },
            _ => return,
        };
        if let Body::Role(role) = &message.body
            && let Some(claimed) = role.statement.claim(role.rank)
        {
            let by = *self.claims.entry(claimed).or_insert(who);
            assert_eq!(by, who, "two servers claim {claimed}");
        }
        let known = &mut self.nodes[who].stated[to];
        assert!(term >= *known, "node {who} has gone from {known} to {term}");
        *known = term;
    }

    /// Starts a process, again if it runs.
    fn start(&mut self, who: usize) {
        let boots = self.nodes[who].boots.wrapping_add(1);
        let now = self.moment(who);
        let seed = |part: u8| [boots.wrapping_mul(32).wrapping_add(who as u8 * 2 + part); 32];
        let keys = |servers: usize| match has_keys(self.settings) {
            true => (0..servers).map(|server| node_keys(server, who)).collect(),
            false => Vec::new(),
        };
        let client = ClientConfig {
            name: Name::new(NAMES[who]),
            servers: SERVERS as u8,
            keys: keys(SERVERS),
            ..ClientConfig::default()
        };
        let node = match Rank::new(who as u8).filter(|_| who < SERVERS) {
            Some(rank) => {
                let quorum = if self.settings & 4 == 0 { Quorum::Any } else { Quorum::Majority };
                let server = ServerConfig {
                    name: Name::new(NAMES[who]),
                    interval: INTERVAL,
                    max_clients: MAX_CLIENTS,
                    keys: if has_keys(self.settings) { masters(who) } else { Keyring::default() },
                    ..ServerConfig::default()
                };
                let place = ServerPlace { rank, servers: SERVERS as u8, quorum };
                AnyNode::Server(Box::new(Replica::new(place, client, server, [seed(0), seed(1)], now)))
            }
            None => AnyNode::Client(Box::new(Client::new(client, seed(0), now))),
        };
        self.nodes[who] =
            Process { node: Some(node), boots, stopped_until: self.now, stated: [Term::NONE; NODES] };
        self.input(who, |_, _| ());
    }

    /// The server that lies, if there are lies.
    fn liar(&self) -> usize {
        usize::from(self.settings) % SERVERS
    }

    fn moment(&self, who: usize) -> Now {
        moment(self.now, self.off[who] + self.now.scaled(PPM[who] * 1e-6))
    }
}

impl Process {
    /// The term that it has stated last; [`Term::NONE`]: none.
    fn term(&self) -> Term {
        self.stated.iter().copied().max().unwrap_or_default()
    }

    fn server(&self) -> Option<&Replica> {
        match &self.node {
            Some(AnyNode::Server(server)) => Some(server),
            _ => None,
        }
    }
}

/// Hands a call to whichever node it is.
macro_rules! either {
    ($any:expr, $node:ident => $call:expr) => {
        match $any {
            AnyNode::Server($node) => $call,
            AnyNode::Client($node) => $call,
        }
    };
}

impl AnyNode {
    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        either!(self, node => node.handle_datagram(now, path, datagram));
    }

    fn handle_timeout(&mut self, now: Now) {
        either!(self, node => node.handle_timeout(now));
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        either!(self, node => node.handle_transmitted(id, raw));
    }

    fn handle_resolved(&mut self, now: Now, rank: Rank, server: Option<SocketAddr>) {
        either!(self, node => node.handle_resolved(now, rank, server));
    }

    fn handle_suspended(&mut self, now: Now, slept: Span) {
        either!(self, node => node.handle_suspended(now, slept));
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        either!(self, node => node.poll_transmit(now))
    }

    fn poll_action(&mut self) -> Option<Action> {
        either!(self, node => node.poll_action())
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        either!(self, node => node.poll_timeout())
    }

    fn read(&self, raw: Raw) -> ClockReading {
        either!(self, node => node.read(raw))
    }

    /// Takes all events; a client's as those of a server's client.
    fn take_events(&mut self) -> Vec<ReplicaEvent> {
        let mut events = Vec::new();
        while let Some(event) = match self {
            AnyNode::Server(server) => server.poll_event(),
            AnyNode::Client(client) => client.poll_event().map(ReplicaEvent::Client),
        } {
            events.push(event);
            assert!(events.len() <= MANY, "events without end: {events:#?}");
        }
        events
    }
}

/// Whether an event reports that published time was stepped.
fn is_step(event: &ReplicaEvent) -> bool {
    matches!(
        event,
        ReplicaEvent::Client(
            ClientEvent::Corrected { adjustment: Step, .. }
                | ClientEvent::TimeSet { adjustment: Step, .. }
                | ClientEvent::Suspended { .. }
        ) | ReplicaEvent::Server(
            ServerEvent::OwnClockCorrected { adjustment: Step, .. } | ServerEvent::Suspended { .. }
        )
    )
}

fn node(bytes: &mut Bytes<'_>) -> Option<usize> {
    Some(usize::from(bytes.byte()?) % NODES)
}

/// Both clocks so long after the beginning, with an oscillator that is ahead by so much.
fn moment(since: Span, ahead: Span) -> Now {
    Now {
        mono: Monotonic::from_nanos(BEGINNING_MONO) + since,
        raw: Raw::from_nanos(BEGINNING_RAW) + since + ahead,
    }
}

fn address(who: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, who as u8 + 1)), DEFAULT_PORT)
}

fn has_keys(settings: u8) -> bool {
    settings & 16 != 0
}

/// The secret of a server.
fn master(server: usize) -> Master {
    Master::new(&[server as u8 + 1; 32])
}

fn masters(server: usize) -> MasterKeys {
    Keyring::new(vec![(KEY, master(server))])
}

/// The key of a node with a server.
fn node_key(server: usize, node: usize) -> NodeKey {
    master(server).node(&Name::new(NAMES[node]))
}

fn node_keys(server: usize, node: usize) -> NodeKeys {
    Keyring::new(vec![(KEY, node_key(server, node))])
}

const SERVERS: usize = 3;
const NODES: usize = 5;
const NAMES: [&str; NODES] = ["a", "b", "c", "x", "y"];
/// By how much the oscillators run fast.
const PPM: [f64; NODES] = [0.0, 12.0, -20.0, 35.0, -8.0];
const KEY: KeyId = KeyId(1);
const MAX_CLIENTS: usize = 8;
const INTERVAL: Span = Span::from_secs(5);
/// The end of what the tag authenticates.
const BODY_END: usize = 80;
/// So that no input takes longer than some tens of milliseconds.
const MAX_STEPS: usize = 64;
const MAX_EVENTS: u32 = 4_000;
const MAX_IN_FLIGHT: usize = 256;
/// In intervals, how long the cluster has to agree.
const PEACE: i64 = 12;
/// Timers of one moment: more would be a loop.
const MAX_WAKES: usize = 64;
/// After one input: bursts, corrections, roles and heartbeats for all others.
const MANY: usize = 64;
/// Between two pieces of a clock that runs on, integers may round differently by so much.
const ROUNDING: Span = Span::from_nanos(2);
const ON_THE_WAY: Span = Span::from_micros(100);
/// The largest offset of a clock.
const YEARS: i64 = 100 * 365 * 86_400 * 1_000_000_000;
const BEGINNING_MONO: i64 = 1_000_000_000;
const BEGINNING_RAW: i64 = 1_798_761_600_000_000_000;

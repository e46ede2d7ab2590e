//! A server and two clients whose datagrams, clocks and processes an input controls. The node under test is
//! real, and so is the server; other clients are stubs, which are cheap.
//!
//! Assertions after every single input: nothing panics; each datagram ends in exactly one counter; an address
//! without a session gets at most one datagram for one from a server and none from a client; every datagram
//! sent can be decoded; the number of events is bounded; published time never jumps unless a step is
//! reported; bounds are never negative; the table of members stays within its limit. Where there are keys, a
//! datagram that no holder of a key has tagged has no effect: no answer, no event, no nanosecond.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meantime_core::event::Adjustment;
use meantime_core::roles::rank::Rank;
use meantime_core::server::Target;
use meantime_core::time::{Now, Span};
use meantime_core::wire::{
    DATAGRAM_LEN, DEFAULT_PORT, Datagram, Direction, KeyId, Master, Message, Name, NodeKey, TAG_LEN,
};
use meantime_core::{
    Action, ClientConfig, ClockReading, Fate, Keyring, Node, Path, ServerConfig, ServerEvent, StampId,
};
use meantime_sim::testkit::{self, StubClient, moment};
use meantime_sim::{AnyNode, NodeConfig, NodeEvent, SimNode};

use crate::Bytes;

/// The node under test: the one whose datagrams are changed, and that gets forged ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeUnderTest {
    /// The server.
    Server = 0,
    /// The first client.
    Client = 1,
}

/// Runs an input.
pub fn run(target: NodeUnderTest, input: &[u8]) {
    let mut bytes = Bytes(input);
    let Some(settings) = bytes.byte() else { return };
    let mut cluster = Cluster::new(target as usize, settings);
    for _ in 0..MAX_STEPS {
        if cluster.step(&mut bytes).is_none() {
            break;
        }
    }
}

struct Cluster {
    /// The number of the node under test.
    target: usize,
    settings: u8,
    server: Process,
    /// The client under test, if it is one.
    client: Option<Process>,
    stubs: [StubClient; CLIENTS],
    /// True time since the beginning, and each oscillator minus that.
    now: Span,
    off: [Span; NODES],
    boots: u8,
    in_flight: VecDeque<Flight>,
    /// The datagrams that were sent to the node under test.
    seen: Vec<Vec<u8>>,
    /// With keys: all datagrams that a holder of the key has tagged.
    genuine: HashSet<Datagram>,
    /// What happens to the next of the datagrams to the node under test.
    treatments: VecDeque<Treatment>,
    /// How many datagrams have reached the process under test.
    received: u64,
    /// How many more events may happen.
    events_left: u32,
}

struct Flight {
    from: usize,
    to: usize,
    datagram: Vec<u8>,
}

/// What happens to a datagram that goes to the node under test.
#[derive(Clone, Copy)]
enum Treatment {
    Pass,
    Drop,
    Double,
    Spoil(u8, u8),
    Overwrite(u8, i64),
}

impl Cluster {
    fn new(target: usize, settings: u8) -> Cluster {
        let off = [Span::ZERO, Span::from_millis(1_700), Span::from_millis(-900)];
        let start = |who| Process::start(who, settings, moment(Span::ZERO, off[who]), 0);
        let mut cluster = Cluster {
            target,
            settings,
            server: start(0),
            client: (target == 1).then(|| start(1)),
            stubs: [StubClient::new(11, STUB_NAMES[0]), StubClient::new(12, STUB_NAMES[1])],
            now: Span::ZERO,
            off,
            boots: 0,
            in_flight: VecDeque::new(),
            seen: Vec::new(),
            genuine: HashSet::new(),
            treatments: VecDeque::new(),
            received: 0,
            events_left: MAX_RUN_EVENTS,
        };
        for index in 0..CLIENTS {
            cluster.stubs[index].set_key(stub_key(settings, index, 0));
        }
        (0..NODES).for_each(|who| cluster.begin(who));
        cluster
    }

    /// One step of the input; `None`: the input is over.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.byte()? % 21 {
            0 => self.run_events(1),
            1 | 2 => self.run_events(u32::from(bytes.byte()?)),
            3 => self.plan(Treatment::Drop),
            4 => self.plan(Treatment::Double),
            5 => self.plan(Treatment::Spoil(bytes.byte()?, bytes.byte()?)),
            6 => self.plan(Treatment::Overwrite(bytes.byte()?, bytes.number()?)),
            7 => (0..bytes.byte()? % 32).for_each(|_| self.plan(Treatment::Pass)),
            8 => {
                let (from, datagram) = (sender(bytes)?, self.remembered(bytes.byte()?));
                self.deliver(from, self.target, &datagram);
            }
            9 => {
                let (from, mut datagram) = (sender(bytes)?, self.remembered(bytes.byte()?));
                Treatment::Overwrite(bytes.byte()?, bytes.number()?).apply(&mut datagram);
                self.deliver(from, self.target, &datagram);
            }
            10 => {
                let (from, length) = (sender(bytes)?, usize::from(bytes.byte()?) % (DATAGRAM_LEN + 8));
                self.deliver(from, self.target, bytes.some(length));
            }
            11 => {
                let (whose, by) = (usize::from(bytes.byte()?) % NODES, bytes.number()?);
                self.off[whose] = Span::from_nanos((self.off[whose].as_nanos() + by % YEARS) % YEARS);
            }
            12 => {
                let slept = Span::from_nanos(bytes.number()? % YEARS);
                self.input(self.target, MANY, |node, now| node.handle_suspended(now, slept));
            }
            13 => self.restart(usize::from(bytes.byte()?) % NODES),
            14 => {
                let (id, late) = (bytes.short()?, Span::from_nanos(bytes.number()? % YEARS));
                let left = |node: &mut AnyNode, now: Now| {
                    node.handle_transmitted(StampId(id.into()), now.raw + late)
                };
                self.input(self.target, MANY, left);
            }
            15 => self.wait(Span::from_nanos(bytes.number()?.saturating_abs() % LONG)),
            16 => self.steal(bytes)?,
            17 => self.rekey(bytes.byte()?),
            18 => self.set_time(bytes.byte()?, bytes.number()?),
            19 => self.vote(bytes.byte()?),
            _ => {
                let lost = u32::from(bytes.short()?);
                self.input(self.target, 0, |node, _| node.handle_lost(lost));
            }
        }
        Some(())
    }

    /// An attacker that has stolen the second stub's key sends a datagram with its tag. To a server that is
    /// this stub; for a client the key is another node's.
    fn steal(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let (from, mut datagram) = (sender(bytes)?, self.remembered(bytes.byte()?));
        Treatment::Overwrite(bytes.byte()?, bytes.number()?).apply(&mut datagram);
        let whole = <&mut Datagram>::try_from(&mut datagram[..]);
        if let (Ok(datagram), Some((_, key))) = (whole, stub_key(self.settings, 1, 0)) {
            let direction = if self.target == 0 { Direction::ToServer } else { Direction::ToClient };
            key.sign(direction, datagram);
            if self.target == 0 {
                self.genuine.insert(*datagram);
            }
        }
        self.deliver(from, self.target, &datagram);
        Some(())
    }

    /// The keys of a node change: a key is added, or the oldest removed.
    fn rekey(&mut self, what: u8) {
        let (who, stage) = (usize::from(what) % NODES, usize::from(what) / NODES);
        if !has_keys(self.settings) {
            return;
        }
        let ids = RINGS[stage % RINGS.len()];
        match self.process(who) {
            None => self.stubs[who - 1].set_key(stub_key(self.settings, who - 1, stage)),
            Some(_) => self.input(who, MANY, |node, now| match node {
                AnyNode::Server(server) => server.set_keys(ring(ids, master)),
                AnyNode::Client(client) => client.set_keys(now, vec![ring(ids, own_key)]),
                AnyNode::Replica(replica) => {
                    replica.server_mut().set_keys(ring(ids, master));
                    replica.client_mut().set_keys(now, vec![ring(ids, own_key)]);
                }
            }),
        }
    }

    /// An operator sets the cluster's time.
    fn set_time(&mut self, how: u8, by: i64) {
        let how = if how & 1 == 0 { Adjustment::Slew } else { Adjustment::Step };
        self.input(0, MANY, |node, now| {
            if let AnyNode::Server(server) = node {
                // A refusal is an answer, too.
                let _ = server.set_time(now, Target::By(Span::from_nanos(by)), how);
            }
        });
    }

    /// An operator removes a client from the vote, or pins it; bans it, or lifts the ban.
    fn vote(&mut self, what: u8) {
        let name = STUB_NAMES[usize::from(what) / 4 % CLIENTS];
        self.input(0, MANY, |node, now| {
            if let AnyNode::Server(server) = node {
                let _ = match what & 0b11 {
                    0 => server.remove_from_vote(name).is_ok(),
                    1 => server.pin_to_vote(name).is_ok(),
                    2 => server.ban(now, name).is_ok(),
                    _ => server.unban(name).is_ok(),
                };
            }
        });
    }

    fn plan(&mut self, treatment: Treatment) {
        self.treatments.push_back(treatment);
    }

    /// Lets so many events happen: arrivals, or else the next deadline.
    fn run_events(&mut self, times: u32) {
        let times = times.min(self.events_left);
        self.events_left -= times;
        for _ in 0..times {
            if let Some(flight) = self.in_flight.pop_front() {
                self.now += ON_THE_WAY;
                self.carry(flight);
            } else {
                let processes = [Some(&self.server), self.client.as_ref()];
                let due =
                    processes.into_iter().flatten().filter_map(|process| process.role.poll_timeout()).min();
                let wait = due.map_or(Span::from_secs(1), |due| due - self.moment(0).mono);
                self.wait(wait.max(Span::ZERO));
            }
        }
    }

    /// Time passes; then nodes whose deadline has passed are woken.
    fn wait(&mut self, span: Span) {
        self.now += span;
        for who in 0..NODES {
            let due = self.process(who).and_then(|process| process.role.poll_timeout());
            if due.is_some_and(|due| due <= self.moment(who).mono) {
                self.input(who, MANY, |node, now| node.handle_timeout(now));
            }
        }
    }

    /// A datagram arrives, treated as the input says.
    fn carry(&mut self, flight: Flight) {
        let Flight { from, to, mut datagram } = flight;
        if to != self.target {
            return self.deliver(from, to, &datagram);
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.push(datagram.clone());
        }
        let treatment = self.treatments.pop_front().unwrap_or(Treatment::Pass);
        treatment.apply(&mut datagram);
        let times = match treatment {
            Treatment::Drop => 0,
            Treatment::Double => 2,
            _ => 1,
        };
        (0..times).for_each(|_| self.deliver(from, to, &datagram));
    }

    fn deliver(&mut self, from: usize, to: usize, datagram: &[u8]) {
        let path = Path { peer: address(from), local: None };
        if self.process(to).is_none() {
            let (now, stub) = (self.moment(to), &mut self.stubs[to - 1]);
            let answer = stub.answer(now, datagram);
            return answer.into_iter().for_each(|answer| self.send(to, 0, &answer));
        }
        let forged = has_keys(self.settings)
            && !datagram.try_into().is_ok_and(|datagram: &Datagram| self.genuine.contains(datagram));
        let answers = match (to, from) {
            _ if forged => 0,
            (0, STRANGER) => 1,
            (1.., 1..) => 0,
            // A report may be the last that a round has waited for: then all members get their corrections.
            (0, _) => MANY,
            _ => ANSWERS,
        };
        let before = self.state(to);
        self.input(to, answers, |node, now| node.handle_datagram(now, path, datagram));
        if forged {
            assert_eq!(self.state(to), before, "a datagram without a good tag had an effect");
            // Except for the warning that there was one.
            let warning =
                |event: &NodeEvent| matches!(event, NodeEvent::Server(ServerEvent::Unauthentic { .. }));
            let silent = self.process(to).is_none_or(|process| process.events.iter().all(warning));
            assert!(silent, "a datagram without a good tag caused an event");
        }
        self.received += u64::from(to == self.target);
        let counted = self.process(self.target).map_or(0, |process| process.role.counters().received());
        assert_eq!(counted, self.received, "each datagram ends in one counter");
        if let AnyNode::Server(server) = &self.server.role {
            assert!(server.clients() <= MAX_CLIENTS, "{} members", server.clients());
        }
    }

    /// How many datagrams a node has accepted so far, and what its clock shows.
    fn state(&mut self, who: usize) -> Option<(u64, ClockReading)> {
        let raw = self.moment(who).raw;
        self.process(who).map(|Process { role, .. }| (role.counters().of(Fate::Accepted), role.read(raw)))
    }

    fn process(&mut self, who: usize) -> Option<&mut Process> {
        match who {
            0 => Some(&mut self.server),
            1 => self.client.as_mut(),
            _ => None,
        }
    }

    /// Gives a node one input, then drains it: at most so many datagrams.
    fn input(&mut self, who: usize, most: usize, input: impl FnOnce(&mut AnyNode, Now)) {
        let now = self.moment(who);
        if let Some(process) = self.process(who) {
            process.input(now, |node| input(node, now));
            self.drain(who, most);
        }
    }

    fn send(&mut self, from: usize, to: usize, datagram: &Datagram) {
        if has_keys(self.settings) {
            self.genuine.insert(*datagram);
        }
        if self.in_flight.len() < MAX_IN_FLIGHT {
            self.in_flight.push_back(Flight { from, to, datagram: datagram.to_vec() });
        }
    }

    fn drain(&mut self, who: usize, most: usize) {
        let now = self.moment(who);
        let Some(process) = self.process(who) else { return };
        let sent = testkit::drain(&mut process.role, now);
        let wants_address = process.role.poll_action() == Some(Action::Resolve(Rank::FIRST));
        assert!(sent.len() <= most, "{} datagrams at once", sent.len());
        for transmit in sent {
            let message = Message::decode(&transmit.datagram).expect("what a node sends can be read");
            let (text, tag) = transmit.datagram.split_at(DATAGRAM_LEN - TAG_LEN);
            assert!(message.encode().starts_with(text));
            assert_eq!(has_keys(self.settings), tag.iter().any(|byte| *byte != 0));
            if let Some(to) = whose(transmit.path.peer) {
                self.send(who, to, &transmit.datagram);
            }
        }
        if wants_address {
            self.input(who, MANY, |node, now| node.handle_resolved(now, Rank::FIRST, Some(address(0))));
        }
    }

    fn restart(&mut self, who: usize) {
        self.boots = self.boots.wrapping_add(1);
        let again = Process::start(who, self.settings, self.moment(who), self.boots);
        if let Some(process) = self.process(who) {
            *process = again;
        }
        if who == self.target {
            self.received = 0;
        }
        self.begin(who);
    }

    /// A process has just started.
    fn begin(&mut self, who: usize) {
        if self.process(who).is_some() {
            return self.drain(who, MANY);
        }
        let request = self.stubs[who - 1].register(0);
        self.send(who, 0, &request);
    }

    fn moment(&self, who: usize) -> Now {
        moment(self.now, self.off[who])
    }

    /// One of the datagrams that were on their way; nothing yet is an empty one.
    fn remembered(&self, which: u8) -> Vec<u8> {
        let index = usize::from(which).checked_rem(self.seen.len());
        index.map_or_else(Vec::new, |index| self.seen[index].clone())
    }
}

fn sender(bytes: &mut Bytes<'_>) -> Option<usize> {
    Some(usize::from(bytes.byte()?) % (NODES + 1))
}

impl Treatment {
    fn apply(self, datagram: &mut [u8]) {
        if datagram.is_empty() {
            return;
        }
        match self {
            Treatment::Spoil(at, with) => datagram[usize::from(at) % datagram.len()] ^= with,
            Treatment::Overwrite(at, with) => {
                let at = usize::from(at) % datagram.len();
                let end = (at + 8).min(datagram.len());
                datagram[at..end].copy_from_slice(&with.to_be_bytes()[..end - at]);
            }
            Treatment::Pass | Treatment::Drop | Treatment::Double => {}
        }
    }
}

/// A process: a node, and the events of its last input.
struct Process {
    role: AnyNode,
    events: Vec<NodeEvent>,
}

impl Process {
    fn start(who: usize, settings: u8, now: Now, boot: u8) -> Process {
        let plan = match who {
            0 => NodeConfig::Server(Box::new(ServerConfig {
                interval: INTERVALS[usize::from(settings) % INTERVALS.len()],
                burst: 1 + settings / 64,
                max_clients: MAX_CLIENTS,
                keys: if has_keys(settings) { ring(RINGS[0], master) } else { Keyring::default() },
                ..ServerConfig::default()
            })),
            _ => NodeConfig::Client(ClientConfig {
                name: Name::new(UNDER_TEST),
                keys: if has_keys(settings) { vec![ring(RINGS[0], own_key)] } else { Vec::new() },
                asymmetry: Span::from_micros(i64::from(settings & 4)),
                panic: (settings & 8 != 0).then_some(Span::from_secs(1_000)),
                ..ClientConfig::default()
            }),
        };
        Process {
            role: AnyNode::start(&plan, [boot.wrapping_mul(2).wrapping_add(who as u8); 32], now),
            events: Vec::new(),
        }
    }

    /// Gives the node one input. Its published time does not jump by that, unless it says so.
    fn input(&mut self, now: Now, input: impl FnOnce(&mut AnyNode)) {
        let before = self.role.read(now.raw);
        input(&mut self.role);
        let after = self.role.read(now.raw);
        self.events.clear();
        self.events.extend(testkit::events(&mut self.role));
        assert!(self.events.len() <= MAX_EVENTS, "{} events at once", self.events.len());
        if before.state.has_cluster_time() && !self.events.iter().any(NodeEvent::is_step) {
            let jump = after.time - before.time;
            assert!(jump.abs() <= ROUNDING, "published time jumped by {jump}, and no step was reported");
        }
        let bounds = [before.bound, after.bound, before.error, after.error];
        assert!(bounds.into_iter().flatten().all(|bound| bound >= Span::ZERO), "{bounds:?}");
    }
}

fn has_keys(settings: u8) -> bool {
    settings & 16 != 0
}

fn master(id: KeyId) -> Master {
    Master::new(&[id.0 as u8; 32])
}

/// The key of the client under test.
fn own_key(id: KeyId) -> NodeKey {
    master(id).node(&Name::new(UNDER_TEST))
}

fn ring<K>(ids: &[u16], key: impl Fn(KeyId) -> K) -> Keyring<K> {
    Keyring::new(ids.iter().map(|id| (KeyId(*id), key(KeyId(*id)))).collect())
}

/// The key that a stub uses in this stage of the keys' change, if there are any.
fn stub_key(settings: u8, index: usize, stage: usize) -> Option<(KeyId, NodeKey)> {
    let id = KeyId(*RINGS[stage % RINGS.len()].last()?);
    has_keys(settings).then(|| (id, master(id).node(&Name::new(STUB_NAMES[index]))))
}

/// The addresses of the server, the clients, and last the stranger.
fn address(who: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, who as u8 + 1)), DEFAULT_PORT)
}

fn whose(address: SocketAddr) -> Option<usize> {
    (0..NODES).find(|who| self::address(*who) == address)
}

const CLIENTS: usize = 2;
const STUB_NAMES: [&str; CLIENTS] = ["a", "b"];
const UNDER_TEST: &str = "under test";
/// The keys, by number, as they change; the newest last. The newest of the first is always the stolen one's.
const RINGS: [&[u16]; 4] = [&[1], &[1, 2], &[2], &[2, 3]];
const NODES: usize = CLIENTS + 1;
/// One fewer than there are addresses to register from.
const MAX_CLIENTS: usize = 2;
const INTERVALS: [Span; 4] =
    [Span::from_millis(50), Span::from_secs(1), Span::from_secs(5), Span::from_secs(3_600)];
/// So that no input takes longer than some milliseconds.
const MAX_STEPS: usize = 96;
const MAX_RUN_EVENTS: u32 = 100;
const MAX_SEEN: usize = 256;
const MAX_IN_FLIGHT: usize = 64;
/// The address after the nodes': it never gets a session, for it knows no cookie.
const STRANGER: usize = NODES;
/// To one datagram of its server a client sends at most an answer and a datagram that was due.
const ANSWERS: usize = 2;
/// After any other input: a burst's probes, adjustments, corrections and heartbeats of two members, and
/// goodbyes.
const MANY: usize = 10;
/// The events at the end of a round: results, corrections and losses, for each of three clocks.
const MAX_EVENTS: usize = 24;
/// Between two pieces of a clock that runs on, integers may round differently by so much.
const ROUNDING: Span = Span::from_nanos(2);
const ON_THE_WAY: Span = Span::from_micros(100);
/// The largest offset of a clock.
const YEARS: i64 = 100 * 365 * 86_400 * 1_000_000_000;
/// Longer than any timer.
const LONG: i64 = 100 * 3_600 * 1_000_000_000;

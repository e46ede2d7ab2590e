//! When the clients of a load generator do what. What they send and receive is in `messages`.
//!
//! Every tick, newcomers register at the configured rate, and a share of the other clients is checked for a
//! retry, a heartbeat or a session that has expired. Under pressure (`--rate max`) heartbeats are kept in
//! flight, each from the next client in turn, up to a fixed number; when half of them are answered, they are
//! filled up again. For each of them the server does what it does for any datagram of a member: it receives
//! and stamps it, decodes it, finds the member and its session, notes the sign of life, and encodes and sends
//! an answer.

mod messages;

use std::collections::VecDeque;

use meantime_core::time::{Frequency, Monotonic, Now, Raw, Span};
use meantime_core::transmit_latency::MinTransmitLatency;
use meantime_core::wire::{Body, Datagram, KeyId, Leave, LeaveReason, Message, Name, NodeKey, Welcome};
use meantime_core::{ClockReading, Counters, Fate, Node, Path, StampId, Transmit};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::client_addresses::ClientAddresses;
use crate::light_client::{LightClient, SimulatedOscillator};
use crate::plan::{LoadEvent, LoadPlan};
use crate::statistics::LoadStatistics;

/// The clients, and what was measured; see [`Node`] for how to drive it.
#[derive(Debug)]
pub struct LoadGenerator {
    plan: LoadPlan,
    addresses: ClientAddresses,
    clients: Vec<LightClient>,
    /// With keys: the number of the one in use, and each client's own key.
    key: KeyId,
    keys: Vec<NodeKey>,
    rng: ChaCha8Rng,
    terms: Welcome,
    /// The number of the newest manual time adjustment. The clocks are measured against the time without it.
    adjustment: u8,
    began: Monotonic,
    /// How many have sent a first Register, and how many are registered.
    requested: usize,
    registered: usize,
    all_registered: Option<Monotonic>,
    /// The client that was checked last, and the one that sent the last heartbeat under pressure.
    next_checked: usize,
    next_heartbeat: usize,
    heartbeats: VecDeque<(u32, u64, Monotonic)>,
    unanswered: usize,
    next: Monotonic,
    transmit_latency: MinTransmitLatency,
    /// For each port, so that the datagrams of one port can be sent in one batch.
    outgoing: Vec<VecDeque<Outgoing>>,
    current: usize,
    is_finished: bool,
    /// At the end: how many clients have been asked to leave, and the event that follows when all have.
    departed: usize,
    result: Option<LoadEvent>,
    statistics: LoadStatistics,
    events: VecDeque<LoadEvent>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
enum Outgoing {
    Ready(u32, Datagram),
    /// The answer to a probe; it is encoded when it leaves.
    Report {
        client: u32,
        nonce: u64,
        round: u32,
        host: Raw,
    },
}

impl LoadGenerator {
    /// A load generator that begins now, with these addresses.
    pub fn new(plan: LoadPlan, addresses: ClientAddresses, now: Now) -> LoadGenerator {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut light = || {
            let offset = Span::from_nanos(rng.random_range(-MAX_OFFSET.as_nanos()..=MAX_OFFSET.as_nanos()));
            LightClient::new(SimulatedOscillator {
                origin: now.raw,
                offset,
                drift: Frequency::from_ppm(rng.random_range(-MAX_DRIFT_PPM..=MAX_DRIFT_PPM)),
            })
        };
        let key = plan.keys.newest();
        let master = plan.keys.find(key);
        let own = |client| master.map(|master| master.node(&name(client)));
        LoadGenerator {
            clients: (0..plan.clients).map(|_| light()).collect(),
            key,
            keys: (0..plan.clients).map_while(own).collect(),
            outgoing: vec![VecDeque::new(); addresses.ports()],
            plan,
            addresses,
            rng,
            terms: Welcome {
                heartbeat: Span::from_secs(5),
                lifetime: Span::from_secs(18),
                ..Welcome::default()
            },
            adjustment: 0,
            began: now.mono,
            requested: 0,
            registered: 0,
            all_registered: None,
            next_checked: 0,
            next_heartbeat: 0,
            heartbeats: VecDeque::new(),
            unanswered: 0,
            next: now.mono,
            transmit_latency: MinTransmitLatency::default(),
            current: 0,
            is_finished: false,
            departed: 0,
            result: None,
            statistics: LoadStatistics::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Gives up heartbeats that were not acknowledged in time, and fills up those in flight.
    fn fill_heartbeats(&mut self, now: Monotonic) {
        if self.statistics.since.is_none() || self.is_finished {
            return;
        }
        while self.heartbeats.front().is_some_and(|(client, nonce, at)| {
            self.clients[*client as usize].nonce != *nonce || now - *at > HEARTBEAT_TIMEOUT
        }) {
            let Some((client, nonce, _)) = self.heartbeats.pop_front() else { break };
            let light = &mut self.clients[client as usize];
            if light.nonce == nonce {
                light.nonce = 0;
                self.unanswered = self.unanswered.saturating_sub(1);
                self.statistics.lost_heartbeats += 1;
            }
        }
        // Single heartbeats would make small batches, here and at the server.
        if self.unanswered > self.plan.pressure / 2 {
            return;
        }
        for _ in 0..self.plan.pressure.min(self.clients.len()) {
            if self.unanswered >= self.plan.pressure {
                break;
            }
            self.next_heartbeat = (self.next_heartbeat + 1) % self.clients.len();
            let client = self.next_heartbeat;
            if self.clients[client].is_member() && self.clients[client].nonce == 0 {
                let nonce = self.send_heartbeat(now, client);
                self.heartbeats.push_back((client as u32, nonce, now));
                self.unanswered += 1;
            }
        }
    }

    /// Registers newcomers at the configured rate, and checks a share of the other clients.
    fn check_clients(&mut self, now: Monotonic) {
        let due = (now - self.began).as_secs_f64() * f64::from(self.plan.join_rate);
        while self.requested < self.clients.len() && (self.requested as f64) < due {
            self.register(now, self.requested, 0);
            self.requested += 1;
        }
        // All clients within a quarter of the heartbeat interval.
        let share = (TICK.as_secs_f64() * 4.0 / self.terms.heartbeat.as_secs_f64()).min(1.0);
        for _ in 0..(self.requested as f64 * share).ceil() as usize {
            self.next_checked = (self.next_checked + 1) % self.requested.max(1);
            self.check_client(now, self.next_checked);
        }
    }

    fn check_client(&mut self, now: Monotonic, client: usize) {
        let light = &self.clients[client];
        if !light.is_member() {
            if now - light.sent >= REGISTER_RETRY {
                self.register(now, client, 0);
            }
        } else if now - light.heard > self.terms.lifetime {
            self.forget_session(client);
        } else if now - light.sent > self.terms.heartbeat {
            self.send_heartbeat(now, client);
        }
    }

    fn finish(&mut self, now: Monotonic) {
        if !std::mem::replace(&mut self.is_finished, true) {
            let mut measure = std::mem::take(&mut self.statistics);
            measure.finish();
            let length = measure.since.map_or(Span::ZERO, |since| now - since);
            self.result = Some(LoadEvent::Finished(Box::new(measure), length, self.registered));
        }
    }

    /// Lets at most so many clients leave; after the last one the result is reported.
    fn send_leaves(&mut self, most: usize) {
        let end = self.clients.len().min(self.departed.saturating_add(most));
        for client in std::mem::replace(&mut self.departed, end)..end {
            if self.clients[client].is_member() {
                self.send(client, 0, Body::Leave(Leave { reason: LeaveReason::Shutdown }));
                self.forget_session(client);
            }
        }
        if self.departed == self.clients.len() {
            self.events.extend(self.result.take());
        }
    }
}

impl Node for LoadGenerator {
    type Event = LoadEvent;

    fn handle_datagram(&mut self, now: Now, path: Path, datagram: &[u8]) {
        self.handle_received(now, now.raw, path, datagram);
    }

    fn handle_received(&mut self, now: Now, received: Raw, path: Path, datagram: &[u8]) {
        let fate = match (Message::decode(datagram), self.addresses.client(path.peer)) {
            (Ok(_), Some(client)) if !self.is_genuine(client, datagram) => Fate::Tag,
            (Ok(message), Some(client)) => self.receive(now, received, client, &message),
            (Err(_), _) => Fate::Malformed,
            (_, None) => Fate::UnknownAddress,
        };
        self.counters.count(fate);
    }

    fn handle_transmitted(&mut self, id: StampId, raw: Raw) {
        let (client, number) = ((id.0 >> 32) as usize, id.0 as u32);
        let left = self.clients.get_mut(client).and_then(|light| light.left(number, raw));
        // The expected latency is part of the whole latency.
        if let Some(late) = left {
            self.transmit_latency.learn((late + self.transmit_latency.expected()).max(Span::ZERO));
        }
    }

    fn handle_lost(&mut self, datagrams: u32) {
        self.counters.lose(datagrams);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.next = now.mono + TICK;
        if now.mono - self.began >= self.plan.duration {
            self.finish(now.mono);
            self.send_leaves(LEAVES_PER_TICK);
            return;
        }
        self.check_clients(now.mono);
        if self.all_registered.is_none() && self.registered == self.clients.len() {
            self.all_registered = Some(now.mono);
            self.events.push_back(LoadEvent::AllRegistered(now.mono - self.began));
        }
        let settled = self.all_registered.is_some_and(|since| now.mono - since >= self.plan.settle);
        if settled && self.statistics.since.is_none() {
            self.statistics.begin(now.mono);
            self.events.push_back(LoadEvent::Measuring);
        }
        if self.plan.pressure > 0 {
            self.fill_heartbeats(now.mono);
        }
    }

    fn handle_shutdown(&mut self, now: Now) {
        self.finish(now.mono);
        self.outgoing.iter_mut().for_each(VecDeque::clear);
        self.send_leaves(self.clients.len());
    }

    fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        for _ in 0..self.outgoing.len() {
            match self.outgoing[self.current].pop_front() {
                Some(Outgoing::Ready(client, datagram)) => {
                    return Some(Transmit { path: self.path(client as usize), datagram, stamp: None });
                }
                Some(Outgoing::Report { client, nonce, round, host }) => {
                    return Some(self.report(now, client as usize, nonce, round, host));
                }
                None => self.current = (self.current + 1) % self.outgoing.len(),
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<LoadEvent> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        (!self.is_finished || self.result.is_some()).then_some(self.next)
    }

    fn read(&self, raw: Raw) -> ClockReading {
        ClockReading::unsynchronized(raw)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The name of a client.
fn name(client: usize) -> Name {
    Name::new(&format!("load-{client}"))
}

/// The maximum initial offset of a clock, either sign: within what a first vote accepts.
const MAX_OFFSET: Span = Span::from_secs(2);
/// The maximum frequency error of an oscillator, either sign, in parts per million.
const MAX_DRIFT_PPM: f64 = 50.0;
/// The time from one tick to the next.
const TICK: Span = Span::from_millis(2);
/// How many clients leave in a tick: a server would lose more than its receive buffer holds.
const LEAVES_PER_TICK: usize = 64;
/// A client that has no session sends another Register after this.
const REGISTER_RETRY: Span = Span::from_millis(1_500);
/// A heartbeat that is not acknowledged within this is counted as lost.
const HEARTBEAT_TIMEOUT: Span = Span::from_millis(500);

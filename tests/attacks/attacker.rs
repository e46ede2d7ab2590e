//! The attacker: many clients in one hand.

use std::collections::HashMap;
use std::net::SocketAddr;

use meantime_core::time::{Frequency, Span, Timestamp};
use meantime_core::wire::{
    Body, ClientState, ClusterId, CorrectionMessage, Datagram, Direction, Flags, Header, KeyId, Label,
    Message, Name, NodeId, NodeKey, Probe, Reference, Register, Report, SessionId, StatedReference,
};
use meantime_sim::START;
use meantime_sim::testkit::address::address;
use meantime_sim::testkit::{Endpoint, Flight};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a client of the attacker does. Times are true time since the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// When it registers.
    pub begin: Span,
    /// How far its clock is ahead of true time at the beginning. Until it jumps, it applies corrections.
    pub ahead: Span,
    /// When its clock jumps, and by how much; it is not corrected any more then.
    pub jump: Option<(Span, Span)>,
    /// The state that it claims; `None`: the true one.
    pub state: Option<ClientState>,
    /// The cluster of which it claims to have the time; `None`: the server's.
    pub cluster: Option<ClusterId>,
    /// The bound that it claims.
    pub bound: Span,
    /// From when on it claims to have learned this frequency adjustment, less the rate command.
    pub frequency: Option<(Span, Frequency)>,
    /// From this time on it answers late, by a random time of at least and at most so much.
    pub late: Option<(Span, [Span; 2])>,
    /// The label that it claims.
    pub label: Option<Name>,
    /// From when on it claims to have a time from outside; that minus true time, and the maximum error that
    /// it states.
    pub reference: Option<(Span, Span, Span)>,
    /// When it leaves, without a word.
    pub end: Span,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            begin: Span::ZERO,
            ahead: Span::ZERO,
            jump: None,
            state: None,
            cluster: None,
            bound: Span::from_micros(1),
            frequency: None,
            late: None,
            label: None,
            reference: None,
            end: Span::from_nanos(i64::MAX),
        }
    }
}

/// A client of the attacker.
#[derive(Debug)]
struct Fake {
    address: SocketAddr,
    plan: Plan,
    node: NodeId,
    name: Name,
    key: Option<(KeyId, NodeKey)>,
    session: Option<SessionId>,
    nonce: u64,
    cluster: ClusterId,
    sequence: u32,
    applied: u32,
    added: Span,
    /// When it registers next, if nothing is heard before.
    next_try: Span,
    outgoing: Vec<(Span, Datagram)>,
    rng: ChaCha8Rng,
}

/// All clients of the attacker, at whatever addresses.
#[derive(Debug, Default)]
pub(crate) struct Attacker {
    fakes: Vec<Fake>,
    at: HashMap<SocketAddr, usize>,
}

impl Attacker {
    /// Adds a client without a key.
    pub(crate) fn add(&mut self, address: &str, plan: Plan) {
        self.add_keyed(address, "", None, plan);
    }

    /// Adds a client with this name and key.
    pub(crate) fn add_keyed(&mut self, address: &str, name: &str, key: Option<(KeyId, NodeKey)>, plan: Plan) {
        let number = self.fakes.len();
        let address = SocketAddr::new(address.parse().expect("an address"), 30_000 + number as u16);
        let node = NodeId(0xbad_0000 + number as u64);
        self.at.insert(address, number);
        self.fakes.push(Fake {
            address,
            plan,
            node,
            name: Name::new(name),
            key,
            session: None,
            nonce: node.0 << 20,
            cluster: ClusterId(0),
            sequence: 0,
            applied: 0,
            added: Span::ZERO,
            next_try: plan.begin,
            outgoing: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(number as u64),
        });
    }

    /// From now on all references claim to be so far ahead of true time.
    pub(crate) fn refer_to(&mut self, ahead: Span) {
        for (_, off, _) in self.fakes.iter_mut().filter_map(|fake| fake.plan.reference.as_mut()) {
            *off = ahead;
        }
    }

    /// Whether a client of the attacker is at this address.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.at.contains_key(&address)
    }
}

impl Fake {
    /// What its clock is ahead of true time.
    fn ahead(&self, at: Span) -> Span {
        let jump = self.plan.jump.filter(|(from, _)| at >= *from).map_or(Span::ZERO, |(_, by)| by);
        self.plan.ahead + self.added + jump
    }

    fn receive(&mut self, at: Span, datagram: &Datagram) {
        let Message { header, body } = Message::decode(datagram).expect("a server's datagram is well-formed");
        match body {
            Body::Challenge(challenge) if self.session.is_none() => self.register(at, challenge.cookie),
            Body::Welcome(welcome) if welcome.nonce == self.nonce => self.begin(at, header.session),
            Body::Probe(probe) if self.session == Some(header.session) => {
                self.next_try = at + SILENCE;
                self.report(at, header.round, &probe);
            }
            Body::Correction(correction) if self.session == Some(header.session) => {
                self.correct(at, &correction);
            }
            Body::Reject(_) | Body::Leave(_) => (self.session, self.next_try) = (None, at + RETRY),
            _ => {}
        }
    }

    fn begin(&mut self, at: Span, session: SessionId) {
        (self.session, self.sequence, self.next_try) = (Some(session), 0, at + SILENCE);
        if let Some(label) = self.plan.label {
            self.send(at, 0, Body::Label(Label { label }));
        }
    }

    /// An honest client applies what it is sent.
    fn correct(&mut self, at: Span, correction: &CorrectionMessage) {
        if self.plan.jump.is_none_or(|(from, _)| at < from) && self.plan.state.is_none() {
            (self.added, self.applied) = (self.added + correction.correction.span(), correction.about);
        }
    }

    fn register(&mut self, at: Span, cookie: u64) {
        if cookie == 0 {
            self.nonce += 1;
        }
        self.session = None;
        self.next_try = at + RETRY;
        let cluster = self.plan.cluster.unwrap_or(self.cluster);
        let register = Register { nonce: self.nonce, cookie, cluster, name: self.name };
        self.send(at, 0, Body::Register(register));
    }

    fn report(&mut self, at: Span, round: u32, probe: &Probe) {
        self.cluster = self.plan.cluster.unwrap_or(probe.cluster);
        let mut between = |[least, most]: [Span; 2]| {
            Span::from_nanos(self.rng.random_range(least.as_nanos()..=most.as_nanos()))
        };
        let late = self.plan.late.filter(|(from, _)| at >= *from);
        let late = late.map_or(Span::ZERO, |(_, range)| between(range));
        let frequency = self.plan.frequency.filter(|(from, _)| at >= *from);
        let report = Report {
            nonce: probe.nonce,
            t2: Timestamp::from_nanos(START.as_nanos()) + at + self.ahead(at),
            frequency: frequency.map_or(Frequency::ZERO, |(_, claimed)| claimed) + probe.rate,
            frequency_error: Frequency::from_ppt(1),
            rate: probe.rate,
            applied: self.applied,
            bound: Some(self.plan.bound),
            error: Some(self.plan.bound),
            ..Report::default()
        };
        self.send(at + late, round, Body::Report(report));
        if let Some((from, off, max_error)) = self.plan.reference
            && at >= from
            && probe.index + 1 >= probe.burst
        {
            let stated = StatedReference { at: report.t2, offset: off - self.ahead(at), max_error };
            self.send(at + late, round, Body::Reference(Reference { stated: Some(stated) }));
        }
    }

    fn send(&mut self, at: Span, round: u32, body: Body) {
        self.sequence += 1;
        let own = if self.applied == 0 { ClientState::Unsynchronized } else { ClientState::Synchronized };
        let flags = Flags { state: self.plan.state.unwrap_or(own), manual_adjustment: 0, ..Flags::default() };
        let header = Header {
            flags,
            key_id: self.key.as_ref().map_or(KeyId::NONE, |(id, _)| *id),
            sender: self.node,
            session: self.session.unwrap_or_default(),
            sequence: self.sequence,
            round,
        };
        let mut datagram = Message { header, body }.encode();
        if let Some((_, key)) = &self.key {
            key.sign(Direction::ToServer, &mut datagram);
        }
        self.outgoing.push((at, datagram));
    }

    fn deadline(&self) -> Span {
        let next_try = Some(self.next_try).filter(|at| *at < self.plan.end);
        let sends = self.outgoing.iter().map(|(at, _)| *at).chain(next_try);
        sends.min().unwrap_or(Span::from_nanos(i64::MAX))
    }

    fn wake(&mut self, at: Span) {
        if at >= self.plan.end {
            self.outgoing.clear();
        } else if at >= self.next_try {
            self.register(at, 0);
        }
    }
}

impl Endpoint for Attacker {
    fn owns(&self, address: SocketAddr) -> bool {
        self.is_at(address)
    }

    fn deadline(&self) -> Option<Span> {
        self.fakes.iter().map(Fake::deadline).min()
    }

    fn wake(&mut self, at: Span) {
        self.fakes.iter_mut().for_each(|fake| fake.wake(at));
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        for flight in flights {
            self.fakes[self.at[&flight.to]].receive(at, &flight.datagram);
        }
    }

    fn transmit(&mut self, at: Span, leaving: &mut Vec<Flight>) {
        for fake in &mut self.fakes {
            let from = fake.address;
            let due = fake.outgoing.extract_if(.., |(when, _)| *when <= at);
            leaving.extend(due.map(|(_, datagram)| Flight { from, to: address(0), datagram }));
        }
    }
}

/// After so much silence it registers again.
const SILENCE: Span = Span::from_secs(11);
/// After so much time without an answer it asks again.
const RETRY: Span = Span::from_millis(1_500);

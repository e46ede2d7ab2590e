//! A client that registers like any other, and then says of its clock whatever it likes.

use std::net::SocketAddr;

use meantime_core::time::{Span, Timestamp};
use meantime_core::wire::{
    Body, ClientState, ClusterId, Flags, Header, Heartbeat, Message, Name, NodeId, Probe, Register, Report,
    SessionId,
};

use super::address::address;
use super::host::moment;
use super::network::{Endpoint, Flight};

/// What a hostile client says of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// What its clock shows minus true time.
    pub ahead: Span,
    /// The state of its clock.
    pub state: ClientState,
    /// Its bound.
    pub bound: Option<Span>,
    /// The cluster whose time it has; 0: none.
    pub cluster: ClusterId,
    /// Whether it answers probes. It sends heartbeats in any case.
    pub answers: bool,
}

/// A member that follows nothing.
#[derive(Debug)]
pub struct HostileClient {
    /// What it says.
    pub claims: Claims,
    name: Name,
    node: NodeId,
    address: SocketAddr,
    session: Option<SessionId>,
    sequence: u32,
    /// When it sends its next Register or Heartbeat.
    next: Span,
    outgoing: Vec<Message>,
}

impl HostileClient {
    /// The client with this number and name, which begins to register at `at`.
    pub fn new(number: usize, name: &str, at: Span, claims: Claims) -> HostileClient {
        HostileClient {
            claims,
            name: Name::new(name),
            node: NodeId(0xbad + number as u64),
            address: address(number),
            session: None,
            sequence: 0,
            next: at,
            outgoing: Vec::new(),
        }
    }

    fn send(&mut self, round: u32, body: Body) {
        self.sequence += 1;
        let header = Header {
            flags: Flags { state: self.claims.state, manual_adjustment: 0, ..Flags::default() },
            sender: self.node,
            session: self.session.unwrap_or_default(),
            sequence: self.sequence,
            round,
            ..Header::default()
        };
        self.outgoing.push(Message { header, body });
    }

    fn register(&mut self, cookie: u64) {
        self.session = None;
        let (nonce, cluster, name) = (self.node.0, self.claims.cluster, self.name);
        let register = Register { nonce, cookie, cluster, name };
        self.send(0, Body::Register(register));
    }

    fn report(&mut self, at: Span, round: u32, probe: &Probe) {
        let t2 = Timestamp::from_nanos(moment(at, self.claims.ahead).raw.as_nanos());
        let bound = self.claims.bound;
        let report =
            Report { nonce: probe.nonce, t2, rate: probe.rate, bound, error: bound, ..Report::default() };
        self.send(round, Body::Report(report));
    }

    fn handle(&mut self, at: Span, message: &Message) {
        match &message.body {
            Body::Challenge(challenge) => self.register(challenge.cookie),
            Body::Welcome(_) => self.session = Some(message.header.session),
            Body::Reject(_) | Body::Leave(_) => self.session = None,
            Body::Probe(probe) if self.claims.answers => self.report(at, message.header.round, probe),
            _ => {}
        }
    }
}

impl Endpoint for HostileClient {
    fn owns(&self, address: SocketAddr) -> bool {
        address == self.address
    }

    fn deadline(&self) -> Option<Span> {
        Some(self.next)
    }

    fn wake(&mut self, at: Span) {
        if at < self.next {
            return;
        }
        self.next = at + PERIOD;
        match self.session {
            Some(_) => self.send(0, Body::Heartbeat(Heartbeat { nonce: 7, ..Heartbeat::default() })),
            None => self.register(0),
        }
    }

    fn receive(&mut self, at: Span, flights: &[Flight]) {
        for flight in flights {
            if let Ok(message) = Message::decode(&flight.datagram) {
                self.handle(at, &message);
            }
        }
    }

    fn transmit(&mut self, _at: Span, leaving: &mut Vec<Flight>) {
        let (from, to) = (self.address, address(0));
        leaving.extend(self.outgoing.drain(..).map(|message| Flight {
            from,
            to,
            datagram: message.encode(),
        }));
    }
}

/// From one sign of life to the next.
const PERIOD: Span = Span::from_secs(5);

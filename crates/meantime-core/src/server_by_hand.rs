//! A server of several that tests write datagram by datagram, and the nodes that are its clients.

use core::net::SocketAddr;

use crate::roles::rank::Rank;
use crate::roles::statement::{Role, ServerStatement, Service};
use crate::roles::term::Term;
use crate::time::{Frequency, Monotonic, Now, Raw, Span};
use crate::wire::{Body, Header, Message, NodeId, Probe, RoleMessage, SessionId, Welcome};
use crate::{Node, Path};

/// A server of a list of three that says what a test wants.
#[derive(Debug)]
pub(crate) struct ServerByHand {
    pub rank: Rank,
    pub interval: Span,
    /// The number of the last datagram that it has sent to its client.
    pub sequence: u32,
}

impl ServerByHand {
    /// The server of this place in the list.
    pub(crate) fn new(place: u8) -> ServerByHand {
        ServerByHand { rank: rank(place), interval: Span::from_secs(5), sequence: 0 }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + self.rank.place()], 5525))
    }

    /// Sends a datagram of its session to its client.
    pub(crate) fn send(&mut self, now: Now, node: &mut impl Node, body: Body) {
        self.sequence += 1;
        let id = 7 + u64::from(self.rank.place());
        let header = Header {
            sender: NodeId(id),
            session: SessionId(id),
            sequence: self.sequence,
            ..Header::default()
        };
        let path = Path { peer: self.address(), local: None };
        node.handle_datagram(now, path, &Message { header, body }.encode());
    }

    /// Makes the node its client.
    pub(crate) fn register(&mut self, now: Now, node: &mut impl Node) {
        node.handle_resolved(now, self.rank, Some(self.address()));
        let mut requests = sent(now, node).into_iter().filter(|(to, _)| *to == self.address());
        let nonce = requests.find_map(|(_, message)| match message.body {
            Body::Register(register) => Some(register.nonce),
            _ => None,
        });
        let (nonce, interval) = (nonce.expect("a client that knows the address asks"), self.interval);
        let (heartbeat, lifetime) = (interval, interval.times(4));
        let welcome = Welcome { nonce, interval, heartbeat, lifetime, ..Welcome::default() };
        self.send(now, node, Body::Welcome(welcome));
    }

    /// States that it is active in this term.
    pub(crate) fn claim(&mut self, now: Now, node: &mut impl Node, term: Term) {
        self.state(now, node, Role::Active, term);
    }

    /// States that it is active, or a standby server that is served, in this term.
    pub(crate) fn state(&mut self, now: Now, node: &mut impl Node, role: Role, term: Term) {
        let statement = ServerStatement { role, term, service: Service::Served, successor: None };
        let role = RoleMessage { rank: self.rank, servers: 3, statement, bound: None };
        self.send(now, node, Body::Role(role));
    }
}

impl ServerByHand {
    /// Asks the client for a reading, with this rate command. Returns the one that the client follows.
    pub(crate) fn probe(&mut self, now: Now, node: &mut impl Node, rate: Frequency) -> Frequency {
        let nonce = (u64::from(self.sequence) << 32) + now.mono.as_nanos() as u64;
        self.send(now, node, Body::Probe(Probe { nonce, rate, burst: 1, ..Probe::default() }));
        let mut sent = sent(now, node).into_iter();
        let followed = sent.find_map(|(_, message)| match message.body {
            Body::Report(report) if report.nonce == nonce => Some(report.rate),
            _ => None,
        });
        followed.expect("a client answers a probe")
    }
}

/// What a node has to send.
pub(crate) fn sent(now: Now, node: &mut impl Node) -> alloc::vec::Vec<(SocketAddr, Message)> {
    core::iter::from_fn(|| node.poll_transmit(now))
        .map(|transmit| (transmit.path.peer, Message::decode(&transmit.datagram).expect("a datagram")))
        .collect()
}

/// The place of a server in the list.
pub(crate) fn rank(place: u8) -> Rank {
    Rank::new(place).expect("a list has fifteen places")
}

/// So long after the beginning, by all clocks.
pub(crate) fn at(after: Span) -> Now {
    Now { mono: Monotonic::from_nanos(after.as_nanos()), raw: Raw::from_nanos(after.as_nanos()) }
}

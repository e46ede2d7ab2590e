//! The least that is a client to a server: it registers, reports what its clock shows, and applies every
//! correction as a step. It is cheap, for tests of servers that need other members.

use meantime_core::time::{Now, Span, Timestamp};
use meantime_core::wire::{
    Body, ClientState, ClusterId, Datagram, Direction, Flags, Header, KeyId, Message, Name, NodeId, NodeKey,
    Probe, Register, Report, SessionId,
};

/// A stub of a client.
#[derive(Debug)]
pub struct StubClient {
    node: NodeId,
    name: Name,
    key: Option<(KeyId, NodeKey)>,
    session: SessionId,
    cluster: ClusterId,
    sequence: u32,
    applied: u32,
    /// The newest manual time adjustment that it has heard of.
    adjustment: u8,
    /// The sum of the corrections that it has applied.
    added: Span,
}

impl StubClient {
    /// A client with this id and name, and no key.
    pub fn new(node: u64, name: &str) -> StubClient {
        StubClient {
            node: NodeId(node),
            name: Name::new(name),
            key: None,
            session: SessionId(0),
            cluster: ClusterId(0),
            sequence: 0,
            applied: 0,
            adjustment: 0,
            added: Span::ZERO,
        }
    }

    /// From now on it tags with this key, or not at all.
    pub fn set_key(&mut self, key: Option<(KeyId, NodeKey)>) {
        self.key = key;
    }

    /// Its Register; without a cookie (0) the first one of a new registration.
    pub fn register(&mut self, cookie: u64) -> Datagram {
        self.session = SessionId(0);
        let (nonce, cluster, name) = (self.node.0, self.cluster, self.name);
        self.encode(0, Body::Register(Register { nonce, cookie, cluster, name }))
    }

    /// Its answer to a datagram, if any.
    pub fn answer(&mut self, now: Now, datagram: &[u8]) -> Option<Datagram> {
        let Message { header, body } = Message::decode(datagram).ok()?;
        match body {
            Body::Challenge(challenge) => Some(self.register(challenge.cookie)),
            Body::Welcome(_) => {
                (self.session, self.sequence) = (header.session, 0);
                None
            }
            Body::Probe(probe) => Some(self.report(now, header.round, &probe)),
            Body::Correction(correction) => {
                // A correction to a date beyond the range of `Span` cannot be applied.
                let added = self.added.as_nanos().checked_add(correction.correction.span().as_nanos())?;
                (self.added, self.applied) = (Span::from_nanos(added), correction.about);
                None
            }
            Body::ManualAdjustment(adjustment) => {
                self.adjustment = adjustment.number;
                None
            }
            Body::Reject(_) | Body::Leave(_) => Some(self.register(0)),
            _ => None,
        }
    }

    fn report(&mut self, now: Now, round: u32, probe: &Probe) -> Datagram {
        self.cluster = probe.cluster;
        let bound = (self.applied != 0).then_some(Span::from_micros(100));
        let report = Report {
            nonce: probe.nonce,
            t2: Timestamp::from_nanos(now.raw.as_nanos()) + self.added,
            rate: probe.rate,
            applied: self.applied,
            bound,
            error: bound,
            ..Report::default()
        };
        self.encode(round, Body::Report(report))
    }

    fn encode(&mut self, round: u32, body: Body) -> Datagram {
        self.sequence += 1;
        let state = if self.applied == 0 { ClientState::Unsynchronized } else { ClientState::Synchronized };
        let (sender, session, sequence) = (self.node, self.session, self.sequence);
        let flags = Flags { state, manual_adjustment: self.adjustment, ..Flags::default() };
        let key_id = self.key.as_ref().map_or(KeyId::NONE, |(id, _)| *id);
        let mut datagram =
            Message { header: Header { flags, key_id, sender, session, sequence, round }, body }.encode();
        if let Some((_, key)) = &self.key {
            key.sign(Direction::ToServer, &mut datagram);
        }
        datagram
    }
}

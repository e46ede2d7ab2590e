//! A client that costs nothing: it registers, reports what its clock shows, and takes every correction as a
//! step. To a server that is all that a client is.

use meantime_core::time::{Now, Span, Timestamp};
use meantime_core::wire::{
    Body, ClientState, ClusterId, Datagram, Direction, Flags, Header, KeyId, Message, Name, NodeId, NodeKey,
    Probe, Register, Report, SessionId,
};

/// Such a client.
#[derive(Debug)]
pub struct Puppet {
    node: NodeId,
    name: Name,
    key: Option<(KeyId, NodeKey)>,
    session: SessionId,
    cluster: ClusterId,
    sequence: u32,
    applied: u32,
    /// The newest setting of the time that it was told of.
    setting: u8,
    /// What it has added to its clock.
    added: Span,
}

impl Puppet {
    /// One that is called `name`, and has the id `node`.
    pub fn new(node: u64, name: &str) -> Puppet {
        Puppet {
            node: NodeId(node),
            name: Name::new(name),
            key: None,
            session: SessionId(0),
            cluster: ClusterId(0),
            sequence: 0,
            applied: 0,
            setting: 0,
            added: Span::ZERO,
        }
    }

    /// It tags with this key from now on, or not at all.
    pub fn rekey(&mut self, key: Option<(KeyId, NodeKey)>) {
        self.key = key;
    }

    /// What it sends when it starts.
    pub fn register(&mut self, cookie: u64) -> Datagram {
        self.session = SessionId(0);
        let (nonce, cluster, name) = (self.node.0, self.cluster, self.name);
        self.write(0, Body::Register(Register { nonce, cookie, cluster, name }))
    }

    /// What it answers, if anything.
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
                // Far enough off to be taken as another date is no time that it could add up.
                let added = self.added.as_nanos().checked_add(correction.correction.span().as_nanos())?;
                (self.added, self.applied) = (Span::from_nanos(added), correction.about);
                None
            }
            Body::ManualAdjustment(setting) => {
                self.setting = setting.number;
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
        self.write(round, Body::Report(report))
    }

    fn write(&mut self, round: u32, body: Body) -> Datagram {
        self.sequence += 1;
        let state = if self.applied == 0 { ClientState::Unsynchronized } else { ClientState::Synchronized };
        let (sender, session, sequence) = (self.node, self.session, self.sequence);
        let flags = Flags { state, manual_adjustment: self.setting };
        let key_id = self.key.as_ref().map_or(KeyId::NONE, |(id, _)| *id);
        let mut datagram =
            Message { header: Header { flags, key_id, sender, session, sequence, round }, body }.encode();
        if let Some((_, key)) = &self.key {
            key.sign(Direction::ToServer, &mut datagram);
        }
        datagram
    }
}

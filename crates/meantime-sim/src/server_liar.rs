//! Servers that lie: what they state of the time is not what they know.
//!
//! A lying server is an honest one whose datagrams are falsified between it and its links: the times in
//! outgoing Probes, Corrections and Role messages. In the Reports of members that have followed a lie, it is
//! taken back, so that the server itself goes on with its own time and does not notice how far it has led
//! them. The lies have the right tags: the liar has the server's keys.

use std::collections::BTreeMap;

use super::MemberIndex;
use meantime_core::roles::statement::{Role, ServerStatement, Service};
use meantime_core::roles::term::Term;
use meantime_core::time::{Correction, Frequency, Span, Timestamp};
use meantime_core::wire::{
    Body, Datagram, Direction, KeyId, Master, Message, Name, NodeKey, RoleMessage, Stamps,
};

/// What a server lies about, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServerLie {
    /// Its time is off by so much.
    Constant(Span),
    /// Its time drifts away at this rate from the beginning of the lie.
    Ramp(Frequency),
    /// Its time is so much ahead for every other member, and so much behind for the others.
    TwoFaced(Span),
    /// Its time is off by so much for this member only.
    One(MemberIndex, Span),
    /// Its time is off by so much, and it states that its bound is zero.
    FalseBounds(Span),
    /// Its time is right. It states in turn that it is active, with a new term each time, and that it has
    /// stepped down.
    Terms,
}

/// A server that tells a lie.
#[derive(Clone, Debug)]
pub struct ServerLiar {
    lie: ServerLie,
    /// The server's key, if it has one.
    key: Option<Master>,
    /// The server's time at the beginning of the lie, and the newest that is known.
    since: Option<(Timestamp, Timestamp)>,
    /// How many statements each member has got.
    stated: BTreeMap<MemberIndex, u64>,
}

impl ServerLiar {
    /// A server with this key, if it has one, that tells this lie.
    pub fn new(lie: ServerLie, key: Option<Master>) -> ServerLiar {
        ServerLiar { lie, key, since: None, stated: BTreeMap::new() }
    }

    /// Changes what the server sends to a member.
    pub fn outgoing(&mut self, to: MemberIndex, datagram: &mut Datagram) {
        let Ok(mut message) = Message::decode(datagram) else { return };
        match &mut message.body {
            Body::Probe(probe) => {
                let Some(stamps) = &mut probe.before else { return };
                self.falsify(to, stamps);
            }
            Body::Correction(correction) => {
                if let Some(stamps) = &mut correction.last {
                    self.falsify(to, stamps);
                }
                let added = self.added(to, None);
                correction.correction = Correction::adding(correction.correction.span() + added);
            }
            Body::Role(role) if matches!(self.lie, ServerLie::FalseBounds(_)) => {
                role.bound = Some(Span::ZERO);
            }
            Body::Role(role) if self.lie == ServerLie::Terms => {
                let stated = self.stated.entry(to).or_default();
                *stated += 1;
                role.statement = claim(role, *stated);
            }
            _ => return,
        }
        self.replace(datagram, &message, to, Direction::ToClient);
    }

    /// Changes what a member answers whose clock is `ahead` of the server's, so that the honest server does
    /// not notice the lie. The liar measures that like the server.
    pub fn incoming(&mut self, from: MemberIndex, ahead: Span, datagram: &mut Datagram) {
        let Ok(mut message) = Message::decode(datagram) else { return };
        let Body::Report(report) = &mut message.body else { return };
        let added = self.added(from, None);
        if (ahead - added).abs() < ahead.abs() {
            report.t2 = report.t2 - added;
            self.replace(datagram, &message, from, Direction::ToServer);
        }
    }

    fn replace(&self, datagram: &mut Datagram, message: &Message, of: MemberIndex, direction: Direction) {
        *datagram = message.encode();
        if let Some(key) = self.key_of(of).filter(|_| message.header.key_id != KeyId::NONE) {
            key.sign(direction, datagram);
        }
    }

    fn key_of(&self, member: MemberIndex) -> Option<NodeKey> {
        self.key.as_ref().map(|master| master.node(&Name::new(&member.to_string())))
    }

    fn falsify(&mut self, to: MemberIndex, stamps: &mut Stamps) {
        stamps.t1 += self.added(to, Some(stamps.t1));
        stamps.t4 += self.added(to, Some(stamps.t4));
    }

    /// What is added to a time for a member; `None`: to the newest that is known.
    fn added(&mut self, to: MemberIndex, time: Option<Timestamp>) -> Span {
        match self.lie {
            ServerLie::Constant(offset) | ServerLie::FalseBounds(offset) => offset,
            ServerLie::Ramp(rate) => {
                let Some((began, newest)) = self.since.or(time.map(|time| (time, time))) else {
                    return Span::ZERO;
                };
                self.since = Some((began, time.map_or(newest, |time| time.max(newest))));
                rate.over(time.unwrap_or(newest) - began)
            }
            ServerLie::TwoFaced(offset) if to.stream().is_multiple_of(2) => offset,
            ServerLie::TwoFaced(offset) => -offset,
            ServerLie::One(member, offset) if member == to => offset,
            ServerLie::One(..) | ServerLie::Terms => Span::ZERO,
        }
    }
}

/// The `number`th statement about terms in place of a true one: of a term that is claimed, or of the same one
/// that nobody serves any more.
fn claim(role: &RoleMessage, number: u64) -> ServerStatement {
    let counter = role.statement.term.counter() + number.div_ceil(2);
    let (role_stated, service) =
        if number % 2 == 1 { (Role::Active, Service::Served) } else { (Role::Standby, Service::Lost) };
    let term = Term::new(counter, role.rank).unwrap_or(role.statement.term);
    ServerStatement { role: role_stated, term, service, successor: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meantime_core::roles::rank::Rank;
    use meantime_core::wire::{CorrectionMessage, Header, Probe, Report, Verdict};

    const CLIENT: MemberIndex = MemberIndex::client(1);

    fn ms(ms: i64) -> Span {
        Span::from_millis(ms)
    }

    fn stamps(second: i64) -> Stamps {
        let at = |ms| Timestamp::from_nanos(0) + Span::from_secs(second) + Span::from_millis(ms);
        Stamps { report: 1, t1: at(0), t4: at(1) }
    }

    fn sent(liar: &mut ServerLiar, to: MemberIndex, body: Body) -> Body {
        let mut datagram = Message { header: Header { sequence: 1, ..Header::default() }, body }.encode();
        liar.outgoing(to, &mut datagram);
        Message::decode(&datagram).unwrap().body
    }

    fn probe(second: i64) -> Body {
        Body::Probe(Probe { before: Some(stamps(second)), ..Probe::default() })
    }

    fn correction(about: u32) -> Body {
        Body::Correction(CorrectionMessage {
            about,
            correction: Correction::adding(ms(5)),
            last: Some(stamps(0)),
            rate: Frequency::ZERO,
            window: Span::ZERO,
            verdict: Verdict::Agrees,
            learning: false,
            brisk: false,
            heard: 4,
            members: 3,
        })
    }

    /// What is added to the stamps of a probe.
    fn added(liar: &mut ServerLiar, to: MemberIndex, second: i64) -> Span {
        match sent(liar, to, probe(second)) {
            Body::Probe(Probe { before: Some(told), .. }) => told.t1 - stamps(second).t1,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_times_are_off_by_the_same() {
        let mut liar = ServerLiar::new(ServerLie::Constant(ms(2)), None);
        assert_eq!(added(&mut liar, CLIENT, 7), ms(2));
        let Body::Correction(told) = sent(&mut liar, CLIENT, correction(3)) else { panic!() };
        assert_eq!(told.correction, Correction::adding(ms(7)));
        assert_eq!(told.last.map(|last| last.t4 - stamps(0).t4), Some(ms(2)));
    }

    #[test]
    fn a_ramp_begins_with_the_first_times_that_are_told() {
        let mut liar = ServerLiar::new(ServerLie::Ramp(Frequency::from_ppm(10.0)), None);
        assert_eq!(added(&mut liar, CLIENT, 100), Span::ZERO);
        assert_eq!(added(&mut liar, CLIENT, 200), ms(1));
    }

    #[test]
    fn members_are_told_different_times() {
        let [one, two] = [1, 2].map(MemberIndex::client);
        let mut liar = ServerLiar::new(ServerLie::TwoFaced(ms(2)), None);
        assert_eq!(added(&mut liar, one, 0) + added(&mut liar, two, 0), Span::ZERO);
        let mut liar = ServerLiar::new(ServerLie::One(two, ms(2)), None);
        assert_eq!((added(&mut liar, one, 0), added(&mut liar, two, 0)), (Span::ZERO, ms(2)));
    }

    #[test]
    fn a_false_bound_is_zero() {
        let rank = Rank::FIRST;
        let term = Term::new(1, rank).unwrap();
        let (role, service) = (Role::Active, Service::Served);
        let statement = ServerStatement { role, term, service, successor: None };
        let stated = |bound| RoleMessage { rank, servers: 3, statement, bound };
        let mut liar = ServerLiar::new(ServerLie::FalseBounds(ms(2)), None);
        let honest = stated(Some(ms(1)));
        assert_eq!(sent(&mut liar, CLIENT, Body::Role(honest)), Body::Role(stated(Some(Span::ZERO))));
        assert_eq!(added(&mut liar, CLIENT, 7), ms(2));
    }

    #[test]
    fn terms_are_claimed_and_left_in_turn() {
        let rank = Rank::FIRST;
        let term = |counter| Term::new(counter, rank).unwrap();
        let stated = |role, term, service| {
            let statement = ServerStatement { role, term, service, successor: None };
            Body::Role(RoleMessage { rank, servers: 3, statement, bound: None })
        };
        let honest = stated(Role::Standby, term(4), Service::Served);
        let mut liar = ServerLiar::new(ServerLie::Terms, None);
        for counter in [5, 6] {
            let claimed = stated(Role::Active, term(counter), Service::Served);
            assert_eq!(sent(&mut liar, CLIENT, honest), claimed);
            assert_eq!(sent(&mut liar, CLIENT, honest), stated(Role::Standby, term(counter), Service::Lost));
        }
        assert_eq!(added(&mut liar, CLIENT, 7), Span::ZERO);
    }

    #[test]
    fn the_server_does_not_notice_that_a_member_has_followed() {
        let mut liar = ServerLiar::new(ServerLie::Constant(ms(2)), None);
        let header = Header { sequence: 9, ..Header::default() };
        let sent = Report { t2: Timestamp::from_nanos(0), ..Report::default() };
        let mut felt = |ahead| {
            let mut datagram = Message { header, body: Body::Report(sent) }.encode();
            liar.incoming(CLIENT, ahead, &mut datagram);
            let Ok(Message { body: Body::Report(report), .. }) = Message::decode(&datagram) else { panic!() };
            report.t2 - sent.t2
        };
        assert_eq!(felt(Span::from_micros(900)), Span::ZERO, "it has not followed");
        assert_eq!(felt(Span::from_micros(1_100)), ms(-2));
    }

    #[test]
    fn lies_have_the_right_tags() {
        let master = Master::new(&[7; 32]);
        let mut liar = ServerLiar::new(ServerLie::Constant(ms(2)), Some(master.clone()));
        let header = Header { sequence: 1, key_id: KeyId(1), ..Header::default() };
        let mut datagram = Message { header, body: probe(7) }.encode();
        liar.outgoing(CLIENT, &mut datagram);
        assert!(master.node(&Name::new("client-1")).verify(Direction::ToClient, &datagram));
    }
}

//! Byzantine clients: members that report false times.
//!
//! A liar is an honest client whose datagrams are falsified between the client and its link. Outgoing Reports
//! are changed; in incoming Corrections that answer a lie the change is undone, and the vote's verdict is
//! hidden. So the client itself goes on following cluster time. That is what makes its lies dangerous: they
//! are always relative to the truth, and no correction ever uses them up.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use meantime_core::time::{Correction, Frequency, Span};
use meantime_core::wire::{Body, ClientState, Datagram, Direction, Message, NodeKey, Report, Verdict};

/// What a liar lies about, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    /// Its clock is off by so much, always.
    Constant(Span),
    /// Its clock is off by anything up to so much, differently in every report.
    Random(Span),
    /// Its clock is so much ahead for one probe and so much behind for another.
    TwoFaced(Span),
    /// Its clock drifts away at this rate from the beginning of the lie.
    Frog(Frequency),
    /// Its clock is off by this fraction of the vote's window.
    Edge(f64),
    /// Its frequency adjustment is off by so much. Its clock is right.
    Frequency(Frequency),
    /// It is synchronized from the start, with a clock that is off by so much.
    State(Span),
    /// Its reports are delayed by so much on its side, which its timestamps do not show.
    Delayed(Span),
}

/// A client that tells a lie.
#[derive(Clone, Debug)]
pub struct Liar {
    lie: Lie,
    rng: ChaCha8Rng,
    /// The key of the client, if it has one: the lies come from behind it.
    key: Option<NodeKey>,
    /// The window that the server announced last.
    window: Span,
    since: Option<Span>,
    /// Report numbers and what was added to their timestamps, the newest of each slot.
    added_to: [(u32, Span); MAX_RECORDED],
}

impl Liar {
    /// A liar that tells this lie.
    pub fn new(lie: Lie, rng: ChaCha8Rng) -> Liar {
        Liar {
            lie,
            rng,
            key: None,
            window: Span::ZERO,
            since: None,
            added_to: [(0, Span::ZERO); MAX_RECORDED],
        }
    }

    /// The same, with the client's key.
    #[must_use]
    pub fn with_key(self, key: Option<NodeKey>) -> Liar {
        Liar { key, ..self }
    }

    /// Changes what the honest client sends at a true time. Returns by how much to hold it back.
    pub fn outgoing(&mut self, at: Span, datagram: &mut Datagram) -> Span {
        let Ok(mut message) = Message::decode(datagram) else { return Span::ZERO };
        let mut held = Span::ZERO;
        if let Lie::State(_) = self.lie {
            message.header.flags.state = ClientState::Synchronized;
        }
        if let Body::Report(report) = &mut message.body {
            held = self.falsify(at, message.header.sequence, report);
        }
        *datagram = message.encode();
        self.sign(Direction::ToServer, datagram);
        held
    }

    /// Changes what the server answers, so that the honest client does not notice the lie.
    pub fn incoming(&mut self, datagram: &mut Datagram) {
        let Ok(mut message) = Message::decode(datagram) else { return };
        let Body::Correction(body) = &mut message.body else { return };
        self.window = body.window;
        let (number, added) = self.added_to[body.about as usize % MAX_RECORDED];
        if number == body.about {
            body.correction = Correction::adding(body.correction.span() + added);
        }
        body.verdict = Verdict::Agrees;
        *datagram = message.encode();
        self.sign(Direction::ToClient, datagram);
    }

    fn sign(&self, direction: Direction, datagram: &mut Datagram) {
        if let Some(key) = &self.key {
            key.sign(direction, datagram);
        }
    }

    fn falsify(&mut self, at: Span, number: u32, report: &mut Report) -> Span {
        let added = self.added(at);
        report.t2 += added;
        self.added_to[number as usize % MAX_RECORDED] = (number, added);
        match self.lie {
            Lie::Frequency(by) => {
                report.frequency = report.frequency + by;
                Span::ZERO
            }
            Lie::Delayed(by) => by,
            _ => Span::ZERO,
        }
    }

    /// What is added to the client's reading.
    fn added(&mut self, at: Span) -> Span {
        let since = *self.since.get_or_insert(at);
        match self.lie {
            Lie::Constant(offset) | Lie::State(offset) => offset,
            Lie::Random(range) => range.scaled(self.rng.random_range(-1.0..=1.0)),
            Lie::TwoFaced(offset) if self.rng.random() => offset,
            Lie::TwoFaced(offset) => -offset,
            Lie::Frog(rate) => rate.over(at - since),
            Lie::Edge(fraction) => self.window.scaled(fraction),
            Lie::Frequency(_) | Lie::Delayed(_) => Span::ZERO,
        }
    }
}

/// More than the reports of one round: 32 exchanges, doubled.
const MAX_RECORDED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};
    use meantime_core::time::Timestamp;
    use meantime_core::wire::{self, Header};

    fn liar(lie: Lie) -> Liar {
        Liar::new(lie, Seed(1).stream(Purpose::Lie, 1))
    }

    fn report(number: u32) -> Datagram {
        let header = Header { sequence: number, ..Header::default() };
        Message { header, body: Body::Report(Report::default()) }.encode()
    }

    fn correction(about: u32, correction: Span, window: Span) -> Datagram {
        let body = wire::CorrectionMessage {
            about,
            correction: Correction::adding(correction),
            last: None,
            rate: Frequency::ZERO,
            window,
            verdict: Verdict::Minority,
            learning: false,
            brisk: false,
            heard: 0,
            members: 3,
        };
        Message { header: Header::default(), body: Body::Correction(body) }.encode()
    }

    /// What a liar makes of a report that says zero.
    fn falsified(liar: &mut Liar, at: Span, number: u32) -> Report {
        let mut datagram = report(number);
        liar.outgoing(at, &mut datagram);
        match Message::decode(&datagram) {
            Ok(Message { body: Body::Report(report), .. }) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn corrections_that_answer_a_lie_reach_the_honest_client_without_it() {
        let mut liar = liar(Lie::Constant(Span::from_secs(1)));
        falsified(&mut liar, Span::ZERO, 9);
        let mut answer = correction(9, Span::from_millis(-1_003), Span::ZERO);
        liar.incoming(&mut answer);
        let Ok(Message { body: Body::Correction(felt), .. }) = Message::decode(&answer) else { panic!() };
        assert_eq!(felt.correction.span(), Span::from_millis(-3));
        assert_eq!(felt.verdict, Verdict::Agrees);
    }

    #[test]
    fn a_frog_drifts_from_its_first_report_on() {
        let mut liar = liar(Lie::Frog(Frequency::from_ppm(1.0)));
        assert_eq!(falsified(&mut liar, Span::from_secs(100), 1).t2, Timestamp::from_nanos(0));
        assert_eq!(falsified(&mut liar, Span::from_secs(110), 2).t2, Timestamp::from_nanos(10_000));
    }

    #[test]
    fn a_liar_at_the_edge_uses_the_window_of_the_last_correction() {
        let mut liar = liar(Lie::Edge(0.9));
        assert_eq!(falsified(&mut liar, Span::ZERO, 1).t2, Timestamp::from_nanos(0));
        liar.incoming(&mut correction(1, Span::ZERO, Span::from_micros(100)));
        assert_eq!(falsified(&mut liar, Span::ZERO, 2).t2, Timestamp::from_nanos(90_000));
    }

    #[test]
    fn a_two_faced_liar_reports_both_signs() {
        let mut liar = liar(Lie::TwoFaced(Span::from_millis(1)));
        let reported: Vec<i64> = (1..40).map(|n| falsified(&mut liar, Span::ZERO, n).t2.as_nanos()).collect();
        assert!(reported.contains(&1_000_000) && reported.contains(&-1_000_000));
        assert!(reported.iter().all(|ns| ns.abs() == 1_000_000));
    }
}

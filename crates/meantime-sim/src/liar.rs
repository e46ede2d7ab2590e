//! Members that say what is not so.
//!
//! A liar is an honest client with somebody on its wire. On the way out its Reports are changed; on
//! the way in, the Corrections that answer a lie are changed back, and the vote's verdict is hidden.
//! So the client behind goes on knowing the cluster's time, which is what makes its lies dangerous:
//! they are always relative to the truth, and no correction ever uses them up.

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
    /// The boiling frog: its clock runs away at this rate from the moment it begins to lie.
    Frog(Frequency),
    /// Its clock is off by this fraction of the window within which the server believes.
    Edge(f64),
    /// Its frequency adjustment is off by so much. Its clock is right.
    Frequency(Frequency),
    /// It is synchronized from the start, with a clock that is off by so much.
    State(Span),
    /// Its reports stay so long on its side, unmentioned.
    Delayed(Span),
}

/// A lie being told.
#[derive(Clone, Debug)]
pub struct Liar {
    lie: Lie,
    rng: ChaCha8Rng,
    /// The key of the client, if it has one: the lies come from behind it.
    key: Option<NodeKey>,
    /// The window that the server announced last.
    window: Span,
    since: Option<Span>,
    /// Report numbers and what was added to them, the newest of each slot.
    told: [(u32, Span); REMEMBERED],
}

impl Liar {
    /// Somebody who tells this lie.
    pub fn new(lie: Lie, rng: ChaCha8Rng) -> Liar {
        Liar { lie, rng, key: None, window: Span::ZERO, since: None, told: [(0, Span::ZERO); REMEMBERED] }
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

    /// Changes what the server answers, so that the honest client behind is none the wiser.
    pub fn incoming(&mut self, datagram: &mut Datagram) {
        let Ok(mut message) = Message::decode(datagram) else { return };
        let Body::Correction(body) = &mut message.body else { return };
        self.window = body.window;
        let (number, added) = self.told[body.about as usize % REMEMBERED];
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
        self.told[number as usize % REMEMBERED] = (number, added);
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
const REMEMBERED: usize = 64;

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
    fn told(liar: &mut Liar, at: Span, number: u32) -> Report {
        let mut datagram = report(number);
        liar.outgoing(at, &mut datagram);
        match Message::decode(&datagram) {
            Ok(Message { body: Body::Report(report), .. }) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_honest_client_behind_a_liar_never_feels_its_lies() {
        let mut liar = liar(Lie::Constant(Span::from_secs(1)));
        told(&mut liar, Span::ZERO, 9);
        let mut answer = correction(9, Span::from_millis(-1_003), Span::ZERO);
        liar.incoming(&mut answer);
        let Ok(Message { body: Body::Correction(felt), .. }) = Message::decode(&answer) else { panic!() };
        assert_eq!(felt.correction.span(), Span::from_millis(-3));
        assert_eq!(felt.verdict, Verdict::Agrees);
    }

    #[test]
    fn a_boiling_frog_runs_away_from_its_first_report_on() {
        let mut liar = liar(Lie::Frog(Frequency::from_ppm(1.0)));
        assert_eq!(told(&mut liar, Span::from_secs(100), 1).t2, Timestamp::from_nanos(0));
        assert_eq!(told(&mut liar, Span::from_secs(110), 2).t2, Timestamp::from_nanos(10_000));
    }

    #[test]
    fn a_liar_at_the_edge_uses_the_window_that_it_was_told() {
        let mut liar = liar(Lie::Edge(0.9));
        assert_eq!(told(&mut liar, Span::ZERO, 1).t2, Timestamp::from_nanos(0));
        liar.incoming(&mut correction(1, Span::ZERO, Span::from_micros(100)));
        assert_eq!(told(&mut liar, Span::ZERO, 2).t2, Timestamp::from_nanos(90_000));
    }

    #[test]
    fn a_two_faced_liar_says_both() {
        let mut liar = liar(Lie::TwoFaced(Span::from_millis(1)));
        let said: Vec<i64> = (1..40).map(|n| told(&mut liar, Span::ZERO, n).t2.as_nanos()).collect();
        assert!(said.contains(&1_000_000) && said.contains(&-1_000_000));
        assert!(said.iter().all(|ns| ns.abs() == 1_000_000));
    }
}

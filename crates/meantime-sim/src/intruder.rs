//! Somebody on the path between the server and a client: he sees everything and does with it what he likes.
//! What he does not have is their key.
//!
//! He remembers what has passed. What he sends instead travels on over the rest of the path like everything
//! else.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::Ways;
use meantime_core::time::{Correction, Frequency, Span};
use meantime_core::wire::{Body, DATAGRAM_LEN, Datagram, Message};

/// What an intruder does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intrusion {
    /// Everything, at random: he drops, holds back, doubles, changes, strips of its tag, sends old ones again
    /// and sends back where it came from.
    Chaos,
    /// Nothing genuine gets through any more, but for everything something old.
    Replay,
    /// He adds so much to every time that the server tells.
    Forge(Span),
    /// He holds back, on one way, everything for as long as this has gained since he began: slowly enough, a
    /// delay looks like a clock that runs wrong.
    Creep(Ways, Frequency),
}

/// An intruder at work.
#[derive(Clone, Debug)]
pub struct Intruder {
    intrusion: Intrusion,
    rng: ChaCha8Rng,
    since: Option<Span>,
    /// Some of what has passed, old and new, with its way.
    tape: Vec<(Ways, Datagram)>,
}

/// What he lets travel on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passed {
    /// Whither.
    pub way: Ways,
    /// How long he holds it back.
    pub held: Span,
    /// What.
    pub datagram: Datagram,
}

impl Intruder {
    /// Somebody who does this.
    pub fn new(intrusion: Intrusion, rng: ChaCha8Rng) -> Intruder {
        Intruder { intrusion, rng, since: None, tape: Vec::new() }
    }

    /// Gets hold of a datagram at a true time, on its way up or down. What he makes of it is added to
    /// `passed`.
    pub fn seize(&mut self, at: Span, way: Ways, datagram: Datagram, passed: &mut Vec<Passed>) {
        let since = *self.since.get_or_insert(at);
        self.record(way, datagram);
        let genuine = Passed { way, held: Span::ZERO, datagram };
        match self.intrusion {
            Intrusion::Chaos => self.play(genuine, passed),
            Intrusion::Replay => passed.push(self.old()),
            Intrusion::Forge(by) => passed.push(Passed { datagram: forged(datagram, by), ..genuine }),
            Intrusion::Creep(slow, rate) => {
                let held = if slow == way || slow == Ways::Both { rate.over(at - since) } else { Span::ZERO };
                passed.push(Passed { held: held.max(Span::ZERO), ..genuine });
            }
        }
    }

    fn play(&mut self, genuine: Passed, passed: &mut Vec<Passed>) {
        let mut next = genuine;
        for _ in 0..self.rng.random_range(0..3) {
            match self.rng.random_range(0..8) {
                0 => self.change(&mut next.datagram),
                1 => next.datagram[6..8].fill(0),
                2 => next.way = if next.way == Ways::Up { Ways::Down } else { Ways::Up },
                3 | 4 => next.held = HELD.scaled(self.rng.random::<f64>().powi(3)),
                _ => {}
            }
            passed.push(next);
            next = if self.rng.random() { genuine } else { self.old() };
        }
    }

    fn change(&mut self, datagram: &mut Datagram) {
        for _ in 0..self.rng.random_range(1..6) {
            datagram[self.rng.random_range(0..DATAGRAM_LEN)] = self.rng.next_u32() as u8;
        }
    }

    fn record(&mut self, way: Ways, datagram: Datagram) {
        if self.tape.len() < REMEMBERED {
            self.tape.push((way, datagram));
        } else {
            let place = self.rng.random_range(0..REMEMBERED);
            self.tape[place] = (way, datagram);
        }
    }

    fn old(&mut self) -> Passed {
        let (way, datagram) = self.tape[self.rng.random_range(0..self.tape.len())];
        Passed { way, held: Span::ZERO, datagram }
    }
}

/// What the server would have said if its time were ahead by so much more.
fn forged(mut datagram: Datagram, by: Span) -> Datagram {
    let Ok(mut message) = Message::decode(&datagram) else { return datagram };
    let stamps = match &mut message.body {
        Body::Probe(probe) => probe.before.as_mut(),
        Body::Correction(correction) => {
            correction.correction = Correction::adding(correction.correction.span() + by);
            correction.last.as_mut()
        }
        _ => return datagram,
    };
    if let Some(stamps) = stamps {
        (stamps.t1, stamps.t4) = (stamps.t1 + by, stamps.t4 + by);
    }
    // The tag stays what it was: he has nothing to make another from.
    let tagged = DATAGRAM_LEN - 16;
    datagram[..tagged].copy_from_slice(&message.encode()[..tagged]);
    datagram
}

/// The longest that he holds something back at random: longer than anybody waits. Mostly it is much less.
const HELD: Span = Span::from_secs(3);
/// How much he remembers.
const REMEMBERED: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn seized(intrusion: Intrusion, at: &[(i64, Ways)]) -> Vec<Passed> {
        let mut intruder = Intruder::new(intrusion, Seed(1).stream(Purpose::Intruder, 1));
        let mut passed = Vec::new();
        for (number, (at, way)) in at.iter().enumerate() {
            intruder.seize(Span::from_secs(*at), *way, [number as u8; DATAGRAM_LEN], &mut passed);
        }
        passed
    }

    #[test]
    fn he_who_creeps_holds_one_way_back_ever_longer() {
        let creep = Intrusion::Creep(Ways::Down, Frequency::from_ppm(10.0));
        let passed =
            seized(creep, &[(100, Ways::Down), (200, Ways::Up), (200, Ways::Down), (300, Ways::Down)]);
        let held: Vec<i64> = passed.iter().map(|passed| passed.held.as_nanos() / 1_000_000).collect();
        assert_eq!(held, [0, 0, 1, 2]);
    }

    #[test]
    fn chaos_leaves_nothing_out() {
        let all = vec![(1, Ways::Down); 10_000];
        let passed = seized(Intrusion::Chaos, &all);
        let count = |of: fn(&Passed) -> bool| passed.iter().filter(|passed| of(passed)).count();
        assert!((9_000..11_000).contains(&passed.len()), "{}", passed.len());
        assert!(count(|it| it.held > Span::from_secs(2)) > 50 && count(|it| it.way == Ways::Up) > 300);
        assert!(count(|it| it.datagram[1..].iter().any(|byte| *byte != it.datagram[0])) > 300);
    }
}

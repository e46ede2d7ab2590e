//! An on-path attacker between a server and another member: it sees, changes, delays, withholds, repeats and
//! reflects datagrams. It does not have the nodes' key.
//!
//! It records what passes. What it sends instead travels on over the rest of the path like everything else.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::Directions;
use meantime_core::time::{Correction, Frequency, Span};
use meantime_core::wire::{Body, DATAGRAM_LEN, Datagram, Message};

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attack {
    /// Each of these at random: it drops, delays, duplicates and changes datagrams, removes their tags,
    /// replays old ones, and reflects datagrams to their sender.
    Random,
    /// Each datagram is replaced by a recorded one.
    Replay,
    /// It adds this amount to every timestamp and correction of the server.
    Forge(Span),
    /// In these directions it delays everything by an amount that grows at this rate from the start of the
    /// attack: a delay that grows slowly enough looks like a clock with a frequency error.
    GrowingDelay(Directions, Frequency),
}

/// A running attack.
#[derive(Clone, Debug)]
pub struct Attacker {
    attack: Attack,
    rng: ChaCha8Rng,
    since: Option<Span>,
    /// A sample of the datagrams that have passed, old and new, with their direction.
    recorded: Vec<(Directions, Datagram)>,
}

/// A datagram that the attacker sends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passed {
    /// Its direction.
    pub direction: Directions,
    /// By how much the attacker delays it.
    pub held: Span,
    /// Its bytes.
    pub datagram: Datagram,
}

impl Attacker {
    /// An attacker that runs this attack.
    pub fn new(attack: Attack, rng: ChaCha8Rng) -> Attacker {
        Attacker { attack, rng, since: None, recorded: Vec::new() }
    }

    /// Intercepts a datagram at a true time. What the attacker sends in its place is added to `passed`.
    pub fn intercept(
        &mut self,
        at: Span,
        direction: Directions,
        datagram: Datagram,
        passed: &mut Vec<Passed>,
    ) {
        let since = *self.since.get_or_insert(at);
        self.record(direction, datagram);
        let genuine = Passed { direction, held: Span::ZERO, datagram };
        match self.attack {
            Attack::Random => self.send_at_random(genuine, passed),
            Attack::Replay => passed.push(self.old()),
            Attack::Forge(by) => passed.push(Passed { datagram: forged(datagram, by), ..genuine }),
            Attack::GrowingDelay(slow, rate) => {
                let held = if slow == direction || slow == Directions::Both {
                    rate.over(at - since)
                } else {
                    Span::ZERO
                };
                passed.push(Passed { held: held.max(Span::ZERO), ..genuine });
            }
        }
    }

    fn send_at_random(&mut self, genuine: Passed, passed: &mut Vec<Passed>) {
        let mut next = genuine;
        for _ in 0..self.rng.random_range(0..3) {
            match self.rng.random_range(0..8) {
                0 => self.change(&mut next.datagram),
                1 => next.datagram[6..8].fill(0),
                2 => {
                    next.direction = if next.direction == Directions::ToServer {
                        Directions::ToClient
                    } else {
                        Directions::ToServer
                    }
                }
                3 | 4 => next.held = MAX_HELD.scaled(self.rng.random::<f64>().powi(3)),
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

    fn record(&mut self, direction: Directions, datagram: Datagram) {
        if self.recorded.len() < MAX_RECORDED {
            self.recorded.push((direction, datagram));
        } else {
            let place = self.rng.random_range(0..MAX_RECORDED);
            self.recorded[place] = (direction, datagram);
        }
    }

    fn old(&mut self) -> Passed {
        let (direction, datagram) = self.recorded[self.rng.random_range(0..self.recorded.len())];
        Passed { direction, held: Span::ZERO, datagram }
    }
}

/// What the server would have sent if its time were ahead by so much more.
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
    // The tag stays what it was: without the key there is no other.
    let tagged = DATAGRAM_LEN - 16;
    datagram[..tagged].copy_from_slice(&message.encode()[..tagged]);
    datagram
}

/// The longest random delay: longer than any reply timeout. Most are much shorter.
const MAX_HELD: Span = Span::from_secs(3);
/// How many datagrams it records.
const MAX_RECORDED: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn intercepted(attack: Attack, at: &[(i64, Directions)]) -> Vec<Passed> {
        let mut attacker = Attacker::new(attack, Seed(1).stream(Purpose::Attacker, 1));
        let mut passed = Vec::new();
        for (number, (at, direction)) in at.iter().enumerate() {
            attacker.intercept(Span::from_secs(*at), *direction, [number as u8; DATAGRAM_LEN], &mut passed);
        }
        passed
    }

    #[test]
    fn a_growing_delay_grows_in_one_direction_only() {
        let growing = Attack::GrowingDelay(Directions::ToClient, Frequency::from_ppm(10.0));
        let passed = intercepted(
            growing,
            &[
                (100, Directions::ToClient),
                (200, Directions::ToServer),
                (200, Directions::ToClient),
                (300, Directions::ToClient),
            ],
        );
        let held: Vec<i64> = passed.iter().map(|passed| passed.held.as_nanos() / 1_000_000).collect();
        assert_eq!(held, [0, 0, 1, 2]);
    }

    #[test]
    fn a_random_attack_delays_reflects_and_changes_datagrams() {
        let all = vec![(1, Directions::ToClient); 10_000];
        let passed = intercepted(Attack::Random, &all);
        let count = |of: fn(&Passed) -> bool| passed.iter().filter(|passed| of(passed)).count();
        assert!((9_000..11_000).contains(&passed.len()), "{}", passed.len());
        assert!(
            count(|it| it.held > Span::from_secs(2)) > 50
                && count(|it| it.direction == Directions::ToServer) > 300
        );
        assert!(count(|it| it.datagram[1..].iter().any(|byte| *byte != it.datagram[0])) > 300);
    }
}

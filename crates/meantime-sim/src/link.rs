//! One direction of a path: what happens to a datagram between two machines.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::jitter::{Jitter, QueueState, SlowQueue};
use meantime_core::time::Span;
use meantime_core::wire::{DATAGRAM_LEN, Datagram};

/// How often a link harms datagrams; each is a probability from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairments {
    /// The datagram is lost.
    pub loss: f64,
    /// It arrives twice.
    pub duplication: f64,
    /// It is held back for up to [`HELD`], so that later ones overtake it.
    pub reordering: f64,
    /// One to four of its bytes are changed.
    pub corruption: f64,
}

/// One direction of the path between a server and another member.
#[derive(Clone, Debug)]
pub struct NetworkLink {
    /// The least delay.
    pub base: Span,
    /// What is added to it, for each datagram anew.
    pub jitter: Jitter,
    /// A slow queue on top, if there is one.
    pub queue: Option<SlowQueue>,
    /// How often datagrams come to harm.
    pub impairments: Impairments,
    /// Nothing gets through.
    pub cut: bool,
    state: QueueState,
    rng: ChaCha8Rng,
}

/// The delays of a datagram's copies: none if it was lost, two if it was doubled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The first copy.
    pub first: Option<Span>,
    /// The second one.
    pub second: Option<Span>,
}

impl NetworkLink {
    /// An untroubled link.
    pub fn new(base: Span, jitter: Jitter, rng: ChaCha8Rng) -> NetworkLink {
        let (impairments, state) = (Impairments::default(), QueueState::default());
        NetworkLink { base, jitter, queue: None, impairments, cut: false, state, rng }
    }

    /// Takes a datagram at a true time: when its copies arrive, if at all. May change its bytes.
    pub fn carry(&mut self, at: Span, datagram: &mut Datagram) -> Copies {
        // Drawn even if cut, so that a cut does not change what the link does afterwards.
        let first = self.delay(at);
        if self.happens(self.impairments.loss) || self.cut {
            return Copies::default();
        }
        if self.happens(self.impairments.corruption) {
            self.corrupt(datagram);
        }
        let second = self.happens(self.impairments.duplication).then(|| self.delay(at));
        Copies { first: Some(first), second }
    }

    fn delay(&mut self, at: Span) -> Span {
        let mut delay = self.base + self.jitter.draw(&mut self.rng);
        if let Some(queue) = self.queue {
            delay += self.state.wait(&queue, at, &mut self.rng);
        }
        if self.happens(self.impairments.reordering) {
            delay += HELD.scaled(self.rng.random());
        }
        delay.max(Span::ZERO)
    }

    fn corrupt(&mut self, datagram: &mut Datagram) {
        for _ in 0..self.rng.random_range(1..=4) {
            datagram[self.rng.random_range(0..DATAGRAM_LEN)] ^= self.rng.random_range(1..=255) as u8;
        }
    }

    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && f64::from(self.rng.next_u32()) < probability * 4_294_967_296.0
    }
}

/// The longest that a datagram is held back: longer than a burst, shorter than a round.
pub const HELD: Span = Span::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    const BASE: Span = Span::from_micros(100);

    fn link(impairments: Impairments) -> NetworkLink {
        let mut link = NetworkLink::new(BASE, Jitter::None, Seed(5).stream(Purpose::Up, 1));
        link.impairments = impairments;
        link
    }

    fn carried(impairments: Impairments) -> (usize, usize, usize, usize) {
        let mut link = link(impairments);
        let (mut lost, mut doubled, mut held, mut changed) = (0, 0, 0, 0);
        for _ in 0..10_000 {
            let mut datagram = [0; DATAGRAM_LEN];
            let copies = link.carry(Span::ZERO, &mut datagram);
            lost += usize::from(copies.first.is_none());
            doubled += usize::from(copies.second.is_some());
            held += usize::from(copies.first.is_some_and(|delay| delay > BASE));
            changed += usize::from(datagram != [0; DATAGRAM_LEN]);
        }
        (lost, doubled, held, changed)
    }

    #[test]
    fn an_untroubled_link_only_delays() {
        assert_eq!(carried(Impairments::default()), (0, 0, 0, 0));
    }

    #[test]
    fn trouble_comes_as_often_as_asked_for() {
        let impairments = Impairments { loss: 0.2, duplication: 0.1, reordering: 0.05, corruption: 0.01 };
        let (lost, doubled, held, changed) = carried(impairments);
        assert!((1_880..2_120).contains(&lost), "{lost}");
        assert!((720..880).contains(&doubled), "{doubled}");
        assert!((330..470).contains(&held), "{held}");
        assert!((50..110).contains(&changed), "{changed}");
    }

    #[test]
    fn nothing_gets_through_a_cut_link() {
        let mut link = link(Impairments::default());
        link.cut = true;
        assert_eq!(link.carry(Span::ZERO, &mut [0; DATAGRAM_LEN]), Copies::default());
    }

    #[test]
    fn no_delay_is_ever_negative() {
        let mut link = link(Impairments::default());
        link.jitter = Jitter::Gaussian { sigma: Span::from_millis(10) };
        for _ in 0..1_000 {
            assert!(link.carry(Span::ZERO, &mut [0; DATAGRAM_LEN]).first >= Some(Span::ZERO));
        }
    }
}

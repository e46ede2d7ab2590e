//! One stream of random numbers for each purpose and each thing that needs one.
//!
//! A single generator would couple everything: one more datagram on one link, and every oscillator
//! would wander elsewhere. Streams of one ChaCha key never overlap, so a scenario with a liar and the
//! same scenario without have the same oscillators, second by second.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The seed of a simulated world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    /// Where an oscillator starts, and its frequency error.
    Start = 1,
    /// How an oscillator wanders.
    Wander = 2,
    /// What a link from the server to a client does to datagrams.
    Down = 3,
    /// What a link from a client to the server does to datagrams.
    Up = 4,
    /// The seeds of a machine's processes.
    Process = 5,
    /// The noise of a machine's timestamps, and the latency of its timers.
    Stamping = 6,
    /// What a liar says.
    Lie = 7,
    /// The faults of a random scenario.
    Chaos = 8,
    /// What an attacker on a path does.
    Attacker = 9,
    /// The keys of the nodes.
    Keys = 10,
    /// How long a machine's processor takes to wake up.
    WakeUp = 11,
    /// How long a machine's network card waits before it interrupts.
    Moderation = 12,
}

impl Seed {
    /// The stream for one purpose, of the thing with this number.
    pub fn stream(self, purpose: Purpose, number: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream((purpose as u64) << 32 | number as u64);
        rng
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_purpose_and_number_has_a_stream_of_its_own() {
        let first = |purpose, number| Seed(7).stream(purpose, number).next_u64();
        assert_eq!(first(Purpose::Wander, 3), first(Purpose::Wander, 3));
        assert_ne!(first(Purpose::Wander, 3), first(Purpose::Wander, 4));
        assert_ne!(first(Purpose::Wander, 3), first(Purpose::Start, 3));
        assert_ne!(first(Purpose::Wander, 3), Seed(8).stream(Purpose::Wander, 3).next_u64());
    }
}

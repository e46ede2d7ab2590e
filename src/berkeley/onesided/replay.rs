//! The start: what the first bursts said is understood only when the noise is known.
//!
//! So they are kept, and replayed from the beginning: after the second, and then each time their number has grown by
//! 30 %. Twice: once to learn about the noise, once with what was learned, for the state and the evidence.

use super::class::{Burst, Class};
use super::filter::Filter;

/// The bursts since the start.
#[derive(Clone, Debug)]
pub struct Replay {
    start: Filter,
    bursts: Vec<Burst>,
    due: usize,
    observations: usize,
}

impl Replay {
    /// A start of which `start` was known.
    pub fn new(start: Filter) -> Replay {
        Replay { start, bursts: Vec::new(), due: 2, observations: 0 }
    }

    /// Keeps a burst.
    pub fn keep(&mut self, burst: Burst) {
        self.observations += burst.observations.len();
        self.bursts.push(burst);
    }

    /// Whether nothing more is to be learned from the start.
    pub fn is_over(&self) -> bool {
        self.observations >= ENOUGH
    }

    /// Replays if it is time to.
    pub fn run_if_due(&mut self, classes: &mut [Class]) {
        if self.bursts.len() < self.due && !self.is_over() {
            return;
        }
        self.due = 2 * self.bursts.len();
        for class in classes {
            let seen = class.density().seen() / 2.0;
            class.density_mut().rest_on(seen);
            self.run(class, true);
            class.density_mut().rest_on(self.observations as f64);
            self.run(class, false);
        }
    }

    fn run(&self, class: &mut Class, learn: bool) {
        class.restart(self.start);
        for burst in &self.bursts {
            class.predict(burst.dt);
            class.assimilate(&burst.observations, learn);
        }
    }
}

/// Observations after which the start is over: 64 bursts of four exchanges, 256 of one.
const ENOUGH: usize = 2048;
